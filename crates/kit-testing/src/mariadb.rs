//! A MariaDB server for one test.

use crate::database::{Daemon, as_user, data_folder, folder, free_port, must};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The superuser, and his password over TCP; the socket asks `root` for none.
const USER: &str = "admin";
const PASSWORD: &str = "s3cret-of-the-admin";
/// Nothing here has to outlive anything.
const SETTINGS: &[&str] =
    &["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=64M", "--debug-no-sync=1"];

/// A server on a free port of the loopback, with a binary log. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    port: u16,
}

impl Server {
    /// One of the version that Debian has.
    pub fn start() -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        data_folder(&data, &program("mariadbd"), || Self::install(folder.path()));
        let port = free_port();
        let mut server = as_user(&program("mariadbd"));
        server
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", folder.path().display()))
            .arg(format!("--socket={}", folder.path().join("my.sock").display()))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .args(["--bind-address=127.0.0.1", &format!("--port={port}"), "--skip-name-resolve"])
            .args(["--log-bin=binlog", "--server-id=1", "--event-scheduler=ON"])
            .args(SETTINGS);
        // Nothing here is worth an orderly end.
        let daemon = Daemon::start(server, folder, "ready for connections", Signal::KILL);
        let server = Self { daemon, port };
        server.sql(
            "mysql",
            &format!("GRANT ALL ON *.* TO {USER}@'%' IDENTIFIED BY '{PASSWORD}' WITH GRANT OPTION"),
        );
        server
    }

    fn install(folder: &Path) {
        let mut install = as_user(&program("mariadb-install-db"));
        install
            .current_dir(folder)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", folder.join("data").display()))
            // Temporary tables of servers that run side by side have the same names.
            .arg(format!("--tmpdir={}", folder.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .args(SETTINGS);
        must(install);
    }

    /// The URL of a database, for the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as(USER, PASSWORD, database)
    }

    /// The URL of a database, for somebody else.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("mariadb://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over the socket, for `root`.
    pub fn socket_url(&self, database: &str) -> String {
        let socket = self.daemon.folder.path().join("my.sock");
        format!("mariadb://root@localhost/{database}?socket={}", socket.display())
    }

    /// The password that must not be seen anywhere.
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The process id of the server.
    pub fn pid(&self) -> i32 {
        self.daemon.pid()
    }

    /// A command of a client program against this server, as `root`.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command
            .arg("--no-defaults")
            .arg("--user=root")
            .arg(format!("--socket={}", self.daemon.folder.path().join("my.sock").display()));
        command
    }

    /// Runs SQL, with `DELIMITER` if there is need; gives the rows, unaligned. An error fails the test.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.load(database, sql.as_bytes())
    }

    /// The same with any bytes: a dump.
    #[track_caller]
    pub fn load(&self, database: &str, sql: &[u8]) -> String {
        let mut client = self.command("mariadb");
        // From a file: statements may be longer than arguments.
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), sql).expect("it can be written");
        client
            .args(["--batch", "--skip-column-names", "--raw", "--default-character-set=utf8mb4", database])
            .stdin(std::fs::File::open(file.path()).expect("it can be read"));
        let output = client.output().expect("mariadb can be run");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        stdout.trim_end().to_owned()
    }

    /// Ends what the server does for others whose current statement looks like this, or who use this database.
    pub fn kill(&self, condition: &str) {
        let ids =
            self.sql("mysql", &format!("SELECT id FROM information_schema.processlist WHERE {condition}"));
        for id in ids.lines() {
            // It may have ended by itself.
            let _ = self.command("mariadb").args(["--execute", &format!("KILL {id}")]).output();
        }
    }

    /// Ends it at once, as a crash would.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }
}

fn program(name: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file())
        .expect("MariaDB is installed: apt-get install -y --no-install-recommends mariadb-server")
}
