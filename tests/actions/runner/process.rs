//! The process of a step, and how a runner cancels it.

use kit_testing::Signal;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Files through which a step talks to the runner.
pub(super) const FILES: [(&str, &str); 5] = [
    ("GITHUB_OUTPUT", "output"),
    ("GITHUB_ENV", "env"),
    ("GITHUB_PATH", "path"),
    ("GITHUB_STATE", "state"),
    ("GITHUB_STEP_SUMMARY", "summary"),
];

/// `ProcessInvoker.cs`: after SIGINT.
const INTERRUPT_GRACE: Duration = Duration::from_millis(7500);
/// `ProcessInvoker.cs`: after SIGTERM.
const TERMINATE_GRACE: Duration = Duration::from_millis(2500);
/// Bounds a test that has gone wrong; no test waits for it to pass.
const LIMIT: Duration = Duration::from_secs(60);

/// A step that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pid: i32,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    streams: [JoinHandle<String>; 2],
    env: BTreeMap<String, String>,
}

/// What a runner had to do before a cancelled step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It ended after SIGINT.
    Interrupted,
    /// It took a SIGTERM.
    Terminated,
    /// It had to be killed.
    Killed,
}

/// A step that has ended.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    env: BTreeMap<String, String>,
}

impl Ended {
    /// What the step wrote into a file of the runner.
    pub(super) fn file(&self, variable: &str) -> String {
        std::fs::read_to_string(&self.env[variable]).expect("a file of the runner")
    }
}

impl Running {
    /// `bash --noprofile --norc -e -o pipefail <file>`, as `shell: bash` means it.
    pub(super) fn start(script: &str, file: &Path, env: BTreeMap<String, String>, folder: &Path) -> Self {
        std::fs::write(file, script).expect("a script");
        assert!(!env.keys().any(|name| name.starts_with("INPUT_")), "a composite action has none");
        let mut child: Child = Command::new("bash")
            .args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
            .arg(file)
            .current_dir(folder)
            .env_clear()
            .envs(&env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash is installed");
        drop(child.stdin.take());
        let pid = i32::try_from(child.id()).expect("a process id");
        let streams = [reader(child.stdout.take()), reader(child.stderr.take())];
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            let status = child.wait().expect("a child can be waited for");
            // Nobody listens any more after a test that failed.
            let _ = sender.send(status);
        });
        Self { pid, ended, status: None, streams, env }
    }

    /// The process that the runner started, and the only one that it signals.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// SIGINT, 7.5 s, SIGTERM, 2.5 s, SIGKILL.
    pub(crate) fn cancel(&mut self) -> Cancelled {
        self.cancel_within(INTERRUPT_GRACE, TERMINATE_GRACE)
    }

    /// The same with other times.
    pub(crate) fn cancel_within(&mut self, interrupt: Duration, terminate: Duration) -> Cancelled {
        let steps = [
            (Signal::INT, interrupt, Cancelled::Interrupted),
            (Signal::TERM, terminate, Cancelled::Terminated),
            (Signal::KILL, LIMIT, Cancelled::Killed),
        ];
        for (signal, grace, cancelled) in steps {
            kit_testing::signal(self.pid, signal);
            match self.ended.recv_timeout(grace) {
                Ok(status) => {
                    self.status = Some(status);
                    return cancelled;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for the step"),
            }
        }
        panic!("the step cannot be killed");
    }

    pub(super) fn wait(self) -> Ended {
        let status = self.status.unwrap_or_else(|| {
            self.ended.recv_timeout(LIMIT).unwrap_or_else(|_| {
                kit_testing::signal(self.pid, Signal::KILL);
                panic!("the step did not end within {} s", LIMIT.as_secs());
            })
        });
        let [stdout, stderr] = self.streams.map(|stream| stream.join().expect("no reader panics"));
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ended { code, stdout, stderr, env: self.env }
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut stream = stream.expect("a pipe");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A stream that breaks off has said what it said.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
