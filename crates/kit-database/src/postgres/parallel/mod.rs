//! `pg_dump` makes everything but the rows of the large plain tables, which connections of ours copy in the same
//! snapshot, piece by piece, by ranges of their pages. What comes out is one plain dump.
//!
//! Its order: what has to be there before the rows (`--section=pre-data`), the pieces as they come, the other rows,
//! and what comes after them (`--section=data --section=post-data`). Several `COPY` of one table restore like one.
//!
//! Sources: pg_dump(1) on `--snapshot` and `--section`; the same pages by ranges of `ctid`: pgcopydb,
//! docs/concurrency.rst. TID range scans are there since PostgreSQL 14.

mod copied;
mod copy;
mod merge;
mod plan;

use super::PostgresDatabase;
use super::clients::Clients;
use super::connect::{self, Doing};
use super::copy_out::CopyOut;
use super::ident::Qualified;
use super::inspect::Names;
use super::judged::judged_by_functions;
use super::reader::PgDump;
use crate::DatabaseError;
use crate::pieces::Pieces;
use copied::Copied;
pub(super) use copy::{Snapshot, export, join};
use kit_core::Context;
pub(super) use plan::Sizes;
use plan::{Large, Mixed};
use sqlx::postgres::PgConnection;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU8;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::task::AbortOnDropHandle;

/// The first version that finds a range of pages without reading the others.
const OLDEST_MAJOR: u32 = 14;
/// The only one in which what we copy needs no conversion.
const ENCODING: &str = "UTF8";
/// So many tables, the largest ones, are copied by us at most: each is an argument of `pg_dump`, and locked by every
/// connection.
const MOST_TABLES: usize = 1000;
/// Pieces that may wait for whoever reads.
const AHEAD: usize = 4;

/// The tables that are to be copied in pieces.
pub(super) struct Plan {
    jobs: NonZeroU8,
    sizes: Sizes,
    tables: Vec<Large>,
}

/// Whether connections of ours copy, or why one `pg_dump` does it alone.
pub(super) enum Decision {
    Several(Plan),
    Alone(String),
}

/// Chooses and locks the tables, in the transaction of the snapshot. Without the lock, somebody could truncate
/// one or write it anew before its pieces are copied.
pub(super) async fn decide(
    connection: &mut PgConnection,
    names: &Names,
    (major, jobs, sizes): (u32, NonZeroU8, Sizes),
) -> Result<Decision, sqlx::Error> {
    if major < OLDEST_MAJOR {
        return Ok(Decision::Alone(format!("that needs PostgreSQL {OLDEST_MAJOR}, this is {major}")));
    }
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    if encoding != ENCODING {
        return Ok(Decision::Alone(format!(
            "that needs a database in {ENCODING}, this one is in {encoding}"
        )));
    }
    let mut tables = large(connection, names, sizes).await?;
    if !tables.is_empty() {
        let judged = judged_by_functions(connection).await?;
        tables.retain(|large| !judged.contains(&large.table));
    }
    tables.sort_by_key(|large| Reverse(large.size_bytes));
    tables.truncate(MOST_TABLES);
    if tables.is_empty() {
        let smallest = sizes.smallest_bytes >> 20;
        return Ok(Decision::Alone(format!(
            "no table of {smallest} MiB or more is without checks by functions"
        )));
    }
    connect::execute(connection, copy::lock(tables.iter().map(|large| &large.table))).await?;
    // Only now nobody can give them other pages. One that became small is no problem.
    let locked = self::large(connection, names, sizes).await?;
    tables.retain_mut(|table| match locked.iter().find(|locked| locked.table == table.table) {
        Some(now) => {
            *table = now.clone();
            true
        }
        None => false,
    });
    Ok(Decision::Several(Plan { jobs, sizes, tables }))
}

async fn large(
    connection: &mut PgConnection,
    names: &Names,
    sizes: Sizes,
) -> Result<Vec<Large>, sqlx::Error> {
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, pg_relation_size(c.oid) / current_setting('block_size')::bigint,
            pg_table_size(c.oid)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
         WHERE c.relkind = 'r' AND a.amname = 'heap' AND pg_table_size(c.oid) >= $1",
    )
    .bind(i64::try_from(sizes.smallest_bytes).unwrap_or(i64::MAX))
    .persistent(false)
    .fetch_all(connection)
    .await?;
    let found = rows.into_iter().filter_map(|(schema, name, pages, size_bytes)| {
        let table = Qualified { schema, name };
        let columns = names.tables.get(&table).filter(|columns| !columns.is_empty())?.clone();
        Some(Large { table, columns, pages: pages.unsigned_abs(), size_bytes: size_bytes.unsigned_abs() })
    });
    Ok(found.collect())
}

/// One `COPY … TO STDOUT` of rows of a table.
pub(super) struct Statement {
    pub(super) table: Qualified,
    pub(super) sql: String,
}

/// What gives all rows of all tables, one after the other.
pub(super) type Statements = Box<dyn Iterator<Item = Statement> + Send>;

/// The large ones in pieces, so that several connections have something to do.
pub(super) async fn statements(
    connection: &mut PgConnection,
    names: &Names,
    sizes: Sizes,
) -> Result<Statements, sqlx::Error> {
    let (_, number) = connect::version(connection).await?;
    let tables = match number / 10_000 {
        OLDEST_MAJOR.. => large(connection, names, sizes).await?,
        _ => Vec::new(),
    };
    let is_large: BTreeSet<Qualified> = tables.iter().map(|large| large.table.clone()).collect();
    let pieces = Mixed::new(tables, sizes.piece_bytes);
    let others = names.tables.iter().filter(|(table, _)| !is_large.contains(*table));
    let others = others.map(|(table, columns)| {
        let columns = if columns.is_empty() { String::new() } else { format!(" ({columns})") };
        Statement { table: table.clone(), sql: format!("COPY {}{columns} TO STDOUT", table.sql()) }
    });
    let others: Vec<Statement> = others.collect();
    Ok(Box::new(pieces.map(|piece| Statement { table: piece.table, sql: piece.sql }).chain(others)))
}

/// A dump that several producers make.
pub(super) struct Parallel {
    reader: Pieces,
    task: AbortOnDropHandle<Result<(), DatabaseError>>,
    /// Unless a connection cannot say what the server has counted.
    copied: Option<Arc<Mutex<Copied>>>,
}

/// Starts all of them in the snapshot. `pg_dump` gives a command with what all of its runs share.
pub(super) async fn begin(
    database: &PostgresDatabase,
    plan: Plan,
    (clients, snapshot, strip): (&Clients, &Snapshot, Option<u32>),
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Parallel, DatabaseError> {
    let run = |args: Vec<String>| {
        let running = super::dump::command(database, clients, (&snapshot.name, ENCODING))
            .arg("--format=plain")
            .args(args)
            .spawn_reading(cx)?;
        Ok::<_, DatabaseError>(PgDump::new(running, strip))
    };
    let before = run(vec!["--section=pre-data".to_owned()])?;
    let mut args = vec!["--section=data".to_owned(), "--section=post-data".to_owned()];
    // A pattern in which, inside of quotes, every letter stands for itself.
    args.extend(plan.tables.iter().map(|large| format!("--exclude-table-data={}", large.table.sql())));
    let after = run(args)?;
    let pieces = Mixed::new(plan.tables, plan.sizes.piece_bytes);
    let tables: Vec<Qualified> = pieces.tables().cloned().collect();
    let mut connections = Vec::new();
    for _ in 0..plan.jobs.get() {
        // Whoever reads a table has locked it: a connection that is lost takes its lock with it, and nobody would miss that
        // of another one. Nor would anybody get a lock behind somebody who waits for the one of the snapshot to end.
        connections.push(CopyOut::open(&database.address, (snapshot, &tables), cx, doing).await?);
    }
    let copied = connections
        .iter()
        .all(CopyOut::counts)
        .then(|| Arc::new(Mutex::new(Copied::new(&pieces, database.options.rows.clone()))));
    let queue = copy::Queue { pieces: Arc::new(Mutex::new(pieces)), copied: copied.clone() };
    let copying = connections.into_iter().map(|connection| (connection, queue.clone())).collect();
    let (sender, reader) = Pieces::channel(AHEAD);
    let display = doing.database.to_owned();
    let (action, unfinished) = (doing.action, doing.unfinished);
    let task = tokio::spawn(async move {
        let doing = Doing { action, database: &display, unfinished };
        merge::run(merge::Producers { before, copying, after }, sender, doing).await
    });
    Ok(Parallel { reader, task: AbortOnDropHandle::new(task), copied })
}

impl Parallel {
    /// The tables whose rows the server counts as it sends them.
    pub(super) fn tables_counted(&self) -> BTreeSet<Qualified> {
        let Some(copied) = &self.copied else { return BTreeSet::new() };
        copied.lock().unwrap_or_else(PoisonError::into_inner).tables().cloned().collect()
    }

    /// Ends all of them.
    pub(super) async fn stop(self) {
        let Self { reader, task, .. } = self;
        drop(reader);
        task.abort();
        let _ = task.await;
    }

    /// After the end: whether every one of them ended well, and how many rows the server has counted.
    pub(super) async fn finish(
        self,
        cx: &Context,
        doing: Doing<'_>,
    ) -> Result<BTreeMap<Qualified, u64>, DatabaseError> {
        let ended = match cx.cancel.unless(self.task).await {
            None => return Err(doing.cancelled(cx)),
            Some(Ok(ended)) => ended,
            Some(Err(error)) => return Err(doing.bug(&error)),
        };
        ended?;
        if !self.reader.was_read_whole() {
            return Err(doing.truncated("its producers did not come to an end".to_owned()));
        }
        let Some(copied) = &self.copied else { return Ok(BTreeMap::new()) };
        let counted = copied.lock().unwrap_or_else(PoisonError::into_inner).counted();
        counted.map_err(|problem| doing.truncated(problem))
    }
}

impl AsyncRead for Parallel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // A producer that failed ends the stream; why, `finish` says, without which no end counts.
        let _ = ready!(Pin::new(&mut self.reader).poll_read(task, buffer));
        Poll::Ready(Ok(()))
    }
}
