//! From a URL to a database.

use crate::mysql::MysqlDatabase;
use crate::postgres::PostgresDatabase;
use crate::redis::RedisDatabase;
use crate::sqlite::SqliteDatabase;
use crate::{Database, DatabaseError, Tools};
use kit_contract::config::{self, DumpFormat};
use kit_core::{Context, Rows, Secret};
use std::num::NonZeroU8;

/// Schemes that are known.
const SCHEMES: &[(&str, Kind)] = &[
    ("sqlite", Kind::Sqlite),
    ("postgres", Kind::Postgres),
    ("postgresql", Kind::Postgres),
    ("mysql", Kind::Mysql),
    ("mariadb", Kind::Mysql),
    ("redis", Kind::Redis),
    // Refused by name: see its address.
    ("rediss", Kind::Redis),
];

#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
    Postgres,
    Mysql,
    Redis,
}

/// Where restores are tried.
#[derive(Clone, Debug, Default)]
pub enum ScratchPlace {
    /// A server of our own, from the server programs that are installed here.
    #[default]
    Auto,
    /// Another database on the server of the live one.
    Beside,
    /// A server that this URL names; the database in it must exist, and is only passed through.
    Server(Secret),
}

/// What else to know of a database.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Where restores are tried; SQLite needs only a folder.
    pub scratch: ScratchPlace,
    /// The engine's own programs (`pg_dump`); without this, those that are installed.
    pub tools: Option<Tools>,
    /// Connections that copy the rows of large tables side by side (PostgreSQL); without this, one. With 0 the engine's
    /// own program copies everything.
    pub dump_jobs: Option<u8>,
    /// What leads to its server, if that cannot be reached directly: a program and its arguments. The scratch server is
    /// reached directly.
    pub via: Vec<String>,
    /// How it is dumped; what is restored says so itself.
    pub format: config::DumpFormat,
    /// Sessions that load rows side by side when a dump is restored (PostgreSQL), except in place; with 1, all of it is
    /// one transaction. Without this, as many as this machine has cores, at most four; for a plain dump
    /// one on a server of our own.
    pub restore_jobs: Option<NonZeroU8>,
    /// What must be true of it once it was restored.
    pub assertions: Vec<config::Assertion>,
    /// Where is told how many rows have passed while it is dumped, and how many there are, counted or estimated. Not for SQLite, which copies pages.
    pub rows: Rows,
}

impl OpenOptions {
    /// What `deploy.toml` says of a database; where its restores are tried and its programs are, whoever read that
    /// knows better.
    pub fn of(database: &config::Database) -> Self {
        Self {
            via: database.via.clone(),
            format: database.format,
            dump_jobs: database.dump_jobs,
            assertions: database.assertions.clone(),
            ..Self::default()
        }
    }
}

/// Opens the database behind `url`, which must exist. Nothing is asked of a server yet.
///
/// `input` says where the URL came from (`DATABASE_URL of database shop`); errors name it instead of
/// the URL, which may hold a password.
///
/// # Errors
/// [`DatabaseError::Url`] if the URL cannot be used, [`DatabaseError::Missing`] if nothing is there.
pub async fn open(
    url: &Secret,
    input: &str,
    options: OpenOptions,
    cx: &Context,
) -> Result<Box<dyn Database>, DatabaseError> {
    match parse(url, input, options, cx)? {
        Parsed::Sqlite(database) => {
            database.must_exist()?;
            Ok(Box::new(database))
        }
        Parsed::Postgres(database) => Ok(Box::new(database)),
        Parsed::Mysql(database) => Ok(Box::new(database)),
        Parsed::Redis(database) => Ok(Box::new(database)),
    }
}

/// Like [`open`], for backups and restores: the database may be lost or damaged.
///
/// # Errors
/// [`DatabaseError::Url`] if the URL cannot be used.
pub async fn open_for_restore(
    url: &Secret,
    input: &str,
    options: OpenOptions,
    cx: &Context,
) -> Result<Box<dyn Database>, DatabaseError> {
    match parse(url, input, options, cx)? {
        Parsed::Sqlite(database) => Ok(Box::new(database)),
        Parsed::Postgres(database) => Ok(Box::new(database)),
        Parsed::Mysql(database) => Ok(Box::new(database)),
        Parsed::Redis(database) => Ok(Box::new(database)),
    }
}

enum Parsed {
    Sqlite(SqliteDatabase),
    Postgres(PostgresDatabase),
    Mysql(MysqlDatabase),
    Redis(RedisDatabase),
}

fn parse(url: &Secret, input: &str, options: OpenOptions, cx: &Context) -> Result<Parsed, DatabaseError> {
    let text = url.expose().trim();
    let refuse = |problem: String| DatabaseError::Url { input: input.to_owned(), problem };
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(refuse(format!("has no scheme; known are {}", known())));
    };
    let scheme = scheme.to_ascii_lowercase();
    let found = SCHEMES.iter().find(|(name, _)| *name == scheme);
    if let (
        Some((_, Kind::Sqlite | Kind::Mysql | Kind::Redis)),
        format @ (DumpFormat::Custom | DumpFormat::Directory),
    ) = (found, options.format)
    {
        let problem = format!(
            "format = \"{}\" is PostgreSQL's, and the URL from {input} is {scheme}:…, which has one format only: \
             leave format out",
            format.as_str()
        );
        return Err(DatabaseError::Refused { problem });
    }
    if !options.via.is_empty() && matches!(found, Some((_, Kind::Sqlite))) {
        let problem = format!("via leads to a server, and the URL from {input} names a file: leave via out");
        return Err(DatabaseError::Refused { problem });
    }
    match found {
        Some((_, Kind::Sqlite)) => SqliteDatabase::parse(rest, options).map(Parsed::Sqlite).map_err(refuse),
        Some((_, Kind::Postgres)) => {
            cx.redactor.learn_url(text);
            PostgresDatabase::parse(text, options, cx).map(Parsed::Postgres).map_err(refuse)
        }
        Some((_, Kind::Mysql)) => {
            cx.redactor.learn_url(text);
            MysqlDatabase::parse(text, options, cx).map(Parsed::Mysql).map_err(refuse)
        }
        Some((_, Kind::Redis)) => {
            cx.redactor.learn_url(text);
            RedisDatabase::parse(text, options, cx).map(Parsed::Redis).map_err(refuse)
        }
        None => Err(refuse(format!("has an unknown scheme{}; known are {}", nearest(&scheme), known()))),
    }
}

fn known() -> String {
    SCHEMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The scheme as written is not shown: what stands before the first colon may be part of a secret.
fn nearest(scheme: &str) -> String {
    SCHEMES
        .iter()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, scheme), name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| format!(", perhaps {name} was meant"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Reason;
    use kit_core::{Env, StepError};

    async fn problem(url: &str) -> String {
        let (cx, _) = Context::for_test(Env::default());
        let error =
            open(&Secret::new(url), "$SHOP_URL", OpenOptions::default(), &cx).await.map(|_| ()).unwrap_err();
        StepError::from(error).chain()
    }

    #[tokio::test]
    async fn unusable_urls_name_their_input_and_never_their_value() {
        for (url, expected) in [
            ("", "the database URL from $SHOP_URL has no scheme; known are sqlite, postgres"),
            ("hunter2", "from $SHOP_URL has no scheme"),
            ("hunter2:hunter2@db", "from $SHOP_URL has an unknown scheme; known are"),
            ("sqlit:///hunter2", "has an unknown scheme, perhaps sqlite was meant; known are"),
            ("postgress://u:hunter2@db/x", "perhaps postgres was meant"),
            ("postgres://u:hunter2@db/x?hunter2", "has a parameter that is not known"),
            ("rediss://:hunter2@db/0", "asks for TLS"),
            ("redis://:hunter2@db/hunter2", "a database that is no number"),
            ("MySQL://u:hunter2@db", "names no database: mariadb://<user>@<host>/<database>"),
            ("sqlite:", "names no file"),
            ("sqlite://", "names no file"),
            ("sqlite::memory:", "names a database in memory"),
            ("sqlite:hunter2?mode=memory", "names a database in memory"),
            ("sqlite:hunter2?mode=hunter2", "has a parameter `mode` that is none of ro, rw, rwc"),
            ("sqlite:hunter2?immutable=1", "has a parameter that is not known; known is mode"),
            ("sqlite:hunter2%ff", "is not UTF-8 once decoded"),
        ] {
            let text = problem(url).await;
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }

    #[tokio::test]
    async fn a_format_that_the_engine_has_not_is_refused() {
        let (cx, _) = Context::for_test(Env::default());
        let options = OpenOptions { format: DumpFormat::Custom, ..Default::default() };
        for (url, fits) in [
            ("sqlite:a.db", false),
            ("mariadb://u@h/d", false),
            ("redis://h", false),
            ("postgres://u@h/d", true),
        ] {
            let opened = open_for_restore(&Secret::new(url), "$URL", options.clone(), &cx).await;
            match opened {
                Ok(_) => assert!(fits, "{url}"),
                Err(error) => {
                    assert_eq!((fits, error.reason()), (false, Reason::UsageError), "{url}");
                    assert!(error.to_string().contains("leave format out"), "{error}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_an_error_and_is_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone.db");
        let (cx, _) = Context::for_test(Env::default());
        for url in [format!("sqlite:{}", path.display()), format!("sqlite://{}?mode=rwc", path.display())] {
            let error = open(&Secret::new(url.clone()), "url", OpenOptions::default(), &cx)
                .await
                .map(|_| ())
                .unwrap_err();
            assert_eq!(error.reason(), Reason::DatabaseUnreachable);
            assert!(error.to_string().starts_with("no such database file: "), "{error}");
            assert!(open_for_restore(&Secret::new(url), "url", OpenOptions::default(), &cx).await.is_ok());
        }
        assert!(!path.exists());
    }
}
