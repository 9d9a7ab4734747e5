//! Connections: bounded in time, cancellable, and with settings that no server can change.

use super::address::Address;
use super::clients::Product;
use crate::{DatabaseError, EngineError};
use kit_core::Context;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long we wait for a lock while reading.
const READ_LOCK: Duration = Duration::from_secs(30);
/// How long a server may keep an idle connection of ours: counting waits for the dump.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);
/// ER_LOCK_WAIT_TIMEOUT.
pub(super) const LOCKED: u16 = 1205;

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Session {
    /// Looking and copying.
    Reading,
    /// A user's own questions: the server's settings, and nothing can be changed.
    Asking,
    /// A user's own SQL: the server's settings, but nothing waits for a lock longer than this.
    Migrating { lock: Duration },
}

impl Session {
    fn settings(self) -> String {
        match self {
            Self::Reading => format!(
                "SET SESSION lock_wait_timeout = {}, SESSION wait_timeout = {}, SESSION sql_mode = '', \
                 SESSION time_zone = '+00:00', SESSION sql_quote_show_create = 1; \
                 SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                READ_LOCK.as_secs(),
                IDLE.as_secs()
            ),
            Self::Asking => format!(
                "SET SESSION lock_wait_timeout = {}, SESSION time_zone = '+00:00'; SET SESSION TRANSACTION READ ONLY",
                READ_LOCK.as_secs()
            ),
            Self::Migrating { lock } => format!(
                "SET SESSION lock_wait_timeout = {0}, SESSION innodb_lock_wait_timeout = {0}",
                lock.as_secs().max(1)
            ),
        }
    }
}

/// What was being done to which database, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    pub(super) action: &'static str,
    pub(super) database: &'a str,
    /// What is left undone if the step is cancelled.
    pub(super) unfinished: &'static str,
}

impl Doing<'_> {
    /// The error that people see.
    pub(super) fn failed(&self, error: sqlx::Error) -> DatabaseError {
        if number(&error) == Some(LOCKED) {
            return DatabaseError::Busy {
                database: self.database.to_owned(),
                waited_ms: READ_LOCK.as_millis(),
                refused: "nothing was done",
            };
        }
        self.said(EngineError::from(error))
    }

    /// The same, with what the server said.
    pub(super) fn said(&self, source: EngineError) -> DatabaseError {
        let database = self.database.to_owned();
        match self.action {
            "dump" => DatabaseError::Dump { database, source },
            action => DatabaseError::Unreachable { action, database, source },
        }
    }

    /// The step was cancelled.
    pub(super) fn cancelled(&self, cx: &Context) -> DatabaseError {
        DatabaseError::Cancelled { unfinished: self.unfinished, cause: cx.cancel.cause() }
    }

    /// Runs `work` unless the step is cancelled.
    pub(super) async fn run<T>(
        &self,
        cx: &Context,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        match cx.cancel.unless(work).await {
            Some(done) => done.map_err(|error| self.failed(error)),
            None => Err(self.cancelled(cx)),
        }
    }
}

/// The number that MariaDB and MySQL give an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}

/// Opens a connection.
pub(super) async fn open(
    address: &Address,
    session: Session,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<MySqlConnection, DatabaseError> {
    let options = address.options().disable_statement_logging();
    let connect = cx.clock.timeout(CONNECT_LIMIT, async {
        let mut connection = options.connect().await?;
        execute(&mut connection, session.settings()).await?;
        Ok(connection)
    });
    match cx.cancel.unless(connect).await {
        None => Err(doing.cancelled(cx)),
        Some(Err(elapsed)) => Err(DatabaseError::NoAnswer {
            database: doing.database.to_owned(),
            limit_ms: elapsed.limit.as_millis(),
        }),
        Some(Ok(connected)) => connected.map_err(|error| doing.failed(error)),
    }
}

/// Says good-bye; what the server answers changes nothing.
pub(super) async fn close(connection: MySqlConnection) {
    let _ = connection.close().await;
}

/// Runs SQL that returns nothing we need, in the text protocol: not every statement can be prepared.
pub(super) async fn execute(connection: &mut MySqlConnection, sql: String) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql)).await.map(|_| ())
}

/// What answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) product: Product,
    /// `10.11.19-MariaDB`.
    pub(super) version: String,
}

impl Server {
    /// Its first two numbers.
    pub(super) fn number(&self) -> (u32, u32) {
        let mut numbers = self.version.split(['.', '-']).map(|part| part.parse().unwrap_or_default());
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }
}

/// Asks for the version, `10.11.19-MariaDB-0+deb12u1-log`, and leaves out what the distribution adds.
pub(super) async fn server(connection: &mut MySqlConnection) -> Result<Server, sqlx::Error> {
    let said: String = sqlx::query_scalar("SELECT VERSION()").persistent(false).fetch_one(connection).await?;
    Ok(parse(&said))
}

/// The longest packet that the server takes, in bytes.
pub(super) async fn longest_packet(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    let sql = "SELECT CAST(@@GLOBAL.max_allowed_packet AS UNSIGNED)";
    sqlx::query_scalar(sql).persistent(false).fetch_one(connection).await
}

fn parse(said: &str) -> Server {
    let product = Product::of(said);
    let short: Vec<&str> = said.split('-').take(if product == Product::MariaDb { 2 } else { 1 }).collect();
    Server { product, version: short.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_servers_say_them() {
        for (said, product, version, number) in [
            ("10.11.19-MariaDB-0+deb12u1-log", Product::MariaDb, "10.11.19-MariaDB", (10, 11)),
            ("11.8.2-MariaDB", Product::MariaDb, "11.8.2-MariaDB", (11, 8)),
            ("8.0.36-0ubuntu0.22.04.1", Product::Mysql, "8.0.36", (8, 0)),
            ("8.4.2", Product::Mysql, "8.4.2", (8, 4)),
        ] {
            let server = parse(said);
            assert_eq!(
                (server.product, server.version.as_str(), server.number()),
                (product, version, number)
            );
        }
    }
}
