//! A throw-away server, from the server program that is installed here, which loads a snapshot.
//!
//! It is a replica of nobody: a master would leave out keys whose time is over, and remove others while they are being
//! compared; a replica waits for its master to tell it to.

use super::address::Address;
use super::connect::{self, Connection, Doing};
use super::info::{Info, Product, Series};
use crate::throwaway::{Recipe, Server, User, not_made};
use crate::tools::Program as File;
use crate::{DatabaseError, Tools};
use async_trait::async_trait;
use kit_core::Context;
use kit_exec::{Command, EnvPolicy, ExecError, Stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs that load snapshots, best first.
const PROGRAMS: &[(Product, &str)] = &[(Product::Redis, "redis-server"), (Product::Valkey, "valkey-server")];
const SOCKET: &str = "redis.sock";
const SNAPSHOT: &str = "dump.rdb";
/// Between two looks at a server that loads.
const LOOK: Duration = Duration::from_millis(20);
/// Nothing here has to outlive anything, and nobody else may come in.
const SETTINGS: &[&str] = &[
    "--port 0",
    "--unixsocketperm 700",
    "--save ''",
    "--appendonly no",
    "--daemonize no",
    "--rdbchecksum yes",
    // Looks into what is packed, which is otherwise believed.
    "--sanitize-dump-payload yes",
    "--replica-serve-stale-data yes",
    // Nobody listens there; it is asked again and again.
    "--replicaof 127.0.0.1 1",
    "--maxmemory 0",
];

/// A server program.
pub(super) struct Program {
    file: PathBuf,
    pub(super) series: Series,
}

impl Program {
    /// That of this series, if it is here.
    pub(super) async fn find(
        cx: &Context,
        tools: Option<&Tools>,
        wanted: &str,
    ) -> Result<Self, DatabaseError> {
        let mut found = Vec::new();
        for (product, name) in PROGRAMS {
            let file = match tools.and_then(Tools::folder) {
                Some(folder) => Some(folder.join(name)).filter(|file| file.is_file()),
                None => kit_exec::which(&cx.env, name),
            };
            let Some(file) = file else { continue };
            let program = Self { series: series(cx, *product, &file).await?, file };
            if program.series.to_string() == wanted {
                return Ok(program);
            }
            found.push(program.series.to_string());
        }
        let what = match found.as_slice() {
            [] => format!(
                "no redis-server is installed here, and no scratch server was named ({wanted} is needed)"
            ),
            found => format!(
                "the server program here is {}, and the backup is of {wanted}: another version proves nothing about it",
                found.join(" and ")
            ),
        };
        Err(DatabaseError::Unavailable { what })
    }
}

/// `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=…`
async fn series(cx: &Context, product: Product, file: &Path) -> Result<Series, DatabaseError> {
    let said = Command::new(file.display().to_string())
        .arg("--version")
        .inherit_env(EnvPolicy::Minimal)
        .stdout(Stdout::Capture { limit_bytes: 4096 })
        .quiet_stderr()
        .run(cx)
        .await
        .map_err(not_made)?
        .text();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or_default();
    // One that bears the other's name is a link to it.
    let product = if said.starts_with(Product::Valkey.name()) { Product::Valkey } else { product };
    Ok(Series::of(product, version))
}

/// How it is started: with a snapshot that lies ready.
pub(super) struct Loading {
    pub(super) program: Program,
    /// The snapshot; becomes the server's own.
    pub(super) snapshot: PathBuf,
    /// What the server says.
    pub(super) log: PathBuf,
    /// How many databases it must have.
    pub(super) databases: u64,
    /// Where the server keeps its snapshot.
    data: std::sync::OnceLock<PathBuf>,
}

impl Loading {
    pub(super) const fn new(program: Program, snapshot: PathBuf, log: PathBuf, databases: u64) -> Self {
        Self { program, snapshot, log, databases, data: std::sync::OnceLock::new() }
    }

    /// Starts it, and waits until it has loaded everything. Gives the file in which it would save what it holds.
    pub(super) async fn start(
        self,
        cx: &Context,
        scratch: &Path,
    ) -> Result<(Server, PathBuf), DatabaseError> {
        let doing =
            Doing { action: "start", database: "the scratch server", unfinished: "the restore was tried" };
        let loaded = match Server::start(cx, &self, scratch).await {
            Ok(server) => match until_loaded(&server, cx, doing).await {
                Ok(()) => Ok(server),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match (loaded, self.data.get()) {
            (Ok(server), Some(data)) => Ok((server, data.join(SNAPSHOT))),
            (Err(error @ DatabaseError::Cancelled { .. }), _) => Err(error),
            (Err(error), _) => Err(judge(&self.said(), error)),
            (Ok(_), None) => Err(doing.because("it has no folder")),
        }
    }

    fn said(&self) -> String {
        kit_core::fs::read_text(&self.log, 1 << 20).unwrap_or_default()
    }
}

/// The only address it has.
pub(super) fn address(server: &Server, number: u64) -> Address {
    Address::on_socket(server.socket_folder().join(SOCKET), number)
}

#[async_trait]
impl Recipe for Loading {
    const PREFIX: &'static str = "redis-";
    const USERS: &'static [&'static str] = &["redis", "nobody"];

    fn template(&self) -> Option<String> {
        // There is nothing in it but somebody's data.
        None
    }

    async fn make(&self, _: &Context, user: &User, data: &Path, _: &Path) -> Result<(), ExecError> {
        let spawn = |error: DatabaseError| ExecError::Spawn {
            program: self.program.file.display().to_string(),
            source: std::io::Error::other(error.to_string()),
        };
        let made = (|| {
            kit_core::fs::create_folder(data)?;
            let snapshot = data.join(SNAPSHOT);
            kit_core::fs::rename(&self.snapshot, &snapshot)?;
            [data, &snapshot, &self.log].into_iter().try_for_each(|path| user.give(path))
        })();
        let _ = self.data.set(data.to_owned());
        made.map_err(spawn)
    }

    fn command(&self, cx: &Context, user: &User, data: &Path, socket_folder: &Path) -> Command {
        let mut server = user
            .command(cx, &File::Here(self.program.file.clone()), "INT")
            .args(["--dir", &data.display().to_string(), "--dbfilename", SNAPSHOT])
            .args(["--unixsocket", &socket_folder.join(SOCKET).display().to_string()])
            .args(["--logfile", &self.log.display().to_string()])
            .args(["--databases", &self.databases.to_string()])
            .current_folder(data)
            .inherit_env(EnvPolicy::Minimal)
            .quiet_stderr();
        for setting in SETTINGS {
            server = server.args(setting.split(' ').map(|word| word.trim_matches('\'')));
        }
        server
    }

    async fn ask(&self, cx: &Context, socket_folder: &Path) -> Result<(), DatabaseError> {
        let doing =
            Doing { action: "start", database: "the scratch server", unfinished: "the restore was tried" };
        let address = Address::on_socket(socket_folder.join(SOCKET), 0);
        // It answers long before it has loaded everything.
        info(&address, cx, doing).await.map(drop)
    }
}

async fn info(address: &Address, cx: &Context, doing: Doing<'_>) -> Result<Info, DatabaseError> {
    let mut connection: Connection = connect::open(address, cx, doing).await?;
    doing.run(cx, connection.info()).await
}

/// As long as that takes; a server that gives up is gone, and its log says why.
async fn until_loaded(server: &Server, cx: &Context, doing: Doing<'_>) -> Result<(), DatabaseError> {
    let address = address(server, 0);
    while info(&address, cx, doing).await?.is_loading() {
        cx.clock.sleep(LOOK).await;
    }
    Ok(())
}

/// Tells a snapshot that cannot be loaded from a server that cannot load it, by what it said last. Pure.
fn judge(log: &str, error: DatabaseError) -> DatabaseError {
    let said = log.lines().rev().find(|line| CAUSES.iter().any(|(cause, _)| line.contains(cause)));
    let Some(said) = said else { return unavailable(&kit_core::StepError::from(error).chain()) };
    // `1234:M 21 Nov 2026 10:00:00.000 # Wrong signature`
    let text = said.split_once(" # ").or_else(|| said.split_once(" * ")).map_or(said, |(_, text)| text);
    let text = kit_core::sanitise(text);
    let is_damage = CAUSES.iter().any(|(cause, damage)| *damage && said.contains(cause));
    if !is_damage {
        return unavailable(&text);
    }
    DatabaseError::Damaged {
        database: "the snapshot".to_owned(),
        source: crate::EngineError { text: text.into(), code: None },
    }
}

fn unavailable(text: &str) -> DatabaseError {
    DatabaseError::Unavailable { what: format!("the scratch server did not load the snapshot: {text}") }
}

/// What a server says when it does not load a snapshot, and whether that is the snapshot's fault.
const CAUSES: &[(&str, bool)] = &[
    ("no matching module type", false),
    ("no matching module", false),
    ("Can't handle RDB format version", false),
    ("Out Of Memory", false),
    ("No space left", false),
    ("Permission denied", false),
    ("Internal error in RDB reading", true),
    // The snapshot was read to its end and its checksum compared before: then it was the memory.
    ("Short read or OOM loading DB", false),
    ("Wrong signature trying to load DB", true),
    ("Wrong RDB checksum", true),
    ("Bad file format reading", true),
    ("integrity check failed", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is() {
        let ended = || DatabaseError::Unavailable { what: "it ended".to_owned() };
        for (log, is_damage, says) in [
            (
                "1:M 21 Nov 2026 10:00:00.000 # Wrong signature trying to load DB from file",
                true,
                "Wrong signature",
            ),
            (
                "1:S 21 Nov 2026 10:00:00.000 # Short read or OOM loading DB. Unrecoverable error\nbye",
                false,
                "Short",
            ),
            (
                "1:S x # The RDB file contains module data I can't load: no matching module type 'ReJSON-RL'",
                false,
                "ReJSON",
            ),
            ("1:S x # Can't handle RDB format version 12", false, "version 12"),
            ("1:S x * Ready to accept connections", false, "it ended"),
            ("", false, "it ended"),
        ] {
            let judged = judge(log, ended());
            assert_eq!(matches!(judged, DatabaseError::Damaged { .. }), is_damage, "{log}");
            let text = kit_core::StepError::from(judged).chain();
            assert!(text.contains(says) && !text.contains("21 Nov"), "{text}");
        }
    }
}
