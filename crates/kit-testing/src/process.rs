//! A real process: what it prints, how it ends.

use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest time that a process under test may take. It bounds a test that has gone wrong; no test waits
/// for it to pass.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends a signal to a process that is known by its id only, as a runner does. One that has ended needs none.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed for programs.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Ran {
    /// Both streams, for assertions on what must not be in either.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A process that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Started {
    child: Child,
    pid: Pid,
    stdout: Stream,
    stderr: Stream,
    /// Taken when the process has ended: the watchdog then lets go.
    watched: Option<mpsc::Sender<()>>,
    timed_out: Arc<AtomicBool>,
    limit: Duration,
}

#[derive(Debug)]
struct Stream {
    state: Arc<(Mutex<Printed>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Started {
    pub(crate) fn new(command: Command) -> Self {
        Self::within(command, LIMIT)
    }

    /// The same with a limit of its own.
    pub(crate) fn within(mut command: Command, limit: Duration) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command);
        let stdout = Stream::read(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Stream::read(child.stderr.take().expect("stderr is a pipe"));
        Self::watch(child, (stdout, stderr), limit)
    }

    /// With streams that lead to a terminal: what is seen there counts as its stdout.
    pub(crate) fn at_terminal(command: Command, screen: impl Read + Send + 'static) -> Self {
        let streams = (Stream::read(screen), Stream::read(std::io::empty()));
        Self::watch(spawn(command), streams, LIMIT)
    }

    fn watch(child: Child, (stdout, stderr): (Stream, Stream), limit: Duration) -> Self {
        let pid = Pid::from_child(&child);
        let (watched, watchdog) = mpsc::channel::<()>();
        let timed_out = Arc::new(AtomicBool::new(false));
        let late = Arc::clone(&timed_out);
        std::thread::spawn(move || {
            if watchdog.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                late.store(true, Ordering::SeqCst);
                // It may have ended in this moment; then there is nothing to end.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Self { child, pid, stdout, stderr, watched: Some(watched), timed_out, limit }
    }

    /// Sends a signal to the process itself, as a runner does.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the process is still there to be signalled");
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until its stderr holds `text`; a process that ends without saying it fails the test.
    pub fn wait_for_line(&self, text: &str) {
        self.stderr.wait_for(text);
    }

    /// Waits until its stdout holds `text`.
    pub fn wait_for_data(&self, text: &str) {
        self.stdout.wait_for(text);
    }

    /// Kills it and all that it started, the parent first, as a machine that dies does; waits for its end.
    pub fn kill_tree(self) -> Ran {
        let mut doomed = vec![self.pid()];
        let mut index = 0;
        while let Some(parent) = doomed.get(index).copied() {
            doomed.extend(children_of(parent));
            index += 1;
        }
        for pid in doomed.into_iter().filter_map(Pid::from_raw) {
            // One that has ended by itself is as dead as we want it.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ran {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.wait().expect("a child can be waited for");
        self.watched = None;
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let late = self.timed_out.load(Ordering::SeqCst);
        assert!(!late, "it did not end within {} s, but said:\n{stdout}{stderr}", self.limit.as_secs());
        Ran { code: status.code(), stdout, stderr, signal: status.signal() }
    }
}

/// The command is gone when this returns, and with it its ends of pipes and terminals.
fn spawn(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// The processes whose parent this is, from proc(5). The name in `stat` may hold blanks and parentheses,
/// so what counts comes after the last one: state, then parent.
fn children_of(parent: i32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc tells which processes there are");
    let stat_of = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parent_of =
        |stat: &str| -> Option<i32> { stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| stat_of(*pid).as_deref().and_then(parent_of) == Some(parent))
        .collect()
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing to be done if it ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Stream {
    fn read(mut source: impl Read + Send + 'static) -> Self {
        let state = Arc::new((Mutex::new(Printed::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0_u8; 8192];
            loop {
                let count = source.read(&mut chunk).unwrap_or_default();
                let mut printed = shared.0.lock().expect("no reader panics");
                printed.bytes.extend_from_slice(&chunk[..count]);
                printed.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { state, reader: Some(reader) }
    }

    fn wait_for(&self, text: &str) {
        let started = Instant::now();
        let mut printed = self.state.0.lock().expect("no reader panics");
        loop {
            let so_far = String::from_utf8_lossy(&printed.bytes).into_owned();
            if so_far.contains(text) {
                return;
            }
            let left = LIMIT.saturating_sub(started.elapsed());
            assert!(!printed.ended && !left.is_zero(), "it never said {text:?}, but:\n{so_far}");
            printed = self.state.1.wait_timeout(printed, left).expect("no reader panics").0;
        }
    }

    fn take(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        let bytes = std::mem::take(&mut self.state.0.lock().expect("no reader panics").bytes);
        String::from_utf8(bytes).expect("what a step prints is UTF-8")
    }
}
