//! Do the addresses answer from here?

use crate::check::{Check, Finding};
use kit_core::StepError;
use kit_probe::{Options, Outcome, Prober, Request};
use kit_step::ToolContext;
use std::collections::BTreeMap;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// One check per address of `preflight.endpoints` and per service with a URL.
pub(crate) fn endpoints(cx: &ToolContext) -> Vec<Check<'_>> {
    let config = cx.config();
    let listed = config.preflight.endpoints.iter().enumerate();
    let listed = listed.map(|(index, url)| (format!("endpoint_reachable:{}", index + 1), url.as_str()));
    let services = config.services.iter().filter_map(|service| {
        Some((format!("endpoint_reachable:{}", service.name), service.url.as_deref()?))
    });
    listed.chain(services).map(|(id, url)| Check::new(id, ask(cx, url))).collect()
}

async fn ask(cx: &ToolContext, url: &str) -> Finding {
    let request = match Request::new("GET", url, &BTreeMap::new(), None, TIMEOUT) {
        Ok(request) => request,
        Err(error) => return Finding::failed(&StepError::from(error)),
    };
    let prober = match Prober::new(cx.context(), Options::default()) {
        Ok(prober) => prober,
        Err(error) => return Finding::could_not_ask(&StepError::from(error)),
    };
    let target = request.target();
    match prober.probe(&request).await {
        Outcome::Answer(answer) if answer.status >= 500 => {
            Finding::warn(format!("{target} answers, but with status {}", answer.status))
        }
        Outcome::Answer(answer) => Finding::pass(format!("{target} answers with status {}", answer.status)),
        Outcome::NoAnswer(none) => Finding::fail(format!("{target} does not answer: {}", none.message))
            .hint("is the network path from this runner to production open?"),
        Outcome::Cancelled => Finding::unavailable("cancelled"),
    }
}
