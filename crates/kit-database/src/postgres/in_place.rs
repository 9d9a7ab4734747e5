//! Overwrites the live database: everything in it is dropped, and the dump restored, in one transaction. Readers see
//! the old content or the new, and an error leaves the old.
//!
//! Whoever does not hear the answer to COMMIT knows nothing: the server may have done it all the same. So the
//! transaction says its number just before, and afterwards the server is asked what became of it.

use super::archive::{self, Kind};
use super::connect::{self, Doing};
use super::{PostgresDatabase, beside, restore, scratch};
use crate::{DatabaseError, EngineError};
use kit_contract::body::RestoreNeeds;
use kit_core::{Cancel, Context};
use kit_exec::Stdout;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;

/// Empties the database; part of the same transaction as the restore.
const EMPTY: &str = include_str!("in_place.sql");
/// How long that waits for those who use something in it, in milliseconds.
const PATIENCE_MS: u128 = 5000;
/// Prints the number of the transaction. COMMIT is sent only to a `psql` whose answer was heard: as long as it was not,
/// the database is as it was, whatever becomes of `psql` or of the way to it. `txid_…` rather than `pg_…xact_…`, which
/// servers have from 13 on.
const TELL_NUMBER: &[u8] = b"\\o\nSELECT pg_catalog.txid_current();\n";
/// How long is asked what became of it: a server that crashed comes back meanwhile. Who is told to stop has less.
const ASKING: Duration = Duration::from_secs(30);
const ASKING_WHEN_STOPPED: Duration = Duration::from_secs(2);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(200);

pub(super) async fn restore(
    database: &PostgresDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
) -> Result<(), DatabaseError> {
    let needs = needs.ok_or_else(beside::needs_unknown)?;
    let display = database.address.display();
    let doing = Doing {
        action: "overwrite",
        database: &display,
        unfinished: "the database was overwritten; it is as it was",
    };
    let head = cx.cancel.unless(archive::kind(reader)).await.ok_or_else(|| doing.cancelled(cx))?;
    let (kind, head) = head.map_err(|source| restore::unreadable(source, doing))?;
    if kind != Kind::Plain {
        let problem = format!(
            "the backup of {display} is an archive (format = \"custom\" or \"directory\"), which cannot be restored in \
             one transaction with what it overwrites: restore it beside the live database, without --in-place"
        );
        return Err(DatabaseError::Refused { problem });
    }
    let mut connection = beside::maintenance(database, cx, doing).await?;
    scratch::check_fits(&mut connection, cx, doing, needs).await?;
    let clients = scratch::clients_for(database, cx, needs).await?;
    doing.run(cx, end_users(&mut connection, &database.address.database)).await?;
    connect::close(connection).await;
    let mut script = restore::BEGIN.chain(EMPTY.as_bytes()).chain(std::io::Cursor::new(head)).chain(reader);
    let number = Arc::new(OnceLock::new());
    let heard = Arc::new(Notify::new());
    let psql = |pieces| {
        let (told, heard) = (Arc::clone(&number), Arc::clone(&heard));
        restore::psql(&database.address, &clients, pieces).args(["--tuples-only", "--no-align"]).stdout(
            Stdout::lines(move |line| {
                if let Ok(number) = line.trim().parse::<u64>() {
                    let _ = told.set(number);
                    heard.notify_one();
                }
            }),
        )
    };
    let end = restore::End { question: TELL_NUMBER, heard: Some(&heard) };
    let restored = restore::feed(cx, psql, (&mut script, end, &database.options.rows), doing).await;
    match (restored, number.get()) {
        (Ok(()), Some(_)) => Ok(()),
        // Without the number there was no COMMIT.
        (Ok(()), None) => Err(doing.truncated("psql ended before the dump did".to_owned())),
        (Err(error), None) => Err(as_it_was(error, &display)),
        (Err(error), Some(number)) => match became(database, cx, *number, doing).await {
            Became::Committed => Ok(()),
            Became::Aborted => Err(as_it_was(error, &display)),
            Became::Unknown(why) => Err(unknown(&display, *number, why)),
        },
    }
}

/// Nothing was overwritten: why.
fn as_it_was(error: DatabaseError, display: &str) -> DatabaseError {
    match error {
        DatabaseError::Damaged { database, source } => match source.code.as_deref() {
            Some("55P03" | "40P01") => {
                DatabaseError::Busy { database, waited_ms: PATIENCE_MS, refused: "nothing was overwritten" }
            }
            _ => DatabaseError::Damaged { database, source },
        },
        // The right to drop what is there, for example.
        DatabaseError::Unavailable { what } => DatabaseError::Unreachable {
            action: "overwrite",
            database: display.to_owned(),
            source: EngineError { text: what.into(), code: None },
        },
        other => other,
    }
}

/// What became of a transaction.
enum Became {
    Committed,
    Aborted,
    /// Nobody could say, or it is still going on.
    Unknown(EngineError),
}

/// Asks the server, also if the step was told to stop, until it knows.
async fn became(database: &PostgresDatabase, cx: &Context, number: u64, doing: Doing<'_>) -> Became {
    let not_stopped = Context { cancel: Cancel::default(), ..cx.clone() };
    let mut last = "it did not answer".to_owned();
    let asking = async {
        loop {
            match ask(database, &not_stopped, number, doing).await {
                Ok(Some(status)) if status == "committed" => return Became::Committed,
                Ok(Some(status)) if status == "aborted" => return Became::Aborted,
                Ok(Some(status)) => last = format!("the transaction is {status}"),
                Ok(None) => last = "it no longer knows the transaction".to_owned(),
                Err(error) => last = kit_core::StepError::from(error).chain(),
            }
            cx.clock.sleep(BETWEEN_QUESTIONS).await;
        }
    };
    let stopped = async {
        cx.cancel.cancelled().await;
        cx.clock.sleep(ASKING_WHEN_STOPPED).await;
    };
    tokio::select! {
        became = asking => return became,
        () = stopped => {}
        () = cx.clock.sleep(ASKING) => {}
    }
    Became::Unknown(EngineError { text: last.into(), code: None })
}

async fn ask(
    database: &PostgresDatabase,
    cx: &Context,
    number: u64,
    doing: Doing<'_>,
) -> Result<Option<String>, DatabaseError> {
    let mut connection = beside::maintenance(database, cx, doing).await?;
    let status = doing.run(cx, status(&mut connection, number)).await;
    connect::close(connection).await;
    status
}

async fn status(
    connection: &mut sqlx::postgres::PgConnection,
    number: u64,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_catalog.txid_status($1)")
        .bind(number.cast_signed())
        .persistent(false)
        .fetch_one(connection)
        .await
}

fn unknown(display: &str, number: u64, source: EngineError) -> DatabaseError {
    DatabaseError::Stuck {
        state: format!(
            "the backup was loaded into {display}, but the answer to COMMIT never came, and the server cannot be asked \
             what became of it; ask it, in any database of that server: SELECT txid_status({number}) says committed if \
             the backup is in it, aborted if it holds what it held"
        ),
        source,
    }
}

/// Ends the connections of others, once. Whoever comes back at once is waited for.
async fn end_users(connection: &mut sqlx::postgres::PgConnection, live: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
    )
    .bind(live)
    .persistent(false)
    .execute(connection)
    .await
    .map(|_| ())
}
