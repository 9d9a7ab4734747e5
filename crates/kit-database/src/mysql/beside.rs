//! Restores beside the live database: another database on the same server.

use super::connect::{self, Doing, Session};
use super::ident::sibling;
use super::quiet::Events;
use super::{MysqlDatabase, clients, restore, scratch};
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
    let name = sibling(&database.address.database, "restore", id);
    let display = database.display_name();
    let doing =
        Doing { action: "use the server of", database: &display, unfinished: "the dump was restored" };
    let mut connection = maintenance(database, cx, doing).await?;
    let server = scratch::prepare(&mut connection, cx, doing, needs, &name).await?;
    connect::close(connection).await;
    let beside = Beside { name: name.clone(), id: id.to_owned() };
    let clients = clients::find(cx, database.options.tools.as_ref(), server.product).await?;
    let restoring = Doing { action: "restore into", database: &name, ..doing };
    let address = database.address.with_database(&name);
    let restored =
        restore::run(cx, &address, &clients, (reader, &database.options.rows), Events::Asleep, restoring)
            .await;
    if let Err(error) = restored {
        // The first error is the one to report; what stays is replaced by the next run.
        if let Err(left) = discard(database, cx, &beside).await {
            cx.out.say(&format!("warning: {}", kit_core::StepError::from(left).chain()));
        }
        return Err(error);
    }
    Ok(beside)
}

/// Removes it, also when the step is cancelled.
pub(super) async fn discard(
    database: &MysqlDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<(), DatabaseError> {
    scratch::drop_database(&database.address.with_database(MAINTENANCE), &beside.name, cx).await
}
