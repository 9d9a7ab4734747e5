//! One probe over HTTP, on a connection of its own.

use crate::plan::{How, Plan};
use crate::sample::Ask;
use crate::tick::{Arm, Kind};
use kit_contract::Name;
use kit_contract::config::ProbeTarget;
use kit_core::{Context, StepError};
use kit_probe::{NoAnswer, NoAnswerKind, Options, Outcome, Prober, Request};
use std::sync::Arc;
use std::time::Duration;

/// Asks the arms of all services.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    prober: Prober,
    requests: Arc<Vec<Request>>,
}

impl Http {
    /// The arms in the order of the plan, and who asks them.
    pub(crate) fn new(cx: &Context, plan: &Plan) -> Result<(Self, Vec<(Name, Arm)>), StepError> {
        let prober = Prober::new(cx, Options { fresh_connections: true })?;
        let timeout = Duration::from_millis(plan.settings.timeout_ms);
        let mut requests = Vec::new();
        let mut arms = Vec::new();
        for target in &plan.targets {
            let How::Probe(probe) = &target.how else { continue };
            let sides = [(Arm::Canary, Some(&probe.canary)), (Arm::Baseline, probe.baseline.as_ref())];
            for (arm, probe) in sides {
                let Some(probe) = probe else { continue };
                requests.push(request(cx, &target.service, arm, probe, timeout)?);
                arms.push((target.service.clone(), arm));
            }
        }
        Ok((Self { prober, requests: Arc::new(requests) }, arms))
    }
}

fn request(
    cx: &Context,
    service: &Name,
    arm: Arm,
    probe: &ProbeTarget,
    timeout: Duration,
) -> Result<Request, StepError> {
    let headers = kit_step::headers(&cx.env, &probe.headers)?;
    Request::new("GET", &probe.url, &headers, None, timeout).map_err(|error| {
        let mut error = StepError::from(error);
        error.message = format!("{service}, {} probe: {}", arm.as_str(), error.message);
        error
    })
}

impl Ask for Http {
    fn ask(&self, arm: usize) -> impl Future<Output = Option<(Kind, f64)>> + Send + 'static {
        let this = self.clone();
        async move {
            let request = this.requests.get(arm)?;
            verdict_on(&this.prober.probe(request).await)
        }
    }
}

/// What the outcome counts as, and how long it took. `None`: cancelled, so nothing is known.
fn verdict_on(outcome: &Outcome) -> Option<(Kind, f64)> {
    match outcome {
        Outcome::Answer(answer) => {
            let kind = match answer.status {
                200..=299 => Kind::Ok,
                300..=399 => Kind::Redirect,
                400..=499 => Kind::ClientError,
                _ => Kind::ServerError,
            };
            Some((kind, answer.latency_ms))
        }
        Outcome::NoAnswer(NoAnswer { status: Some(_), after_ms, .. }) => Some((Kind::Incomplete, *after_ms)),
        Outcome::NoAnswer(NoAnswer { kind, after_ms, .. }) => {
            let kind = match kind {
                NoAnswerKind::Dns => Kind::Dns,
                NoAnswerKind::Refused => Kind::Refused,
                NoAnswerKind::Timeout => Kind::Timeout,
                NoAnswerKind::Tls => Kind::Tls,
                NoAnswerKind::Reset => Kind::Reset,
                NoAnswerKind::Protocol => Kind::Protocol,
                NoAnswerKind::Other => Kind::Other,
            };
            Some((kind, *after_ms))
        }
        Outcome::Cancelled => None,
    }
}
