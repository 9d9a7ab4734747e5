//! What the checks come to together. Pure.

use crate::schedule::Track;
use kit_contract::Reason;
use kit_contract::body::{SmokeCheck, SmokeOutcome};
use kit_contract::config::Span;

/// So many failing checks are named; the artifact holds all.
const NAMED: usize = 10;

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

/// What one check came to.
pub(crate) fn outcome(track: &Track) -> SmokeOutcome {
    match (track.passed, track.reached) {
        (true, _) if track.total == 1 => SmokeOutcome::Pass,
        (true, _) => SmokeOutcome::PassFlaky,
        (false, true) => SmokeOutcome::Fail,
        (false, false) => SmokeOutcome::Unreachable,
    }
}

/// True if the check passed, at whichever try.
pub(crate) fn passed(check: &SmokeCheck) -> bool {
    matches!(check.outcome, SmokeOutcome::Pass | SmokeOutcome::PassFlaky)
}

/// Judges all checks; there is at least one.
pub(crate) fn judge(checks: &[SmokeCheck], within: Span) -> Verdict {
    let required: Vec<&SmokeCheck> = checks.iter().filter(|check| !check.advisory).collect();
    let failed: Vec<&SmokeCheck> = required.iter().copied().filter(|check| !passed(check)).collect();
    let flaky: Vec<&SmokeCheck> =
        required.iter().copied().filter(|check| check.outcome == SmokeOutcome::PassFlaky).collect();
    let unreachable = |check: &SmokeCheck| check.outcome == SmokeOutcome::Unreachable;
    let mut verdict = if checks.iter().all(unreachable) {
        nothing_reachable(checks, within)
    } else if let Some((first, others)) = failed.split_first() {
        Verdict {
            reason: Reason::SmokeFailed,
            message: format!("{} of {} failed: {}", failed.len(), count(required.len()), said(first)),
            hints: named(others, "also failed"),
        }
    } else if flaky.is_empty() {
        Verdict {
            reason: Reason::SmokePassed,
            message: match required.len() {
                0 => "every check is advisory, so none could fail".to_owned(),
                required => format!("{} passed at the first try", all(required)),
            },
            hints: Vec::new(),
        }
    } else {
        Verdict {
            reason: Reason::SmokePassedFlaky,
            message: format!("{} passed, {} of them not at the first try", all(required.len()), flaky.len()),
            hints: named(&flaky, "not at the first try"),
        }
    };
    let advisory: Vec<&SmokeCheck> = checks.iter().filter(|check| check.advisory && !passed(check)).collect();
    if verdict.reason != Reason::NothingReachable {
        verdict.hints.extend(named(&advisory, "advisory, did not pass"));
    }
    verdict
}

fn nothing_reachable(checks: &[SmokeCheck], within: Span) -> Verdict {
    let first = checks.first().map(said).unwrap_or_default();
    Verdict {
        reason: Reason::NothingReachable,
        message: match checks.len() {
            1 => format!("the 1 check could not be reached within {within}: {first}"),
            total => format!("none of {total} checks could be reached within {within}: {first}"),
        },
        hints: vec!["is the network path from this runner to production open?".to_owned()],
    }
}

fn named(checks: &[&SmokeCheck], what: &str) -> Vec<String> {
    let mut hints: Vec<String> =
        checks.iter().take(NAMED).map(|check| format!("{what}: {}", said(check))).collect();
    if checks.len() > NAMED {
        hints.push(format!("{what}: {} more, see the artifact", checks.len() - NAMED));
    }
    hints
}

/// One check in one line: its name, what was wrong, how often it was tried.
fn said(check: &SmokeCheck) -> String {
    let name = &check.name;
    let tries = match check.attempts_total {
        1 => "1 try".to_owned(),
        total => format!("{total} tries"),
    };
    let problem = problem(check).unwrap_or("no reason is known");
    match check.outcome {
        SmokeOutcome::Pass => format!("{name}: passed"),
        SmokeOutcome::PassFlaky => format!("{name}: passed after {tries}, before that: {problem}"),
        SmokeOutcome::Unreachable if check.attempts_total == 0 => {
            format!("{name}: never asked, because the time was over before its turn")
        }
        SmokeOutcome::Unreachable => format!("{name}: never answered in {tries}: {problem}"),
        SmokeOutcome::Fail | SmokeOutcome::Unknown => format!("{name}: {problem} ({tries})"),
    }
}

/// What was wrong most recently. An answer says more than a lost connection, so it comes first.
pub(crate) fn problem(check: &SmokeCheck) -> Option<&str> {
    let last = |reached: bool| {
        let mut attempts = check.attempts.iter().rev().filter(|attempt| attempt.reached || !reached);
        attempts.find_map(|attempt| attempt.problem.as_deref())
    };
    last(true).or_else(|| last(false))
}

fn count(checks: usize) -> String {
    if checks == 1 { "1 check".to_owned() } else { format!("{checks} checks") }
}

fn all(checks: usize) -> String {
    match checks {
        1 => "the 1 check".to_owned(),
        _ => format!("all {checks} checks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::SmokeAttempt;

    /// `name:tries`: p passes, f is a wrong answer, u no answer; `~` before the name: advisory.
    fn check(text: &str) -> SmokeCheck {
        let (name, tries) = text.split_once(':').unwrap();
        let mut track = Track::default();
        for letter in tries.chars() {
            let problem = match letter {
                'p' => None,
                'f' => Some("status 503, not 200".to_owned()),
                _ => Some("the connection was refused".to_owned()),
            };
            let reached = letter != 'u';
            track.passed = problem.is_none();
            track.reached |= reached;
            track.total += 1;
            track.attempts.push_back(SmokeAttempt {
                after_ms: 0,
                latency_ms: None,
                status: None,
                problem,
                reached,
            });
        }
        SmokeCheck {
            name: name.trim_start_matches('~').to_owned(),
            target: String::new(),
            advisory: name.starts_with('~'),
            outcome: outcome(&track),
            attempts_total: track.total,
            attempts: track.attempts.into(),
        }
    }

    use Reason::{NothingReachable, SmokeFailed, SmokePassed, SmokePassedFlaky};

    /// Checks, verdict, message, hints.
    const TABLE: &[(&str, Reason, &str, &str)] = &[
        ("a:p", SmokePassed, "the 1 check passed at the first try", ""),
        ("a:p b:p", SmokePassed, "all 2 checks passed at the first try", ""),
        (
            "a:p b:fp",
            SmokePassedFlaky,
            "all 2 checks passed, 1 of them not at the first try",
            "not at the first try: b: passed after 2 tries, before that: status 503, not 200",
        ),
        (
            "a:up",
            SmokePassedFlaky,
            "the 1 check passed, 1 of them not at the first try",
            "not at the first try: a: passed after 2 tries, before that: the connection was refused",
        ),
        ("a:p b:ff", SmokeFailed, "1 of 2 checks failed: b: status 503, not 200 (2 tries)", ""),
        ("a:fu b:p", SmokeFailed, "1 of 2 checks failed: a: status 503, not 200 (2 tries)", ""),
        (
            "a:p b:uu",
            SmokeFailed,
            "1 of 2 checks failed: b: never answered in 2 tries: the connection was refused",
            "",
        ),
        (
            "a:f b:u",
            SmokeFailed,
            "2 of 2 checks failed: a: status 503, not 200 (1 try)",
            "also failed: b: never answered in 1 try: the connection was refused",
        ),
        (
            "a:u b:u",
            NothingReachable,
            "none of 2 checks could be reached within 1m: a: never answered in 1 try: the connection was refused",
            "is the network path from this runner to production open?",
        ),
        (
            "a:",
            NothingReachable,
            "the 1 check could not be reached within 1m: a: never asked, because the time was over before its turn",
            "is the network path from this runner to production open?",
        ),
        (
            "a:p ~b:f",
            SmokePassed,
            "the 1 check passed at the first try",
            "advisory, did not pass: b: status 503, not 200 (1 try)",
        ),
        ("a:p ~b:fp", SmokePassed, "the 1 check passed at the first try", ""),
        (
            "a:u ~b:p",
            SmokeFailed,
            "1 of 1 check failed: a: never answered in 1 try: the connection was refused",
            "",
        ),
        (
            "~a:u",
            NothingReachable,
            "the 1 check could not be reached within 1m: a: never answered in 1 try: the connection was refused",
            "is the network path from this runner to production open?",
        ),
        (
            "~a:f",
            SmokePassed,
            "every check is advisory, so none could fail",
            "advisory, did not pass: a: status 503, not 200 (1 try)",
        ),
    ];

    #[test]
    fn the_table() {
        for &(checks, reason, message, hints) in TABLE {
            let list: Vec<SmokeCheck> = checks.split(' ').map(check).collect();
            let verdict = judge(&list, Span::from_secs(60));
            assert_eq!((verdict.reason, verdict.message.as_str()), (reason, message), "{checks}");
            assert_eq!(verdict.hints.join("; "), hints, "{checks}");
        }
    }

    #[test]
    fn many_failures_are_not_all_named() {
        let list: Vec<SmokeCheck> = (0..30).map(|number| check(&format!("c{number}:f"))).collect();
        let verdict = judge(&list, Span::from_secs(60));
        assert_eq!(verdict.hints.len(), NAMED + 1);
        assert_eq!(verdict.hints[NAMED], "also failed: 19 more, see the artifact");
    }

    #[test]
    fn no_mixture_without_a_pass_of_all_required_checks_is_green() {
        let kinds = ["p", "fp", "up", "f", "u", "uf", "fu", ""];
        for first in kinds {
            for second in kinds {
                let list = [check(&format!("a:{first}")), check(&format!("b:{second}"))];
                let green = judge(&list, Span::from_secs(60)).reason.exit_code() == 0;
                assert_eq!(green, first.ends_with('p') && second.ends_with('p'), "{first} {second}");
            }
        }
    }
}
