//! How a step says that it could not go on.

use kit_contract::Reason;
use std::error::Error;

/// A failure with a stable reason, a message, what lies below it, and hints.
///
/// `Display` is the message alone and never repeats the source; [`StepError::chain`] joins them, once,
/// at the edge of the program. Messages are lower-case fragments without a full stop.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// The stable code; it settles result and exit code.
    pub reason: Reason,
    /// What failed, naming the thing and the value.
    pub message: String,
    /// What lies below.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// What a person can do about it.
    pub hints: Vec<String>,
}

impl StepError {
    /// A failure with nothing below it.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), source: None, hints: Vec::new() }
    }

    /// The same with what lies below it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The message and everything below it: `cannot read x: permission denied`.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut below = self.source();
        while let Some(error) = below {
            text.push_str(": ");
            text.push_str(&error.to_string());
            below = error.source();
        }
        text
    }
}

/// Turns any error into a [`StepError`] in passing.
pub trait ResultExt<T> {
    /// Gives the error a reason and a message that says what was tried.
    ///
    /// # Errors
    /// The error of `self`, wrapped.
    fn or_reason(self, reason: Reason, message: impl Into<String>) -> Result<T, StepError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> ResultExt<T> for Result<T, E> {
    fn or_reason(self, reason: Reason, message: impl Into<String>) -> Result<T, StepError> {
        self.map_err(|error| StepError::new(reason, message).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_says_everything_once() {
        let io = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error =
            Err::<(), _>(io).or_reason(Reason::ArtifactUnwritable, "cannot write x.json").unwrap_err();
        assert_eq!(error.to_string(), "cannot write x.json");
        assert_eq!(error.chain(), "cannot write x.json: permission denied");
        assert_eq!(error.reason.exit_code(), 3);
    }
}
