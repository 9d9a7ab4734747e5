//! Everything that a step may see of the outside world.

use crate::{Cancel, Clock, Env, Out, Redactor};

/// Handed to every part of a step. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Context {
    /// The environment as it was when the program started.
    pub env: Env,
    /// The clock.
    pub clock: Clock,
    /// Tells when to stop.
    pub cancel: Cancel,
    /// What must never be shown.
    pub redactor: Redactor,
    /// Where everything is printed.
    pub out: Out,
}

impl Context {
    /// A context for tests: this environment, a captured output, a clock that follows tokio's time.
    pub fn for_test(env: Env) -> (Self, crate::Captured) {
        let redactor = Redactor::default();
        let (out, captured) = Out::captured(redactor.clone());
        let context = Self {
            env,
            clock: Clock::simulated(
                jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365 * 56),
            ),
            cancel: Cancel::default(),
            redactor,
            out,
        };
        (context, captured)
    }
}
