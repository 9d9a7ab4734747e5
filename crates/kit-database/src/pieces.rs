//! A stream between two tasks that ends well only if its producer said so.
//!
//! Whoever reads must never take the end of a broken producer for the end of the content: a stream that
//! just stops is an error here.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What the producer hands on.
#[derive(Debug)]
pub enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// That was all.
    End,
    /// It failed; the producer itself says why.
    Failed,
}

/// The reading end.
#[derive(Debug)]
pub struct Pieces {
    receiver: Receiver<Piece>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Pieces {
    /// Both ends; the producer may be `ahead` pieces ahead of the reader.
    pub fn channel(ahead: usize) -> (Sender<Piece>, Self) {
        let (sender, receiver) = channel(ahead);
        (sender, Self { receiver, current: Vec::new(), at: 0, ended: false })
    }
}

impl Pieces {
    /// True if it was read to an end that its producer had said. Who claims to have all of it without having
    /// come here has not.
    pub const fn was_read_whole(&self) -> bool {
        self.ended
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
                    return Poll::Ready(Err(Error::new(ErrorKind::BrokenPipe, "what produces it failed")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn read(pieces: Vec<Piece>) -> std::io::Result<Vec<u8>> {
        let (sender, mut reader) = Pieces::channel(8);
        for piece in pieces {
            assert!(sender.send(piece).await.is_ok());
        }
        drop(sender);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.map(|_| bytes)
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
}
