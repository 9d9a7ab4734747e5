//! One error type: what was attempted, and why it failed.

use std::error::Error as StdError;
use std::process::ExitCode;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A lower-case fragment; the cause is the source, never part of the text.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Error {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// The whole chain on one line.
    pub(crate) fn explain(&self) -> String {
        match self.source() {
            Some(source) => chain(&self.what, source),
            None => self.what.clone(),
        }
    }
}

/// What was attempted, and the error with all its causes, on one line.
pub(crate) fn chain(what: &str, error: &dyn StdError) -> String {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Says what was attempted when something failed.
pub(crate) trait Context<T> {
    fn context(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error { what: what.into(), source: Some(Box::new(source)) })
    }
}

/// Prints the error, if any, and turns the result into what `main` returns.
#[allow(clippy::print_stderr, reason = "the edge of the program")]
pub(crate) fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.explain());
            ExitCode::FAILURE
        }
    }
}
