//! A dump into a database: the snapshot is taken apart while it comes, and each key of the one database given to the
//! server as `RESTORE` takes it. At most a few MiB are under way, or the largest value.

use super::beside::Restored;
use super::connect::{Connection, Doing, Failed};
use super::info::Info;
use super::rdb::{self, Entry, Visit};
use super::resp;
use super::sync::{self, judge};
use crate::{DatabaseError, EngineError};
use kit_core::Context;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Sent at once, at most: bytes, and keys.
pub(super) const BATCH_BYTES: usize = 1 << 20;
const BATCH_KEYS: usize = 1000;
/// How many may wait.
const AHEAD: usize = 2;
const PIECE_BYTES: usize = 256 * 1024;
/// Values take more room than they are long in a snapshot, which compresses.
const ROOM_FACTOR: u64 = 8;

/// Commands that are sent at once.
#[derive(Default)]
struct Batch {
    commands: Vec<u8>,
    /// The module of each key's value, if it is one's.
    modules: Vec<Option<String>>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.commands.len() >= BATCH_BYTES || self.modules.len() >= BATCH_KEYS
    }
}

/// Makes commands of the keys of one database.
struct Loader {
    number: u64,
    batch: Batch,
    to: Sender<Batch>,
}

impl Visit for Loader {
    fn wants(&self, database: u64) -> bool {
        database == self.number
    }

    fn entry(&mut self, version: u32, entry: Entry) -> std::io::Result<()> {
        let Entry { key, expires, mut value, module } = entry;
        rdb::seal(version, &mut value);
        // 0 would be "never".
        let expires = expires.map_or(0, |expires| expires.max(1)).to_string();
        let command = [&b"RESTORE"[..], &key, expires.as_bytes(), &value, b"ABSTTL"];
        resp::put(&command, &mut self.batch.commands);
        self.batch.modules.push(module);
        if self.batch.is_full() {
            let batch = std::mem::take(&mut self.batch);
            self.to.blocking_send(batch).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        }
        Ok(())
    }
}

/// Loads the keys of the database `number` of a dump into the one that is selected.
pub(super) async fn run(
    mut connection: Connection,
    number: u64,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Restored, DatabaseError> {
    let (to, batches) = channel(AHEAD);
    let (to_scanner, scanning) = sync::scan(cx, Loader { number, batch: Batch::default(), to });
    let scanned = async {
        let (read, Loader { batch, to, .. }) =
            scanning.await.map_err(|error| doing.because(error.to_string()))?;
        if read.is_ok() {
            // Whoever is gone says why himself.
            let _ = to.send(batch).await;
        }
        Ok::<_, DatabaseError>(read)
    };
    let (fed, scanned, sent) =
        tokio::join!(feed(reader, to_scanner, cx, doing), scanned, send(&mut connection, batches, cx, doing));
    fed?;
    sent?;
    let content = scanned?.map_err(|bad| judge(bad, doing))?;
    Ok(Restored { keys: content.keys(number), functions: content.functions })
}

/// Hands on what is to be read, to its end.
pub(super) async fn feed(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    to: Sender<Vec<u8>>,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = cx.cancel.unless(reader.read(&mut piece)).await.ok_or_else(|| doing.cancelled(cx))?;
        let count = read.map_err(|source| unreadable(source, doing))?;
        piece.truncate(count);
        // A scanner that is gone says why itself.
        if count == 0 || to.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

/// How a decompressor says that its input ended early, and every other error.
pub(super) fn unreadable(source: std::io::Error, doing: Doing<'_>) -> DatabaseError {
    if source.kind() == std::io::ErrorKind::UnexpectedEof {
        return doing.truncated(format!("the stream broke off: {source}"));
    }
    DatabaseError::Transfer { action: "read", database: doing.database.to_owned(), source }
}

/// Whether so many bytes can be loaded without harm to others.
pub(super) fn has_room(info: &Info, bytes: u64, doing: Doing<'_>) -> Result<(), DatabaseError> {
    match info.room_bytes() {
        Some(room) if room < bytes.saturating_mul(ROOM_FACTOR) => Err(doing.because(
            "its maxmemory leaves no room for a second copy, and it would remove keys of the live one to make some: \
             raise maxmemory, or set maxmemory-policy to noeviction, for the time of the restore",
        )),
        _ => Ok(()),
    }
}

async fn send(
    connection: &mut Connection,
    mut batches: Receiver<Batch>,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    loop {
        let next = cx.cancel.unless(batches.recv()).await.ok_or_else(|| doing.cancelled(cx))?;
        let Some(batch) = next else { return Ok(()) };
        has_room(&doing.run(cx, connection.info()).await?, batch.commands.len() as u64, doing)?;
        doing.run(cx, connection.send(&batch.commands)).await?;
        for module in batch.modules {
            match doing.run(cx, async { Ok(connection.answer().await) }).await? {
                Ok(_) => {}
                Err(failed) => return Err(refused(&failed, module, doing)),
            }
        }
    }
}

/// Why a value was not taken.
fn refused(failed: &Failed, module: Option<String>, doing: Doing<'_>) -> DatabaseError {
    let source = EngineError::from(failed);
    let text = source.text.to_string();
    match (module, failed.code()) {
        (Some(module), "ERR") => DatabaseError::Unavailable {
            what: format!("{} has no module that knows values of the type {module}: {text}", doing.database),
        },
        (_, "ERR") if text.contains("Bad data format") || text.contains("checksum") => {
            DatabaseError::Damaged { database: doing.database.to_owned(), source }
        }
        (_, "BUSYKEY") => doing.because("somebody else writes into the database that was empty"),
        _ => doing.said(source),
    }
}
