use crate::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of an assertion (`[[databases.assertions]]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertionOutcome {
    /// What was restored gave the answer that was expected.
    Passed,
    /// It gave another one.
    Failed,
    /// It could not be asked, or gave no answer: nothing is known.
    Unavailable,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// One assertion and what came of it, without the data that it looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssertionResult {
    /// Its name.
    pub name: Name,
    /// What came of it.
    pub outcome: AssertionOutcome,
    /// Why it is not `passed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
