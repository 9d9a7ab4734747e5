//! The producing end: reads the dump, digests and compresses it, and hands the pieces on.
//!
//! The store must never take the end of a broken dump for the end of a whole one. So the end is said
//! explicitly, after the database has confirmed that the dump is complete; a stream that just stops is an
//! error to its reader.

use flate2::Compression;
use flate2::write::GzEncoder;
use kit_contract::{Reason, Sha256};
use kit_core::Progress;
use kit_core::{Context, ResultExt as _, StepError};
use kit_database::{Dump, DumpReport};
use sha2::Digest as _;
use std::io::{Error, ErrorKind, Write as _};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender};

/// Read and compressed at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Fast, and within a few percent of the size of the usual level.
const LEVEL: u32 = 3;

/// What the producer hands on.
pub(crate) enum Piece {
    /// Compressed bytes.
    Bytes(Vec<u8>),
    /// All of it was handed on, and the database said that it is complete.
    End,
    /// It failed; the producer itself says why.
    Failed,
}

/// What was produced.
pub(crate) struct Produced {
    /// What the database says about it.
    pub(crate) report: DumpReport,
    /// Digest before compression.
    pub(crate) sha256: Sha256,
}

/// Produces until the end. `None`: nobody takes the pieces any more.
pub(crate) async fn produce(
    cx: Context,
    mut dump: Box<dyn Dump>,
    mut progress: Progress,
    pieces: Sender<Piece>,
) -> Result<Option<Produced>, StepError> {
    let compressed = compress(&cx, dump.reader(), &mut progress, &pieces).await;
    let finished = match compressed {
        Ok(None) => return Ok(None),
        Ok(Some((sha256, tail))) => match dump.finish(&cx).await {
            Ok(report) => Ok((Produced { report, sha256 }, tail)),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error),
    };
    match finished {
        Ok((produced, tail)) => {
            let taken =
                pieces.send(Piece::Bytes(tail)).await.is_ok() && pieces.send(Piece::End).await.is_ok();
            Ok(taken.then_some(produced))
        }
        Err(error) => {
            // If nobody listens, there is nobody to be misled.
            let _ = pieces.send(Piece::Failed).await;
            Err(error)
        }
    }
}

/// Gives the digest and the last compressed bytes, which must not be handed on before the dump is known to
/// be complete: without them the file cannot be read to its end.
async fn compress(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    progress: &mut Progress,
    pieces: &Sender<Piece>,
) -> Result<Option<(Sha256, Vec<u8>)>, StepError> {
    let mut hasher = sha2::Sha256::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    let mut chunk = vec![0_u8; PIECE_BYTES];
    loop {
        let Some(read) = cx.cancel.unless(reader.read(&mut chunk)).await else {
            return Err(StepError::new(Reason::Interrupted, "stopped before the database was copied"));
        };
        let count = read.or_reason(Reason::DumpFailed, "the copy of the database cannot be read")?;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        encoder.write_all(bytes).or_reason(Reason::InternalError, "the copy cannot be compressed")?;
        progress.advance(bytes.len());
        let ready = std::mem::take(encoder.get_mut());
        if !ready.is_empty() && pieces.send(Piece::Bytes(ready)).await.is_err() {
            return Ok(None);
        }
    }
    let tail = encoder.finish().or_reason(Reason::InternalError, "the copy cannot be compressed")?;
    Ok(Some((Sha256::from_raw(&hasher.finalize()), tail)))
}

/// The pieces as a stream of bytes that ends well only if the producer said so.
pub(crate) struct Pieces {
    receiver: Receiver<Piece>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Pieces {
    /// The other end of the producer's channel.
    pub(crate) fn new(receiver: Receiver<Piece>) -> Self {
        Self { receiver, current: Vec::new(), at: 0, ended: false }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        loop {
            let left = this.current.get(this.at..).unwrap_or_default();
            if let Some(fits) = left.get(..left.len().min(buffer.remaining())).filter(|fits| !fits.is_empty())
            {
                buffer.put_slice(fits);
                this.at += fits.len();
                return Poll::Ready(Ok(()));
            }
            if this.ended || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.receiver.poll_recv(task)) {
                Some(Piece::Bytes(bytes)) => {
                    this.current = bytes;
                    this.at = 0;
                }
                Some(Piece::End) => this.ended = true,
                Some(Piece::Failed) | None => {
                    return Poll::Ready(Err(Error::new(
                        ErrorKind::BrokenPipe,
                        "the database was not copied",
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use tokio::sync::mpsc::channel;

    async fn read(pieces: Vec<Piece>) -> std::io::Result<Vec<u8>> {
        let (sender, receiver) = channel(8);
        for piece in pieces {
            assert!(sender.send(piece).await.is_ok());
        }
        drop(sender);
        let mut bytes = Vec::new();
        Pieces::new(receiver).read_to_end(&mut bytes).await.map(|_| bytes)
    }

    #[tokio::test]
    async fn only_a_said_end_is_an_end() {
        let bytes = || Piece::Bytes(vec![1, 2, 3]);
        assert_eq!(read(vec![bytes(), bytes(), Piece::End]).await.unwrap(), [1, 2, 3, 1, 2, 3]);
        assert_eq!(read(vec![Piece::End]).await.unwrap(), [0_u8; 0]);
        for broken in [vec![], vec![bytes()], vec![bytes(), Piece::Failed], vec![Piece::Failed]] {
            assert!(read(broken).await.is_err());
        }
    }

    #[tokio::test]
    async fn what_is_compressed_comes_back() {
        let (cx, _) = Context::for_test(kit_core::Env::default());
        let plain: Vec<u8> = (0..1_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let (sender, receiver) = channel(64);
        let mut progress = Progress::new(&cx, "test".to_owned(), None);
        let mut reader = plain.as_slice();
        let (digest, tail) = compress(&cx, &mut reader, &mut progress, &sender).await.unwrap().unwrap();
        assert_eq!(digest, Sha256::of(&plain));
        sender.send(Piece::Bytes(tail)).await.ok().unwrap();
        sender.send(Piece::End).await.ok().unwrap();
        let mut packed = Vec::new();
        Pieces::new(receiver).read_to_end(&mut packed).await.unwrap();
        assert!(packed.len() < plain.len());
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, plain);
    }
}
