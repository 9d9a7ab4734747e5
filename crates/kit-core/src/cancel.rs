//! Cancellation, and why.

use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// Why a step is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGINT: a person, or the first signal of a CI runner.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The step's own deadline.
    Deadline,
}

/// Tells every part of a step to stop starting new work. Clones share one state; the first cause wins.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl Cancel {
    /// Cancels, unless that has happened already.
    pub fn cancel(&self, cause: Cause) {
        // A second cause changes nothing: the first one is what happened.
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    /// True once cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why, once cancelled.
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }

    /// Returns once cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Runs `work` until it is done, or gives `None` as soon as it is cancelled.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            done = work => Some(done),
        }
    }
}
