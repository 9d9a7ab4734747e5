//! What can go wrong with a database, and which public reason that is.

use kit_contract::Reason;
use kit_core::fs::FsError;
use kit_core::{Cause, StepError};
use kit_exec::ExecError;

/// What the engine said, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct EngineError {
    /// Its words, made harmless.
    pub text: Box<str>,
    /// The engine's own code, where it gave one.
    pub code: Option<Box<str>>,
}

impl From<&sqlx::Error> for EngineError {
    fn from(error: &sqlx::Error) -> Self {
        // `Error::Database` repeats its source in its own text.
        let (text, code) = match error.as_database_error() {
            Some(database) => (database.message().to_owned(), database.code().map(Into::into)),
            None => (error.to_string(), None),
        };
        Self { text: kit_core::sanitise(&text).into(), code }
    }
}

impl From<FsError> for EngineError {
    fn from(error: FsError) -> Self {
        Self { text: kit_core::sanitise(&format!("{error}: {}", error.source)).into(), code: None }
    }
}

/// The last words of a program.
impl From<&ExecError> for EngineError {
    fn from(error: &ExecError) -> Self {
        let lines: Vec<&str> =
            error.stderr_tail().iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" | ");
        let text = if last.is_empty() { error.to_string() } else { format!("{error}: {last}") };
        Self { text: text.into(), code: None }
    }
}

impl From<sqlx::Error> for EngineError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

impl From<tokio_postgres::Error> for EngineError {
    fn from(error: tokio_postgres::Error) -> Self {
        // The error itself says what was being done, its source why not.
        let (text, code) = match (error.as_db_error(), std::error::Error::source(&error)) {
            (Some(database), _) => (database.message().to_owned(), Some(database.code().code().into())),
            (None, Some(source)) => (format!("{error}: {source}"), None),
            (None, None) => (error.to_string(), None),
        };
        Self { text: kit_core::sanitise(&text).into(), code }
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        Self { text: kit_core::sanitise(&error.to_string()).into(), code: None }
    }
}

/// Why something could not be done with a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is not one we can use. It may hold a password, so its value is never shown.
    #[error("the database URL from {input} {problem}")]
    Url {
        /// Which input it came from.
        input: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such database.
    #[error("no such database file: {path}")]
    Missing {
        /// The file.
        path: String,
    },
    /// The database cannot be reached, or refused.
    #[error("cannot {action} {database}")]
    Unreachable {
        /// What was tried.
        action: &'static str,
        /// The database, as people may see it.
        database: String,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// It did not answer in time.
    #[error("{database} gave no answer within {limit_ms} ms")]
    NoAnswer {
        /// The database.
        database: String,
        /// How long was waited, in milliseconds.
        limit_ms: u128,
    },
    /// Somebody else uses the database.
    #[error("{database} was in use by somebody else for more than {waited_ms} ms, so {refused}")]
    Busy {
        /// The database.
        database: String,
        /// How long was waited, in milliseconds.
        waited_ms: u128,
        /// What was not done.
        refused: &'static str,
    },
    /// The database could not be dumped.
    #[error("cannot dump {database}")]
    Dump {
        /// The database.
        database: String,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// A dump is not whole.
    #[error("the dump of {database} is not whole: {problem}")]
    Truncated {
        /// The database, or the place the dump came from.
        database: String,
        /// How that was seen.
        problem: String,
    },
    /// What was restored cannot be read as a database.
    #[error("{database} is damaged")]
    Damaged {
        /// The restored database.
        database: String,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// The bytes of a dump could not be moved.
    #[error("cannot {action} the dump of {database}")]
    Transfer {
        /// What was tried.
        action: &'static str,
        /// The database.
        database: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FsError),
    /// The request itself makes no sense.
    #[error("{problem}")]
    Refused {
        /// Why.
        problem: String,
    },
    /// A change stopped in the middle and could not be undone, or nobody knows whether it was made.
    #[error("stopped half-way: {state}")]
    Stuck {
        /// What is where now.
        state: String,
        /// Why the undoing failed.
        #[source]
        source: EngineError,
    },
    /// No program does, or the scratch place cannot: nothing is known about the dump itself.
    #[error("the restore cannot be tried: {what}")]
    Unavailable {
        /// What is missing.
        what: String,
    },
    /// A program that the engine needs is missing or does not fit.
    #[error("{problem}")]
    Tool {
        /// What is missing.
        problem: String,
    },
    /// A program of the engine failed where nothing more can be said about it.
    #[error(transparent)]
    Program(#[from] ExecError),
    /// The folder of migrations cannot be used.
    #[error("the migrations in {folder} cannot be used: {problem}")]
    Migrations {
        /// The folder.
        folder: String,
        /// Why.
        problem: String,
    },
    /// Migrations that were applied have been changed, or are gone.
    #[error("migrations that were applied to {database} are not those of the folder: {list}")]
    Drifted {
        /// The database.
        database: String,
        /// Which, and how.
        list: String,
    },
    /// A migration failed earlier and was never put right.
    #[error("{database} records migrations that failed half-way: {list}")]
    Dirty {
        /// The database.
        database: String,
        /// Their versions.
        list: String,
    },
    /// A migration failed, and the database is as it was before it.
    #[error("migration {version} ({description}) failed; {database} is as it was before it")]
    MigrationFailed {
        /// The database.
        database: String,
        /// Version of the migration.
        version: i64,
        /// Its description.
        description: String,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// A migration failed, and parts of it may have stayed.
    #[error("migration {version} ({description}) failed in {database}, and {state}")]
    MigrationPartial {
        /// The database.
        database: String,
        /// Version of the migration.
        version: i64,
        /// Its description.
        description: String,
        /// What is known about the state.
        state: String,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// The step was told to stop.
    #[error("stopped before {unfinished}")]
    Cancelled {
        /// What was not finished.
        unfinished: &'static str,
        /// Who told it to.
        cause: Option<Cause>,
    },
}

impl DatabaseError {
    /// The stable public code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Url { .. } | Self::Refused { .. } | Self::Migrations { .. } => Reason::UsageError,
            Self::Missing { .. }
            | Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Busy { .. }
            | Self::File(_) => Reason::DatabaseUnreachable,
            Self::Dump { .. } | Self::Transfer { .. } => Reason::DumpFailed,
            Self::Truncated { .. } => Reason::BackupTruncated,
            Self::Damaged { .. } => Reason::BackupMismatch,
            Self::Unavailable { .. } => Reason::ProofUnavailable,
            Self::Tool { .. } => Reason::ToolMissing,
            Self::Program(error) => error.reason(),
            Self::Drifted { .. } => Reason::MigrationDrifted,
            Self::Dirty { .. } => Reason::MigrationDirty,
            Self::MigrationFailed { .. } => Reason::MigrationFailed,
            Self::Stuck { .. } | Self::MigrationPartial { .. } => Reason::LeftChanged,
            Self::Cancelled { cause, .. } => match cause {
                Some(Cause::Deadline) => Reason::DeadlineExceeded,
                Some(Cause::Terminated) => Reason::Terminated,
                Some(Cause::Interrupted) | None => Reason::Interrupted,
            },
        }
    }

    fn hints(&self) -> Vec<&'static str> {
        match self {
            Self::Url { .. } => vec![
                "a SQLite database is sqlite:<path>, for example sqlite:/srv/shop/shop.db",
                "a PostgreSQL database is postgres://<user>:<password>@<host>/<database>, a MariaDB or MySQL one \
                 mariadb://… or mysql://…, a Redis one redis://:<password>@<host>/<number>",
            ],
            Self::Tool { .. } => vec![
                "install the client of the server's version (on Debian `apt-get install \
                 postgresql-client-<version>` or `mariadb-client`), or name in [[databases]] where it is: its folder, \
                 `tools = \"<folder>\"`, or an image, `tools = { image = \"postgres:<version>\" }`",
            ],
            Self::Unavailable { .. } => vec![
                "give a scratch server that has what is missing (scratch_url in [[databases]]), or ask for less \
                 proof; for a restore, give the server or our user there what is missing",
            ],
            Self::Missing { .. } => vec!["a missing database is never created by deploy-kit; check the path"],
            Self::Busy { .. } => vec!["stop what uses the database, or try again when it is quiet"],
            Self::Truncated { .. } => vec!["nothing of it may be used; run the step again"],
            Self::Stuck { .. } => vec!["put it right by hand, as the message says, before anything starts"],
            Self::Drifted { list, .. } if list.contains("line ends") => {
                vec!["put `*.sql text eol=lf` into .gitattributes, so that every checkout has the same bytes"]
            }
            Self::MigrationFailed { source, .. } if source.code.as_deref() == Some(COMMIT_REFUSED) => vec![
                "a migration may not commit or roll back by itself: its row in the bookkeeping table \
                 must stand or fall with it; take COMMIT and ROLLBACK out",
            ],
            Self::MigrationPartial { .. } => {
                vec!["compare the schema with the migration by hand, put it right, then run the step again"]
            }
            _ => Vec::new(),
        }
    }
}

/// `SQLITE_CONSTRAINT_COMMITHOOK`: our commit hook said no (sqlite.org/rescode.html).
const COMMIT_REFUSED: &str = "531";

impl From<DatabaseError> for StepError {
    fn from(error: DatabaseError) -> Self {
        let hints = error.hints();
        let mut step = Self::new(error.reason(), error.to_string());
        for hint in hints {
            step = step.hint(hint);
        }
        match error {
            DatabaseError::Program(error) => Self::from(error),
            DatabaseError::Unreachable { source, .. }
            | DatabaseError::Dump { source, .. }
            | DatabaseError::Damaged { source, .. }
            | DatabaseError::MigrationFailed { source, .. }
            | DatabaseError::MigrationPartial { source, .. } => step.because(source),
            DatabaseError::Transfer { source, .. } => step.because(source),
            DatabaseError::Stuck { source, .. } => step.because(source),
            // `File` shows itself through its file error: what lies below is the cause of that one.
            DatabaseError::File(file) => step.because(file.source),
            _ => step,
        }
    }
}
