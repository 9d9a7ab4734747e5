//! Puts the producers' bytes into one stream.
//!
//! Piece by piece in the order in which they were begun. While one is handed on, the other connections go on until
//! their room is full; the one whose piece is handed on never waits for room, so all come to their end.

use super::super::connect::Doing;
use super::super::copy_out::CopyOut;
use super::super::reader::PgDump;
use super::copy::{self, Part, Queue};
use crate::pieces::Piece;
use crate::{DatabaseError, EngineError};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

/// How much is read from a `pg_dump` at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Who makes the dump.
pub(super) struct Producers {
    pub(super) before: PgDump,
    pub(super) copying: Vec<(CopyOut, Queue)>,
    pub(super) after: PgDump,
}

/// Runs them to their end, and says that end only if all of them came to it.
pub(super) async fn run(
    producers: Producers,
    pieces: Sender<Piece>,
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let merged = merge(producers, &pieces, doing).await;
    let last = if merged.is_ok() { Piece::End } else { Piece::Failed };
    // Nobody listens: then nobody can be misled.
    let _ = pieces.send(last).await;
    merged
}

async fn merge(producers: Producers, pieces: &Sender<Piece>, doing: Doing<'_>) -> Result<(), DatabaseError> {
    let Producers { before, copying, after } = producers;
    let (begun, mut in_order) = copy::channel_of_begun(copying.len());
    let mut connections = JoinSet::new();
    for (connection, queue) in copying {
        connections.spawn(copy::work(connection, queue, begun.clone()));
    }
    drop(begun);
    hand_on(before, pieces, doing).await?;
    while let Some(mut piece) = in_order.recv().await {
        loop {
            match piece.recv().await {
                Some(Part::Bytes(bytes, _room)) => send(pieces, bytes, doing).await?,
                Some(Part::End) => break,
                // Its connection failed: that one says why.
                None => return Err(failure(&mut connections, doing).await),
            }
        }
    }
    while let Some(ended) = connections.join_next().await {
        ended.map_err(|error| doing.bug(&error))?.map_err(|error| doing.said(error))?;
    }
    hand_on(after, pieces, doing).await
}

/// The first failure of a connection.
async fn failure(connections: &mut JoinSet<Result<(), EngineError>>, doing: Doing<'_>) -> DatabaseError {
    while let Some(ended) = connections.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return doing.said(error),
            Err(error) => return doing.bug(&error),
        }
    }
    unread(doing)
}

/// A whole `pg_dump`, which must have ended well before anything follows it.
async fn hand_on(mut dump: PgDump, pieces: &Sender<Piece>, doing: Doing<'_>) -> Result<(), DatabaseError> {
    loop {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let read = dump.read_buf(&mut bytes).await;
        match read.map_err(|error| doing.said(error.into()))? {
            0 => return dump.finish(doing).await,
            _ => send(pieces, bytes, doing).await?,
        }
    }
}

async fn send(pieces: &Sender<Piece>, bytes: Vec<u8>, doing: Doing<'_>) -> Result<(), DatabaseError> {
    pieces.send(Piece::Bytes(bytes)).await.map_err(|_| unread(doing))
}

/// Whoever reads has gone; he knows why.
fn unread(doing: Doing<'_>) -> DatabaseError {
    let problem = "it was not read to its end".to_owned();
    DatabaseError::Truncated { database: doing.database.to_owned(), problem }
}
