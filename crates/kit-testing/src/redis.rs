//! A Redis server for one test.

use crate::database::{Daemon, free_port, must};
use rustix::process::Signal;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The password of the user `default`, over TCP and the socket.
const PASSWORD: &str = "s3cret-of-the-default";

/// A server on a free port of the loopback. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    port: u16,
}

impl Server {
    /// One that writes snapshots straight into the connection, as 7.0 does, but without waiting for more replicas.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more settings, each as an argument of its own: `--databases`, `2`.
    pub fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let mut server = Command::new("redis-server");
        server
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--requirepass", PASSWORD])
            .args(["--dir", &folder.path().display().to_string(), "--save", "", "--appendonly", "no"])
            .args(["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"])
            .args(settings)
            // Its log would go to stdout.
            .args(["--logfile", "/dev/stderr"]);
        // Nothing here is worth an orderly end.
        let daemon = Daemon::start(server, folder, "Ready to accept connections", Signal::KILL);
        Self { daemon, port }
    }

    /// The URL of a database, for the user `default`.
    pub fn url(&self, number: u64) -> String {
        self.url_as("", PASSWORD, number)
    }

    /// The URL of a database, for somebody else.
    pub fn url_as(&self, user: &str, password: &str, number: u64) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}/{number}", self.port)
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The password that must not be seen anywhere.
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The process id of the server.
    pub fn pid(&self) -> i32 {
        self.daemon.pid()
    }

    /// Runs commands, one a line; gives what they answer, raw. A refusal fails the test.
    #[track_caller]
    pub fn run(&self, number: u64, commands: &str) -> String {
        let mut client = Command::new("redis-cli");
        client
            .env("REDISCLI_AUTH", PASSWORD)
            .args(["-p", &self.port.to_string(), "-n", &number.to_string(), "--raw", "-e"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut client = client.spawn().expect("redis-cli is installed: apt-get install redis-server");
        client.stdin.take().expect("a pipe").write_all(commands.as_bytes()).expect("it reads");
        let output = client.wait_with_output().expect("it ends");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let refused = stdout.lines().chain(stderr.lines()).any(|line| {
            ["ERR ", "NOPERM", "WRONGTYPE", "NOAUTH", "OOM "].iter().any(|code| line.starts_with(code))
        });
        assert!(output.status.success() && !refused, "{commands}\n{stdout}{stderr}");
        stdout.trim_end().to_owned()
    }

    /// A snapshot made by Redis' own client.
    pub fn snapshot(&self) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut client = Command::new("redis-cli");
        client.env("REDISCLI_AUTH", PASSWORD).args([
            "-p",
            &self.port.to_string(),
            "--rdb",
            &file.path().display().to_string(),
        ]);
        must(client);
        std::fs::read(file.path()).expect("it can be read")
    }

    /// Ends it at once, as a crash would.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }
}
