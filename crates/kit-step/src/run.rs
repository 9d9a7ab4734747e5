//! Runs one piece of work under a deadline, listening to signals, surviving panics.

use kit_contract::Reason;
use kit_core::{Cause, Context, StepError};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// How the work ended.
pub(crate) enum Ended<T> {
    /// By itself.
    Returned(Result<T, StepError>),
    /// It panicked; the text says where and why.
    Panicked(String),
    /// It did not end in time after it was cancelled.
    Abandoned,
}

static LAST_PANIC: OnceLock<Mutex<String>> = OnceLock::new();

/// Keeps what a panic says for the artifact, instead of printing it raw.
pub(crate) fn catch_panics() {
    let slot = LAST_PANIC.get_or_init(Mutex::default);
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut text) = slot.lock() {
            *text = info.to_string();
        }
    }));
}

/// Runs something that must not be able to take the rest down with it.
///
/// # Errors
/// What a panic said.
pub(crate) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, StepError> {
    // What `work` may have left half-done is not used after a panic.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .map_err(|_| StepError::new(Reason::InternalError, format!("deploy-kit hit a bug: {}", last_panic())))
}

fn last_panic() -> String {
    let text = LAST_PANIC.get().and_then(|slot| slot.lock().ok().map(|text| text.clone()));
    text.unwrap_or_else(|| "it left no message".to_owned()).replace('\n', " ")
}

/// Waits for `work`, cancelling it at the deadline or on a signal.
pub(crate) async fn supervise<T: Send + 'static>(
    cx: &Context,
    deadline: Duration,
    grace: Duration,
    mut work: JoinHandle<Result<T, StepError>>,
) -> Ended<T> {
    let mut signals = Signals::listen();
    tokio::select! {
        ended = &mut work => return settle(ended),
        () = cx.clock.sleep(deadline) => cx.cancel.cancel(Cause::Deadline),
        cause = signals.next() => cx.cancel.cancel(cause),
    }
    cx.out.say(match cx.cancel.cause() {
        Some(Cause::Deadline) => "deadline passed: stopping",
        _ => "cancelled: stopping",
    });
    tokio::select! {
        ended = &mut work => settle(ended),
        () = cx.clock.sleep(grace) => {
            work.abort();
            Ended::Abandoned
        }
    }
}

fn settle<T>(ended: Result<Result<T, StepError>, tokio::task::JoinError>) -> Ended<T> {
    match ended {
        Ok(result) => Ended::Returned(result),
        Err(error) if error.is_panic() => Ended::Panicked(last_panic()),
        Err(_) => Ended::Abandoned,
    }
}

/// The reason for a step that ended because it was cancelled.
pub(crate) fn reason_of(cause: Cause) -> Reason {
    match cause {
        Cause::Interrupted => Reason::Interrupted,
        Cause::Terminated => Reason::Terminated,
        Cause::Deadline => Reason::DeadlineExceeded,
    }
}

/// The signals of a runner or a terminal. Where one cannot be listened to, it keeps its usual effect.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    async fn next(&mut self) -> Cause {
        tokio::select! {
            () = receive(&mut self.interrupt) => Cause::Interrupted,
            () = receive(&mut self.terminate) => Cause::Terminated,
        }
    }
}

async fn receive(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}
