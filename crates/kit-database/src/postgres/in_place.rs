//! Overwrites the live database: everything in it is dropped, and the dump restored, in one transaction. Readers see
//! the old content or the new, and an error leaves the old.

use super::archive::{self, Kind};
use super::connect::{self, Doing};
use super::{PostgresDatabase, beside, restore, scratch};
use crate::{DatabaseError, EngineError};
use kit_contract::body::RestoreNeeds;
use kit_core::Context;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Empties the database; part of the same transaction as the restore.
const EMPTY: &str = include_str!("in_place.sql");
/// How long that waits for those who use something in it, in milliseconds.
const PATIENCE_MS: u128 = 5000;

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
    let mut script = EMPTY.as_bytes().chain(std::io::Cursor::new(head)).chain(reader);
    let into = restore::Into { address: &database.address, clients: &clients, jobs: None, scratch: None };
    match restore::run(cx, into, &mut script, doing).await {
        Err(DatabaseError::Damaged { database, source }) => Err(match source.code.as_deref() {
            Some("55P03" | "40P01") => {
                DatabaseError::Busy { database, waited_ms: PATIENCE_MS, refused: "nothing was overwritten" }
            }
            _ => DatabaseError::Damaged { database, source },
        }),
        // The right to drop what is there, for example.
        Err(DatabaseError::Unavailable { what }) => Err(DatabaseError::Unreachable {
            action: "overwrite",
            database: display,
            source: EngineError { text: what.into(), code: None },
        }),
        other => other,
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
