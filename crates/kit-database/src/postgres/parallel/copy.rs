//! One connection that copies pieces of tables in the snapshot of another one.

use super::super::connect;
use super::super::inspect;
use super::plan::{self, Piece};
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a connection may be ahead of the dump.
const AHEAD_BYTES: usize = 8 << 20;
/// Rows are handed on in portions of this size.
const PORTION_BYTES: usize = 256 * 1024;

/// The pieces that nobody has begun yet.
pub(super) type Queue = Arc<Mutex<VecDeque<Piece>>>;

/// A part of a piece.
#[derive(Debug)]
pub(super) enum Part {
    /// Bytes, and the room that they take, which is free again once it is dropped.
    Bytes(Vec<u8>, OwnedSemaphorePermit),
    /// The piece is whole.
    End,
}

/// A piece that was begun.
pub(super) type Begun = tokio::sync::mpsc::UnboundedReceiver<Part>;

/// The name under which others can take over the snapshot of this connection.
pub(in super::super) async fn export(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_export_snapshot()").persistent(false).fetch_one(connection).await
}

/// Takes over the snapshot.
pub(in super::super) async fn join(connection: &mut PgConnection, snapshot: &str) -> Result<(), sqlx::Error> {
    inspect::begin_snapshot(connection).await?;
    let sql = format!("SET TRANSACTION SNAPSHOT {}", super::super::ident::literal(snapshot));
    connect::execute(connection, sql).await
}

/// Copies piece after piece until none is left, or nobody takes them any more.
pub(super) async fn work(
    mut connection: PgConnection,
    queue: Queue,
    begun: Sender<Begun>,
) -> Result<(), sqlx::Error> {
    let room = Arc::new(Semaphore::new(AHEAD_BYTES));
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(piece) = next else { break };
        // Unbounded: what bounds it is the room.
        let (parts, receiver) = unbounded_channel();
        if begun.send(receiver).await.is_err() || !copy(&mut connection, &piece, &room, &parts).await? {
            return Ok(());
        }
    }
    connect::close(connection).await;
    Ok(())
}

/// Copies one piece. False: nobody takes it any more.
async fn copy(
    connection: &mut PgConnection,
    piece: &Piece,
    room: &Arc<Semaphore>,
    parts: &UnboundedSender<Part>,
) -> Result<bool, sqlx::Error> {
    let mut rows = connection.copy_out_raw(&piece.sql).await?;
    let mut portion = Vec::with_capacity(PORTION_BYTES + 4096);
    portion.extend_from_slice(piece.head.as_bytes());
    while let Some(row) = rows.try_next().await? {
        portion.extend_from_slice(&row);
        if portion.len() >= PORTION_BYTES && !hand_on(&mut portion, room, parts).await {
            return Ok(false);
        }
    }
    portion.extend_from_slice(plan::TAIL.as_bytes());
    Ok(hand_on(&mut portion, room, parts).await && parts.send(Part::End).is_ok())
}

/// Hands on what has come together, in portions that fit into the room.
async fn hand_on(portion: &mut Vec<u8>, room: &Arc<Semaphore>, parts: &UnboundedSender<Part>) -> bool {
    let whole = std::mem::replace(portion, Vec::with_capacity(PORTION_BYTES + 4096));
    if whole.len() <= AHEAD_BYTES / 4 {
        return send(whole, room, parts).await;
    }
    // A row may have a gigabyte.
    for slice in whole.chunks(PORTION_BYTES) {
        if !send(slice.to_vec(), room, parts).await {
            return false;
        }
    }
    true
}

async fn send(bytes: Vec<u8>, room: &Arc<Semaphore>, parts: &UnboundedSender<Part>) -> bool {
    let needed = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let Ok(permit) = Arc::clone(room).acquire_many_owned(needed).await else { return false };
    parts.send(Part::Bytes(bytes, permit)).is_ok()
}

/// The pieces as they are begun; as many may wait as there are connections.
pub(super) fn channel_of_begun(connections: usize) -> (Sender<Begun>, Receiver<Begun>) {
    channel(connections.max(1))
}
