//! The task that stays with a child from its start to its end.

use crate::container::Removal;
use crate::group::{Group, KillOnDrop};
use crate::lines::{LOG_LINE_BYTES, Splitter, Tail};
use crate::stdin::{Fed, feed};
use crate::{Command, Stdin};
use kit_core::{Cause, Context};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// After a child was ended with its group, only a process that fled from the group can hold a pipe.
pub(crate) const DRAIN_AFTER_STOP: Duration = Duration::from_millis(250);

/// What supervisor, reader and feeder tell each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// To the supervisor: end the child.
    pub(crate) halt: CancellationToken,
    /// To the feeder: write no more.
    pub(crate) freeze: CancellationToken,
    /// To the supervisor: stdout is at its end, or nobody reads it any more.
    pub(crate) stdout_done: CancellationToken,
    /// From the supervisor: the child is gone, and its pipes had time enough to end.
    pub(crate) over: CancellationToken,
}

/// How it ended.
pub(crate) enum End {
    Exited(ExitStatus),
    Cancelled(Cause),
    Deadline(Duration),
    Halted,
    Input(std::io::Error),
    Lost(std::io::Error),
}

pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) stderr_tail: Vec<String>,
    pub(crate) duration_ms: u64,
    /// Somebody still held stderr open.
    pub(crate) stderr_open: bool,
}

pub(crate) struct Supervisor {
    // Dropped in this order: the group must be signalled before its leader is reaped.
    guard: KillOnDrop,
    child: Child,
    group: Arc<Group>,
    cx: Context,
    label: String,
    started_ms: u64,
    deadline: Option<Duration>,
    grace: Duration,
    watch: Watch,
    feeder: Option<AbortOnDropHandle<Fed>>,
    stderr: Option<AbortOnDropHandle<()>>,
    tail: Arc<Mutex<Tail>>,
    /// Of its container, if it runs in one.
    container: Option<Removal>,
}

impl Supervisor {
    pub(crate) fn new(
        command: &Command,
        cx: &Context,
        (mut child, container): (Child, Option<Removal>),
        group: Arc<Group>,
        watch: Watch,
        stdin: Stdin,
    ) -> Self {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let feeder = child.stdin.take().map(|pipe| {
            tokio::spawn(feed(stdin, pipe, watch.halt.clone(), watch.freeze.clone(), cx.cancel.clone()))
        });
        let log_as = (!command.quiet_stderr).then(|| command.label());
        let stderr =
            child.stderr.take().map(|pipe| tokio::spawn(follow(pipe, cx.clone(), log_as, tail.clone())));
        Self {
            guard: KillOnDrop(group.clone()),
            child,
            group,
            cx: cx.clone(),
            label: command.label(),
            started_ms: cx.clock.elapsed_ms(),
            deadline: command.deadline,
            grace: command.grace,
            watch,
            feeder: feeder.map(AbortOnDropHandle::new),
            stderr: stderr.map(AbortOnDropHandle::new),
            tail,
            container,
        }
    }

    pub(crate) async fn stay(mut self) -> Ended {
        let mut end = self.until_end().await;
        let exited = matches!(end, End::Exited(_));
        self.watch.freeze.cancel();
        if exited {
            // From here on the number may be somebody else's. What the child left behind on purpose,
            // such as a server that it started, is left alone.
            self.group.release();
        } else {
            let container = self.container.as_ref();
            if !self.group.end(&mut self.child, self.cx.clock, self.grace, container).await {
                self.cx.out.say(&format!("note: `{}` or what it started could not be ended", self.label));
            }
        }
        if let Some(container) = &self.container {
            // Who gave a code saw the end of the container.
            if !matches!(&end, End::Exited(status) if status.code().is_some()) {
                container.run(self.cx.clock).await;
            }
            container.release();
        }
        let duration_ms = self.cx.clock.elapsed_ms().saturating_sub(self.started_ms);
        if let Some(source) = self.broken_input().await
            && matches!(end, End::Exited(_) | End::Halted)
        {
            end = End::Input(source);
        }
        let stderr_open = self.drain(if exited { self.grace } else { DRAIN_AFTER_STOP }).await;
        self.watch.over.cancel();
        let stderr_tail = self.tail.lock().map(|tail| tail.lines()).unwrap_or_default();
        drop(self.guard);
        Ended { end, stderr_tail, duration_ms, stderr_open }
    }

    /// Waits for the child's own end, or for a reason to end it.
    async fn until_end(&mut self) -> End {
        let (cx, deadline) = (&self.cx, self.deadline);
        let late = async {
            match deadline {
                Some(limit) => {
                    cx.clock.sleep(limit).await;
                    limit
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            status = self.child.wait() => match status {
                Ok(status) => End::Exited(status),
                Err(source) => End::Lost(source),
            },
            () = cx.cancel.cancelled() => End::Cancelled(cx.cancel.cause().unwrap_or(Cause::Interrupted)),
            limit = late => End::Deadline(limit),
            () = self.watch.halt.cancelled() => End::Halted,
        }
    }

    /// Why the input could not be read, if so. The feeder is frozen by now and answers at once.
    async fn broken_input(&mut self) -> Option<std::io::Error> {
        let feeder = self.feeder.take()?;
        match self.cx.clock.timeout(DRAIN_AFTER_STOP, feeder).await.ok()? {
            Ok(fed) => fed.broken,
            Err(source) => Some(source.into()),
        }
    }

    /// Gives both pipes time to end; true if stderr did not.
    async fn drain(&mut self, limit: Duration) -> bool {
        let Some(stderr) = self.stderr.as_mut() else { return false };
        let both = async {
            // An error would be its panic: then nobody reads it any more.
            let _ = stderr.await;
            self.watch.stdout_done.cancelled().await;
        };
        let ended = self.cx.clock.timeout(limit, both).await.is_ok();
        !ended && self.stderr.as_ref().is_some_and(|stderr| !stderr.is_finished())
    }
}

/// Reads stderr to its end.
async fn follow(mut pipe: ChildStderr, cx: Context, log_as: Option<String>, tail: Arc<Mutex<Tail>>) {
    let mut splitter = Splitter::new(LOG_LINE_BYTES);
    let mut chunk = vec![0_u8; 16 * 1024];
    let on_line = |line: &str, _overlong: bool| {
        if let Some(label) = &log_as {
            cx.out.foreign(label, line);
        }
        if let Ok(mut tail) = tail.lock() {
            tail.push(cx.out.clean(line));
        }
    };
    loop {
        // A pipe that cannot be read is at its end as far as we are concerned; it is only the log.
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => splitter.push(chunk.get(..count).unwrap_or_default(), on_line),
        }
    }
    splitter.finish(on_line);
}
