//! What one check found.

use kit_contract::body::CheckOutcome;
use kit_contract::{Class, Reason};
use kit_core::StepError;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it comes to.
    pub(crate) outcome: CheckOutcome,
    /// What was seen.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hints: Vec<String>,
}

impl Finding {
    fn new(outcome: CheckOutcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), hints: Vec::new() }
    }

    /// Looked, and it is good.
    pub(crate) fn pass(message: impl Into<String>) -> Self {
        Self::new(CheckOutcome::Pass, message)
    }

    /// Looked, and somebody else should look, too.
    pub(crate) fn warn(message: impl Into<String>) -> Self {
        Self::new(CheckOutcome::Warn, message)
    }

    /// Looked, and it is bad.
    pub(crate) fn fail(message: impl Into<String>) -> Self {
        Self::new(CheckOutcome::Fail, message)
    }

    /// Could not look.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(CheckOutcome::Unavailable, message)
    }

    /// The same, where it keeps nobody from going on.
    pub(crate) fn at_most_a_warning(self) -> Self {
        match self.outcome {
            CheckOutcome::Fail => Self { outcome: CheckOutcome::Warn, ..self },
            _ => self,
        }
    }

    /// The same with one more hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// What a check makes of something that went wrong: an outside system that could not be asked says
/// nothing about what was asked; anything else is an answer, and a bad one.
impl From<StepError> for Finding {
    fn from(error: StepError) -> Self {
        let says_nothing = match error.reason.class() {
            // It could be asked, and cannot be trusted.
            Class::Outside => error.reason != Reason::StoreUnsuitable,
            Class::Deadline | Class::Interrupted | Class::Terminated | Class::Bug | Class::Undecided => true,
            Class::Go | Class::Skipped | Class::Usage | Class::Artifact | Class::Verdict | Class::Stuck => {
                false
            }
        };
        let outcome = if says_nothing { CheckOutcome::Unavailable } else { CheckOutcome::Fail };
        Self { outcome, message: error.chain(), hints: error.hints }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_asked_is_no_answer() {
        for (reason, outcome) in [
            (Reason::StoreUnreachable, CheckOutcome::Unavailable),
            (Reason::DatabaseUnreachable, CheckOutcome::Unavailable),
            (Reason::StoreUnsuitable, CheckOutcome::Fail),
            (Reason::UsageError, CheckOutcome::Fail),
            (Reason::ChainBroken, CheckOutcome::Fail),
            (Reason::MigrationDrifted, CheckOutcome::Fail),
            (Reason::ArtifactTampered, CheckOutcome::Fail),
            (Reason::InternalError, CheckOutcome::Unavailable),
            (Reason::Unrecognised, CheckOutcome::Unavailable),
        ] {
            assert_eq!(Finding::from(StepError::new(reason, "x")).outcome, outcome, "{reason}");
        }
    }
}
