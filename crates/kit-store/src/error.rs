//! What can go wrong with a store, and what a step says about it.

use crate::{Key, KeyError, OBJECT_LIMIT_BYTES};
use kit_contract::Reason;
use kit_core::StepError;
use std::error::Error;

/// A store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object exists already.
    #[error("{key} exists already")]
    AlreadyExists {
        /// The object.
        key: Key,
    },
    /// The object is not what it was when it was read.
    #[error("{key} has been changed or removed by somebody else")]
    Changed {
        /// The object.
        key: Key,
    },
    /// Others changed the object every time that this program tried to.
    #[error("{key} was changed by others each of the {attempts} times that it was to be written")]
    Contended {
        /// The object.
        key: Key,
        /// How often it was tried.
        attempts: u32,
    },
    /// The store could not be asked, refused, or did not answer.
    #[error("cannot {action} {what} in the store {address}")]
    Unreachable {
        /// What was tried: `read`, `write`, `list`, …
        action: &'static str,
        /// On what: a key or the beginning of one.
        what: String,
        /// The store's address, without credentials.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
        /// What a person can do about it.
        hint: Option<String>,
    },
    /// There is no such place: that is not the same as an empty store.
    #[error("there is no store at {address}")]
    NotThere {
        /// The store's address.
        address: String,
    },
    /// What was to be stored could not be read to its end. Nothing was stored.
    #[error("what was to be stored as {key} could not be read to its end")]
    Source {
        /// The object that was to be written.
        key: Key,
        /// Why.
        source: std::io::Error,
    },
    /// The object is too long to be handled as a whole.
    #[error("{key} has {size_bytes} bytes; {OBJECT_LIMIT_BYTES} are allowed")]
    TooLarge {
        /// The object.
        key: Key,
        /// Its size in bytes.
        size_bytes: u64,
    },
    /// An object does not hold what its key promises.
    #[error("{key} cannot be understood")]
    Unreadable {
        /// The object.
        key: Key,
        /// Why.
        source: serde_json::Error,
    },
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A folder on a machine that is thrown away.
    #[error("the store {address} would not outlive this CI job")]
    NotPersistent {
        /// The store's address.
        address: String,
    },
    /// The address is of a kind that this program was built without.
    #[error("this program has no support for {scheme}: stores")]
    Unsupported {
        /// The scheme of the address.
        scheme: String,
    },
    /// The address is wrong.
    #[error("{message}")]
    Address {
        /// What is wrong, and what is allowed.
        message: String,
        /// What may have been meant.
        hint: Option<String>,
    },
    /// The store does not honour the conditions that chain and lock rest on.
    #[error("the store {address} cannot be trusted with chain and lock: {what}")]
    Unsuitable {
        /// The store's address.
        address: String,
        /// What it did.
        what: &'static str,
    },
}

impl StoreError {
    /// The store could not be asked.
    pub fn unreachable(
        action: &'static str,
        what: impl Into<String>,
        address: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let (what, address, source) = (what.into(), address.into(), source.into());
        Self::Unreachable { action, what, address, source, hint: None }
    }

    /// The same with what a person can do about it, where the error has room for that.
    #[must_use]
    pub fn hinted(mut self, text: impl Into<String>) -> Self {
        if let Self::Unreachable { hint, .. } | Self::Address { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// True if a condition was not met, so that somebody else was faster.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. } | Self::Changed { .. })
    }

    /// The stable reason.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::AlreadyExists { .. }
            | Self::Changed { .. }
            | Self::Contended { .. }
            | Self::Unreachable { .. }
            | Self::NotThere { .. }
            | Self::TooLarge { .. } => Reason::StoreUnreachable,
            // Whoever makes the stream knows better what failed; this is for those who do not look.
            Self::Source { .. } => Reason::CommandFailed,
            Self::Unreadable { .. } => Reason::ArtifactInvalid,
            Self::Key(_) | Self::Unsupported { .. } | Self::Address { .. } => Reason::UsageError,
            Self::NotPersistent { .. } | Self::Unsuitable { .. } => Reason::StoreUnsuitable,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::AlreadyExists { .. } | Self::Changed { .. } | Self::Contended { .. } => {
                "something else works on the same app and environment: see `deploy-kit status`, then run \
                 the step again"
            }
            Self::NotPersistent { .. } => {
                "a hosted runner's disk dies with the job, and with it lock, chain and backup: use \
                 s3://…, or set store.persistent = true if this folder outlives the job"
            }
            Self::NotThere { .. } => {
                "nothing was deployed with it yet, or it lies elsewhere: name it with --store, or run on the \
                 machine that deploys"
            }
            Self::Unsupported { .. } => "use a step that works with such stores, or a file: store",
            Self::Unsuitable { .. } => {
                "use a store that honours If-None-Match and If-Match on writes and deletes"
            }
            Self::Unreadable { .. } => {
                "nothing but deploy-kit may write there; look at the object and, if need be, at its older \
                 versions"
            }
            Self::Address { hint, .. } | Self::Unreachable { hint, .. } => return hint.clone(),
            Self::Source { .. } | Self::TooLarge { .. } | Self::Key(_) => return None,
        };
        Some(text.to_owned())
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        let message = match error.reason() {
            Reason::UsageError => "the store's address cannot be used",
            Reason::StoreUnsuitable => "the store is refused",
            _ => "the store did not do what was asked",
        };
        let hint = error.hint();
        let step_error = Self::new(error.reason(), message).because(error);
        match hint {
            Some(hint) => step_error.hint(hint),
            None => step_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_hints_and_texts() {
        let key: Key = "a/b".parse().unwrap();
        let io = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let table = [
            (StoreError::Changed { key: key.clone() }, Reason::StoreUnreachable, true),
            (StoreError::unreachable("read", "a/b", "file:/x", io()), Reason::StoreUnreachable, false),
            (StoreError::NotPersistent { address: "file:x".into() }, Reason::StoreUnsuitable, true),
            (StoreError::Unsupported { scheme: "s3".into() }, Reason::UsageError, true),
            (StoreError::NotThere { address: "file:/x".into() }, Reason::StoreUnreachable, true),
            (StoreError::Unsuitable { address: "x".into(), what: "y" }, Reason::StoreUnsuitable, true),
            (StoreError::Source { key, source: io() }, Reason::CommandFailed, false),
        ];
        for (error, reason, hinted) in table {
            let text = error.to_string();
            let step: StepError = error.into();
            assert_eq!(step.reason, reason, "{text}");
            assert_eq!(!step.hints.is_empty(), hinted, "{text}");
            assert_eq!(step.chain().matches(&text).count(), 1, "{}", step.chain());
            assert_ne!(step.reason.exit_code(), 0);
        }
        let step: StepError = StoreError::unreachable("read", "a/b", "file:/x", io()).into();
        assert_eq!(
            step.chain(),
            "the store did not do what was asked: cannot read a/b in the store file:/x: permission denied"
        );
    }
}
