//! What becomes of a child's stdout.

use crate::ExecError;
use crate::lines::{LOG_LINE_BYTES, Splitter};
use kit_core::Out;

/// How a child's stdout is taken.
#[derive(Default)]
pub enum Stdout {
    /// Kept whole, in [`Output::stdout`](crate::Output::stdout). A child that prints more than
    /// `limit_bytes` is ended, and that is an error: output is never cut in silence.
    Capture {
        /// The most that is kept.
        limit_bytes: u64,
    },
    /// Printed line by line as foreign text, redacted and sanitised. Long lines are cut, visibly.
    #[default]
    Log,
    /// Given line by line, raw but decoded lossily, to this function. A child that prints a line of
    /// more than 1 MiB is ended, and that is an error.
    Lines(Box<dyn FnMut(&str) + Send>),
}

impl Stdout {
    /// [`Stdout::Lines`] without the box.
    pub fn lines(on_line: impl FnMut(&str) + Send + 'static) -> Self {
        Self::Lines(Box::new(on_line))
    }
}

const LINE_LIMIT_BYTES: usize = 1024 * 1024;

/// Takes the bytes as they come.
pub(crate) struct Sink {
    program: String,
    label: String,
    out: Out,
    mode: Stdout,
    kept: Vec<u8>,
    splitter: Splitter,
}

impl Sink {
    pub(crate) fn new(mode: Stdout, program: &str, label: &str, out: Out) -> Self {
        let limit_bytes = if matches!(mode, Stdout::Log) { LOG_LINE_BYTES } else { LINE_LIMIT_BYTES };
        Self {
            program: program.to_owned(),
            label: label.to_owned(),
            out,
            mode,
            kept: Vec::new(),
            splitter: Splitter::new(limit_bytes),
        }
    }

    /// Takes the next bytes; none at all means the end.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), ExecError> {
        let mut too_long = None;
        match &mut self.mode {
            Stdout::Capture { limit_bytes } => {
                if (self.kept.len() + bytes.len()) as u64 > *limit_bytes {
                    too_long = Some(*limit_bytes);
                } else {
                    self.kept.extend_from_slice(bytes);
                }
            }
            Stdout::Log => {
                let on_line = |line: &str, _| self.out.foreign(&self.label, line);
                split(&mut self.splitter, bytes, on_line);
            }
            Stdout::Lines(given) => {
                let mut cut = false;
                split(&mut self.splitter, bytes, |line, overlong| {
                    cut |= overlong;
                    if !cut {
                        given(line);
                    }
                });
                if cut || self.splitter.is_overlong() {
                    too_long = Some(LINE_LIMIT_BYTES as u64);
                }
            }
        }
        match too_long {
            Some(limit_bytes) => Err(ExecError::OutputTooLong { program: self.program.clone(), limit_bytes }),
            None => Ok(()),
        }
    }

    pub(crate) fn into_kept(self) -> Vec<u8> {
        self.kept
    }
}

fn split(splitter: &mut Splitter, bytes: &[u8], on_line: impl FnMut(&str, bool)) {
    if bytes.is_empty() { splitter.finish(on_line) } else { splitter.push(bytes, on_line) }
}
