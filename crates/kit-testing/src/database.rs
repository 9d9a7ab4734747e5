//! What servers of databases have in common: a folder, an unprivileged user, an end by process id.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Servers refuse to run as root: then they run as somebody else.
pub(crate) fn as_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

/// A folder that the server's user owns, with a path short enough for a socket.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("dk-").tempdir_in("/tmp").expect("a temporary folder");
    give(folder.path());
    folder
}

/// Gives a file or folder to the server's user.
pub(crate) fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let status =
            Command::new("chown").arg("nobody:nogroup").arg(path).status().expect("chown can be run");
        assert!(status.success(), "chown of {}", path.display());
    }
}

/// Fills `data` as `make` would. The result is kept below `target/` and copied from then on: making it takes a
/// second of work, and there are many tests.
pub(crate) fn data_folder(data: &Path, program: &Path, make: impl FnOnce()) {
    let mut version = Command::new(program);
    version.arg("--version");
    let name: String =
        must(version).chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    let kept = cache().join("test-servers").join(name);
    let copy = |from: &Path, to: &Path| {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(from).arg(to);
        must(copy);
    };
    if kept.is_dir() {
        return copy(&kept, data);
    }
    make();
    let folder = kept.parent().expect("it has one");
    std::fs::create_dir_all(folder).expect("target/ can be written");
    let new = tempfile::tempdir_in(folder).expect("target/ can be written");
    copy(data, &new.path().join(name));
    // Another test may have done the same by now.
    let _ = std::fs::rename(new.path().join(name), &kept);
}

/// Where tests keep what can be made again.
pub fn cache() -> PathBuf {
    workspace().join("target/test-cache")
}

/// A port of the loopback that nobody uses at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Runs a program to its end, which must be a good one; gives what it printed.
#[track_caller]
pub(crate) fn must(mut command: Command) -> String {
    let mut shown = format!("{command:?}");
    shown.truncate(shown.floor_char_boundary(400));
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// A server that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// What makes it end at once.
    quit: Signal,
    pub(crate) folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts it and waits until its log says `ready`, as often as `times`.
    pub(crate) fn start(mut command: Command, folder: tempfile::TempDir, ready: &str, quit: Signal) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir(folder.path());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let mut log = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let mut said = Vec::new();
        loop {
            match log.next() {
                Some(Ok(line)) => {
                    let is_ready = line.contains(ready);
                    said.push(line);
                    if is_ready {
                        break;
                    }
                }
                _ => panic!("{shown} ended:\n{}", said.join("\n")),
            }
        }
        // Its log must not fill the pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, quit, folder }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// Ends it without a word, and waits.
    pub(crate) fn kill(&mut self) {
        self.quit = Signal::KILL;
        self.stop();
    }

    /// Ends it and waits.
    pub(crate) fn stop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = kill_process(Pid::from_child(&self.child), self.quit);
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    folder.expect("it is two folders up").to_owned()
}
