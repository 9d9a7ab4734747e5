use crate::{ArtifactKind, Body};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmokeOutcome {
    /// Passed at the first try.
    Pass,
    /// Passed, but not at the first try.
    PassFlaky,
    /// Answered, and the answer was wrong.
    Fail,
    /// Never answered at all.
    Unreachable,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// One try of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SmokeAttempt {
    /// When it began, after the start of the step.
    pub after_ms: u64,
    /// How long the answer took; absent if there was none.
    pub latency_ms: Option<f64>,
    /// HTTP status; absent if there was no answer.
    pub status: Option<u16>,
    /// The first expectation that was not met, or why there was no answer; absent if all was well.
    pub problem: Option<String>,
    /// True if an answer came, whatever it said.
    pub reached: bool,
}

/// One check with all its tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SmokeCheck {
    /// Its name in `deploy.toml`.
    pub name: String,
    /// What was asked, without credentials.
    pub target: String,
    /// True if it only informs and never fails the step.
    pub advisory: bool,
    /// What it came to.
    pub outcome: SmokeOutcome,
    /// Every try, oldest first; at most the last 20.
    pub attempts: Vec<SmokeAttempt>,
    /// How many tries were made in all.
    pub attempts_total: u32,
}

/// The result of the smoke checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Smoke {
    /// Every check, in the order of `deploy.toml`.
    pub checks: Vec<SmokeCheck>,
    /// The deadline that all checks shared.
    pub deadline_ms: u64,
}

impl Body for Smoke {
    const KIND: ArtifactKind = ArtifactKind::Smoke;
}
