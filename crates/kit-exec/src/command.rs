//! What to run, and how.

use crate::container::{Files, Inside, Launch, Removal};
use crate::environment::find;
use crate::group::{Group, KillOnDrop, LONGEST_GRACE};
use crate::running::{Output, Running};
use crate::sink::Sink;
use crate::supervise::{Supervisor, Watch};
use crate::{Container, EnvPolicy, ExecError, Stdin, Stdout};
use kit_core::{Cause, Context, Secret};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A program to run, with its arguments and everything else that it gets from us.
pub struct Command {
    pub(crate) program: String,
    args: Vec<OsString>,
    policy: EnvPolicy,
    env: BTreeMap<String, String>,
    secrets: Vec<(String, Secret)>,
    folder: Option<PathBuf>,
    stdin: Stdin,
    stdout: Stdout,
    pub(crate) quiet_stderr: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) accepted: Vec<i32>,
    pub(crate) container: Option<Container>,
    files: Files,
    server: Option<Server>,
}

/// What a server needs of a container, beside what every program does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    /// As whom it runs, if not as we do.
    pub(crate) user: Option<(u32, u32)>,
}

impl Command {
    /// A program, by name (then found on `PATH`) or by a path with a slash in it.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            policy: EnvPolicy::default(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            folder: None,
            stdin: Stdin::default(),
            stdout: Stdout::default(),
            quiet_stderr: false,
            deadline: None,
            grace: LONGEST_GRACE,
            accepted: vec![0],
            container: None,
            files: Files::new(),
            server: None,
        }
    }

    /// One more argument. Never a secret: every user of the machine can read arguments.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the child's environment, whatever the policy.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The same with a secret, which the redactor then knows.
    #[must_use]
    pub fn env_secret(mut self, name: impl Into<String>, value: &Secret) -> Self {
        self.secrets.push((name.into(), value.clone()));
        self
    }

    /// What the child inherits of our environment. By default [`EnvPolicy::Full`].
    #[must_use]
    pub fn inherit_env(mut self, policy: EnvPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Runs in this folder. By default in ours.
    #[must_use]
    pub fn current_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// What the child reads. By default nothing.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// How stdout is taken. By default it is logged.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// Keeps stderr out of the log; its last lines are still told if the child fails.
    #[must_use]
    pub fn quiet_stderr(mut self) -> Self {
        self.quiet_stderr = true;
        self
    }

    /// Ends the child if it runs longer than this. By default only the step's own deadline counts.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// How long the child may take to obey each of SIGINT and SIGTERM before it is killed, and how
    /// long its output is still read after its end. At most, and by default, 2 s: the step itself
    /// must be gone 7 s after its first signal.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(LONGEST_GRACE);
        self
    }

    /// Takes this exit code, too, as success: `1` of `git merge-base --is-ancestor` means no.
    #[must_use]
    pub fn accept_code(mut self, code: i32) -> Self {
        self.accepted.push(code);
        self
    }

    /// Runs it in a container, where it sees of this machine the network, the variables that are set here, and what
    /// [`Command::reads`] and [`Command::writes`] name; it inherits no environment. Of the program only the name counts:
    /// the image says where it is.
    #[must_use]
    pub fn in_container(mut self, container: &Container) -> Self {
        self.container = Some(container.clone());
        self
    }

    /// True if it runs in a container.
    pub const fn is_in_container(&self) -> bool {
        self.container.is_some()
    }

    /// For a server, or what makes one, in a container: as this user, by number, who has a name there; with enough shared
    /// memory; and ended when we die without a word, where the machine can do that.
    #[must_use]
    pub const fn as_server(mut self, user: Option<(u32, u32)>) -> Self {
        self.server = Some(Server { user });
        self
    }

    /// What the program needs to read of the file system: a file, or a folder with all in it. Only a container has to
    /// be told.
    #[must_use]
    pub fn reads(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.entry(path.into()).or_insert(false);
        self
    }

    /// A folder in which the program writes. Only a container has to be told.
    #[must_use]
    pub fn writes(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.insert(path.into(), true);
        self
    }

    /// Runs the program to its end.
    ///
    /// To run something although the step is cancelled, such as an undo, give it a context with a
    /// cancellation of its own.
    ///
    /// # Errors
    /// If it cannot be started, does not end with an accepted code, prints too much, or had to be
    /// ended: by the deadline or because the step is cancelled.
    pub async fn run(mut self, cx: &Context) -> Result<Output, ExecError> {
        let mode = std::mem::take(&mut self.stdout);
        let mut sink = Sink::new(mode, &self.program, &self.label(), cx.out.clone());
        let mut running = self.spawn_reading(cx)?;
        match running.pour_into(&mut sink).await {
            Ok(()) => {
                let output = running.settle(true).await?;
                Ok(Output { stdout: sink.into_kept(), ..output })
            }
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    /// Starts the program and hands out its stdout as a stream, whatever [`Command::stdout`] says.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn_reading(mut self, cx: &Context) -> Result<Running, ExecError> {
        if cx.cancel.is_cancelled() {
            let cause = cx.cancel.cause().unwrap_or(Cause::Interrupted);
            return Err(ExecError::Cancelled { program: self.program, cause, started: false });
        }
        let stdin = std::mem::take(&mut self.stdin);
        let (mut child, container) = self.start(cx, !matches!(stdin, Stdin::Empty))?;
        let Some(group) = Group::of(&child) else {
            let source = std::io::Error::other("it has no process id");
            return Err(ExecError::Lost { program: self.program, source });
        };
        let guard = KillOnDrop(group.clone());
        let stdout = child.stdout.take();
        stdout.iter().for_each(widen);
        let watch = Watch::default();
        let supervisor = Supervisor::new(&self, cx, (child, container.clone()), group, watch.clone(), stdin);
        Ok(Running::new((guard, container), stdout, watch, supervisor, &self, cx))
    }

    /// How the log names the child.
    pub(crate) fn label(&self) -> String {
        let name = Path::new(&self.program).file_name().and_then(|name| name.to_str());
        name.unwrap_or(&self.program).to_owned()
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that starts processes")]
    fn start(
        &self,
        cx: &Context,
        reads: bool,
    ) -> Result<(tokio::process::Child, Option<Removal>), ExecError> {
        let mut set = self.env.clone();
        for (name, secret) in &self.secrets {
            cx.redactor.learn(secret.expose());
            set.insert(name.clone(), secret.expose().to_owned());
        }
        let spawn_error = |source| ExecError::Spawn { program: self.program.clone(), source };
        let launch = self.launch(cx, &set, reads).map_err(spawn_error)?;
        // The engine's client finds its engine and its credentials in the environment; nothing of that goes further.
        let policy = if launch.is_some() { EnvPolicy::Full } else { self.policy };
        let env = policy.apply(&cx.env, &set);
        let mut command = match &launch {
            Some(launch) => {
                let mut client = tokio::process::Command::new(&launch.program);
                client.args(&launch.args);
                client
            }
            None => {
                let file = self.locate(env.get("PATH").map(String::as_str))?;
                let mut program = tokio::process::Command::new(file);
                program.arg0(&self.program).args(&self.args);
                program
            }
        };
        command.env_clear().envs(env);
        if let Some(folder) = self.folder.as_ref().filter(|_| launch.is_none()) {
            // The system would say "no such file" of the program.
            if !folder.is_dir() {
                let text = format!("there is no folder {}", folder.display());
                return Err(spawn_error(std::io::Error::new(std::io::ErrorKind::NotADirectory, text)));
            }
            command.current_dir(folder);
        }
        let child = command
            .stdin(if reads { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn_error)?;
        let container = self.container.as_ref().zip(launch.as_ref());
        Ok((child, container.map(|(container, launch)| Removal::of(container, launch, cx))))
    }

    /// What is started instead, if it runs in a container.
    fn launch(
        &self,
        cx: &Context,
        set: &BTreeMap<String, String>,
        reads: bool,
    ) -> std::io::Result<Option<Launch>> {
        let Some(container) = &self.container else { return Ok(None) };
        let variables: Vec<&str> = set.keys().map(String::as_str).collect();
        let inside = Inside {
            program: &self.program,
            args: &self.args,
            variables: &variables,
            files: &self.files,
            folder: self.folder.as_deref(),
            reads,
            server: self.server,
        };
        let launch = Launch::new(container, &inside)?;
        let setpriv = self.server.and_then(|_| crate::which(&cx.env, "setpriv"));
        Ok(Some(match setpriv {
            Some(setpriv) => launch.ended_with_us(setpriv),
            None => launch,
        }))
    }

    /// The program's file, as [`which`](crate::which) would find it. A path is left to the system,
    /// which knows best why it cannot be run; but if nothing is there, we say so.
    fn locate(&self, path: Option<&str>) -> Result<PathBuf, ExecError> {
        let found = if self.program.contains('/') {
            let from = self.folder.as_deref().unwrap_or(Path::new(""));
            Some(PathBuf::from(&self.program)).filter(|file| from.join(file).exists())
        } else {
            find(path, &self.program)
        };
        found.ok_or_else(|| ExecError::NotFound { program: self.program.clone() })
    }
}

/// Makes the pipe as large as everybody may: who writes a lot and who reads it then wait for each other less
/// often. Where that is refused, it works as it is.
#[cfg(target_os = "linux")]
fn widen(pipe: &tokio::process::ChildStdout) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, crate::running::LARGEST_PIPE_BYTES);
}

#[cfg(not(target_os = "linux"))]
fn widen(_: &tokio::process::ChildStdout) {}

/// Program and arguments; of the environment only names, since values may be secrets.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secrets = self.secrets.iter().map(|(name, _)| name);
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().chain(secrets).collect::<Vec<_>>())
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
