//! One check: what it found, and how all of them are run.

use futures_util::future::{BoxFuture, join_all};
use kit_contract::body::{CheckOutcome, CheckResult};
use kit_core::{Context, StepError};
use std::time::Duration;

/// A check that takes longer could not ask.
const LIMIT: Duration = Duration::from_secs(15);

/// What a check found.
pub(crate) struct Finding {
    pub(crate) outcome: CheckOutcome,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

impl Finding {
    pub(crate) fn pass(message: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Pass, message: message.into(), hints: Vec::new() }
    }

    pub(crate) fn warn(message: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Warn, ..Self::pass(message) }
    }

    pub(crate) fn fail(message: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Fail, ..Self::pass(message) }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Unavailable, ..Self::pass(message) }
    }

    /// A failure of something that the check itself is about.
    pub(crate) fn failed(error: &StepError) -> Self {
        Self { hints: error.hints.clone(), ..Self::fail(error.chain()) }
    }

    /// A failure that kept the check from asking.
    pub(crate) fn could_not_ask(error: &StepError) -> Self {
        Self { hints: error.hints.clone(), ..Self::unavailable(error.chain()) }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// A check: its name, and the work.
pub(crate) struct Check<'a> {
    pub(crate) id: String,
    work: BoxFuture<'a, Finding>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(id: impl Into<String>, work: impl Future<Output = Finding> + Send + 'a) -> Self {
        Self { id: id.into(), work: Box::pin(work) }
    }
}

/// Runs all checks side by side; gives their results in the order in which they were listed.
pub(crate) async fn run_all(cx: &Context, checks: Vec<Check<'_>>) -> Vec<CheckResult> {
    join_all(checks.into_iter().map(|check| run_one(cx, check))).await
}

async fn run_one(cx: &Context, check: Check<'_>) -> CheckResult {
    let started = cx.clock.elapsed_ms();
    let finding = match cx.clock.timeout(LIMIT, check.work).await {
        Ok(finding) => finding,
        Err(elapsed) => Finding::unavailable(elapsed.to_string()),
    };
    let result = CheckResult {
        id: check.id,
        outcome: finding.outcome,
        message: cx.out.clean(&finding.message),
        hints: finding.hints.iter().map(|hint| cx.out.clean(hint)).collect(),
        duration_ms: cx.clock.elapsed_ms().saturating_sub(started),
    };
    cx.out.say(&format!("  {:<11} {}: {}", word(result.outcome), result.id, result.message));
    result
}

/// The word of an outcome, as artifacts write it.
pub(crate) fn word(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Pass => "pass",
        CheckOutcome::Warn => "warn",
        CheckOutcome::Fail => "fail",
        CheckOutcome::Unavailable => "unavailable",
        CheckOutcome::Unknown => "unknown",
    }
}
