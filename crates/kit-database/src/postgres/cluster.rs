//! A throw-away server, from the server programs that are installed here: a folder and a Unix socket in it,
//! no port, nothing that survives a crash, gone when it is closed or dropped.

use super::address::Address;
use super::clients::Clients;
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use kit_core::Context;
use kit_core::fs::FsError;
use kit_exec::{Command, EnvPolicy, ExecError, Running, Stdout};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Its first user.
const USER: &str = "deploy_kit_scratch";
/// How long it may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// The longest path of a Unix socket has 107 bytes; its name takes the rest.
const SOCKET_FOLDER_BYTES: usize = 85;
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
        let folder = folder_in(scratch)?;
        let user = unprivileged(folder.path(), scratch)?;
        let data = folder.path().join("data");
        let initdb = user
            .command(cx, &programs.program("initdb"))
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
            .command(cx, &programs.program("postgres"))
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

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FsError {
    let path = path.to_owned();
    move |source| FsError { action, path, source }
}

fn folder_in(scratch: &Path) -> Result<tempfile::TempDir, DatabaseError> {
    let scratch = std::path::absolute(scratch).map_err(failed("find", scratch))?;
    kit_core::fs::create_folder(&scratch)?;
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix("pg-").tempdir_in(&scratch).map_err(failed("make a folder in", &scratch))?)
}

/// As whom the server runs.
#[derive(Debug)]
struct User {
    /// Somebody else, by number, if we are root: PostgreSQL refuses to run as root.
    other: Option<(u32, u32)>,
}

impl User {
    /// A program as this user. Where that is possible, it is told to end when we die without a word: a server
    /// that nobody knows of must not stay.
    fn command(&self, cx: &Context, program: &str) -> Command {
        let Some(setpriv) = kit_exec::which(&cx.env, "setpriv") else { return Command::new(program) };
        let mut command = Command::new(setpriv.display().to_string()).args(["--pdeathsig", "INT"]);
        if let Some((user, group)) = self.other {
            command = command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg(program)
    }

    fn give(&self, folder: &Path) -> Result<(), DatabaseError> {
        if let Some((user, group)) = self.other {
            std::os::unix::fs::chown(folder, Some(user), Some(group)).map_err(failed("give away", folder))?;
        }
        Ok(())
    }
}

/// Finds somebody who may run a server, and gives him the folder.
fn unprivileged(folder: &Path, scratch: &Path) -> Result<User, DatabaseError> {
    let owner = std::fs::metadata(folder).map_err(failed("look at", folder))?.uid();
    if owner != 0 {
        return Ok(User { other: None });
    }
    let passwd = kit_core::fs::read_text(Path::new("/etc/passwd"), 1 << 20)?;
    let Some(other) = ["postgres", "nobody"].iter().find_map(|name| entry(&passwd, name)) else {
        return Err(DatabaseError::Unavailable {
            what: "a server cannot run as root, and there is neither a user postgres nor nobody".to_owned(),
        });
    };
    let user = User { other: Some(other) };
    user.give(folder)?;
    // He has to get through to it, and see nothing on the way.
    let through = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(scratch, through).map_err(failed("open a way through", scratch))?;
    Ok(user)
}

/// User and group number in the form of passwd(5).
fn entry(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A folder whose path is short enough for a socket.
fn socket_folder(folders: &mut Vec<tempfile::TempDir>, user: &User) -> Result<PathBuf, DatabaseError> {
    let first = folders.first().map(|folder| folder.path().to_owned()).unwrap_or_default();
    if first.as_os_str().len() <= SOCKET_FOLDER_BYTES {
        return Ok(first);
    }
    let short = folder_in(Path::new("/tmp"))?;
    user.give(short.path())?;
    let path = short.path().to_owned();
    folders.push(short);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn users_of_the_system() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:9:9::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/bash\n";
        assert_eq!(entry(passwd, "postgres"), Some((101, 104)));
        assert_eq!(entry(passwd, "nobody"), None);
    }
}
