//! What later steps and readers get.

use kit_contract::body::{CheckOutcome, CheckResult, Override};
use kit_step::{OutputSpec, markdown_escape};

/// The outputs of both commands.
pub(crate) const OUTPUTS: &[OutputSpec] = &[
    OutputSpec { name: "passed", help: "Number of checks that passed, with or without a warning" },
    OutputSpec { name: "failed", help: "Checks that did not pass, overridden or not, separated by commas" },
];

/// Their values.
pub(crate) fn outputs(checks: &[CheckResult]) -> Vec<(&'static str, String)> {
    let passed = checks.iter().filter(|check| is_good(check.outcome)).count();
    let failed: Vec<&str> =
        checks.iter().filter(|check| !is_good(check.outcome)).map(|check| check.id.as_str()).collect();
    vec![("passed", passed.to_string()), ("failed", failed.join(","))]
}

const fn is_good(outcome: CheckOutcome) -> bool {
    matches!(outcome, CheckOutcome::Pass | CheckOutcome::Warn)
}

const fn word(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Pass => "pass",
        CheckOutcome::Warn => "warning",
        CheckOutcome::Fail => "fail",
        CheckOutcome::Unavailable => "not known",
        CheckOutcome::Unknown => "unknown",
    }
}

/// The table of the job summary.
pub(crate) fn summary(checks: &[CheckResult], overrides: &[Override]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n| check | outcome | seen | ms |\n|---|---|---|---:|\n");
    for check in checks {
        let overridden = overrides.iter().any(|item| item.id == check.id);
        text.push_str(&format!(
            "| {} | {}{} | {} | {} |\n",
            markdown_escape(&check.id),
            word(check.outcome),
            if overridden { ", overridden" } else { "" },
            markdown_escape(&check.message),
            check.duration_ms
        ));
    }
    for item in overrides {
        let by = item.by.as_deref().unwrap_or("somebody");
        text.push_str(&format!(
            "\n- {} was overridden by {}: {}\n",
            markdown_escape(&item.id),
            markdown_escape(by),
            markdown_escape(&item.reason)
        ));
    }
    text
}
