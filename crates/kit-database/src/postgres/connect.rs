//! Connections: bounded in time, cancellable, and with settings that no role or database can change.

use super::address::Address;
use crate::{DatabaseError, EngineError};
use kit_core::Context;
use kit_exec::ExecError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::time::Duration;

/// How long a connection may take to come about.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long we wait for a lock while reading.
pub(super) const READ_LOCK: Duration = Duration::from_secs(30);

/// What lies in between forgets a connection on which nothing is said for minutes, and some of ours only hold a snapshot,
/// wait for an index, or for their turn.
const KEPT_ALIVE: [(&str, &str); 2] = [("tcp_keepalives_idle", "60"), ("tcp_keepalives_interval", "10")];

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Session {
    /// Looking and copying: settings in which every value has one text, whatever role and database say.
    Reading,
    /// A user's own questions: names are found as he finds them, nothing can be changed, and nothing takes longer.
    Asking { limit: Duration },
    /// Loading what a dump holds: the dump brings its settings along, and nothing may end it but its end.
    Loading,
    /// A user's own SQL: his settings, but nothing waits for a lock, or runs, longer than this.
    Migrating { lock: Duration, statement: Duration },
}

impl Session {
    fn settings(self) -> Vec<(&'static str, String)> {
        let limit = |duration: Duration| duration.as_millis().to_string();
        let mut settings = match self {
            Self::Reading => vec![
                ("lock_timeout", limit(READ_LOCK)),
                ("statement_timeout", "0".to_owned()),
                ("idle_in_transaction_session_timeout", "0".to_owned()),
                ("TimeZone", "UTC".to_owned()),
                ("DateStyle", "ISO".to_owned()),
                ("IntervalStyle", "postgres".to_owned()),
                ("bytea_output", "hex".to_owned()),
                // Every digit, as sqlx has it by itself.
                ("extra_float_digits", "2".to_owned()),
                // As pg_dump: rows that a policy hides are an error, never left out.
                ("row_security", "off".to_owned()),
                ("search_path", "pg_catalog".to_owned()),
            ],
            Self::Asking { limit: longest } => vec![
                ("lock_timeout", limit(READ_LOCK)),
                ("statement_timeout", limit(longest)),
                ("default_transaction_read_only", "on".to_owned()),
                ("TimeZone", "UTC".to_owned()),
                ("DateStyle", "ISO".to_owned()),
                ("IntervalStyle", "postgres".to_owned()),
                ("row_security", "off".to_owned()),
            ],
            Self::Loading => vec![
                ("lock_timeout", "0".to_owned()),
                ("statement_timeout", "0".to_owned()),
                ("idle_in_transaction_session_timeout", "0".to_owned()),
                ("client_min_messages", "warning".to_owned()),
                // See `sessions`.
                ("synchronous_commit", "off".to_owned()),
            ],
            Self::Migrating { lock, statement } => {
                vec![("lock_timeout", limit(lock)), ("statement_timeout", limit(statement))]
            }
        };
        settings.extend(KEPT_ALIVE.map(|(name, value)| (name, value.to_owned())));
        settings
    }

    /// Those that only servers from a major version on know, as SQL: one stops working for somebody who is gone, and ours
    /// last as long as they last.
    pub(super) const fn settings_of(self, major: u32) -> Option<&'static str> {
        match (self, major) {
            (_, ..14) => None,
            (Self::Reading | Self::Loading, 17..) => Some(
                "SET client_connection_check_interval = '2s'; SET idle_session_timeout = 0; SET transaction_timeout = 0",
            ),
            (Self::Reading | Self::Loading, _) => {
                Some("SET client_connection_check_interval = '2s'; SET idle_session_timeout = 0")
            }
            _ => Some("SET client_connection_check_interval = '2s'"),
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
        self.said(EngineError::from(error))
    }

    /// The same, with what the server said.
    pub(super) fn said(&self, source: EngineError) -> DatabaseError {
        let database = self.database.to_owned();
        match (self.action, source.code.as_deref()) {
            // 55P03 lock_not_available (postgresql.org/docs/current/errcodes-appendix.html).
            (_, Some("55P03")) => DatabaseError::Busy {
                database,
                waited_ms: READ_LOCK.as_millis(),
                refused: "nothing was done",
            },
            ("dump", _) => DatabaseError::Dump { database, source },
            (action, _) => DatabaseError::Unreachable { action, database, source },
        }
    }

    /// A program that makes a dump failed.
    pub(super) fn not_made(&self, error: ExecError) -> DatabaseError {
        match error {
            error if error.is_unheard() => error.into(),
            error => self.said(EngineError::from(&error)),
        }
    }

    /// The dump is not whole.
    pub(super) fn truncated(&self, problem: String) -> DatabaseError {
        DatabaseError::Truncated { database: self.database.to_owned(), problem }
    }

    /// The step was cancelled.
    pub(super) fn cancelled(&self, cx: &Context) -> DatabaseError {
        DatabaseError::Cancelled { unfinished: self.unfinished, cause: cx.cancel.cause() }
    }

    /// A task of ours ended in a bug.
    pub(super) fn bug(&self, error: &tokio::task::JoinError) -> DatabaseError {
        self.said(EngineError { text: error.to_string().into(), code: None })
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

/// Opens a connection.
pub(super) async fn open(
    address: &Address,
    session: Session,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<PgConnection, DatabaseError> {
    let options = address
        .options()
        .application_name(super::APPLICATION)
        .options(session.settings())
        .statement_cache_capacity(0)
        .disable_statement_logging();
    let connect = async {
        let mut connection = options.connect().await?;
        let major = connection.server_version_num().unwrap_or_default() / 10_000;
        if let Some(sql) = session.settings_of(major) {
            connection.execute(sql).await?;
        }
        Ok(connection)
    };
    in_time(cx, CONNECT_LIMIT, doing, connect).await
}

/// The settings of a session, as what a connection begins with takes them.
pub(super) fn as_options(session: Session) -> String {
    // None of our values has anything in it that would have to be escaped.
    let settings = session.settings().into_iter().map(|(name, value)| format!("-c {name}={value}"));
    settings.collect::<Vec<_>>().join(" ")
}

/// These, and what keeps a connection alive, for programs of the server's: `PGOPTIONS`.
pub(super) fn program_options(others: &str) -> String {
    KEPT_ALIVE.iter().fold(others.to_owned(), |text, (name, value)| format!("{text} -c {name}={value}"))
}

/// What opens a connection, bounded in time.
pub(super) async fn in_time<T>(
    cx: &Context,
    limit: Duration,
    doing: Doing<'_>,
    connect: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, DatabaseError> {
    match cx.cancel.unless(cx.clock.timeout(limit, connect)).await {
        None => Err(doing.cancelled(cx)),
        Some(Err(elapsed)) => Err(DatabaseError::NoAnswer {
            database: doing.database.to_owned(),
            limit_ms: elapsed.limit.as_millis(),
        }),
        Some(Ok(connected)) => connected.map_err(|error| doing.said(error)),
    }
}

/// Says good-bye; what the server answers changes nothing.
pub(super) async fn close(connection: PgConnection) {
    let _ = connection.close().await;
}

/// Runs SQL that returns nothing we need.
pub(super) async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql)).await.map(|_| ())
}

/// The version as the server shows it, `15.18`, and as a number, `150018`.
pub(super) async fn version(connection: &mut PgConnection) -> Result<(String, u32), sqlx::Error> {
    let (text, number): (String, String) =
        sqlx::query_as("SELECT current_setting('server_version'), current_setting('server_version_num')")
            .persistent(false)
            .fetch_one(connection)
            .await?;
    // Distributions add their own: `15.18 (Debian 15.18-0+deb12u1)`.
    let short = text.split_whitespace().next().unwrap_or(&text).to_owned();
    Ok((short, number.parse().unwrap_or_default()))
}
