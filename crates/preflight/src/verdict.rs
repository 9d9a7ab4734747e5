//! From results and overrides to the verdict. Pure.

use crate::check::word;
use kit_contract::Reason;
use kit_contract::body::{CheckOutcome, CheckResult, Override};
use kit_contract::config::nearest;
use kit_core::StepError;

/// Two deploys at once, or a deploy without memory, cannot be made good afterwards.
const NEVER_OVERRIDDEN: [&str; 4] = ["lock_free", "lock_ours", "store_usable", "chain_valid"];

/// What was asked to be overridden.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct OverrideArgs {
    /// A check that may fail this once; may be repeated
    #[arg(long = "override", value_name = "CHECK")]
    pub(crate) checks: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) override_reason: Option<String>,
}

/// Reason, message and hints.
pub(crate) struct Verdict {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

/// Checks that the overrides make sense, and writes them down.
pub(crate) fn overrides(
    args: &OverrideArgs,
    results: &[CheckResult],
    by: Option<&str>,
) -> Result<Vec<Override>, StepError> {
    let ids: Vec<&str> = results.iter().map(|result| result.id.as_str()).collect();
    let mut overrides = Vec::new();
    for id in &args.checks {
        let usage = |message: String| StepError::new(Reason::UsageError, message);
        if !ids.contains(&id.as_str()) {
            let error = usage(format!("--override {id:?} is no check: use one of {}", ids.join(", ")));
            return Err(match nearest(id, &ids) {
                Some(near) => error.hint(format!("did you mean {near:?}?")),
                None => error,
            });
        }
        if NEVER_OVERRIDDEN.contains(&id.as_str()) {
            return Err(usage(format!(
                "{id} cannot be overridden: what it guards cannot be made good afterwards"
            )));
        }
        let Some(reason) = args.override_reason.clone().filter(|reason| !reason.trim().is_empty()) else {
            return Err(usage(format!("--override {id:?} needs --override-reason: the record keeps it")));
        };
        overrides.push(Override { id: id.clone(), reason, by: by.map(str::to_owned) });
    }
    Ok(overrides)
}

/// Draws the verdict.
pub(crate) fn verdict(results: &[CheckResult], overrides: &[Override]) -> Verdict {
    let overridden = |result: &&CheckResult| overrides.iter().any(|item| item.id == result.id);
    let of = |outcomes: &[CheckOutcome]| -> Vec<&CheckResult> {
        results.iter().filter(|result| outcomes.contains(&result.outcome)).collect()
    };
    let bad = of(&[CheckOutcome::Fail]);
    let unknown = of(&[CheckOutcome::Unavailable, CheckOutcome::Unknown]);
    let open: Vec<&CheckResult> =
        bad.iter().chain(&unknown).copied().filter(|result| !overridden(result)).collect();
    let warned = of(&[CheckOutcome::Warn]).len();
    let reason = if open.iter().any(|result| result.outcome == CheckOutcome::Fail) {
        Reason::ChecksFailed
    } else if !open.is_empty() {
        Reason::ChecksUnavailable
    } else if bad.len() + unknown.len() > 0 {
        Reason::ChecksOverridden
    } else {
        Reason::ChecksPassed
    };
    let message = match open.as_slice() {
        [] if warned == 0 => format!("{} checks passed", results.len()),
        [] => format!("{} checks, {warned} of them with a warning", results.len()),
        open => {
            let texts: Vec<String> = open
                .iter()
                .map(|result| format!("{} ({}): {}", result.id, word(result.outcome), result.message))
                .collect();
            format!("{} of {} checks: {}", open.len(), results.len(), texts.join("; "))
        }
    };
    Verdict { reason, message, hints: open.iter().flat_map(|result| result.hints.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, outcome: CheckOutcome) -> CheckResult {
        CheckResult { id: id.into(), outcome, message: "m".into(), hints: Vec::new(), duration_ms: 1 }
    }

    fn over(id: &str) -> Override {
        Override { id: id.into(), reason: "r".into(), by: None }
    }

    #[test]
    fn the_table() {
        use CheckOutcome::{Fail, Pass, Unavailable, Unknown, Warn};
        let cases: [(&[CheckOutcome], &[&str], Reason); 9] = [
            (&[Pass, Pass], &[], Reason::ChecksPassed),
            (&[Pass, Warn], &[], Reason::ChecksPassed),
            (&[Pass, Fail], &[], Reason::ChecksFailed),
            (&[Pass, Unavailable], &[], Reason::ChecksUnavailable),
            (&[Unknown], &[], Reason::ChecksUnavailable),
            (&[Fail, Unavailable], &[], Reason::ChecksFailed),
            (&[Fail, Unavailable], &["c0"], Reason::ChecksUnavailable),
            (&[Fail, Unavailable], &["c0", "c1"], Reason::ChecksOverridden),
            (&[Pass], &["c0"], Reason::ChecksPassed),
        ];
        for (outcomes, overridden, expected) in cases {
            let results: Vec<CheckResult> = outcomes
                .iter()
                .enumerate()
                .map(|(index, outcome)| result(&format!("c{index}"), *outcome))
                .collect();
            let overrides: Vec<Override> = overridden.iter().map(|id| over(id)).collect();
            assert_eq!(verdict(&results, &overrides).reason, expected, "{outcomes:?} {overridden:?}");
        }
    }

    #[test]
    fn an_override_needs_a_check_a_reason_and_must_be_allowed() {
        let results =
            [result("endpoint_reachable:1", CheckOutcome::Fail), result("lock_free", CheckOutcome::Fail)];
        let args = |check: &str, reason: Option<&str>| OverrideArgs {
            checks: vec![check.into()],
            override_reason: reason.map(str::to_owned),
        };
        let refused = |args: OverrideArgs| overrides(&args, &results, None).unwrap_err();
        assert!(refused(args("endpoint_reachable:2", Some("r"))).hints[0].contains("endpoint_reachable:1"));
        assert!(refused(args("endpoint_reachable:1", None)).message.contains("--override-reason"));
        assert!(refused(args("endpoint_reachable:1", Some("  "))).message.contains("--override-reason"));
        assert!(refused(args("lock_free", Some("r"))).message.contains("cannot be overridden"));
        let taken = overrides(&args("endpoint_reachable:1", Some("known")), &results, Some("ada")).unwrap();
        assert_eq!(taken[0].by.as_deref(), Some("ada"));
    }
}
