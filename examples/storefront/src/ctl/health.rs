//! Asks a backend how it is.

use crate::error::{Context, Result};
use std::time::Duration;

/// What `GET /health` said.
#[derive(Debug, serde::Deserialize)]
struct Report {
    status: String,
    version: String,
    service: String,
}

pub(super) fn client() -> Result<reqwest::Client> {
    crate::http::client().timeout(Duration::from_secs(2)).build().context("set up the HTTP client")
}

/// True if it answers 200, says it is healthy, and is the service and version it is taken for. `None` if it
/// could not be asked, which is not the same as unhealthy, and even less as healthy.
pub(super) async fn healthy(
    client: &reqwest::Client,
    url: &str,
    service: &str,
    version: Option<&str>,
) -> Option<bool> {
    let response = client.get(format!("{url}/health")).send().await.ok()?;
    let ok = response.status() == reqwest::StatusCode::OK;
    let body = response.bytes().await.ok()?;
    let report: Option<Report> = serde_json::from_slice(&body).ok();
    Some(
        ok && report.is_some_and(|report| {
            report.status == "healthy"
                && report.service == service
                && version.is_none_or(|version| report.version == version)
        }),
    )
}
