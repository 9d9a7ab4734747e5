//! One connection that copies pieces of tables in the snapshot of another one.

use super::super::copy_out::{CopyOut, Heard, PORTION_BYTES};
use super::super::ident::{self, Qualified};
use super::copied::Copied;
use super::plan::{self, Mixed, Piece};
use crate::EngineError;
use bytes::Bytes;
use sqlx::postgres::PgConnection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a connection may be ahead of the dump.
const AHEAD_BYTES: usize = 8 << 20;

/// What all connections share.
#[derive(Clone)]
pub(super) struct Queue {
    /// The pieces that nobody has begun yet.
    pub(super) pieces: Arc<Mutex<Mixed>>,
    /// Where those that are done are noted, if all connections can say what the server has counted.
    pub(super) copied: Option<Arc<Mutex<Copied>>>,
}

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

/// What a connection sees, and others can see.
pub(in super::super) struct Snapshot {
    /// By which they take it over.
    pub(in super::super) name: String,
    /// The connection is encrypted.
    pub(in super::super) is_encrypted: bool,
}

/// Lets others take over the snapshot of this connection, for as long as it holds it. Where nobody may see whether it is
/// encrypted, it counts as that: a refusal would end the transaction.
pub(in super::super) async fn export(connection: &mut PgConnection) -> Result<Snapshot, sqlx::Error> {
    let sql = "SELECT pg_export_snapshot(), has_table_privilege('pg_stat_ssl', 'SELECT')";
    let (name, may_ask): (String, bool) =
        sqlx::query_as(sql).persistent(false).fetch_one(&mut *connection).await?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let is_encrypted = match may_ask {
        true => sqlx::query_scalar(sql).persistent(false).fetch_optional(connection).await?.unwrap_or(true),
        false => true,
    };
    Ok(Snapshot { name, is_encrypted })
}

/// Takes over the snapshot and locks these tables, as SQL.
pub(in super::super) fn join(snapshot: &str, tables: &[Qualified]) -> String {
    let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    let join = format!("{begin}; SET TRANSACTION SNAPSHOT {}", ident::literal(snapshot));
    if tables.is_empty() { join } else { format!("{join}; {}", lock(tables.iter())) }
}

/// Keeps everybody from emptying these tables, or writing them anew, until the transaction ends, as SQL.
pub(super) fn lock<'a>(tables: impl Iterator<Item = &'a Qualified>) -> String {
    let tables: Vec<String> = tables.map(|table| format!("ONLY {}", table.sql())).collect();
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "))
}

/// Copies piece after piece until none is left, or nobody takes them any more.
pub(super) async fn work(
    mut connection: CopyOut,
    queue: Queue,
    begun: Sender<Begun>,
) -> Result<(), EngineError> {
    let room = Arc::new(Semaphore::new(AHEAD_BYTES));
    loop {
        let next = queue.pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(piece) = next else { break };
        // Unbounded: what bounds it is the room.
        let (parts, receiver) = unbounded_channel();
        if begun.send(receiver).await.is_err()
            || !copy(&mut connection, &piece, queue.copied.as_deref(), (&room, &parts)).await?
        {
            return Ok(());
        }
    }
    connection.close().await;
    Ok(())
}

/// Copies one piece. False: nobody takes it any more.
async fn copy(
    connection: &mut CopyOut,
    piece: &Piece,
    copied: Option<&Mutex<Copied>>,
    (room, parts): (&Arc<Semaphore>, &UnboundedSender<Part>),
) -> Result<bool, EngineError> {
    let mut rows = connection.rows(&piece.sql).await?;
    if !send(piece.head.clone().into_bytes(), room, parts).await {
        return Ok(false);
    }
    let told = loop {
        match rows.next().await? {
            Heard::Portion(portion) => {
                if !hand_on(portion, room, parts).await {
                    return Ok(false);
                }
            }
            Heard::End(told) => break told,
        }
    };
    if let Some((copied, rows)) = copied.zip(told) {
        copied.lock().unwrap_or_else(PoisonError::into_inner).add(piece, rows);
    }
    Ok(send(plan::TAIL.as_bytes().to_vec(), room, parts).await && parts.send(Part::End).is_ok())
}

/// Hands on rows, in pieces that fit into the room.
async fn hand_on(portion: Bytes, room: &Arc<Semaphore>, parts: &UnboundedSender<Part>) -> bool {
    if portion.len() <= AHEAD_BYTES / 4 {
        return send(portion.into(), room, parts).await;
    }
    // A row may have a gigabyte.
    for slice in portion.chunks(PORTION_BYTES) {
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
