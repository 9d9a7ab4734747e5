//! A MariaDB server for measuring, its data, and the rows that use it.

use super::measure::size;
use super::rows::{Against, Row, SizeBytes, ours, remove};
use super::sink::Sink;
use crate::error::Error;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a row's time is compared with.
pub(super) const DUMP: &str = "`mariadb-dump > /dev/null`";
/// What sizes are compared with.
pub(super) const GZIP: &str = "`mariadb-dump \\| gzip > file`";
const OPTIONS: &str = "--single-transaction --quick --routines --events --triggers --hex-blob";
/// How long it may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server on a socket in a folder. Ended when dropped.
#[derive(Debug)]
pub(super) struct MariaDb {
    child: Child,
    socket: PathBuf,
}

impl MariaDb {
    /// Makes it anew.
    pub(super) fn start(workspace: &Workspace, folder: &Path) -> Result<Self, Error> {
        let place = folder.join("mariadb");
        let text = place.display().to_string();
        workspace.output(&["rm", "-rf", &text])?;
        workspace.output(&["mkdir", "-p", &text])?;
        let is_root = workspace.output(&["id", "-u"])?.trim_ascii() == b"0";
        if is_root {
            workspace.output(&["chown", "mysql:", &text])?;
        }
        let as_user: &[&str] = match is_root {
            true => &["setpriv", "--reuid=mysql", "--regid=mysql", "--clear-groups"],
            false => &[],
        };
        let data = format!("--datadir={text}/data");
        let temporary = format!("--tmpdir={text}");
        let socket = place.join("my.sock");
        let socket_option = format!("--socket={}", socket.display());
        let common = ["--no-defaults", &data, &temporary, "--debug-no-sync=1", "--innodb-log-file-size=256M"];
        let make = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"];
        workspace.output(&[as_user, &["mariadb-install-db"], &common, &make].concat())?;
        let server = [&socket_option, "--skip-networking", "--skip-log-bin", "--innodb-buffer-pool-size=1G"];
        let argv = [as_user, &["mariadbd"], &common, &server].concat();
        let (first, rest) = argv.split_first().unwrap_or((&"", &[]));
        let spawn = |source| Error::Spawn { program: (*first).to_owned(), source };
        let child = Command::new(first)
            .args(rest)
            .current_dir(&place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(spawn)?;
        let started = Self { child, socket };
        let began = Instant::now();
        while let Err(error) = started.sql("mysql", "SELECT 1") {
            if began.elapsed() > START_LIMIT {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(started)
    }

    /// Fills it: text of words of which few are frequent and many are rare, as in any language. A row has about
    /// 600 bytes.
    pub(super) fn seed(&self, articles: u64) -> Result<(), Error> {
        self.sql("mysql", "CREATE DATABASE bench CHARACTER SET utf8mb4")?;
        let word = "SUBSTR(MD5(FLOOR(POW(RAND(), 4) * 8000)), 1, 2 + FLOOR(RAND() * 9))";
        let sql = format!(
            "SET rand_seed1 = 42, rand_seed2 = 4242;
             CREATE TABLE articles (id bigint PRIMARY KEY, title varchar(100), body text, written datetime);
             INSERT INTO articles SELECT seq, CONCAT('Article ', seq), CONCAT_WS(' ', {}),
                '2020-01-01' + INTERVAL seq MINUTE FROM seq_1_to_{articles}",
            [word; 80].join(", ")
        );
        self.sql("bench", &sql)
    }

    fn sql(&self, database: &str, sql: &str) -> Result<(), Error> {
        let mut client = Command::new("mariadb");
        client
            .args(["--no-defaults", "--user=root"])
            .arg(format!("--socket={}", self.socket.display()))
            .args([database, "--execute", sql])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status =
            client.status().map_err(|source| Error::Spawn { program: "mariadb".to_owned(), source })?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Failed { command: "mariadb".to_owned(), status }),
        }
    }

    fn url(&self) -> String {
        format!("mariadb://root@localhost/bench?socket={}", self.socket.display())
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its rows, in the order of the table.
pub(super) fn rows<'a>(
    workspace: &'a Workspace,
    server: &'a MariaDb,
    sink: &'a Sink,
    folder: &'a Path,
) -> Vec<Row<'a>> {
    let out = folder.join("out");
    let by_hand = |name, tail: &'static str, written: Option<SizeBytes<'a>>| Row {
        name,
        ours: false,
        against: Against::MariaDbDump,
        command: Box::new({
            let out = out.clone();
            move || {
                let mut command = Command::new("bash");
                let text = format!(
                    "set -o pipefail; mariadb-dump --no-defaults --user=root --socket=\"$SOCKET\" {OPTIONS} bench {tail}"
                );
                command.arg("-c").arg(text).env("SOCKET", &server.socket).env("OUT", &out);
                command
            }
        }),
        written,
        before: Box::new({
            let out = out.clone();
            move || remove(&out)
        }),
        after: Box::new(|| Ok(())),
        part: None,
    };
    let url = server.url();
    vec![
        by_hand(DUMP, "> /dev/null", None),
        by_hand(
            GZIP,
            "| gzip > \"$OUT\"",
            Some(Box::new({
                let out = out.clone();
                move || size(&out)
            })),
        ),
        Row {
            name: "`db-backup --proof stream` (MariaDB)",
            ours: true,
            against: Against::MariaDbDump,
            command: Box::new(move || {
                ours(workspace, (&url, sink, folder), "db-backup", &["--proof", "stream"])
            }),
            written: Some(Box::new(|| sink.size_bytes())),
            before: Box::new(|| sink.empty()),
            after: Box::new(|| Ok(())),
            part: None,
        },
    ]
}
