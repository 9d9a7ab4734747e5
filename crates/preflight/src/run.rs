//! Runs the checks side by side. Whatever becomes of one, the others have their say.

use crate::finding::Finding;
use futures_util::future::BoxFuture;
use kit_contract::body::CheckResult;
use kit_step::ToolContext;
use std::time::Duration;

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(15);

/// One check that can be run.
pub(crate) struct Check {
    /// Stable name.
    pub(crate) id: String,
    /// The question.
    pub(crate) ask: BoxFuture<'static, Finding>,
}

impl Check {
    /// A check.
    pub(crate) fn new(id: impl Into<String>, ask: impl Future<Output = Finding> + Send + 'static) -> Self {
        Self { id: id.into(), ask: Box::pin(ask) }
    }
}

/// Runs all of them; the results stand in the order of the checks.
pub(crate) async fn all(cx: &ToolContext, checks: Vec<Check>) -> Vec<CheckResult> {
    let running: Vec<_> = checks
        .into_iter()
        .map(|check| {
            let cx = cx.clone();
            // A task of its own: one that crashes takes no other with it.
            (check.id, tokio::spawn(async move { one(&cx, check.ask).await }))
        })
        .collect();
    let mut results = Vec::new();
    for (id, task) in running {
        let (finding, duration_ms) =
            task.await.unwrap_or_else(|_| (Finding::unavailable("the check hit a bug of deploy-kit"), 0));
        results.push(CheckResult {
            id,
            outcome: finding.outcome,
            message: cx.out.clean(&finding.message),
            hints: finding.hints.iter().map(|hint| cx.out.clean(hint)).collect(),
            duration_ms,
        });
    }
    results
}

async fn one(cx: &ToolContext, ask: BoxFuture<'static, Finding>) -> (Finding, u64) {
    let started_ms = cx.clock.elapsed_ms();
    let finding = match cx.cancel.unless(cx.clock.timeout(LIMIT, ask)).await {
        None => Finding::unavailable("stopped before it had an answer"),
        Some(Err(elapsed)) => Finding::unavailable(elapsed.to_string()),
        Some(Ok(finding)) => finding,
    };
    (finding, cx.clock.elapsed_ms().saturating_sub(started_ms))
}
