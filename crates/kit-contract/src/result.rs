//! How a step ended, in the words of OpenTelemetry's `cicd.pipeline.result`, plus two of our own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a step ended.
///
/// The first six are the values of OpenTelemetry's `cicd.pipeline.result` attribute. `inconclusive`
/// means that the question was asked and the answer is not known; `stuck` means that something was
/// changed and could not be undone, so a human is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// The step did what it is for, and its verdict lets the deploy go on.
    Success,
    /// The step did what it is for, and its verdict is no.
    Failure,
    /// The step could not do what it is for.
    Error,
    /// The step's own deadline passed.
    Timeout,
    /// Somebody or something stopped the step.
    Cancellation,
    /// Configuration says that there is nothing to do.
    Skip,
    /// The question was asked; the answer is not known. Never healthy.
    Inconclusive,
    /// Something was changed and could not be undone: a human is needed.
    Stuck,
    /// A result written by a newer version. Never healthy.
    #[serde(other)]
    Unknown,
}

impl StepResult {
    /// The word used in artifacts, outputs and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancellation => "cancellation",
            Self::Skip => "skip",
            Self::Inconclusive => "inconclusive",
            Self::Stuck => "stuck",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for StepResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
