//! A child that runs, and what it left.

use crate::container::{self, Container, Removal, RemoveOnDrop};
use crate::group::KillOnDrop;
use crate::sink::Sink;
use crate::supervise::{End, Ended, Supervisor, Watch};
use crate::{Command, ExecError, Status};
use kit_core::{Context, Out};
use std::os::unix::process::ExitStatusExt as _;
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::process::ChildStdout;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::AbortOnDropHandle;

/// More than this a child cannot leave in its pipe: `pipe-max-size` of Linux (pipe(7)).
pub(crate) const LARGEST_PIPE_BYTES: usize = 1024 * 1024;

/// What a child left that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code: 0, or one that the command accepts.
    pub code: i32,
    /// Its stdout, if that was captured.
    pub stdout: Vec<u8>,
    /// The last lines of its stderr, at most 20, redacted and sanitised.
    pub stderr_tail: Vec<String>,
    /// How long it ran.
    pub duration_ms: u64,
    /// It left a process behind that still holds its output open. What that one writes is not here.
    pub left_open: bool,
}

impl Output {
    /// Stdout as text, decoded lossily, without the line break at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\r', '\n']).to_owned()
    }
}

/// A child whose stdout is read as a stream. Dropping it kills the child and all that it started.
///
/// The end of the stream says nothing: a child that is killed has one, too. Only
/// [`Running::finish`] tells whether what was read is whole.
#[derive(Debug)]
pub struct Running {
    // First: whoever is killed before it would leave it behind.
    _container: Option<RemoveOnDrop>,
    // Then this, so that a drop kills the group before anything else.
    guard: KillOnDrop,
    supervisor: AbortOnDropHandle<Ended>,
    /// `None` after its end.
    stdout: Option<ChildStdout>,
    watch: Watch,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Read after the child was gone and had its grace.
    late_bytes: usize,
    program: String,
    accepted: Vec<i32>,
    /// In which it runs, if so.
    within: Option<Container>,
    out: Out,
}

impl Running {
    pub(crate) fn new(
        (guard, container): (KillOnDrop, Option<Removal>),
        stdout: Option<ChildStdout>,
        watch: Watch,
        supervisor: Supervisor,
        command: &Command,
        cx: &Context,
    ) -> Self {
        Self {
            _container: container.map(RemoveOnDrop),
            guard,
            supervisor: AbortOnDropHandle::new(tokio::spawn(supervisor.stay())),
            stdout,
            over: Box::pin(watch.over.clone().cancelled_owned()),
            late_bytes: 0,
            watch,
            program: command.program.clone(),
            accepted: command.accepted.clone(),
            within: command.container.clone(),
            out: cx.out.clone(),
        }
    }

    /// Waits for the child to end and says how that went. Stdout must have been read to its end.
    ///
    /// # Errors
    /// As [`Command::run`]; and [`ExecError::OutputCut`] if the child ended well, but the end of its
    /// stdout was never seen.
    pub async fn finish(self) -> Result<Output, ExecError> {
        self.settle(false).await
    }

    /// Ends the child, gently first, and waits until it is gone.
    pub async fn stop(self) {
        self.watch.halt.cancel();
        // Whoever stops it does not ask how it ended.
        let _ = self.settle(true).await;
    }

    /// `lenient`: an output whose end was never seen is told, but no error.
    pub(crate) async fn settle(mut self, lenient: bool) -> Result<Output, ExecError> {
        let cut = self.stdout.is_some();
        // A child that wants to write more must not wait for us for ever.
        self.close_stdout();
        let program = self.program;
        let ended = match self.supervisor.await {
            Ok(ended) => ended,
            Err(source) => return Err(ExecError::Lost { program, source: source.into() }),
        };
        // The supervisor is done with the group; nothing is left for the guard to kill.
        drop(self.guard);
        let Ended { end, stderr_tail, duration_ms, stderr_open } = ended;
        let status = match end {
            End::Exited(status) => status,
            End::Cancelled(cause) => return Err(ExecError::Cancelled { program, cause, started: true }),
            End::Deadline(limit) => {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                return Err(ExecError::Deadline { program, limit_ms, stderr_tail });
            }
            End::Halted => return Err(ExecError::Stopped { program }),
            End::Input(source) => return Err(ExecError::Input { program, source }),
            End::Lost(source) => return Err(ExecError::Lost { program, source }),
        };
        let status = match status.code() {
            Some(code) => Status::Code(code),
            None => Status::Signal(status.signal().unwrap_or_default()),
        };
        let code = match (status, &self.within) {
            (Status::Code(code), _) if self.accepted.contains(&code) => code,
            (status, None) => return Err(ExecError::Failed { program, status, stderr_tail }),
            (status, Some(within)) => {
                let unheard = container::unheard(within, &program, status, &stderr_tail);
                let status = container::inner(status);
                return Err(unheard.unwrap_or(ExecError::Failed { program, status, stderr_tail }));
            }
        };
        if cut && !lenient {
            return Err(ExecError::OutputCut { program });
        }
        let left_open = cut || stderr_open;
        if left_open {
            self.out.say(&format!(
                "note: `{program}` left a process behind that holds its output open; what that one prints is not shown"
            ));
        }
        Ok(Output { code, stdout: Vec::new(), stderr_tail, duration_ms, left_open })
    }

    /// Reads stdout until it ends, or until the child is gone and its pipes had time enough to.
    pub(crate) async fn pour_into(&mut self, sink: &mut Sink) -> Result<(), ExecError> {
        let mut chunk = vec![0_u8; 64 * 1024];
        loop {
            let count = match self.read(&mut chunk).await {
                Ok(count) => count,
                // The child is gone, its pipe is not: settled later, with a note.
                Err(_) if self.watch.over.is_cancelled() => 0,
                Err(source) => return Err(ExecError::Lost { program: self.program.clone(), source }),
            };
            sink.take(chunk.get(..count).unwrap_or_default())?;
            if count == 0 {
                return Ok(());
            }
            // A child that never stops printing must not keep signals and deadlines from their turn.
            tokio::task::yield_now().await;
        }
    }

    fn close_stdout(&mut self) {
        self.stdout = None;
        self.watch.stdout_done.cancel();
    }
}

impl AsyncRead for Running {
    /// Fails if the child is gone and has had its grace, but a process that it left holds the pipe
    /// open. What the child itself wrote is still read, at any pace: it is in the pipe.
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.remaining();
        let Some(stdout) = self.stdout.as_mut() else { return Poll::Ready(Ok(())) };
        match Pin::new(stdout).poll_read(task, buffer) {
            Poll::Ready(Ok(())) => {
                let count = before - buffer.remaining();
                if count == 0 && before > 0 {
                    self.close_stdout();
                }
                if self.watch.over.is_cancelled() {
                    self.late_bytes += count;
                    if self.late_bytes > LARGEST_PIPE_BYTES {
                        return Poll::Ready(Err(held_open()));
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.over.as_mut().poll(task));
                Poll::Ready(Err(held_open()))
            }
        }
    }
}

fn held_open() -> std::io::Error {
    let text = "the program has ended, but a process that it left holds its output open";
    std::io::Error::new(std::io::ErrorKind::TimedOut, text)
}
