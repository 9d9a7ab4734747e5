//! Hands a request to the backend that the split, or the request itself, chose.

use super::admin::problem;
use super::{Arm, Backend, Shared, TARGET_HEADER};
use crate::error::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
const SERVED_VERSION: HeaderName = HeaderName::from_static("x-served-version");
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn client() -> Result<reqwest::Client> {
    crate::http::client()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(30))
        .build()
        .context("set up the HTTP client")
}

pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new().fallback(forward).with_state(shared)
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let (service, rest) = split_target(target);
    let Ok(forced) = forced_arm(&parts.headers) else {
        return problem(StatusCode::BAD_REQUEST, &format!("{TARGET_HEADER} must be stable or canary"));
    };
    let Some((arm, backend)) = shared.choose(service, forced) else {
        return problem(StatusCode::NOT_FOUND, &format!("no service {service:?}"));
    };
    let mut response = match backend {
        Some(ref backend) => send(&shared.client, backend, &rest, &parts, body).await,
        None => {
            problem(StatusCode::BAD_GATEWAY, &format!("service {service:?} has no {} backend", arm.name()))
        }
    };
    let headers = response.headers_mut();
    headers.insert(SERVED_BY, HeaderValue::from_static(arm.name()));
    let version = backend.and_then(|backend| backend.version);
    if let Some(version) = version.and_then(|version| HeaderValue::try_from(version).ok()) {
        headers.insert(SERVED_VERSION, version);
    }
    response
}

/// `/catalog/products?page=2` is `/products?page=2` of `catalog`.
fn split_target(target: &str) -> (&str, String) {
    let target = target.strip_prefix('/').unwrap_or(target);
    let end = target.find(['/', '?']).unwrap_or(target.len());
    let (service, rest) = target.split_at(end);
    (service, if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") })
}

/// The arm a request asks for; an error if it names anything else than an arm.
fn forced_arm(headers: &HeaderMap) -> std::result::Result<Option<Arm>, ()> {
    match headers.get(TARGET_HEADER).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"stable") => Ok(Some(Arm::Stable)),
        Some(b"canary") => Ok(Some(Arm::Canary)),
        Some(_) => Err(()),
    }
}

async fn send(client: &reqwest::Client, to: &Backend, rest: &str, parts: &Parts, body: Body) -> Response {
    let Ok(body) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the request was cut short or is over 1 MiB");
    };
    let sent = client
        .request(parts.method.clone(), format!("{}{rest}", to.url))
        .headers(end_to_end(&parts.headers))
        .body(body)
        .send()
        .await;
    match sent {
        Ok(answer) => {
            let (status, headers) = (answer.status(), end_to_end(answer.headers()));
            let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            response
        }
        Err(error) => problem(StatusCode::BAD_GATEWAY, &crate::error::chain("reach the backend", &error)),
    }
}

/// The headers that concern both ends, and not one connection only. Lengths are written anew.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-authenticate", "proxy-authorization", TARGET_HEADER] {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_names_the_service() {
        for (target, service, rest) in [
            ("/catalog/products?page=2", "catalog", "/products?page=2"),
            ("/catalog/", "catalog", "/"),
            ("/catalog", "catalog", "/"),
            ("/catalog?x=/y", "catalog", "/?x=/y"),
            ("/", "", "/"),
            ("*", "*", "/"),
        ] {
            assert_eq!(split_target(target), (service, rest.to_owned()), "{target}");
        }
    }
}
