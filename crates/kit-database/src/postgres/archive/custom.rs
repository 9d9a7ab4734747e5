//! The custom format: one stream, which goes to whoever stores it and to the `pg_restore` that reads along.

use super::super::connect::Doing;
use super::super::dump::{Examined, ReadAlong, Start};
use super::{AHEAD, PIECE_BYTES, Reading, check, read_along, what_was_read};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use crate::schema_file::SchemaFile;
use async_trait::async_trait;
use kit_core::Context;
use kit_exec::{ExecError, Running, Stdin};
use std::collections::BTreeMap;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::Sender;
use tokio_util::task::AbortOnDropHandle;

/// A dump in the custom format.
pub(in super::super) struct Custom {
    pieces: Pieces,
    /// Gives the number of bytes.
    pouring: AbortOnDropHandle<Result<u64, ExecError>>,
    reading: Reading,
}

pub(in super::super) fn custom(
    start: Start<'_>,
    cx: &Context,
    schema: SchemaFile,
) -> Result<Custom, DatabaseError> {
    check(&start)?;
    // Compressed by us, on all cores.
    let running = start.pg_dump().args(["--format=custom", "--compress=0"]).spawn_reading(cx)?;
    let (to_restore, archive) = Pieces::channel(AHEAD);
    let (to_reader, pieces) = Pieces::channel(AHEAD);
    let pg_restore = start.clients.command("pg_restore").arg("--format=custom");
    let reading = read_along(cx, pg_restore, Stdin::Stream(Box::new(archive)), start.scanner(schema))?;
    let pouring = AbortOnDropHandle::new(tokio::spawn(pour(running, to_reader, to_restore)));
    Ok(Custom { pieces, pouring, reading })
}

/// Hands on what `pg_dump` writes, until it ends or the reader is gone.
async fn pour(
    mut running: Running,
    to_reader: Sender<Piece>,
    to_restore: Sender<Piece>,
) -> Result<u64, ExecError> {
    let mut bytes = 0_u64;
    loop {
        let mut piece = vec![0_u8; PIECE_BYTES];
        // An error is told by the end, which then is a bad one.
        let count = running.read(&mut piece).await.unwrap_or_default();
        if count == 0 {
            break;
        }
        piece.truncate(count);
        bytes += count as u64;
        // One that is gone says by its own end whether it was content.
        let _ = to_restore.send(Piece::Bytes(piece.clone())).await;
        if to_reader.send(Piece::Bytes(piece)).await.is_err() {
            break;
        }
    }
    let ended = running.finish().await;
    // Only whoever would take part of it for the whole must not see an end: the reader is told by `finish`.
    let _ = to_restore.send(if ended.is_ok() { Piece::End } else { Piece::Failed }).await;
    let _ = to_reader.send(Piece::End).await;
    ended.map(|_| bytes)
}

#[async_trait]
impl ReadAlong for Custom {
    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin) {
        &mut self.pieces
    }

    async fn finish(self: Box<Self>, _cx: &Context, doing: Doing<'_>) -> Result<Examined, DatabaseError> {
        if !self.pieces.was_read_whole() {
            return Err(doing.truncated("it was not read to its end".to_owned()));
        }
        let bytes = match self.pouring.await {
            Ok(poured) => poured.map_err(|error| doing.not_made(error))?,
            Err(_) => return Err(doing.truncated("handing it on ended in a bug".to_owned())),
        };
        let (content, schema) = what_was_read(self.reading, doing).await?;
        Ok(Examined { bytes, content, schema, counted: BTreeMap::new() })
    }
}
