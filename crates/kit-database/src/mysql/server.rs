//! A throw-away server, from the server programs that are installed here: a folder and a Unix socket in it,
//! no port, nothing that survives a crash, gone when it is closed or dropped. MariaDB's only: it can be made
//! in a second.

use super::address::Address;
use super::clients::{self, Product, series};
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use crate::throwaway::{User, folder_in, socket_folder, unprivileged};
use kit_core::Context;
use kit_exec::{Command, EnvPolicy, ExecError, Running, Stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Its only user, who needs no password: nobody else can reach the socket.
const USER: &str = "root";
/// How long it may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Nothing here has to outlive anything.
const SETTINGS: &[&str] = &[
    "--skip-networking",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--event-scheduler=OFF",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=96M",
    "--max-allowed-packet=1G",
    "--debug-no-sync=1",
    "--log-warnings=0",
    "--log-bin-trust-function-creators=1",
];
/// While it is made.
const SETTINGS_OF_MAKING: &[&str] =
    &["--innodb-log-file-size=96M", "--innodb-buffer-pool-size=16M", "--debug-no-sync=1"];

/// A server that runs.
#[derive(Debug)]
pub(super) struct OwnServer {
    /// `None` once stopped. Before the folders, so that a drop ends it first.
    running: Option<Running>,
    socket: PathBuf,
    _folders: Vec<tempfile::TempDir>,
}

impl OwnServer {
    /// Makes and starts one of this series in `scratch`.
    pub(super) async fn start(
        cx: &Context,
        tools: Option<&Path>,
        wanted: &str,
        scratch: &Path,
    ) -> Result<Self, DatabaseError> {
        let missing = |what: String| DatabaseError::Unavailable { what };
        if !wanted.starts_with(Product::MariaDb.name()) {
            return Err(missing(format!("a throw-away server of {wanted} cannot be made")));
        }
        let program = |what| clients::program(cx, tools, Product::MariaDb, what);
        let (Some(install), Some(server)) = (program("install"), program("server")) else {
            return Err(missing(format!(
                "the server programs of {wanted} are not installed here, and no scratch server was named"
            )));
        };
        let found = version(cx, &server).await?;
        if found != wanted {
            return Err(missing(format!(
                "the server programs here are {found}, and the backup is of {wanted}: another version proves nothing \
                 about it"
            )));
        }
        let folder = folder_in(scratch, "my-")?;
        let user = unprivileged(folder.path(), scratch, &["mysql", "nobody"])?;
        let data = folder.path().join("data");
        make(cx, &user, &install, &data, folder.path()).await?;
        let mut folders = vec![folder];
        let socket = socket_folder(&mut folders, &user)?.join("my.sock");
        let running = user
            .command(cx, &server.display().to_string(), "KILL")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--tmpdir={}", data.display()))
            .arg(format!("--pid-file={}", data.join("pid").display()))
            .args(SETTINGS)
            .current_folder(&data)
            .inherit_env(EnvPolicy::Minimal)
            .quiet_stderr()
            .spawn_reading(cx)
            .map_err(not_made)?;
        let mut started = Self { running: Some(running), socket, _folders: folders };
        started.wait(cx).await?;
        Ok(started)
    }

    /// One of its databases.
    pub(super) fn address(&self, database: &str) -> Address {
        Address::on_socket(self.socket.clone(), USER, database)
    }

    async fn wait(&mut self, cx: &Context) -> Result<(), DatabaseError> {
        let address = self.address("mysql");
        let doing =
            Doing { action: "start", database: "the scratch server", unfinished: "the restore was tried" };
        let began = cx.clock.elapsed();
        let Some(running) = self.running.as_mut() else { return Ok(()) };
        let answers = async {
            loop {
                match connect::open(&address, Session::Reading, cx, doing).await {
                    Ok(connection) => break connect::close(connection).await,
                    Err(DatabaseError::Cancelled { .. }) => break,
                    Err(_) => cx.clock.sleep(POLL).await,
                }
                if cx.clock.elapsed().saturating_sub(began) > START_LIMIT {
                    break;
                }
            }
        };
        let mut printed = [0_u8; 1024];
        let ended = async { while running.read(&mut printed).await.is_ok_and(|count| count > 0) {} };
        let is_gone = tokio::select! { () = answers => false, () = ended => true };
        if cx.cancel.is_cancelled() {
            return Err(doing.cancelled(cx));
        }
        if is_gone && let Some(running) = self.running.take() {
            let why = running.finish().await.err().map(not_made);
            let what = "the scratch server ended at once".to_owned();
            return Err(why.unwrap_or(DatabaseError::Unavailable { what }));
        }
        Ok(())
    }

    /// Ends it.
    pub(super) async fn close(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

async fn make(
    cx: &Context,
    user: &User,
    install: &Path,
    data: &Path,
    folder: &Path,
) -> Result<(), DatabaseError> {
    let made = user
        .command(cx, &install.display().to_string(), "KILL")
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        // Temporary tables of servers that run side by side have the same names.
        .arg(format!("--tmpdir={}", folder.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        .args(SETTINGS_OF_MAKING)
        .current_folder(folder)
        .inherit_env(EnvPolicy::Minimal)
        .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
        .quiet_stderr()
        .run(cx)
        .await;
    made.map(|_| ()).map_err(not_made)
}

/// `/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)`
async fn version(cx: &Context, server: &Path) -> Result<String, DatabaseError> {
    let asked = Command::new(server.display().to_string())
        .args(["--no-defaults", "--version"])
        .inherit_env(EnvPolicy::Minimal)
        .stdout(Stdout::Capture { limit_bytes: 4096 })
        .quiet_stderr()
        .run(cx)
        .await
        .map_err(not_made)?;
    let said = asked.text();
    let version = said.split_whitespace().skip_while(|word| *word != "Ver").nth(1).unwrap_or_default();
    Ok(series(Product::of(&said), version))
}

/// No server, and nothing known about the dump.
fn not_made(error: ExecError) -> DatabaseError {
    match error {
        error @ ExecError::Cancelled { .. } => error.into(),
        error => {
            let said = super::said_last(&error);
            DatabaseError::Unavailable { what: format!("no scratch server can be made here: {said}") }
        }
    }
}
