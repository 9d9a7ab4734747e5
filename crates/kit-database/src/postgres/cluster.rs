//! A throw-away server, from the server programs that are installed here: a folder and a Unix socket in it,
//! no port, nothing that survives a crash, gone when it is closed or dropped.

use super::address::Address;
use super::clients::Clients;
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use crate::throwaway::{folder_in, socket_folder, unprivileged};
use kit_core::Context;
use kit_exec::{EnvPolicy, ExecError, Running, Stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Its first user.
const USER: &str = "deploy_kit_scratch";
/// How long it may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Nothing here has to outlive anything.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "autovacuum=off",
    "shared_buffers=64MB",
    "maintenance_work_mem=128MB",
    "max_connections=20",
    "logging_collector=off",
    "log_min_messages=fatal",
];

/// A server that runs.
#[derive(Debug)]
pub(super) struct Cluster {
    /// `None` once stopped. Before the folders, so that a drop ends it first.
    running: Option<Running>,
    socket: PathBuf,
    _folders: Vec<tempfile::TempDir>,
}

impl Cluster {
    /// Makes and starts one in `scratch`.
    pub(super) async fn start(
        cx: &Context,
        programs: &Clients,
        scratch: &Path,
    ) -> Result<Self, DatabaseError> {
        let folder = folder_in(scratch, "pg-")?;
        let user = unprivileged(folder.path(), scratch, &["postgres", "nobody"])?;
        let data = folder.path().join("data");
        let initdb = user
            .command(cx, &programs.program("initdb"), "INT")
            .arg(format!("--pgdata={}", data.display()))
            .arg(format!("--username={USER}"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"])
            .current_folder(folder.path())
            .inherit_env(EnvPolicy::Minimal)
            .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
            .quiet_stderr();
        initdb.run(cx).await.map_err(not_made)?;
        let mut folders = vec![folder];
        let socket = socket_folder(&mut folders, &user)?;
        let mut postgres = user
            .command(cx, &programs.program("postgres"), "INT")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&socket)
            .current_folder(&data)
            .inherit_env(EnvPolicy::Minimal)
            .quiet_stderr();
        for setting in SETTINGS {
            postgres = postgres.arg("-c").arg(*setting);
        }
        let running = postgres.spawn_reading(cx).map_err(not_made)?;
        let mut cluster = Self { running: Some(running), socket, _folders: folders };
        cluster.wait(cx).await?;
        Ok(cluster)
    }

    /// One of its databases.
    pub(super) fn address(&self, database: &str) -> Address {
        Address::on_socket(&self.socket.display().to_string(), USER, database)
    }

    async fn wait(&mut self, cx: &Context) -> Result<(), DatabaseError> {
        let address = self.address("postgres");
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

/// No cluster, and nothing known about the dump.
fn not_made(error: ExecError) -> DatabaseError {
    match error {
        error @ ExecError::Cancelled { .. } => error.into(),
        error => {
            let said = super::said_last(&error);
            DatabaseError::Unavailable { what: format!("no scratch server can be made here: {said}") }
        }
    }
}
