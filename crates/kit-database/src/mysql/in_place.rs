//! Overwrites the live database: it is dropped, made anew, and filled. This engine has no transaction for that: if it
//! breaks off, the old content is gone and the new one is not all there.

use super::connect::{self, Doing};
use super::quiet::Events;
use super::{MysqlDatabase, beside, clients, restore, scratch};
use crate::{DatabaseError, EngineError};
use kit_contract::body::RestoreNeeds;
use kit_core::Context;
use tokio::io::AsyncRead;

pub(super) async fn restore(
    database: &MysqlDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
) -> Result<(), DatabaseError> {
    let needs = needs.ok_or_else(beside::needs_unknown)?;
    let display = database.display_name();
    let doing = Doing { action: "overwrite", database: &display, unfinished: "the database was overwritten" };
    let mut connection = beside::maintenance(database, cx, doing).await?;
    // What can be known to fail is found out before anything is dropped.
    let server = scratch::check_fits(&mut connection, cx, doing, needs).await?;
    let clients = clients::find(cx, database.options.tools.as_ref(), server.product).await?;
    let live = &database.address.database;
    let emptied = scratch::make_empty(&mut connection, cx, doing, needs, live).await;
    connect::close(connection).await;
    let filled = match emptied {
        Ok(()) => {
            let from = (reader, &database.options.rows);
            restore::run(cx, &database.address, &clients, from, Events::AsTheyAre, doing).await
        }
        Err(error) => Err(error),
    };
    filled.map_err(|error| half_done(&display, &error))
}

fn half_done(display: &str, error: &DatabaseError) -> DatabaseError {
    let text = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    DatabaseError::Stuck {
        state: format!("what {display} held is gone, and the backup is not, or not all, in it"),
        source: EngineError { text: kit_core::sanitise(&text).into(), code: None },
    }
}
