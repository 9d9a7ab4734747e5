//! Migrations on PostgreSQL.
//!
//! Each runs with its row in the books in one transaction. Runs exclude each other by an advisory lock that
//! is tried for again and again and never waited for: a connection that waits holds a snapshot, and
//! `CREATE INDEX CONCURRENTLY` of the run that has the lock would wait for that snapshot for ever.
//!
//! Locks of tables are waited for only briefly, since whoever comes behind a waiting `ALTER TABLE` waits,
//! too, readers included; then it is tried again, after a pause in which those behind it get their turn.

use super::PostgresDatabase;
use super::connect::{self, Doing, Session};
use crate::migration::BOOKS;
use crate::{
    Database as _, DatabaseError, EngineError, MigrationOutcome, MigrationSet, MigrationStatus,
    RecordedMigration,
};
use kit_core::Context;
use sqlx::migrate::{Migrate as _, MigrateError, Migration};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::time::Duration;

/// How long a statement may wait for a lock, how long it may run, and how often and when it is tried again.
const LOCK: Duration = Duration::from_millis(500);
const STATEMENT: Duration = Duration::from_secs(20 * 60);
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);
/// How long another run may hold the advisory lock.
const TURN: Duration = Duration::from_secs(60);
/// The key of the advisory lock: `kit_migr` in ASCII.
const KEY: i64 = 0x6b69_745f_6d69_6772;

pub(super) async fn status(
    database: &PostgresDatabase,
    cx: &Context,
    set: &MigrationSet,
) -> Result<MigrationStatus, DatabaseError> {
    let display = database.display();
    let doing = Doing { action: "read", database: &display, unfinished: "the migrations were compared" };
    let mut connection = connect::open(&database.address, session(), cx, doing).await?;
    let rows = doing.run(cx, recorded(&mut connection)).await;
    connect::close(connection).await;
    Ok(set.status(&rows?))
}

const fn session() -> Session {
    Session::Migrating { lock: LOCK, statement: STATEMENT }
}

/// What the books say; no books means that nothing was applied.
async fn recorded(connection: &mut PgConnection) -> Result<Vec<RecordedMigration>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(BOOKS)
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version, description, success, checksum FROM {BOOKS} ORDER BY version");
    let rows: Vec<(i64, String, bool, Vec<u8>)> =
        sqlx::query_as(AssertSqlSafe(sql)).persistent(false).fetch_all(connection).await?;
    let row = |(version, description, success, checksum)| RecordedMigration {
        version,
        description,
        success,
        checksum,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// How one attempt ended.
enum Ran {
    Applied(Duration),
    Elsewhere,
    Refused(DatabaseError),
    /// With the transaction's number, if it had begun.
    Failed(sqlx::Error, Option<String>),
}

pub(super) async fn apply(
    database: &PostgresDatabase,
    cx: &Context,
    set: &MigrationSet,
    version: i64,
) -> Result<MigrationOutcome, DatabaseError> {
    let Some(migration) = set.find(version) else {
        let problem = format!("there is no migration {version} in {}", set.folder());
        return Err(DatabaseError::Refused { problem });
    };
    let display = database.display();
    let doing = Doing {
        action: "migrate",
        database: &display,
        unfinished: "the migration was applied; nothing of it stayed",
    };
    let turn = take_turn(database, cx, doing).await?;
    let mut attempt = 1;
    let ran = loop {
        let ran = once(database, cx, doing, set, migration).await?;
        match &ran {
            Ran::Failed(error, _) if is_lock_timeout(error) && !migration.no_tx && attempt < ATTEMPTS => {
                cx.out.say(&format!(
                    "  {display}: a lock was not to be had within {} ms (attempt {attempt} of {ATTEMPTS}); trying \
                     again",
                    LOCK.as_millis()
                ));
                if cx.cancel.unless(cx.clock.sleep(PAUSE)).await.is_none() {
                    break Err(doing.cancelled(cx));
                }
                attempt += 1;
            }
            _ => break Ok(ran),
        }
    };
    let outcome = match ran {
        Ok(Ran::Refused(error)) | Err(error) => Err(error),
        Ok(ran) => judge(database, cx, doing, migration, ran).await,
    };
    connect::close(turn).await;
    outcome
}

/// Takes the advisory lock, which ends with the returned connection. The connection is idle otherwise.
async fn take_turn(
    database: &PostgresDatabase,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<PgConnection, DatabaseError> {
    let mut connection = connect::open(&database.address, Session::Reading, cx, doing).await?;
    let began = cx.clock.elapsed();
    loop {
        let (got, before): (bool, i32) = doing.run(cx, ask_for_turn(&mut connection)).await?;
        if got {
            // Behind a pooler for transactions the lock would belong to somebody else by now.
            let (_, after) = doing.run(cx, ask_for_turn(&mut connection)).await?;
            if before != after {
                return Err(DatabaseError::Refused {
                    problem: format!(
                        "{} is reached through a transaction pooler, where no lock holds; give the URL of the server \
                         itself",
                        doing.database
                    ),
                });
            }
            return Ok(connection);
        }
        if cx.clock.elapsed().saturating_sub(began) > TURN {
            return Err(DatabaseError::Busy {
                database: doing.database.to_owned(),
                waited_ms: TURN.as_millis(),
                refused: "another run of deploy-kit migrates it, and nothing was applied",
            });
        }
        if cx.cancel.unless(cx.clock.sleep(PAUSE)).await.is_none() {
            return Err(doing.cancelled(cx));
        }
    }
}

async fn ask_for_turn(connection: &mut PgConnection) -> Result<(bool, i32), sqlx::Error> {
    sqlx::query_as("SELECT pg_try_advisory_lock($1), pg_backend_pid()")
        .bind(KEY)
        .persistent(false)
        .fetch_one(connection)
        .await
}

async fn once(
    database: &PostgresDatabase,
    cx: &Context,
    doing: Doing<'_>,
    set: &MigrationSet,
    migration: &Migration,
) -> Result<Ran, DatabaseError> {
    let mut connection = connect::open(&database.address, session(), cx, doing).await?;
    let mut transaction = None;
    let work = run(&mut connection, doing.database, set, migration, &mut transaction);
    // A statement that is cut off goes on in the server until it notices; the judge asks what became of it.
    let done = cx.cancel.unless(work).await;
    let ran = match done {
        Some(Ok(ran)) => ran,
        Some(Err(error)) => Ran::Failed(error, transaction),
        None => {
            let source = std::io::Error::new(std::io::ErrorKind::Interrupted, "the step was cancelled");
            Ran::Failed(sqlx::Error::Io(source), transaction)
        }
    };
    connect::close(connection).await;
    Ok(ran)
}

async fn run(
    connection: &mut PgConnection,
    display: &str,
    set: &MigrationSet,
    migration: &Migration,
    number: &mut Option<String>,
) -> Result<Ran, sqlx::Error> {
    if migration.no_tx {
        connection.ensure_migrations_table(BOOKS).await.map_err(plain)?;
        if let Some(ran) = look_again(connection, display, set, migration.version).await? {
            return Ok(ran);
        }
        return Ok(Ran::Applied(connection.apply(BOOKS, migration).await.map_err(plain)?));
    }
    let mut transaction = connection.begin().await?;
    *number = sqlx::query_scalar("SELECT txid_current()::text")
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await?;
    if let Some(ran) = look_again(&mut transaction, display, set, migration.version).await? {
        return Ok(ran);
    }
    transaction.ensure_migrations_table(BOOKS).await.map_err(plain)?;
    let duration = transaction.apply(BOOKS, migration).await.map_err(plain)?;
    transaction.commit().await?;
    Ok(Ran::Applied(duration))
}

fn plain(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}

/// Reads the books again: `None` if the migration may be applied now.
async fn look_again(
    connection: &mut PgConnection,
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

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("55P03")
}

/// What the server knows afterwards.
struct Known {
    row: Option<RecordedMigration>,
    /// `committed`, `aborted` or `in progress`; `None` if there was no transaction.
    fate: Option<String>,
    /// Indexes that a failed `CREATE INDEX CONCURRENTLY` left.
    invalid: Vec<String>,
}

async fn ask(
    database: &PostgresDatabase,
    cx: &Context,
    doing: Doing<'_>,
    version: i64,
    number: Option<&str>,
) -> Result<Known, DatabaseError> {
    // Not cancellable: even a cancelled run has to say what is there.
    let cx = Context { cancel: kit_core::Cancel::default(), ..cx.clone() };
    let mut connection = connect::open(&database.address, session(), &cx, doing).await?;
    let asked = async {
        let mut fate: Option<String> = None;
        if let Some(number) = number {
            for _ in 0..50 {
                fate = sqlx::query_scalar("SELECT txid_status($1::bigint)")
                    .bind(number.parse::<i64>().unwrap_or_default())
                    .persistent(false)
                    .fetch_one(&mut connection)
                    .await?;
                if fate.as_deref() != Some("in progress") {
                    break;
                }
                cx.clock.sleep(Duration::from_millis(100)).await;
            }
        }
        let row = recorded(&mut connection).await?.into_iter().find(|row| row.version == version);
        let invalid =
            sqlx::query_scalar("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
                .persistent(false)
                .fetch_all(&mut connection)
                .await?;
        Ok(Known { row, fate, invalid })
    };
    let known = asked.await.map_err(|error| doing.failed(error));
    connect::close(connection).await;
    known
}

/// Judges by what the server says, not by what the run reported.
async fn judge(
    database: &PostgresDatabase,
    cx: &Context,
    doing: Doing<'_>,
    migration: &Migration,
    ran: Ran,
) -> Result<MigrationOutcome, DatabaseError> {
    let number = if let Ran::Failed(_, number) = &ran { number.as_deref() } else { None };
    let known = ask(database, cx, doing, migration.version, number).await;
    let partial = |state: &str, source: EngineError| {
        Err(DatabaseError::MigrationPartial {
            database: doing.database.to_owned(),
            version: migration.version,
            description: migration.description.to_string(),
            state: state.to_owned(),
            source,
        })
    };
    let silent = |text: &str| EngineError { text: text.into(), code: None };
    let known = match known {
        Ok(known) => known,
        Err(error) => {
            let why = silent(&kit_core::StepError::from(error).chain());
            return partial("the books cannot be read now", why);
        }
    };
    let row = known.row.as_ref().filter(|row| row.success && *row.checksum == *migration.checksum);
    match (ran, row) {
        (Ran::Applied(_), Some(_)) if migration.no_tx && !known.invalid.is_empty() => {
            let list = known.invalid.join(", ");
            partial("it left indexes that are not valid", silent(&list))
        }
        (Ran::Applied(duration), Some(row)) => {
            let duration_ms = u64::try_from(duration.as_millis()).ok();
            Ok(MigrationOutcome::Applied(kit_contract::body::AppliedMigration {
                duration_ms,
                ..row.applied()
            }))
        }
        (_, Some(row)) => Ok(MigrationOutcome::AppliedElsewhere(row.applied())),
        (Ran::Failed(error, _), None) if migration.no_tx => {
            partial("it runs outside a transaction, so parts of it may have stayed", error.into())
        }
        (Ran::Failed(error, _), None) => match known.fate.as_deref() {
            // No number: the transaction had not even begun.
            None | Some("aborted") => Err(failed(cx, doing, migration, error)),
            Some("committed") => {
                partial("it ended its transaction by itself, so parts of it have stayed", error.into())
            }
            Some(_) => partial("the server still works on it", error.into()),
        },
        (_, None) => partial(
            "the books do not confirm that it was applied",
            silent("its row is missing or another one"),
        ),
    }
}

/// The migration failed, and nothing of it is there.
fn failed(cx: &Context, doing: Doing<'_>, migration: &Migration, error: sqlx::Error) -> DatabaseError {
    if cx.cancel.is_cancelled() {
        return doing.cancelled(cx);
    }
    if is_lock_timeout(&error) {
        return DatabaseError::Busy {
            database: doing.database.to_owned(),
            waited_ms: u128::from(ATTEMPTS) * LOCK.as_millis(),
            refused: "the migration was not applied",
        };
    }
    DatabaseError::MigrationFailed {
        database: doing.database.to_owned(),
        version: migration.version,
        description: migration.description.to_string(),
        source: error.into(),
    }
}
