//! What every step stands on.
//!
//! The outside world enters a step only through a [`Context`]: the environment as it was when the
//! program started, a clock, a cancellation signal, the secrets that must never be shown, and the
//! writer through which everything is printed. Tests build a `Context` from literals.
#![warn(missing_docs)]

mod ask;
mod cancel;
mod clock;
mod context;
mod env;
mod error;
pub mod fs;
mod numbers;
mod out;
mod progress;
mod redact;
mod scratch;
mod secret;
mod text;
mod workflow_command;

pub use ask::{ask, can_ask};
pub use cancel::{Cancel, Cause};
pub use clock::{Clock, Elapsed};
pub use context::Context;
pub use env::Env;
pub use error::{ResultExt, StepError};
pub use numbers::{count_text, size_text};
pub use out::{Captured, Out};
pub use progress::{Progress, Rows};
pub use redact::Redactor;
pub use scratch::{Abandoned, ScratchFolder};
pub use secret::Secret;
pub use text::{display_url, sanitise};
pub use workflow_command::{Level, WorkflowCommand};

/// `bytes` random bytes as lower-case hexadecimal, from the operating system.
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn random_hex(bytes: usize) -> Result<String, getrandom::Error> {
    use std::fmt::Write as _;
    let mut raw = vec![0_u8; bytes];
    getrandom::fill(&mut raw)?;
    let mut hex = String::with_capacity(bytes * 2);
    for byte in raw {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}
