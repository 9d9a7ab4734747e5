//! Client of the router's admin API.

use crate::error::{Context, Error, Result};
use crate::router::{Patch, StateView};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) struct Admin {
    client: reqwest::Client,
    url: String,
}

impl Admin {
    /// `url` is `http://127.0.0.1:PORT`.
    pub(super) fn new(url: &str) -> Result<Self> {
        let client = crate::http::client().timeout(Duration::from_secs(5)).build();
        let client = client.context("set up the HTTP client")?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }

    pub(super) async fn state(&self) -> Result<StateView> {
        self.send(self.client.get(format!("{}/state", self.url))).await
    }

    /// All of the changes, or none.
    pub(super) async fn change(&self, patches: &BTreeMap<String, Patch>) -> Result<StateView> {
        self.send(self.client.put(format!("{}/services", self.url)).json(patches)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<StateView> {
        let response = request.send().await.context("ask the router")?;
        let status = response.status();
        let body = response.bytes().await.context("read the router's answer")?;
        if status.is_success() {
            return serde_json::from_slice(&body).context("understand the router's answer");
        }
        let reason = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|body| body.get("error")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| "no reason given".to_owned());
        Err(Error::new(format!("the router refused ({}): {reason}", status.as_u16())))
    }
}
