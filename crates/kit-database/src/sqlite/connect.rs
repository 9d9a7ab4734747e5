//! Connections that are bounded in time, can be cancelled, and log no statements.

use crate::{DatabaseError, EngineError};
use kit_core::{Cancel, Context};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;
use std::time::Duration;

/// How many of SQLite's instructions run between two looks at the cancellation: well under 1 ms.
const INSTRUCTIONS_PER_LOOK: i32 = 10_000;
/// Rows that may wait between SQLite's thread and ours; bounds memory to that many of the largest.
const ROWS_IN_FLIGHT: usize = 32;

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads a database that others may use, and may change nothing in it. Unlike a read-only
    /// connection it can roll back what a crash left, and takes the files of WAL mode away again.
    Shared,
    /// Reads a database and touches nothing at all; in WAL mode files may stay beside it.
    ReadOnly,
    /// Reads a file that nobody else has: no locks, no files beside it.
    Immutable,
    /// Reads and writes; a missing file is an error.
    ReadWrite,
}

/// Opens a connection. Statements end with `SQLITE_INTERRUPT` once `cancel` is cancelled.
pub(super) async fn open(
    path: &Path,
    access: Access,
    patience: Duration,
    cancel: Option<&Cancel>,
) -> Result<SqliteConnection, sqlx::Error> {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(patience)
        .row_buffer_size(ROWS_IN_FLIGHT)
        .read_only(matches!(access, Access::ReadOnly | Access::Immutable))
        .immutable(access == Access::Immutable)
        .disable_statement_logging();
    if access == Access::Shared {
        options = options.pragma("query_only", "ON");
    }
    let mut connection = options.connect().await?;
    if let Some(cancel) = cancel.cloned() {
        connection
            .lock_handle()
            .await?
            .set_progress_handler(INSTRUCTIONS_PER_LOOK, move || !cancel.is_cancelled());
    }
    Ok(connection)
}

/// Closes a connection and waits until its locks are gone.
pub(super) async fn close(connection: SqliteConnection) {
    // The work is done and judged by then; what SQLite says about closing changes nothing.
    let _ = connection.close().await;
}

/// SQLite's primary result code (sqlite.org/rescode.html), if it was SQLite that failed.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// SQLITE_BUSY or SQLITE_LOCKED.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}

/// SQLITE_INTERRUPT.
pub(super) fn is_interrupt(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(9)
}

/// SQLITE_CORRUPT or SQLITE_NOTADB.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(11 | 26))
}

/// What was being done to which database, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    pub(super) action: &'static str,
    pub(super) database: &'a str,
    pub(super) waited: Duration,
}

impl Doing<'_> {
    /// The error that people see.
    pub(super) fn failed(&self, error: sqlx::Error, cx: &Context) -> DatabaseError {
        if cx.cancel.is_cancelled() && is_interrupt(&error) {
            let unfinished = match self.action {
                "dump" => "the database was dumped",
                _ => "the database was examined",
            };
            return DatabaseError::Cancelled { unfinished, cause: cx.cancel.cause() };
        }
        let database = self.database.to_owned();
        if is_busy(&error) {
            let waited_ms = self.waited.as_millis();
            return DatabaseError::Busy { database, waited_ms, refused: "nothing was done" };
        }
        let source = EngineError::from(error);
        match self.action {
            "dump" => DatabaseError::Dump { database, source },
            action => DatabaseError::Unreachable { action, database, source },
        }
    }
}
