//! A dump: `pg_dump` in a snapshot that we export, counted in the same snapshot, and read along, whatever its format.

use super::clients::{self, Clients};
use super::connect::{self, Doing, Session};
use super::ident::Qualified;
use super::inspect::{self, Names};
use super::parallel::{self, Decision, Snapshot};
use super::reader::{DumpReader, PgDump, Source};
use super::scan::{Content, Scanner};
use super::{PostgresDatabase, archive, header};
use crate::large_writes::large_writes;
use crate::schema_file::SchemaFile;
use crate::{DatabaseError, Dump, DumpReport, EngineError, TableState};
use async_trait::async_trait;
use jiff::Timestamp;
use kit_contract::Sha256;
use kit_contract::body::BackupDetails;
use kit_contract::config::DumpFormat;
use kit_core::{Context, Rows};
use kit_exec::Command;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU8;
use std::path::Path;
use tokio::io::AsyncRead;
use tokio_util::task::AbortOnDropHandle;

/// Oldest server whose catalogue we can read.
const OLDEST_MAJOR: u32 = 12;
/// How long `pg_dump` may wait for the lock of a table, behind a migration for example.
const LOCK_WAIT: &str = "--lock-wait-timeout=60000";

/// What was counted in the snapshot.
struct Counted {
    tables: BTreeMap<Qualified, u64>,
    large_objects: Sha256,
    /// Its transaction is the snapshot: `pg_dump` may not have taken it over yet when the counting is done.
    connection: PgConnection,
}

pub(super) struct PostgresDump {
    display: String,
    version: String,
    snapshot_at: Timestamp,
    names: Names,
    schema_sha256: Sha256,
    details: BackupDetails,
    reading: Box<dyn ReadAlong>,
    counting: AbortOnDropHandle<Result<Counted, sqlx::Error>>,
    /// Whom it tells how many rows there are.
    rows: Rows,
}

/// A server that was asked for its version, and the programs that fit it.
struct Ready {
    connection: PgConnection,
    version: String,
    major: u32,
    clients: Clients,
}

async fn ready(database: &PostgresDatabase, cx: &Context, doing: Doing<'_>) -> Result<Ready, DatabaseError> {
    let reaching = Doing { action: "reach", ..doing };
    let mut connection = connect::open(&database.address, Session::Reading, cx, reaching).await?;
    let (version, number) = doing.run(cx, connect::version(&mut connection)).await?;
    let major = number / 10_000;
    if major < OLDEST_MAJOR {
        return Err(DatabaseError::Refused {
            problem: format!(
                "{} is PostgreSQL {version}; {OLDEST_MAJOR} and later can be backed up",
                doing.database
            ),
        });
    }
    let clients = clients::find(cx, database.options.tools.as_ref(), major).await?;
    Ok(Ready { connection, version, major, clients })
}

/// Whether a dump could begin. What one may not read, `pg_dump` would find only when it comes to it.
pub(super) async fn can_begin(database: &PostgresDatabase, cx: &Context) -> Result<(), DatabaseError> {
    let display = database.address.display();
    let doing = Doing { action: "dump", database: &display, unfinished: "nothing was asked for" };
    let Ready { mut connection, .. } = ready(database, cx, doing).await?;
    let unreadable = doing.run(cx, inspect::unreadable(&mut connection)).await?;
    connect::close(connection).await;
    let Some((first, others)) = unreadable.split_first() else { return Ok(()) };
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let text = format!(
        "its user may not read all of {first}{more}: GRANT SELECT is needed on every table and sequence, and \
         BYPASSRLS where policies hide rows"
    );
    Err(doing.said(EngineError { text: text.into(), code: None }))
}

/// The bytes of a dump, examined while somebody reads them.
#[async_trait]
pub(super) trait ReadAlong: Send {
    /// The bytes.
    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin);

    /// After the reader's end: what was examined, if all of it was made and read.
    async fn finish(self: Box<Self>, cx: &Context, doing: Doing<'_>) -> Result<Examined, DatabaseError>;
}

/// What was examined of a whole dump.
pub(super) struct Examined {
    /// How many bytes the reader gave.
    pub(super) bytes: u64,
    pub(super) content: Content,
    pub(super) schema: SchemaFile,
    /// The rows of tables that were read with their count.
    pub(super) counted: BTreeMap<Qualified, u64>,
}

pub(super) async fn begin(
    database: &PostgresDatabase,
    cx: &Context,
    scratch: &Path,
) -> Result<PostgresDump, DatabaseError> {
    let display = database.address.display();
    let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
    let schema = SchemaFile::new(scratch)?;
    let rows = database.options.rows.clone();
    // What another dump said of its own.
    rows.uncounted();
    let Ready { mut connection, version, major, clients } = ready(database, cx, doing).await?;
    let restore_point = restore_point(&mut connection, cx).await;
    let snapshot_at = cx.clock.now();
    let found = async {
        inspect::begin_snapshot(&mut connection).await?;
        let snapshot = parallel::export(&mut connection).await?;
        let position = log_position(&mut connection).await?;
        let names = inspect::names(&mut connection).await?;
        let schema_sha256 = inspect::schema(&mut connection).await?;
        let needs = inspect::needs(&mut connection).await?;
        let decision = match database.options.dump_jobs.map_or(Some(NonZeroU8::MIN), NonZeroU8::new) {
            Some(jobs) if database.options.format == DumpFormat::Plain => {
                Some(parallel::decide(&mut connection, &names, (major, jobs, database.dump_sizes)).await?)
            }
            _ => None,
        };
        Ok((snapshot, position, names, schema_sha256, needs, decision))
    };
    let (snapshot, log_position, names, schema_sha256, needs, decision) = doing.run(cx, found).await?;
    let format = database.options.format;
    let start =
        Start { database, clients: &clients, major, encoding: &needs.encoding, snapshot: &snapshot, scratch };
    let mut read_with_count = BTreeSet::new();
    let reading: Box<dyn ReadAlong> = match format {
        DumpFormat::Plain => {
            let source = plain(start, cx, decision, doing).await?;
            read_with_count = source.tables_counted();
            Box::new(DumpReader::new(source, start.scanner(schema)))
        }
        DumpFormat::Custom => Box::new(archive::custom(start, cx, schema)?),
        DumpFormat::Directory => Box::new(archive::directory(start, cx, schema, doing).await?),
    };
    let tables = names.tables.keys().filter(|table| !read_with_count.contains(*table)).cloned().collect();
    let counting = AbortOnDropHandle::new(tokio::spawn(count(connection, tables, rows.clone())));
    let details = BackupDetails {
        client: Some(format!("pg_dump {}", clients.version)),
        format: Some(format.as_str().to_owned()),
        log_position: Some(log_position),
        restore_point,
        needs: Some(needs),
        ..BackupDetails::default()
    };
    Ok(PostgresDump { display, version, snapshot_at, names, schema_sha256, details, reading, counting, rows })
}

/// The one setting of ours, of those that change the text of a value, that `pg_dump` does not make by itself.
const BYTES_AS_HEX: &str = "-c bytea_output=hex";

/// The encoding of a database that has none.
const SQL_ASCII: &str = "SQL_ASCII";

/// What is known when `pg_dump` is started.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) database: &'a PostgresDatabase,
    pub(super) clients: &'a Clients,
    /// Major version of the server.
    pub(super) major: u32,
    /// Of the database.
    pub(super) encoding: &'a str,
    pub(super) snapshot: &'a Snapshot,
    /// A folder for temporary files.
    pub(super) scratch: &'a Path,
}

impl Start<'_> {
    /// `pg_dump` with all that its runs have in common.
    pub(super) fn pg_dump(&self) -> Command {
        command(self.database, self.clients, (&self.snapshot.name, self.encoding))
    }

    /// What reads along.
    pub(super) fn scanner(&self, schema: SchemaFile) -> Scanner<SchemaFile> {
        Scanner::new(schema).telling(self.database.options.rows.clone())
    }
}

/// `pg_dump` with all that its runs have in common.
pub(super) fn command(
    database: &PostgresDatabase,
    clients: &Clients,
    (snapshot, encoding): (&str, &str),
) -> Command {
    // As we read names and rows ourselves, whatever role and database are set to: else equal rows would have other
    // digests. Of SQL_ASCII nobody knows what its bytes mean, so nothing is converted.
    let encoding = if encoding == SQL_ASCII { SQL_ASCII } else { "UTF8" };
    let command = clients
        .command("pg_dump")
        .args(["--no-password", LOCK_WAIT])
        .arg(format!("--encoding={encoding}"))
        .arg(format!("--snapshot={snapshot}"));
    database.address.give_to(large_writes(command)).env("PGOPTIONS", connect::program_options(BYTES_AS_HEX))
}

/// One `pg_dump`, or connections of ours besides.
async fn plain(
    start: Start<'_>,
    cx: &Context,
    decision: Option<Decision>,
    doing: Doing<'_>,
) -> Result<Source, DatabaseError> {
    let strip = header::may_differ(start.clients.major, start.major).then_some(start.major);
    match decision {
        Some(Decision::Several(plan)) => {
            let with = (start.clients, start.snapshot, strip);
            Ok(Source::Several(parallel::begin(start.database, plan, with, cx, doing).await?))
        }
        alone => {
            // Who has asked for several hears why there is one.
            if let (Some(Decision::Alone(why)), Some(2..)) = (alone, start.database.options.dump_jobs) {
                cx.out.say(&format!("{} is copied by one connection: {why}", doing.database));
            }
            let pg_dump = start.pg_dump().arg("--format=plain");
            Ok(Source::One(PgDump::new(pg_dump.spawn_reading(cx)?, strip)))
        }
    }
}

/// A named point in the log to which a physical restore can go. `None` where we may not write one.
async fn restore_point(connection: &mut PgConnection, cx: &Context) -> Option<String> {
    let name = format!("deploy-kit-{}", cx.clock.now().as_second());
    let sql = "SELECT CASE WHEN has_function_privilege('pg_create_restore_point(text)', 'execute')
        AND NOT pg_is_in_recovery() AND current_setting('wal_level') <> 'minimal'
        THEN pg_create_restore_point($1)::text END";
    let written: Result<Option<String>, _> =
        sqlx::query_scalar(sql).bind(&name).persistent(false).fetch_one(connection).await;
    written.ok().flatten().map(|_| name)
}

/// Where the write-ahead log stands.
async fn log_position(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text";
    let position: Option<String> = sqlx::query_scalar(sql).persistent(false).fetch_one(connection).await?;
    Ok(position.unwrap_or_default())
}

/// Counts what nobody else counts, in the snapshot of this connection.
async fn count(
    mut connection: PgConnection,
    names: Vec<Qualified>,
    rows: Rows,
) -> Result<Counted, sqlx::Error> {
    // There is time until the dump ends, whose cores they would take.
    connect::execute(&mut connection, "SET max_parallel_workers_per_gather = 0".to_owned()).await?;
    let mut tables = BTreeMap::new();
    for table in names {
        // Else the table and all of its indexes stay locked until the end, and the server has room for so many locks only.
        connect::execute(&mut connection, "SAVEPOINT counting".to_owned()).await?;
        let counted = inspect::count(&mut connection, &table).await?;
        connect::execute(&mut connection, "ROLLBACK TO SAVEPOINT counting".to_owned()).await?;
        tables.insert(table, counted);
    }
    rows.counted(tables.values().sum());
    let large_objects = inspect::large_objects(&mut connection).await?;
    Ok(Counted { tables, large_objects, connection })
}

#[async_trait]
impl Dump for PostgresDump {
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
        self.reading.reader()
    }

    async fn finish(self: Box<Self>, cx: &Context) -> Result<DumpReport, DatabaseError> {
        let Self { display, names, schema_sha256, details, reading, counting, rows, .. } = *self;
        let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
        let Examined { bytes: uncompressed_bytes, content, schema, counted: mut tables } =
            reading.finish(cx, doing).await?;
        let counted = match cx.cancel.unless(counting).await {
            None => return Err(doing.cancelled(cx)),
            Some(Ok(counted)) => counted.map_err(|error| doing.failed(error))?,
            Some(Err(error)) => return Err(doing.bug(&error)),
        };
        connect::close(counted.connection).await;
        tables.extend(counted.tables);
        rows.uncounted();
        rows.counted(tables.values().sum());
        let tables = balance(&content, &tables, &names).map_err(|problem| doing.truncated(problem))?;
        let mut positions = content.sequences;
        positions.retain(|sequence, _| names.sequences.contains(sequence));
        let beyond = inspect::beyond_tables(&positions, &counted.large_objects);
        Ok(DumpReport {
            inspection: inspect::inspection(schema_sha256, tables, Some(beyond)),
            uncompressed_bytes,
            schema_script: Some(schema.finish()?),
            details,
        })
    }
}

/// Compares the rows in the dump with those that the server counted in the same snapshot. Pure.
fn balance(
    content: &Content,
    counted: &BTreeMap<Qualified, u64>,
    names: &Names,
) -> Result<Vec<TableState>, String> {
    let mut states = Vec::new();
    for (table, expected) in counted {
        let Some(digest) = content.tables.get(table) else {
            return Err(format!("table {table} is not in it"));
        };
        if digest.rows() != *expected {
            return Err(format!("it has {} of the {expected} rows of table {table}", digest.rows()));
        }
        let content_sha256 = Some(digest.sha256());
        states.push(TableState { table: table.to_string(), rows: digest.rows(), content_sha256 });
    }
    let stranger = content
        .tables
        .keys()
        .find(|table| !counted.contains_key(table) && !names.of_extensions.contains(table));
    match stranger {
        Some(table) => Err(format!("it has rows of table {table}, which the server did not count")),
        None => Ok(states),
    }
}
