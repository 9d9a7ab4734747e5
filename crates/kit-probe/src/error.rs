//! What is wrong before anything was sent.

use kit_contract::Reason;
use kit_core::StepError;

/// A probe or an expectation that cannot be right, whatever the server says. Never holds a value that
/// may be a secret: addresses are shown without credentials, header values not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProbeError {
    /// What is wrong, naming the value and what is allowed.
    pub message: String,
    /// What a person can do about it.
    pub hint: Option<String>,
    reason: Reason,
}

impl ProbeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, reason: Reason::ConfigInvalid }
    }

    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn reason(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// With a hint that names the nearest word that is known, where one is near.
    pub(crate) fn near(self, word: &str, known: &[&str]) -> Self {
        self.hint(kit_contract::config::nearest(word, known).map(|near| format!("did you mean {near:?}?")))
    }
}

impl From<ProbeError> for StepError {
    fn from(error: ProbeError) -> Self {
        let mut step = Self::new(error.reason, error.message);
        step.hints.extend(error.hint);
        step
    }
}
