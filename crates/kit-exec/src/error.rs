//! Why a child did not do what it was started for.

use crate::Trouble;
use kit_contract::Reason;
use kit_core::{Cause, StepError};

/// How a child ended that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It gave this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // These numbers are the same on Linux and macOS; others are shown bare.
        let name = match *self {
            Self::Code(code) => return write!(f, "exited with code {code}"),
            Self::Signal(1) => "SIGHUP",
            Self::Signal(2) => "SIGINT",
            Self::Signal(6) => "SIGABRT",
            Self::Signal(9) => "SIGKILL",
            Self::Signal(11) => "SIGSEGV",
            Self::Signal(13) => "SIGPIPE",
            Self::Signal(15) => "SIGTERM",
            Self::Signal(number) => return write!(f, "was ended by signal {number}"),
        };
        write!(f, "was ended by {name}")
    }
}

/// A child failed, or could not be started, or was ended by us.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No such program; nothing was started.
    #[error("there is no program `{program}`")]
    NotFound {
        /// As the command names it.
        program: String,
    },
    /// The program is there and could not be started.
    #[error("`{program}` cannot be started")]
    Spawn {
        /// As the command names it.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended by itself, and not well.
    #[error("`{program}` {status}")]
    Failed {
        /// As the command names it.
        program: String,
        /// How it ended.
        status: Status,
        /// The last lines of its stderr, redacted and sanitised.
        stderr_tail: Vec<String>,
    },
    /// It ran longer than its deadline and was ended.
    #[error("`{program}` did not finish within {limit_ms} ms and was ended")]
    Deadline {
        /// As the command names it.
        program: String,
        /// The deadline.
        limit_ms: u64,
        /// The last lines of its stderr, redacted and sanitised.
        stderr_tail: Vec<String>,
    },
    /// The step was cancelled.
    #[error("`{program}` was {} because the step was cancelled", if *.started { "ended" } else { "not started" })]
    Cancelled {
        /// As the command names it.
        program: String,
        /// Why the step was cancelled.
        cause: Cause,
        /// False if the child was never started, so that it changed nothing.
        started: bool,
    },
    /// It printed more than allowed and was ended.
    #[error("`{program}` printed more than the {limit_bytes} bytes that are allowed and was ended")]
    OutputTooLong {
        /// As the command names it.
        program: String,
        /// The limit, of the whole output or of one line.
        limit_bytes: u64,
    },
    /// It ended well, but its output was not read to its end: part of it may be missing.
    #[error("the output of `{program}` was not read to its end")]
    OutputCut {
        /// As the command names it.
        program: String,
    },
    /// Its input could not be read to its end. It was ended before it could take that for all.
    #[error("the input of `{program}` cannot be read, so it was ended")]
    Input {
        /// As the command names it.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system failed us; how the child ended is not known.
    #[error("`{program}` cannot be followed, so nobody knows how it ended")]
    Lost {
        /// As the command names it.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The engine of containers did not run it, or lost it: nothing is known about what the program would have said.
    #[error("{}", trouble.tell(engine, image))]
    Container {
        /// What runs containers, or would.
        engine: String,
        /// The image, as it is named.
        image: String,
        /// What is wrong.
        trouble: crate::Trouble,
        /// The engine's last words, redacted and sanitised.
        stderr_tail: Vec<String>,
    },
    /// [`Running::stop`](crate::Running::stop) ended it.
    #[error("`{program}` was ended because it was no longer needed")]
    Stopped {
        /// As the command names it.
        program: String,
    },
}

impl ExecError {
    /// The stable code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotFound { .. } => Reason::ToolMissing,
            Self::Container { trouble, .. } => match trouble {
                Trouble::NoEngine | Trouble::NoProgram { .. } => Reason::ToolMissing,
                Trouble::NoAnswer | Trouble::NoImage | Trouble::NotRun { .. } => Reason::CommandFailed,
            },
            Self::Deadline { .. } => Reason::DeadlineExceeded,
            Self::Cancelled { cause, .. } => match cause {
                Cause::Interrupted => Reason::Interrupted,
                Cause::Terminated => Reason::Terminated,
                Cause::Deadline => Reason::DeadlineExceeded,
            },
            Self::Spawn { .. }
            | Self::Failed { .. }
            | Self::OutputTooLong { .. }
            | Self::OutputCut { .. }
            | Self::Input { .. }
            | Self::Lost { .. }
            | Self::Stopped { .. } => Reason::CommandFailed,
        }
    }

    /// The last lines of the child's stderr, redacted and sanitised; empty where none are known.
    pub fn stderr_tail(&self) -> &[String] {
        match self {
            Self::Failed { stderr_tail, .. }
            | Self::Deadline { stderr_tail, .. }
            | Self::Container { stderr_tail, .. } => stderr_tail,
            _ => &[],
        }
    }

    /// True if the program itself was not heard: the step was cancelled, or the engine of containers did not run it.
    /// Nothing follows from that for what the program was to look at.
    pub const fn is_unheard(&self) -> bool {
        matches!(self, Self::Cancelled { .. } | Self::Container { .. })
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Container { engine, trouble, .. } => Some(trouble.hint(engine)),
            Self::NotFound { program } => Some(format!("install `{program}`, or put it on PATH")),
            Self::Failed { status: Status::Signal(9), .. } => {
                Some("was the machine out of memory? that is how the system ends programs then".to_owned())
            }
            Self::Deadline { program, .. } => Some(format!(
                "find out what `{program}` waited for; it can ask nobody, not even for a password"
            )),
            _ => None,
        }
    }
}

/// Lines of stderr that a message repeats: enough for `ERROR`, `DETAIL` and a caret.
const SAID_LINES: usize = 5;

impl From<ExecError> for StepError {
    /// The child's last words become what lies below the error, so that the artifact tells them too.
    fn from(error: ExecError) -> Self {
        let mut step = Self::new(error.reason(), error.to_string());
        step.hints.extend(error.hint());
        let said: Vec<&str> =
            error.stderr_tail().iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        if !said.is_empty() {
            let last = said.get(said.len().saturating_sub(SAID_LINES)..).unwrap_or_default();
            return step.because(last.join(" | "));
        }
        match error {
            ExecError::Spawn { source, .. }
            | ExecError::Input { source, .. }
            | ExecError::Lost { source, .. } => step.because(source),
            _ => step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> String {
        "pg_dump".to_owned()
    }

    #[test]
    fn every_kind_has_its_reason_and_words() {
        let cancelled = |cause, started| ExecError::Cancelled { program: program(), cause, started };
        let failed = |status| ExecError::Failed { program: program(), status, stderr_tail: Vec::new() };
        let table = [
            (
                ExecError::NotFound { program: program() },
                Reason::ToolMissing,
                "there is no program `pg_dump`",
            ),
            (failed(Status::Code(3)), Reason::CommandFailed, "`pg_dump` exited with code 3"),
            (failed(Status::Signal(9)), Reason::CommandFailed, "`pg_dump` was ended by SIGKILL"),
            (failed(Status::Signal(42)), Reason::CommandFailed, "`pg_dump` was ended by signal 42"),
            (
                cancelled(Cause::Interrupted, true),
                Reason::Interrupted,
                "`pg_dump` was ended because the step was cancelled",
            ),
            (
                cancelled(Cause::Terminated, false),
                Reason::Terminated,
                "`pg_dump` was not started because the step was cancelled",
            ),
            (
                cancelled(Cause::Deadline, true),
                Reason::DeadlineExceeded,
                "`pg_dump` was ended because the step was cancelled",
            ),
        ];
        for (error, reason, text) in table {
            assert_eq!((error.reason(), error.to_string().as_str()), (reason, text));
        }
    }

    #[test]
    fn last_words_reach_the_step_error() {
        let lines = ["1", "2", "ERROR:  no such table", "", "LINE 1: select", "        ^", "5"];
        let stderr_tail = lines.map(str::to_owned).to_vec();
        let error =
            StepError::from(ExecError::Failed { program: program(), status: Status::Code(1), stderr_tail });
        assert_eq!(
            error.chain(),
            "`pg_dump` exited with code 1: 2 | ERROR:  no such table | LINE 1: select | ^ | 5"
        );
        let missing = StepError::from(ExecError::NotFound { program: program() });
        assert_eq!(missing.hints, ["install `pg_dump`, or put it on PATH"]);
    }

    #[test]
    fn the_cause_is_told_once() {
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = StepError::from(ExecError::Spawn { program: program(), source });
        assert_eq!(error.chain(), "`pg_dump` cannot be started: permission denied");
    }
}
