//! A connection of ours that keeps autovacuum away from tables that are being filled. Rows are committed piece by piece,
//! so that it would look at them again and again; and who makes an index has to wait until it is driven away, which takes
//! `deadlock_timeout`, a second. It skips what is locked, and comes back when all is done.
//!
//! Source: PostgreSQL, "Explicit Locking": SHARE UPDATE EXCLUSIVE is what VACUUM and ANALYZE take; COPY does not mind it.

use super::connect;
use super::ident::Qualified;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc::UnboundedReceiver;

/// So many tables at most: the server has room for so many locks only.
const MOST_TABLES: usize = 500;
/// For somebody who is there already, and goes when he is in the way.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '3s'";

/// Locks table after table, and holds the locks until nobody has any more to lock. Who may not lock one keeps none:
/// it is slower, and nothing else.
pub(super) async fn keep(mut connection: PgConnection, mut tables: UnboundedReceiver<Qualified>) {
    let mut kept = connect::execute(&mut connection, BEGIN.to_owned()).await;
    let mut count = 0;
    while let Some(table) = tables.recv().await {
        count += 1;
        if kept.is_ok() && count <= MOST_TABLES {
            let lock = format!("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE", table.sql());
            kept = connect::execute(&mut connection, lock).await;
        }
    }
    connect::close(connection).await;
}
