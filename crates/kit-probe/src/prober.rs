//! One probe: one request sent, one answer read, within one timeout.

use crate::{Answer, NoAnswer, NoAnswerKind, Outcome, ProbeError, Request, classify::classify, proxy, text};
use kit_contract::Reason;
use kit_core::Context;
use reqwest::Client;
use std::time::Duration;

/// How much of a body is read: 1 MiB.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Idle connections are given up before servers do so: one that is closed while a request is under
/// way looks like a failure of the service. Servers commonly wait 5 s.
const IDLE: Duration = Duration::from_secs(2);
const IDLE_PER_HOST: usize = 4;

/// How to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Every probe opens a connection of its own, as new users do. With kept connections all probes
    /// may end at one backend of many, and only that one is judged.
    pub fresh_connections: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { fresh_connections: true }
    }
}

/// Sends probes. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Prober {
    cx: Context,
    client: Client,
}

impl Prober {
    /// A prober. Proxies come from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the context.
    ///
    /// # Errors
    /// If a proxy cannot be used, or the system has no certificates to trust.
    pub fn new(cx: &Context, options: Options) -> Result<Self, ProbeError> {
        let mut builder = Client::builder()
            // Nothing but the context may settle which way a probe goes.
            .no_proxy()
            // HTTP/1.1 alone: a `host` header can be forced, and one connection is one request.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("deploy-kit/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(if options.fresh_connections { 0 } else { IDLE_PER_HOST });
        for proxy in proxy::from_env(&cx.env)? {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| {
            let (_, message) = classify(error, false);
            ProbeError::new(format!("the HTTP client cannot be made: {message}"))
                .hint(Some(
                    "are the certificates of the system installed (package ca-certificates)?".to_owned(),
                ))
                .reason(Reason::ToolMissing)
        })?;
        Ok(Self { cx: cx.clone(), client })
    }

    /// Sends one request and reads its answer. Never tries again.
    pub async fn probe(&self, request: &Request) -> Outcome {
        let started = self.cx.clock.elapsed();
        match self.cx.cancel.unless(self.exchange(request, started)).await {
            None => Outcome::Cancelled,
            Some(Ok(answer)) => Outcome::Answer(answer),
            Some(Err(none)) => Outcome::NoAnswer(none),
        }
    }

    async fn exchange(&self, request: &Request, started: Duration) -> Result<Answer, NoAnswer> {
        let mut sending =
            self.client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        let limit_ms = request.timeout.as_millis();
        let head = self.cx.clock.timeout(request.timeout, sending.send()).await;
        let ttfb_ms = self.ms_since(started);
        let mut response = match head {
            Err(_) => {
                let message = format!("no answer within {limit_ms} ms");
                return Err(self.none(NoAnswerKind::Timeout, message, None, started));
            }
            Ok(Err(error)) => return Err(self.failed(error, None, started)),
            Ok(Ok(response)) => response,
        };
        let status = response.status().as_u16();
        let left = request.timeout.saturating_sub(self.cx.clock.elapsed().saturating_sub(started));
        let (body, body_truncated) = match self.cx.clock.timeout(left, read_body(&mut response)).await {
            Err(_) => {
                let message =
                    format!("status {status} came after {ttfb_ms:.0} ms, but no end within {limit_ms} ms");
                return Err(self.none(NoAnswerKind::Timeout, message, Some(status), started));
            }
            Ok(Err(error)) => return Err(self.failed(error, Some(status), started)),
            Ok(Ok(read)) => read,
        };
        Ok(Answer {
            status,
            headers: headers(&response),
            body,
            body_truncated,
            ttfb_ms,
            latency_ms: self.ms_since(started),
            remote_addr: response.remote_addr(),
        })
    }

    fn failed(&self, error: reqwest::Error, status: Option<u16>, started: Duration) -> NoAnswer {
        let (kind, mut message) = classify(error, status.is_some());
        if let Some(status) = status {
            message = format!("status {status} came, then {message}");
        }
        self.none(kind, message, status, started)
    }

    fn none(&self, kind: NoAnswerKind, message: String, status: Option<u16>, started: Duration) -> NoAnswer {
        let message = text::one_line(&self.cx.redactor.redact(&message));
        NoAnswer { kind, message, status, after_ms: self.ms_since(started) }
    }

    fn ms_since(&self, started: Duration) -> f64 {
        self.cx.clock.elapsed().saturating_sub(started).as_secs_f64() * 1000.0
    }
}

/// The body, and whether it is longer than what is kept. Reading stops there: a body without end
/// must not fill the memory, nor the network.
async fn read_body(response: &mut reqwest::Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = BODY_LIMIT_BYTES - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

fn headers(response: &reqwest::Response) -> Vec<(String, String)> {
    response
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}
