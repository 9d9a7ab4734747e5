//! Pure: from what the checks found to go or no-go.

use kit_contract::Reason;
use kit_contract::body::{CheckOutcome, CheckResult, Override};

/// Go or no-go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The stable code.
    pub(crate) reason: Reason,
    /// For people.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hints: Vec<String>,
    /// The overrides that were needed; only these stay open in the record.
    pub(crate) used: Vec<Override>,
}

/// True if the deploy must not go on with this. What is not known is never healthy.
const fn is_no(outcome: CheckOutcome) -> bool {
    match outcome {
        CheckOutcome::Pass | CheckOutcome::Warn => false,
        CheckOutcome::Fail | CheckOutcome::Unavailable | CheckOutcome::Unknown => true,
    }
}

/// Judges.
pub(crate) fn judge(checks: &[CheckResult], overrides: &[Override]) -> Verdict {
    let overridden = |check: &CheckResult| overrides.iter().any(|item| item.id == check.id);
    let no: Vec<&CheckResult> = checks.iter().filter(|check| is_no(check.outcome)).collect();
    let used: Vec<Override> =
        overrides.iter().filter(|item| no.iter().any(|check| check.id == item.id)).cloned().collect();
    let open: Vec<&CheckResult> = no.into_iter().filter(|check| !overridden(check)).collect();
    let failed: Vec<&CheckResult> =
        open.iter().copied().filter(|check| check.outcome == CheckOutcome::Fail).collect();
    let (reason, worst) = match (failed.is_empty(), open.is_empty(), used.is_empty()) {
        (false, _, _) => (Reason::ChecksFailed, failed),
        (true, false, _) => (Reason::ChecksUnavailable, open.clone()),
        (true, true, false) => (Reason::ChecksOverridden, Vec::new()),
        (true, true, true) => (Reason::ChecksPassed, Vec::new()),
    };
    let mut hints: Vec<String> = Vec::new();
    let warned = checks.iter().filter(|check| check.outcome == CheckOutcome::Warn);
    for check in open.into_iter().chain(warned) {
        hints.extend(check.hints.iter().map(|hint| format!("{}: {hint}", check.id)));
    }
    let unneeded = overrides.iter().filter(|item| !used.contains(item));
    hints.extend(unneeded.map(|item| format!("the override of {} was not needed", item.id)));
    Verdict { reason, message: message(reason, checks, &worst, &used), hints, used }
}

fn message(reason: Reason, checks: &[CheckResult], worst: &[&CheckResult], used: &[Override]) -> String {
    let total = checks.len();
    let warned = checks.iter().filter(|check| check.outcome == CheckOutcome::Warn);
    let warnings: Vec<String> = warned.map(|check| format!("{}: {}", check.id, check.message)).collect();
    let warnings =
        if warnings.is_empty() { String::new() } else { format!("; warning: {}", warnings.join("; ")) };
    let list =
        worst.iter().map(|check| format!("{}: {}", check.id, check.message)).collect::<Vec<_>>().join("; ");
    match reason {
        Reason::ChecksFailed => format!("{} of {total} checks failed: {list}", worst.len()),
        Reason::ChecksUnavailable => format!("{} of {total} checks could not be asked: {list}", worst.len()),
        Reason::ChecksOverridden => {
            let ids: Vec<&str> = used.iter().map(|item| item.id.as_str()).collect();
            format!(
                "{} of {total} checks did not pass and were overridden: {}{warnings}",
                used.len(),
                ids.join(", ")
            )
        }
        _ => format!("all {total} checks passed{warnings}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckOutcome::{Fail, Pass, Unavailable, Unknown, Warn};

    fn check(id: usize, outcome: CheckOutcome) -> CheckResult {
        CheckResult {
            id: format!("check-{id}"),
            outcome,
            message: format!("saw {id}"),
            hints: vec![format!("do {id}")],
            duration_ms: 1,
        }
    }

    fn run(outcomes: &[CheckOutcome], overridden: &[usize]) -> Verdict {
        let checks: Vec<_> = outcomes.iter().enumerate().map(|(id, outcome)| check(id, *outcome)).collect();
        let overrides: Vec<_> = overridden
            .iter()
            .map(|id| Override { id: format!("check-{id}"), reason: "r".into(), by: None })
            .collect();
        judge(&checks, &overrides)
    }

    #[test]
    fn the_table() {
        for (outcomes, overridden, reason, exit_code, used) in [
            (&[][..], &[][..], Reason::ChecksPassed, 0, 0),
            (&[Pass, Pass], &[], Reason::ChecksPassed, 0, 0),
            (&[Pass, Warn], &[], Reason::ChecksPassed, 0, 0),
            (&[Pass, Fail], &[], Reason::ChecksFailed, 10, 0),
            (&[Unavailable, Fail], &[], Reason::ChecksFailed, 10, 0),
            (&[Unavailable, Pass], &[], Reason::ChecksUnavailable, 11, 0),
            (&[Unknown, Pass], &[], Reason::ChecksUnavailable, 11, 0),
            (&[Pass, Fail], &[1], Reason::ChecksOverridden, 0, 1),
            (&[Pass, Unavailable], &[1], Reason::ChecksOverridden, 0, 1),
            (&[Fail, Fail], &[1], Reason::ChecksFailed, 10, 1),
            (&[Fail, Unavailable], &[0], Reason::ChecksUnavailable, 11, 1),
            (&[Fail, Unavailable], &[0, 1], Reason::ChecksOverridden, 0, 2),
            // An override that was not needed leaves nothing open.
            (&[Pass, Warn], &[0, 1], Reason::ChecksPassed, 0, 0),
        ] {
            let verdict = run(outcomes, overridden);
            assert_eq!(verdict.reason, reason, "{outcomes:?} {overridden:?}");
            assert_eq!(verdict.reason.exit_code(), exit_code);
            assert_eq!(verdict.used.len(), used, "{outcomes:?} {overridden:?}");
        }
    }

    #[test]
    fn every_failure_is_named_with_its_hint() {
        let verdict = run(&[Fail, Unavailable, Fail, Warn, Pass], &[4]);
        assert_eq!(verdict.message, "2 of 5 checks failed: check-0: saw 0; check-2: saw 2");
        assert_eq!(
            verdict.hints,
            [
                "check-0: do 0",
                "check-1: do 1",
                "check-2: do 2",
                "check-3: do 3",
                "the override of check-4 was not needed"
            ]
        );
        assert_eq!(run(&[Pass, Warn], &[]).message, "all 2 checks passed; warning: check-1: saw 1");
    }
}
