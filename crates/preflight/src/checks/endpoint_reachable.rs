//! `endpoint_reachable:<n>`: the n-th address of `preflight.endpoints` answers, whatever it says.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::{StepError, display_url};
use kit_probe::{Options, Outcome, Prober, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Shorter than a check may take, so that the check can say what kept it.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What an address did.
pub(crate) enum Reached {
    /// It answered with this status.
    Status(u16),
    /// No answer came, and why.
    No(String),
}

/// One check per address.
pub(crate) fn checks(world: &Arc<World>) -> Vec<Check> {
    let endpoints = world.cx.config().preflight.endpoints.clone();
    let check = |(index, url): (usize, String)| {
        let world = Arc::clone(world);
        Check::new(format!("endpoint_reachable:{}", index + 1), async move {
            match reach(&world, &url).await {
                Err(error) => error.into(),
                Ok(Reached::Status(status)) => answered(&url, status),
                Ok(Reached::No(why)) => Finding::fail(format!("{}: {why}", display_url(&url)))
                    .hint("is it up, and is the network path from this runner to it open?"),
            }
        })
    };
    endpoints.into_iter().enumerate().map(check).collect()
}

/// Any answer will do; one that says that the server is broken is worth a look.
pub(crate) fn answered(url: &str, status: u16) -> Finding {
    let text = format!("{} answered {status}", display_url(url));
    match status {
        500.. => Finding::warn(text).hint("it is reachable, and says itself that it is broken"),
        _ => Finding::pass(text),
    }
}

/// Asks one address once.
///
/// # Errors
/// If the address is none, or this machine cannot ask at all.
pub(crate) async fn reach(world: &World, url: &str) -> Result<Reached, StepError> {
    let request = Request::new("GET", url, &BTreeMap::new(), None, LIMIT)?;
    let prober = Prober::new(world.cx.context(), Options::default())?;
    Ok(match prober.probe(&request).await {
        Outcome::Answer(answer) => Reached::Status(answer.status),
        // The head of an answer is an answer, even if its body does not end.
        Outcome::NoAnswer(none) => none.status.map_or(Reached::No(none.message), Reached::Status),
        Outcome::Cancelled => Reached::No("stopped before it answered".to_owned()),
    })
}
