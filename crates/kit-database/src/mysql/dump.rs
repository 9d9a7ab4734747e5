//! A dump: `mariadb-dump` in a transaction of its own, read along, and counted by us in two snapshots between
//! which its own lies.
//!
//! A snapshot cannot be handed from one connection to another. So ours is taken just before the program
//! starts, and another as soon as its first bytes are there, which it writes after it began its transaction.

use super::MysqlDatabase;
use super::address::Address;
use super::clients::{self, Clients};
use super::connect::{self, Doing, Server, Session};
use super::inspect::{self, Names};
use super::rights::{Rights, refusal};
use super::scan::{Content, Scanner};
use crate::large_writes::large_writes;
use crate::schema_file::{Nowhere, SchemaFile};
use crate::{DatabaseError, Dump, DumpReport, EngineError};
use async_trait::async_trait;
use jiff::Timestamp;
use kit_contract::Sha256;
use kit_contract::body::BackupDetails;
use kit_core::{Context, Rows};
use kit_exec::{Command, ExecError, Running};
use sqlx::mysql::MySqlConnection;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// What the program is asked for: one snapshot, everything, nothing that depends on who reads it.
const ARGUMENTS: &[&str] = &[
    "--single-transaction",
    "--quick",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--no-tablespaces",
    "--skip-dump-date",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
];
/// MySQL's program asks the server for statistics, and writes down the GTIDs of the server, which do not
/// belong to a database.
const ARGUMENTS_OF_MYSQL: &[&str] = &["--column-statistics=0", "--set-gtid-purged=OFF"];

/// The dump program for a database.
pub(super) fn command(address: &Address, clients: &Clients) -> Command {
    let mut command = large_writes(address.command(clients, "dump")).args(ARGUMENTS);
    if clients.product == clients::Product::Mysql {
        command = command.args(ARGUMENTS_OF_MYSQL);
    }
    command
}

/// Reads a database through the dump program and keeps nothing of it: what it holds.
pub(super) async fn content(
    address: &Address,
    clients: &Clients,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Content, DatabaseError> {
    let mut running = command(address, clients).arg(&address.database).spawn_reading(cx)?;
    let mut scanner = Scanner::new(Nowhere);
    let mut piece = vec![0_u8; 256 * 1024];
    while let Ok(count) = running.read(&mut piece).await {
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        scanner.take(bytes);
    }
    running.finish().await.map_err(|error| not_finished(error, doing))?;
    let truncated = |problem| DatabaseError::Truncated { database: doing.database.to_owned(), problem };
    scanner.finish().map(|(content, _)| content).map_err(truncated)
}

pub(super) fn not_finished(error: ExecError, doing: Doing<'_>) -> DatabaseError {
    match error {
        error if error.is_unheard() => error.into(),
        error => doing.said(EngineError::from(&error)),
    }
}

/// A snapshot of ours, with what was found in it.
struct Snapshot {
    connection: MySqlConnection,
    position: Option<String>,
    /// Rows that the server had changed by then.
    changes: u64,
}

async fn snapshot(mut connection: MySqlConnection) -> Result<Snapshot, sqlx::Error> {
    let changes = inspect::changes(&mut connection).await?;
    inspect::begin_snapshot(&mut connection).await?;
    let position = inspect::log_position(&mut connection).await?;
    Ok(Snapshot { connection, position, changes })
}

type Counted = (Snapshot, BTreeMap<String, u64>);

pub(super) struct MysqlDump {
    display: String,
    version: String,
    snapshot_at: Timestamp,
    names: Names,
    schema_sha256: Sha256,
    content_method: String,
    details: BackupDetails,
    reader: DumpReader,
    before: AbortOnDropHandle<Result<Counted, sqlx::Error>>,
    after: AbortOnDropHandle<Result<Snapshot, DatabaseError>>,
}

/// A server that was asked who we are to it, and the programs that fit it.
struct Ready {
    connection: MySqlConnection,
    server: Server,
    clients: Clients,
}

async fn ready(database: &MysqlDatabase, cx: &Context, doing: Doing<'_>) -> Result<Ready, DatabaseError> {
    let name = &database.address.database;
    let reaching = Doing { action: "reach", ..doing };
    let mut connection = connect::open(&database.address, Session::Reading, cx, reaching).await?;
    let server = doing.run(cx, connect::server(&mut connection)).await?;
    let grants = doing.run(cx, inspect::grants(&mut connection)).await?;
    let missing = Rights::parse(&grants).missing(name);
    if !missing.is_empty() {
        let text = refusal(&missing, name).into();
        return Err(doing.said(EngineError { text, code: None }));
    }
    let clients = clients::find(cx, database.options.tools.as_ref(), server.product).await?;
    Ok(Ready { connection, server, clients })
}

/// Whether a dump could begin.
pub(super) async fn can_begin(database: &MysqlDatabase, cx: &Context) -> Result<(), DatabaseError> {
    let display = database.display_name();
    let doing = Doing { action: "dump", database: &display, unfinished: "nothing was asked for" };
    let Ready { mut connection, .. } = ready(database, cx, doing).await?;
    let names = doing.run(cx, inspect::names(&mut connection, &database.address.database)).await?;
    connect::close(connection).await;
    fit(&names, &display)
}

/// A dump takes only what one snapshot covers.
fn fit(names: &Names, display: &str) -> Result<(), DatabaseError> {
    if names.unfit.is_empty() {
        return Ok(());
    }
    Err(DatabaseError::Refused {
        problem: format!(
            "{display} cannot be copied in one snapshot: {}; convert it to InnoDB, or back it up by other means",
            names.unfit.join(", ")
        ),
    })
}

pub(super) async fn begin(
    database: &MysqlDatabase,
    cx: &Context,
    scratch: &Path,
) -> Result<MysqlDump, DatabaseError> {
    let display = database.display_name();
    let name = &database.address.database;
    let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
    let schema = SchemaFile::new(scratch)?;
    let Ready { connection, server, clients } = ready(database, cx, doing).await?;
    let snapshot_at = cx.clock.now();
    let mut first = doing.run(cx, snapshot(connection)).await?;
    let found = async {
        let names = inspect::names(&mut first.connection, name).await?;
        let lines = inspect::schema_lines(&mut first.connection, &names).await?;
        let needs = inspect::needs(&mut first.connection, &server, name).await?;
        Ok((names, inspect::schema_sha256(&lines), needs))
    };
    let (names, schema_sha256, needs) = doing.run(cx, found).await?;
    fit(&names, &display)?;
    let running = command(&database.address, &clients).arg(name).spawn_reading(cx)?;
    let before = AbortOnDropHandle::new(tokio::spawn(count(
        first,
        names.tables.clone(),
        database.options.rows.clone(),
    )));
    let (began, has_begun) = oneshot::channel();
    let after = AbortOnDropHandle::new(tokio::spawn(second(database.clone(), cx.clone(), has_begun)));
    let details = BackupDetails {
        client: Some(format!("{} {}", program_name(&clients), clients.version)),
        needs: Some(needs),
        ..BackupDetails::default()
    };
    let scanner = Scanner::new(schema).telling(database.options.rows.clone());
    let reader = DumpReader { running, scanner, began: Some(began), ended: false };
    let version = server.version;
    let content_method = clients.content_method();
    Ok(MysqlDump {
        display,
        version,
        snapshot_at,
        names,
        schema_sha256,
        content_method,
        details,
        reader,
        before,
        after,
    })
}

fn program_name(clients: &Clients) -> &'static str {
    match clients.product {
        clients::Product::MariaDb => "mariadb-dump",
        clients::Product::Mysql => "mysqldump",
    }
}

async fn count(mut first: Snapshot, tables: Vec<String>, rows: Rows) -> Result<Counted, sqlx::Error> {
    let mut counts = BTreeMap::new();
    for table in tables {
        let counted = inspect::count(&mut first.connection, &table).await?;
        counts.insert(table, counted);
    }
    rows.counted(counts.values().sum());
    // Nothing waits for our locks any longer than it must.
    connect::execute(&mut first.connection, "COMMIT".to_owned()).await?;
    Ok((first, counts))
}

/// The snapshot after that of the program, as soon as its first bytes are there.
async fn second(
    database: MysqlDatabase,
    cx: Context,
    has_begun: oneshot::Receiver<()>,
) -> Result<Snapshot, DatabaseError> {
    // An error means that nobody reads any more.
    let _ = has_begun.await;
    let display = database.display_name();
    let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
    let connection = connect::open(&database.address, Session::Reading, &cx, doing).await?;
    doing.run(&cx, async { snapshot_of_later(connection).await }).await
}

/// The counter is read after the snapshot: everything between the two snapshots lies between the counters.
async fn snapshot_of_later(connection: MySqlConnection) -> Result<Snapshot, sqlx::Error> {
    let mut later = snapshot(connection).await?;
    later.changes = inspect::changes(&mut later.connection).await?;
    Ok(later)
}

#[async_trait]
impl Dump for MysqlDump {
    fn snapshot_at(&self) -> Timestamp {
        self.snapshot_at
    }

    fn engine_version(&self) -> &str {
        &self.version
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        None
    }

    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin) {
        &mut self.reader
    }

    async fn finish(self: Box<Self>, cx: &Context) -> Result<DumpReport, DatabaseError> {
        let Self {
            display, names, schema_sha256, content_method, mut details, reader, before, after, ..
        } = *self;
        let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
        let truncated = |problem| DatabaseError::Truncated { database: display.clone(), problem };
        let DumpReader { running, scanner, ended, .. } = reader;
        if !ended {
            running.stop().await;
            return Err(truncated(format!("only {} bytes of it were read", scanner.bytes())));
        }
        running.finish().await.map_err(|error| not_finished(error, doing))?;
        let uncompressed_bytes = scanner.bytes();
        let (content, schema) = scanner.finish().map_err(truncated)?;
        if let Some(problem) = inspect::lacks(&content, &names) {
            return Err(truncated(problem));
        }
        if let Some(needs) = &mut details.needs {
            needs.longest_statement_bytes = Some(content.longest_insert_bytes);
        }
        let (first, counts) = joined(cx, doing, before).await?.map_err(|error| doing.failed(error))?;
        let later = joined(cx, doing, after).await??;
        let log_position = position(first.position.as_deref(), later.position.as_deref());
        let changed = later.changes.saturating_sub(first.changes);
        doing.run(cx, balance(&content, &counts, later, changed)).await?.map_err(truncated)?;
        connect::close(first.connection).await;
        Ok(DumpReport {
            inspection: inspect::inspection(
                schema_sha256,
                inspect::states(&content),
                Some((inspect::beyond_tables(&content), content_method)),
            ),
            uncompressed_bytes,
            schema_script: Some(schema.finish()?),
            details: BackupDetails { log_position, ..details },
        })
    }
}

async fn joined<T>(cx: &Context, doing: Doing<'_>, task: AbortOnDropHandle<T>) -> Result<T, DatabaseError> {
    match cx.cancel.unless(task).await {
        None => Err(doing.cancelled(cx)),
        Some(Ok(done)) => Ok(done),
        Some(Err(error)) => Err(doing.said(EngineError { text: error.to_string().into(), code: None })),
    }
}

/// Compares the rows in the dump with those that the server counted just before, and, where they differ, just
/// after. The inner error says what is missing.
async fn balance(
    content: &Content,
    before: &BTreeMap<String, u64>,
    mut later: Snapshot,
    changed: u64,
) -> Result<Result<(), String>, sqlx::Error> {
    for (table, digest) in &content.tables {
        let expected = before.get(table).copied().unwrap_or_default();
        if digest.rows() == expected {
            continue;
        }
        let after = inspect::count(&mut later.connection, table).await?;
        if !inspect::plausible(digest.rows(), expected, after, changed) {
            return Ok(Err(format!(
                "it has {} rows of table {table:?}, of which there were {expected} just before and {after} just \
                 after",
                digest.rows()
            )));
        }
    }
    connect::close(later.connection).await;
    Ok(Ok(()))
}

/// Where the log stood: exactly, if nothing was written between our two snapshots. Pure.
fn position(before: Option<&str>, after: Option<&str>) -> Option<String> {
    match (before, after) {
        (Some(before), Some(after)) if before == after => Some(before.to_owned()),
        (Some(before), Some(after)) => Some(format!("between {before} and {after}")),
        _ => None,
    }
}

/// The bytes of the dump, read along.
struct DumpReader {
    running: Running,
    scanner: Scanner<SchemaFile>,
    /// To be told when the first bytes are there.
    began: Option<oneshot::Sender<()>>,
    ended: bool,
}

impl AsyncRead for DumpReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.running).poll_read(task, buffer))?;
        if let Some(began) = self.began.take() {
            let _ = began.send(());
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.ended = read.is_empty() && room > 0;
        self.scanner.take(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn a_position_is_exact_or_says_that_it_is_not() {
        assert_eq!(position(Some("b.1:4"), Some("b.1:4")), Some("b.1:4".to_owned()));
        assert_eq!(position(Some("b.1:4"), Some("b.1:9")), Some("between b.1:4 and b.1:9".to_owned()));
        assert_eq!(position(None, None), None);
    }
}
