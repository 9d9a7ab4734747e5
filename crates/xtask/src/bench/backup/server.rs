//! A PostgreSQL server for measuring, and its data.

use crate::error::Error;
use crate::workspace::Workspace;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Text of Zipf-distributed words, documents, and rows as pgbench has them.
const SEED: &str = include_str!("seed.sql");

/// A server on a socket in a folder. Ended when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) socket: PathBuf,
    pub(super) programs: PathBuf,
}

impl Server {
    /// Makes it anew.
    pub(super) fn start(workspace: &Workspace, folder: &Path) -> Result<Self, Error> {
        let programs = programs()?;
        let socket = folder.join("server");
        let data = socket.join("data").display().to_string();
        let socket_text = socket.display().to_string();
        workspace.output(&["rm", "-rf", &socket_text])?;
        workspace.output(&["mkdir", "-p", &socket_text])?;
        let is_root = workspace.output(&["id", "-u"])?.trim_ascii() == b"0";
        if is_root {
            workspace.output(&["chown", "postgres:", &socket_text])?;
        }
        let program = |name: &str| programs.join(name).display().to_string();
        let (initdb, postgres) = (program("initdb"), program("postgres"));
        let as_user: &[&str] = match is_root {
            true => &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"],
            false => &[],
        };
        let make = [&initdb, "-D", &data, "-U", "bench", "-A", "trust", "--no-sync", "--locale=C.UTF-8"];
        workspace.output(&[as_user, &make].concat())?;
        let settings = [
            "listen_addresses=",
            "fsync=off",
            "wal_level=minimal",
            "max_wal_senders=0",
            "max_wal_size=8GB",
            "shared_buffers=2GB",
        ];
        let mut argv = [as_user, &[&postgres, "-D", &data, "-k", &socket_text]].concat();
        settings.iter().for_each(|setting| argv.extend(["-c", setting]));
        let (first, rest) = argv.split_first().unwrap_or((&"", &[]));
        let spawn = |source| Error::Spawn { program: (*first).to_owned(), source };
        let mut child = Command::new(first)
            .args(rest)
            .current_dir(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn)?;
        let mut log = child.stderr.take().map(BufReader::new).into_iter().flat_map(BufReader::lines);
        while let Some(Ok(line)) = log.next() {
            if line.contains("ready to accept connections") {
                break;
            }
        }
        std::thread::spawn(move || log.for_each(drop));
        Ok(Self { child, socket, programs })
    }

    /// Fills it.
    pub(super) fn seed(&self, accounts: u64) -> Result<(), Error> {
        self.sql("postgres", "CREATE DATABASE bench")?;
        self.sql("bench", &SEED.replace("ACCOUNTS", &accounts.to_string()))
    }

    /// Runs SQL.
    pub(super) fn sql(&self, database: &str, sql: &str) -> Result<(), Error> {
        let mut psql = self.command("psql", database);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).stdout(Stdio::null());
        let status = psql.status().map_err(|source| Error::Spawn { program: "psql".to_owned(), source })?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Failed { command: "psql".to_owned(), status }),
        }
    }

    /// One of its client programs.
    pub(super) fn command(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.envs(self.env(database));
        command
    }

    /// What client programs need to know.
    pub(super) fn env(&self, database: &str) -> [(&'static str, String); 3] {
        [
            ("PGHOST", self.socket.display().to_string()),
            ("PGUSER", "bench".to_owned()),
            ("PGDATABASE", database.to_owned()),
        ]
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("postgres:///bench?host={}&user=bench", self.socket.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT would leave nothing either, but needs more than the standard library.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The newest installed version.
fn programs() -> Result<PathBuf, Error> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    folders.sort();
    folders.pop().ok_or_else(|| Error::Spawn {
        program: "initdb (apt-get install postgresql)".to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })
}
