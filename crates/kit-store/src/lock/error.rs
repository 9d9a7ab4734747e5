//! What can go wrong with the lock, and what a step says about it.

use super::{Existing, LockOwner};
use crate::StoreError;
use jiff::Timestamp;
use kit_contract::Reason;
use kit_core::StepError;

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This owner.
    Known(Box<LockOwner>),
    /// Somebody: the lock is there and cannot be understood.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(owner) => write!(f, "{owner}"),
            Self::Unknown => f.write_str("an unknown holder: it cannot be understood"),
        }
    }
}

/// A lock operation failed.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("the lock is held by {holder}{}", span(*.since, *.expires_at))]
    Held {
        /// Who.
        holder: Holder,
        /// Since when, where known.
        since: Option<Timestamp>,
        /// Until when, unless it is renewed; where known.
        expires_at: Option<Timestamp>,
    },
    /// It is not ours any more, or not the one that was expected.
    #[error("the lock is lost: {}", now_with(.holder.as_ref()))]
    Lost {
        /// Who has it now; `None` if nobody has.
        holder: Option<Holder>,
    },
    /// The store could not be asked.
    #[error("the lock could not be read or written")]
    Store(#[from] StoreError),
}

fn span(since: Option<Timestamp>, expires_at: Option<Timestamp>) -> String {
    match (since, expires_at) {
        (Some(since), Some(expires_at)) => format!(", since {since} and until {expires_at}"),
        _ => String::new(),
    }
}

fn now_with(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "nobody holds it now".to_owned(), |holder| format!("it is now held by {holder}"))
}

impl LockError {
    pub(super) fn held(existing: Option<&Existing>) -> Self {
        match existing {
            Some(Existing::Readable(lock)) => Self::Held {
                holder: Holder::Known(Box::new(lock.owner.clone())),
                since: Some(lock.acquired_at),
                expires_at: Some(lock.expires_at),
            },
            _ => Self::Held { holder: Holder::Unknown, since: None, expires_at: None },
        }
    }

    pub(super) fn lost(existing: Option<&Existing>) -> Self {
        Self::Lost { holder: existing.map(Existing::holder) }
    }
}

impl From<LockError> for StepError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { .. } => Self::new(Reason::LockHeld, error.to_string())
                .hint("if its run is dead, `deploy-kit unlock` breaks the lock after showing who holds it"),
            LockError::Lost { .. } => Self::new(Reason::LockLost, error.to_string())
                .hint("somebody broke the lock or it expired; see `deploy-kit status`"),
            LockError::Store(source) => {
                let mut step_error = Self::from(source);
                "the lock could not be read or written".clone_into(&mut step_error.message);
                step_error
            }
        }
    }
}
