//! Reading a page over HTTP.

use kit_contract::config::Headers;
use kit_core::{Context, StepError};
use kit_probe::{Options, Outcome, Prober, Request};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads pages. Connections are kept: these requests are no users.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    cx: Context,
    prober: Prober,
    timeout: Duration,
}

impl Fetcher {
    pub(crate) fn new(cx: &Context, timeout: Duration) -> Result<Self, StepError> {
        let prober = Prober::new(cx, Options { fresh_connections: false })?;
        Ok(Self { cx: cx.clone(), prober, timeout })
    }

    /// The headers, with the secrets that they name.
    pub(crate) fn headers(&self, headers: &Headers) -> Result<BTreeMap<String, String>, StepError> {
        kit_step::headers(&self.cx.env, headers)
    }

    /// A request that can be sent.
    pub(crate) fn request(
        &self,
        url: &str,
        headers: &BTreeMap<String, String>,
    ) -> Result<Request, StepError> {
        Ok(Request::new("GET", url, headers, None, self.timeout)?)
    }

    /// The page, or why there is none. `any_status`: errors are told in the page itself.
    pub(crate) async fn get(&self, request: &Request, any_status: bool) -> Result<String, String> {
        let whom = request.target();
        let answer = match self.prober.probe(request).await {
            Outcome::Answer(answer) => answer,
            Outcome::NoAnswer(none) => return Err(format!("{whom}: {}", none.message)),
            Outcome::Cancelled => return Err(format!("{whom}: cancelled")),
        };
        if answer.status != 200 && !any_status {
            return Err(format!("{whom}: status {}", answer.status));
        }
        if answer.body_truncated {
            return Err(format!("{whom}: the page is longer than 1 MiB"));
        }
        String::from_utf8(answer.body).map_err(|_| format!("{whom}: the page is no text"))
    }
}
