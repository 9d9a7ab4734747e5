//! Restores beside the live database: another database on the same server. A database cannot be renamed here, so one more,
//! which is empty, says by its name that it is unfinished, until it was compared: whoever works on it may be killed at
//! any moment.

use super::connect::{self, Doing, Session};
use super::ident::{literal, quote, sibling, sibling_with};
use super::quiet::Events;
use super::{MysqlDatabase, clients, inspect, restore, scratch};
use crate::{Beside, DatabaseError};
use kit_contract::body::RestoreNeeds;
use kit_core::Context;
use sqlx::mysql::MySqlConnection;
use tokio::io::AsyncRead;

/// A database that every server has and everybody may use.
pub(super) const MAINTENANCE: &str = "information_schema";

/// A connection to the server that needs neither of the two databases.
pub(super) async fn maintenance(
    database: &MysqlDatabase,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<MySqlConnection, DatabaseError> {
    connect::open(&database.address.with_database(MAINTENANCE), Session::Reading, cx, doing).await
}

const UNFINISHED: &str = "_unfinished";

/// The database that says of the one restored under `id` that it is unfinished.
pub(super) fn mark(live: &str, id: &str) -> String {
    sibling_with(live, "restore", id, UNFINISHED)
}

/// What else is unfinished beside the live database.
async fn left(connection: &mut MySqlConnection, live: &str, id: &str) -> Result<Vec<String>, sqlx::Error> {
    let (start, mark) = (literal(&format!("{live}_restore_")), literal(&mark(live, id)));
    let sql = format!(
        "SELECT LEFT(SCHEMA_NAME, CHAR_LENGTH(SCHEMA_NAME) - {0}) FROM information_schema.SCHEMATA
         WHERE LEFT(SCHEMA_NAME, CHAR_LENGTH({start})) = {start} AND RIGHT(SCHEMA_NAME, {0}) = '{UNFINISHED}'
            AND SCHEMA_NAME <> {mark} ORDER BY 1",
        UNFINISHED.len()
    );
    inspect::list(connection, sql).await
}

pub(super) fn needs_unknown() -> DatabaseError {
    let problem =
        "the backup does not say what it needs of a server, so it cannot be restored by this version";
    DatabaseError::Refused { problem: problem.to_owned() }
}

pub(super) async fn restore(
    database: &MysqlDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    id: &str,
) -> Result<Beside, DatabaseError> {
    let needs = needs.ok_or_else(needs_unknown)?;
    let live = &database.address.database;
    let name = sibling(live, "restore", id);
    let display = database.display_name();
    let doing =
        Doing { action: "use the server of", database: &display, unfinished: "the dump was restored" };
    let mut connection = maintenance(database, cx, doing).await?;
    let server = scratch::check_fits(&mut connection, cx, doing, needs).await?;
    let clients = clients::find(cx, database.options.tools.as_ref(), server.product).await?;
    let beside = Beside { name: name.clone(), id: id.to_owned() };
    crate::sibling::say_left(cx, doing.run(cx, left(&mut connection, live, id)).await);
    let restored = async {
        let mark = format!("CREATE DATABASE IF NOT EXISTS {}", quote(&mark(live, id)));
        doing.run(cx, connect::execute(&mut connection, mark)).await?;
        scratch::make_empty(&mut connection, cx, doing, needs, &name).await?;
        connect::close(connection).await;
        let restoring = Doing { action: "restore into", database: &name, ..doing };
        let address = database.address.with_database(&name);
        let from = (reader, &database.options.rows);
        restore::run(cx, &address, &clients, from, Events::Asleep, restoring).await
    };
    let restored = restored.await;
    if let Err(error) = restored {
        // The first error is the one to report; what stays is replaced by the next run.
        if let Err(left) = discard(database, cx, &beside).await {
            cx.out.say(&format!("warning: {}", kit_core::StepError::from(left).chain()));
        }
        return Err(error);
    }
    Ok(beside)
}

/// Removes the mark: it is whole, and was compared.
pub(super) async fn finish(
    database: &MysqlDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Beside, DatabaseError> {
    let mark = mark(&database.address.database, &beside.id);
    let doing =
        Doing { action: "finish", database: &beside.name, unfinished: "what was restored counted as whole" };
    let mut connection = maintenance(database, cx, doing).await?;
    let removed =
        doing.run(cx, connect::execute(&mut connection, format!("DROP DATABASE {}", quote(&mark)))).await;
    connect::close(connection).await;
    if let Err(error) = removed {
        // It may have been removed all the same.
        let mut connection = maintenance(database, cx, doing).await?;
        let is_there = doing.run(cx, inspect::exists(&mut connection, &mark)).await;
        connect::close(connection).await;
        if is_there? {
            return Err(error);
        }
    }
    Ok(beside.clone())
}

/// Removes it, and its mark, also when the step is cancelled.
pub(super) async fn discard(
    database: &MysqlDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<(), DatabaseError> {
    let via = database.address.with_database(MAINTENANCE);
    scratch::drop_database(&via, &beside.name, cx).await?;
    scratch::drop_database(&via, &mark(&database.address.database, &beside.id), cx).await
}
