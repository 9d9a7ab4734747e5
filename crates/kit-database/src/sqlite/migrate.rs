//! Migrations on SQLite.
//!
//! Each runs with its bookkeeping row in one `BEGIN IMMEDIATE` transaction: whoever holds the write
//! lock looks at the books again before applying anything, so two runs cannot apply one twice, and no
//! other lock is needed. Foreign keys are enforced while migrations run, as `sqlx migrate run` does.

use super::SqliteDatabase;
use super::connect::{self, Access, Doing, is_busy, is_interrupt};
use crate::migration::BOOKS;
use crate::{
    Database as _, DatabaseError, EngineError, MigrationOutcome, MigrationSet, MigrationStatus,
    RecordedMigration,
};
use kit_core::Context;
use sqlx::migrate::{Migrate as _, MigrateError, Migration};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) async fn status(
    database: &SqliteDatabase,
    cx: &Context,
    set: &MigrationSet,
) -> Result<MigrationStatus, DatabaseError> {
    let display = database.display();
    let doing = Doing { action: "read", database: &display, waited: database.patience };
    let read = async {
        let mut connection =
            connect::open(&database.path, database.reading(), database.patience, Some(&cx.cancel)).await?;
        let rows = recorded(&mut connection).await;
        connect::close(connection).await;
        rows
    };
    Ok(set.status(&read.await.map_err(|error| doing.failed(error, cx))?))
}

/// What the books say; no books means that nothing was applied.
async fn recorded(connection: &mut SqliteConnection) -> Result<Vec<RecordedMigration>, sqlx::Error> {
    let books: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .bind(BOOKS)
            .fetch_one(&mut *connection)
            .await?;
    if books == 0 {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version, description, success, checksum FROM {BOOKS} ORDER BY version");
    let rows: Vec<(i64, String, bool, Vec<u8>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let row = |(version, description, success, checksum)| RecordedMigration {
        version,
        description,
        success,
        checksum,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// How a run ended, before the books were read again.
enum Ran {
    Applied(Duration),
    Elsewhere,
    Refused(DatabaseError),
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Ran {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<MigrateError> for Ran {
    fn from(error: MigrateError) -> Self {
        Self::Failed(match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
            other => sqlx::Error::Migrate(Box::new(other)),
        })
    }
}

pub(super) async fn apply(
    database: &SqliteDatabase,
    cx: &Context,
    set: &MigrationSet,
    version: i64,
) -> Result<MigrationOutcome, DatabaseError> {
    let Some(migration) = set.find(version) else {
        let problem = format!("there is no migration {version} in {}", set.folder());
        return Err(DatabaseError::Refused { problem });
    };
    if cx.cancel.is_cancelled() {
        return Err(cancelled(cx));
    }
    let display = database.display();
    let ran =
        match connect::open(&database.path, Access::ReadWrite, database.patience, Some(&cx.cancel)).await {
            Ok(mut connection) => {
                let ran = run(&mut connection, &display, set, migration).await;
                connect::close(connection).await;
                ran
            }
            Err(error) => Ran::Failed(error),
        };
    if let Ran::Refused(error) = ran {
        return Err(error);
    }
    judge(database, cx, migration, ran).await
}

async fn run(
    connection: &mut SqliteConnection,
    display: &str,
    set: &MigrationSet,
    migration: &Migration,
) -> Ran {
    let done = if migration.no_tx {
        run_bare(connection, display, set, migration).await
    } else {
        run_in_transaction(connection, display, set, migration).await
    };
    match done {
        Ok(ran) | Err(ran) => ran,
    }
}

async fn run_in_transaction(
    connection: &mut SqliteConnection,
    display: &str,
    set: &MigrationSet,
    migration: &Migration,
) -> Result<Ran, Ran> {
    // A `COMMIT` inside the file would keep half of it without its row. Only our own one is let through.
    let may_commit = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&may_commit);
    connection.lock_handle().await?.set_commit_hook(move || asked.load(Ordering::SeqCst));
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(ran) = look_again(&mut transaction, display, set, migration.version).await? {
        return Ok(ran);
    }
    transaction.ensure_migrations_table(BOOKS).await?;
    let duration = transaction.apply(BOOKS, migration).await?;
    may_commit.store(true, Ordering::SeqCst);
    transaction.commit().await?;
    Ok(Ran::Applied(duration))
}

/// For files that ask to run outside a transaction (`VACUUM`, `PRAGMA foreign_keys`).
async fn run_bare(
    connection: &mut SqliteConnection,
    display: &str,
    set: &MigrationSet,
    migration: &Migration,
) -> Result<Ran, Ran> {
    connection.ensure_migrations_table(BOOKS).await?;
    if let Some(ran) = look_again(connection, display, set, migration.version).await? {
        return Ok(ran);
    }
    Ok(Ran::Applied(connection.apply(BOOKS, migration).await?))
}

/// Reads the books again: `None` if the migration may be applied now.
async fn look_again(
    connection: &mut SqliteConnection,
    display: &str,
    set: &MigrationSet,
    version: i64,
) -> Result<Option<Ran>, sqlx::Error> {
    let rows = recorded(connection).await?;
    if let Err(refusal) = set.status(&rows).check(display) {
        return Ok(Some(Ran::Refused(refusal)));
    }
    Ok(rows.iter().any(|row| row.version == version).then_some(Ran::Elsewhere))
}

/// Judges by the books, not by what the run reported.
async fn judge(
    database: &SqliteDatabase,
    cx: &Context,
    migration: &Migration,
    ran: Ran,
) -> Result<MigrationOutcome, DatabaseError> {
    // Not cancellable: even a cancelled run has to say what is there.
    let books = async {
        let mut connection =
            connect::open(&database.path, database.reading(), database.patience, None).await?;
        let rows = recorded(&mut connection).await;
        connect::close(connection).await;
        rows
    };
    let books = books.await;
    let row = books.as_ref().ok().and_then(|rows| rows.iter().find(|row| row.version == migration.version));
    let in_books = row.filter(|row| row.success && *row.checksum == *migration.checksum);
    match (ran, in_books, books.as_ref().err()) {
        (Ran::Applied(duration), Some(row), _) => {
            let duration_ms = u64::try_from(duration.as_millis()).ok();
            Ok(MigrationOutcome::Applied(kit_contract::body::AppliedMigration {
                duration_ms,
                ..row.applied()
            }))
        }
        (_, Some(row), _) => Ok(MigrationOutcome::AppliedElsewhere(row.applied())),
        (Ran::Failed(error), None, None) => Err(failed(database, cx, migration, error)),
        (Ran::Failed(error), None, Some(_)) => {
            Err(partial(database, migration, "the books cannot be read now", error.into()))
        }
        (_, None, unread) => {
            let source = match unread {
                Some(error) => EngineError::from(error),
                None => EngineError { text: "its row is missing or another one".into(), code: None },
            };
            Err(partial(database, migration, "the books do not confirm that it was applied", source))
        }
    }
}

/// The migration failed, and its row is certainly not there.
fn failed(
    database: &SqliteDatabase,
    cx: &Context,
    migration: &Migration,
    error: sqlx::Error,
) -> DatabaseError {
    if migration.no_tx {
        let state = "it runs outside a transaction, so parts of it may have stayed";
        return partial(database, migration, state, error.into());
    }
    if cx.cancel.is_cancelled() && is_interrupt(&error) {
        return cancelled(cx);
    }
    if is_busy(&error) {
        return DatabaseError::Busy {
            database: database.display(),
            waited_ms: database.patience.as_millis(),
            refused: "the migration was not applied",
        };
    }
    DatabaseError::MigrationFailed {
        database: database.display(),
        version: migration.version,
        description: migration.description.to_string(),
        source: error.into(),
    }
}

fn cancelled(cx: &Context) -> DatabaseError {
    let unfinished = "the migration was applied; nothing of it stayed";
    DatabaseError::Cancelled { unfinished, cause: cx.cancel.cause() }
}

fn partial(
    database: &SqliteDatabase,
    migration: &Migration,
    state: &str,
    source: EngineError,
) -> DatabaseError {
    DatabaseError::MigrationPartial {
        database: database.display(),
        version: migration.version,
        description: migration.description.to_string(),
        state: state.to_owned(),
        source,
    }
}
