//! Asks the release. The only file that talks to the network.

use crate::schedule::Tried;
use kit_contract::Reason;
use kit_contract::config::SmokeCheck;
use kit_core::{Context, StepError};
use kit_probe::{
    Answer, NoAnswerKind, Options, Outcome, ProbeError, Prober, Request, Vars, check, substitute, validate,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Asks the questions of all checks.
pub(crate) struct Asker {
    cx: Context,
    prober: Prober,
    vars: Vars,
    timeout: Duration,
    questions: Vec<Question>,
}

/// One check whose address and headers are filled in.
struct Question {
    check: SmokeCheck,
    url: String,
    headers: BTreeMap<String, String>,
    target: String,
}

impl Asker {
    /// Everything that could keep a question from being asked is found here. `reason` is what a
    /// mistake in a check is called: that of a line typed, or of `deploy.toml`.
    pub(crate) fn new(
        cx: &Context,
        checks: Vec<SmokeCheck>,
        vars: Vars,
        timeout: Duration,
        reason: Reason,
    ) -> Result<Self, StepError> {
        let mut questions = Vec::new();
        for check in checks {
            hide_password(cx, &check.url);
            let named = |mut error: StepError| {
                error.message = format!("the check {:?}: {}", check.name, error.message);
                error
            };
            let headers = kit_step::headers(&cx.env, &check.headers).map_err(named)?;
            let (url, target) = prepare(&check, &headers, &vars, timeout).map_err(|error| {
                let mut error = named(error.into());
                error.reason = reason;
                error
            })?;
            questions.push(Question { target: cx.redactor.redact(&target), check, url, headers });
        }
        let prober = Prober::new(cx, Options::default())?;
        Ok(Self { cx: cx.clone(), prober, vars, timeout, questions })
    }

    /// The checks, each with what is asked, without credentials.
    pub(crate) fn checks(&self) -> impl Iterator<Item = (&SmokeCheck, &str)> {
        self.questions.iter().map(|question| (&question.check, question.target.as_str()))
    }

    /// Tries one check, for at most `limit`.
    pub(crate) async fn ask(&self, index: usize, limit: Duration) -> Tried {
        let Some(question) = self.questions.get(index) else {
            return Tried { problem: Some("there is no such check".to_owned()), ..Tried::default() };
        };
        let mut tried = match request(&question.check, &question.url, &question.headers, limit) {
            Ok(request) => {
                let cut = limit < self.timeout;
                judge(&question.check, self.prober.probe(&request).await, &self.vars, cut)
            }
            Err(error) => Tried { problem: Some(error.message), ..Tried::default() },
        };
        // A server may repeat what it was sent.
        tried.problem = tried.problem.map(|problem| self.cx.out.clean(&problem));
        tried
    }
}

fn prepare(
    check: &SmokeCheck,
    headers: &BTreeMap<String, String>,
    vars: &Vars,
    timeout: Duration,
) -> Result<(String, String), ProbeError> {
    let url = substitute(&check.url, vars)?;
    let request = request(check, &url, headers, timeout)?;
    validate(&check.expect)?;
    Ok((url, format!("{} {}", check.method, request.target())))
}

fn request(
    check: &SmokeCheck,
    url: &str,
    headers: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<Request, ProbeError> {
    Request::new(&check.method, url, headers, check.body.clone(), timeout)
}

/// What came back, held against what is expected. Pure. `cut`: the shared deadline left the try less
/// time than it is due, so its timeout says little about the service.
fn judge(smoke: &SmokeCheck, outcome: Outcome, vars: &Vars, cut: bool) -> Tried {
    let reached = outcome.reached();
    match outcome {
        Outcome::Answer(answer) => {
            let problem = first_mismatch(smoke, &answer, vars);
            Tried { latency_ms: Some(answer.latency_ms), status: Some(answer.status), problem, reached }
        }
        Outcome::NoAnswer(none) => {
            let mut problem = none.message;
            if cut && none.kind == NoAnswerKind::Timeout {
                problem.push_str(", because the time for all checks was over");
            }
            Tried { latency_ms: None, status: none.status, problem: Some(problem), reached }
        }
        Outcome::Cancelled => {
            Tried { problem: Some("the step was cancelled".to_owned()), ..Tried::default() }
        }
    }
}

fn first_mismatch(smoke: &SmokeCheck, answer: &Answer, vars: &Vars) -> Option<String> {
    let mismatches = check(&smoke.expect, answer, vars);
    let (first, others) = mismatches.split_first()?;
    Some(match others.len() {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    })
}

fn hide_password(cx: &Context, url: &str) {
    // The whole address is no secret unless it has a password; learning it would hide its host.
    let authority = url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    if authority.is_some_and(|authority| authority.contains('@')) {
        cx.redactor.learn_url(url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::config::Expect;
    use kit_probe::NoAnswer;

    fn smoke(expect: Expect) -> SmokeCheck {
        SmokeCheck {
            name: "home".to_owned(),
            url: "http://h/".to_owned(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            expect,
            advisory: false,
        }
    }

    fn answer(status: u16, body: &str) -> Outcome {
        Outcome::Answer(Answer {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            body_truncated: false,
            ttfb_ms: 1.0,
            latency_ms: 2.0,
            remote_addr: None,
        })
    }

    fn none(kind: NoAnswerKind, status: Option<u16>) -> Outcome {
        let message = kind.as_str().to_owned();
        Outcome::NoAnswer(NoAnswer { kind, message, status, after_ms: 3.0 })
    }

    #[test]
    fn what_came_back() {
        let expect = Expect { body_contains: Some("hello".to_owned()), ..Expect::default() };
        let expect = smoke(expect);
        for (outcome, cut, reached, problem) in [
            (answer(200, "hello"), false, true, None),
            (answer(200, "hello"), true, true, None),
            (answer(503, "hello"), false, true, Some("status: expected 200, got 503")),
            (answer(503, "bye"), true, true, Some("status: expected 200, got 503 (and 1 more)")),
            (none(NoAnswerKind::Refused, None), true, false, Some("refused")),
            (none(NoAnswerKind::Timeout, None), false, false, Some("timeout")),
            (
                none(NoAnswerKind::Timeout, Some(200)),
                true,
                true,
                Some("timeout, because the time for all checks was over"),
            ),
            (Outcome::Cancelled, false, false, Some("the step was cancelled")),
        ] {
            let tried = judge(&expect, outcome, &Vars::default(), cut);
            assert_eq!((tried.reached, tried.problem.as_deref()), (reached, problem));
            assert_eq!(
                tried.latency_ms.is_some(),
                matches!(
                    problem,
                    None | Some(
                        "status: expected 200, got 503" | "status: expected 200, got 503 (and 1 more)"
                    )
                )
            );
        }
    }

    #[test]
    fn a_password_in_an_address_is_learnt_and_its_host_is_not() {
        let (cx, _) = Context::for_test(kit_core::Env::default());
        hide_password(&cx, "http://user:hunter2@shop.example/");
        hide_password(&cx, "http://plain.example/");
        assert_eq!(
            cx.redactor.redact("hunter2 shop.example plain.example"),
            "*** shop.example plain.example"
        );
    }
}
