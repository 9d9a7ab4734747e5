//! One thing in which an answer is not as it must be.

use crate::text::{one_line, short_line};

/// One thing in which an answer is not as it must be. Every part is one line; values are shortened to
/// 200 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: expected {expected}, got {got}")]
pub struct Mismatch {
    /// What was looked at: `status`, `header x-commit`, `json $.version`, `body`, `latency`.
    pub subject: String,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub got: String,
}

impl Mismatch {
    pub(super) fn new(subject: &str, expected: &str, got: &str) -> Self {
        Self { subject: short_line(subject), expected: one_line(expected), got: one_line(got) }
    }

    /// The expected text needs a value that this run does not know.
    pub(super) fn unfilled(subject: &str, expected: &str, unknown: &str) -> Self {
        let got = format!("nothing to compare it with: this run does not know the {unknown}");
        Self::new(subject, &quoted(expected), &got)
    }
}

/// A text in quotes, shortened.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", short_line(text))
}
