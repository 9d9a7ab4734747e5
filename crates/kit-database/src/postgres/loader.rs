//! A connection of ours that loads rows, instead of a `psql`: that one takes every line into its hands, which costs as
//! much as inflating them, and it cannot tell when a table is whole. Or one that makes indexes.

use super::address::Address;
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use bytes::BytesMut;
use kit_core::Context;
use sqlx::postgres::{PgConnection, PgCopyIn};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// After so many bytes a COPY is ended and begun anew: what the server says against a row is heard only at its end.
const MOST_BYTES: usize = 64 << 20;
/// What is sent at once.
const MESSAGE_BYTES: usize = 1 << 20;

/// What a loader is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Whole rows of this COPY statement, which is begun if it does not go on. Another one is ended.
    Rows(Arc<str>, Rows),
    /// There are no more of it. Answered once the server has all of them.
    End(oneshot::Sender<()>),
}

/// Rows, and the room that they take, which is free again once they are sent.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) bytes: BytesMut,
    pub(super) room: OwnedSemaphorePermit,
}

impl Rows {
    async fn send(self, copy: &mut PgCopyIn<&mut PgConnection>) -> Result<(), sqlx::Error> {
        // A row may have a gigabyte, which would be copied whole. Where a message ends says nothing.
        for part in self.bytes.chunks(MESSAGE_BYTES) {
            copy.send(part).await?;
        }
        drop(self.room);
        Ok(())
    }
}

/// A connection with the settings with which the dump begins.
pub(super) async fn open(
    address: &Address,
    prelude: &[u8],
    cx: &Context,
    doing: Doing<'_>,
) -> Result<PgConnection, DatabaseError> {
    let mut connection = connect::open(address, Session::Loading, cx, doing).await?;
    doing.run(cx, connect::execute(&mut connection, settings(prelude))).await?;
    Ok(connection)
}

/// Without the commands that only `psql` knows.
fn settings(prelude: &[u8]) -> String {
    let text = String::from_utf8_lossy(prelude);
    text.split_inclusive('\n').filter(|line| !line.starts_with('\\')).collect()
}

/// Loads until nobody has anything more to load. Rows whose end was never said are taken back.
pub(super) async fn load(
    mut connection: PgConnection,
    mut orders: Receiver<Order>,
) -> Result<(), sqlx::Error> {
    let mut next = orders.recv().await;
    while let Some(order) = next {
        next = match order {
            Order::Rows(statement, rows) => copy(&mut connection, (statement, rows), &mut orders).await?,
            // Its COPY was ended already.
            Order::End(told) => {
                let _ = told.send(());
                None
            }
        };
        if next.is_none() {
            next = orders.recv().await;
        }
    }
    connect::close(connection).await;
    Ok(())
}

/// One COPY, from its first rows to its end. Gives the rows of another one that came instead of more.
async fn copy(
    connection: &mut PgConnection,
    (statement, first): (Arc<str>, Rows),
    orders: &mut Receiver<Order>,
) -> Result<Option<Order>, sqlx::Error> {
    let mut copy: PgCopyIn<&mut PgConnection> = connection.copy_in_raw(&statement).await?;
    let mut bytes = first.bytes.len();
    first.send(&mut copy).await?;
    while bytes < MOST_BYTES {
        match orders.recv().await {
            Some(Order::Rows(of, rows)) if of == statement => {
                bytes += rows.bytes.len();
                rows.send(&mut copy).await?;
            }
            Some(other @ Order::Rows(..)) => {
                copy.finish().await?;
                return Ok(Some(other));
            }
            Some(Order::End(told)) => {
                copy.finish().await?;
                let _ = told.send(());
                return Ok(None);
            }
            None => {
                copy.abort("the rows broke off").await?;
                return Err(sqlx::Error::Protocol("the rows broke off".to_owned()));
            }
        }
    }
    copy.finish().await.map(|_| None)
}

/// Statements that nobody has begun yet.
pub(super) type Queue = Arc<Mutex<VecDeque<String>>>;

/// Runs statement after statement until none is left.
pub(super) async fn run(mut connection: PgConnection, queue: Queue) -> Result<(), sqlx::Error> {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(statement) = next else { break };
        connect::execute(&mut connection, statement).await?;
    }
    connect::close(connection).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psqls_own_commands_are_left_out_of_the_settings() {
        let prelude =
            b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\nSET client_encoding = 'UTF8';\n";
        assert_eq!(
            settings(prelude),
            "--\n-- PostgreSQL database dump\n--\n\n\nSET client_encoding = 'UTF8';\n"
        );
    }
}
