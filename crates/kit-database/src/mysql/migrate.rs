//! Migrations on MariaDB and MySQL, which take no DDL back: every such statement commits what was before it.
//!
//! The row in the books is written first, as not applied, and completed last (as sqlx does it). So afterwards
//! the books tell: no row, then all of it was rolled back; a row that is not complete, then something was
//! committed. Whether that was more than the row is certain only if the migration has a single statement.
//!
//! Runs exclude each other by a named lock. Locks of tables are waited for only briefly, since whoever comes
//! behind a waiting `ALTER TABLE` waits, too, readers included; then it is tried again.

use super::MysqlDatabase;
use super::clients::Product;
use super::connect::{self, Doing, LOCKED, Session};
use super::statements;
use crate::migration::BOOKS;
use crate::{
    Database as _, DatabaseError, EngineError, MigrationOutcome, MigrationSet, MigrationStatus,
    RecordedMigration,
};
use kit_contract::Sha256;
use kit_core::{Cancel, Context};
use sqlx::AssertSqlSafe;
use sqlx::migrate::{Migrate as _, MigrateError, Migration};
use sqlx::mysql::MySqlConnection;
use std::time::Duration;

/// How long a statement may wait for a lock (whole seconds, the server has no smaller unit), how long it may
/// run, and how often and when it is tried again.
const LOCK: Duration = Duration::from_secs(1);
const STATEMENT: Duration = Duration::from_secs(20 * 60);
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);
/// How long another run may hold the named lock.
const TURN: Duration = Duration::from_secs(60);
/// How long a server may need to notice that a statement was cut off.
const ENDING: Duration = Duration::from_secs(5);

pub(super) async fn status(
    database: &MysqlDatabase,
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
    Session::Migrating { lock: LOCK }
}

/// What the books say; no books means that nothing was applied.
async fn recorded(connection: &mut MySqlConnection) -> Result<Vec<RecordedMigration>, sqlx::Error> {
    let there: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
    )
    .bind(BOOKS)
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    if there == 0 {
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
    /// With the number of the connection.
    Failed(sqlx::Error, u64),
}

/// One attempt at a migration.
struct Attempt<'a> {
    database: &'a MysqlDatabase,
    set: &'a MigrationSet,
    migration: &'a Migration,
    doing: Doing<'a>,
}

pub(super) async fn apply(
    database: &MysqlDatabase,
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
    let attempt = Attempt { database, set, migration, doing };
    let turn = take_turn(database, cx, doing).await?;
    let mut count = 1;
    let outcome = loop {
        let ran = match attempt.once(cx).await {
            Ok(ran) => ran,
            Err(error) => break Err(error),
        };
        let locked = matches!(&ran, Ran::Failed(error, _) if connect::number(error) == Some(LOCKED));
        match attempt.judge(cx, ran).await {
            Err(DatabaseError::Busy { .. }) if locked && count < ATTEMPTS => {
                cx.out.say(&format!(
                    "  {display}: a lock was not to be had within {} ms (attempt {count} of {ATTEMPTS}); trying again",
                    LOCK.as_millis()
                ));
                if cx.cancel.unless(cx.clock.sleep(PAUSE)).await.is_none() {
                    break Err(doing.cancelled(cx));
                }
                count += 1;
            }
            judged => break judged,
        }
    };
    connect::close(turn).await;
    outcome
}

/// Takes the named lock, which ends with the returned connection. The connection is idle otherwise.
async fn take_turn(
    database: &MysqlDatabase,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<MySqlConnection, DatabaseError> {
    let mut connection = connect::open(&database.address, Session::Reading, cx, doing).await?;
    // Names of locks belong to the whole server and have at most 64 letters.
    let name = format!("deploy-kit {}", Sha256::of(database.address.database.as_bytes()).short());
    let began = cx.clock.elapsed();
    loop {
        if doing.run(cx, ask_for_turn(&mut connection, &name)).await? {
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

async fn ask_for_turn(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    let got: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(?, 0)")
        .bind(name)
        .persistent(false)
        .fetch_one(connection)
        .await?;
    Ok(got == Some(1))
}

impl Attempt<'_> {
    async fn once(&self, cx: &Context) -> Result<Ran, DatabaseError> {
        let mut connection = connect::open(&self.database.address, session(), cx, self.doing).await?;
        let id = self.doing.run(cx, prepare(&mut connection)).await?;
        // A statement that is cut off goes on in the server until it notices; the judge sees to its end.
        let ran = match cx.cancel.unless(self.run(&mut connection)).await {
            Some(Ok(ran)) => ran,
            Some(Err(error)) => Ran::Failed(error, id),
            None => {
                let source = std::io::Error::new(std::io::ErrorKind::Interrupted, "the step was cancelled");
                Ran::Failed(sqlx::Error::Io(source), id)
            }
        };
        match &ran {
            // Nothing more is said on a connection in the middle of a statement.
            Ran::Failed(sqlx::Error::Io(_), _) => drop(connection),
            _ => connect::close(connection).await,
        }
        Ok(ran)
    }

    async fn run(&self, connection: &mut MySqlConnection) -> Result<Ran, sqlx::Error> {
        connection.ensure_migrations_table(BOOKS).await.map_err(plain)?;
        let rows = recorded(connection).await?;
        if let Err(refusal) = self.set.status(&rows).check(self.doing.database) {
            return Ok(Ran::Refused(refusal));
        }
        if rows.iter().any(|row| row.version == self.migration.version) {
            return Ok(Ran::Elsewhere);
        }
        Ok(Ran::Applied(connection.apply(BOOKS, self.migration).await.map_err(plain)?))
    }

    /// Judges by what the books say, not by what the run reported.
    async fn judge(&self, cx: &Context, ran: Ran) -> Result<MigrationOutcome, DatabaseError> {
        if let Ran::Refused(error) = ran {
            return Err(error);
        }
        let id = if let Ran::Failed(_, id) = &ran { Some(*id) } else { None };
        let silent = |text: &str| EngineError { text: text.into(), code: None };
        let known = match self.ask(cx, id).await {
            Ok(known) => known,
            Err(error) => {
                let why = silent(&kit_core::StepError::from(error).chain());
                return Err(self.partial("the books cannot be read now", why));
            }
        };
        let Known { row, has_ended } = known;
        let is_ours = row.as_ref().is_some_and(|row| *row.checksum == *self.migration.checksum);
        match (ran, row) {
            (Ran::Applied(duration), Some(row)) if is_ours && row.success => {
                let duration_ms = u64::try_from(duration.as_millis()).ok();
                Ok(MigrationOutcome::Applied(kit_contract::body::AppliedMigration {
                    duration_ms,
                    ..row.applied()
                }))
            }
            (_, Some(row)) if is_ours && row.success => Ok(MigrationOutcome::AppliedElsewhere(row.applied())),
            (Ran::Failed(error, _), _) if !has_ended => {
                Err(self.partial("the server still works on it", error.into()))
            }
            (Ran::Failed(error, _), None) => Err(self.failed(cx, error)),
            (Ran::Failed(error, _), Some(_)) => {
                // The server itself said no, to the only statement there is.
                let alone = statements::count(self.migration.sql.as_str()) == 1;
                if is_ours && alone && error.as_database_error().is_some() {
                    return match self.forget(cx).await {
                        Ok(()) => Err(self.failed(cx, error)),
                        Err(_) => Err(self.partial(
                            "only its row in the books stayed, which could not be removed",
                            error.into(),
                        )),
                    };
                }
                Err(self.partial(
                    "what stood before the statement that failed has stayed: this engine takes no DDL back",
                    error.into(),
                ))
            }
            (_, _) => Err(self.partial(
                "the books do not confirm that it was applied",
                silent("its row is missing or another one"),
            )),
        }
    }

    /// Removes our row of a migration of which nothing else stayed.
    async fn forget(&self, cx: &Context) -> Result<(), DatabaseError> {
        let cx = Context { cancel: Cancel::default(), ..cx.clone() };
        let mut connection = connect::open(&self.database.address, session(), &cx, self.doing).await?;
        let sql = format!("DELETE FROM {BOOKS} WHERE version = {} AND NOT success", self.migration.version);
        let done = connect::execute(&mut connection, sql).await.map_err(|error| self.doing.failed(error));
        connect::close(connection).await;
        done
    }

    async fn ask(&self, cx: &Context, id: Option<u64>) -> Result<Known, DatabaseError> {
        // Not cancellable: even a cancelled run has to say what is there.
        let cx = Context { cancel: Cancel::default(), ..cx.clone() };
        let mut connection = connect::open(&self.database.address, session(), &cx, self.doing).await?;
        let has_ended = match id {
            Some(id) => self.end(&cx, &mut connection, id).await?,
            None => true,
        };
        let rows = recorded(&mut connection).await.map_err(|error| self.doing.failed(error))?;
        connect::close(connection).await;
        let row = rows.into_iter().find(|row| row.version == self.migration.version);
        Ok(Known { row, has_ended })
    }

    /// Sees to it that nothing works on the migration any more. False: something does.
    async fn end(
        &self,
        cx: &Context,
        connection: &mut MySqlConnection,
        id: u64,
    ) -> Result<bool, DatabaseError> {
        let began = cx.clock.elapsed();
        loop {
            let sql = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id}");
            let alive: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                .persistent(false)
                .fetch_one(&mut *connection)
                .await
                .map_err(|error| self.doing.failed(error))?;
            if alive == 0 {
                return Ok(true);
            }
            if cx.clock.elapsed().saturating_sub(began) > ENDING {
                return Ok(false);
            }
            // It may be gone by now.
            let _ = connect::execute(connection, format!("KILL {id}")).await;
            cx.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    fn partial(&self, state: &str, source: EngineError) -> DatabaseError {
        DatabaseError::MigrationPartial {
            database: self.doing.database.to_owned(),
            version: self.migration.version,
            description: self.migration.description.to_string(),
            state: state.to_owned(),
            source,
        }
    }

    /// The migration failed, and nothing of it is there.
    fn failed(&self, cx: &Context, error: sqlx::Error) -> DatabaseError {
        if cx.cancel.is_cancelled() {
            return self.doing.cancelled(cx);
        }
        if connect::number(&error) == Some(LOCKED) {
            return DatabaseError::Busy {
                database: self.doing.database.to_owned(),
                waited_ms: u128::from(ATTEMPTS) * LOCK.as_millis(),
                refused: "the migration was not applied",
            };
        }
        DatabaseError::MigrationFailed {
            database: self.doing.database.to_owned(),
            version: self.migration.version,
            description: self.migration.description.to_string(),
            source: error.into(),
        }
    }
}

/// What the server knows afterwards.
struct Known {
    row: Option<RecordedMigration>,
    has_ended: bool,
}

/// Limits how long statements may run, where the server can, and gives the number of the connection.
async fn prepare(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    if connect::server(connection).await?.product == Product::MariaDb {
        let sql = format!("SET SESSION max_statement_time = {}", STATEMENT.as_secs());
        connect::execute(connection, sql).await?;
    }
    sqlx::query_scalar("SELECT CONNECTION_ID()").persistent(false).fetch_one(connection).await
}

fn plain(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}
