//! What later steps and readers get.

use kit_contract::body::{CheckOutcome, CheckResult, Override};
use kit_step::{OutputSpec, markdown_escape};

const PASSED: OutputSpec =
    OutputSpec { name: "passed", help: "Number of checks that passed, with or without a warning" };
const FAILED: OutputSpec =
    OutputSpec { name: "failed", help: "Checks that did not pass, overridden or not, separated by commas" };

/// The outputs of both commands.
pub(crate) const OUTPUTS: &[OutputSpec] = &[PASSED, FAILED];
/// The outputs of `preflight`. No image by its name: the runner drops an output that holds a secret, and the
/// name of an account is often one.
pub(crate) const GO_OUTPUTS: &[OutputSpec] = &[
    PASSED,
    FAILED,
    OutputSpec { name: "image-digests", help: "The digest of each image, one per line, in their order" },
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
