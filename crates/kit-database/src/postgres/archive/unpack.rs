//! A tar of a dump, back into a folder.

use super::{AHEAD, PIECE_BYTES};
use crate::pieces::Piece;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// A tar consists of blocks, and two of zeros end it (POSIX, pax: "end-of-archive indicator").
const BLOCK_BYTES: usize = 512;
const END_BYTES: usize = 2 * BLOCK_BYTES;

/// Unpacks into a folder that does not exist yet. [`ErrorKind::InvalidData`] means that the tar is not whole or none of
/// ours; another kind, that it could not be read or written.
pub(in super::super) async fn unpack(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    folder: &Path,
) -> Result<()> {
    let (sender, receiver) = channel(AHEAD);
    let folder = folder.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || write(receiver, &folder));
    let poured = pour(reader, sender).await;
    let unpacked = unpacking.await.map_err(|_| Error::other("unpacking ended in a bug"))?;
    // If the stream failed, that it ended is no wonder.
    poured?;
    unpacked
}

/// Hands on everything, and then whether it ended as a tar does.
async fn pour(reader: &mut (dyn AsyncRead + Send + Unpin), to: Sender<Piece>) -> Result<()> {
    let mut tail = Vec::new();
    let mut size_bytes = 0;
    loop {
        let mut piece = vec![0_u8; PIECE_BYTES];
        let count = reader.read(&mut piece).await?;
        piece.truncate(count);
        if count == 0 {
            break;
        }
        size_bytes += count;
        tail.extend_from_slice(piece.get(count.saturating_sub(END_BYTES)..).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(END_BYTES));
        // Read to its end whatever becomes of the files: its digest is of all of it.
        let _ = to.send(Piece::Bytes(piece)).await;
    }
    if tail.len() < END_BYTES || size_bytes % BLOCK_BYTES != 0 || tail.iter().any(|byte| *byte != 0) {
        return Err(invalid("it does not end as a tar does".to_owned()));
    }
    let _ = to.send(Piece::End).await;
    Ok(())
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}

fn write(from: Receiver<Piece>, folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    let mut tar = tar::Archive::new(Input { from, current: Vec::new(), at: 0, ended: false });
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let mut components = path.components();
        let (Some(Component::Normal(name)), None, true) =
            (components.next(), components.next(), entry.header().entry_type().is_file())
        else {
            return Err(invalid(format!("{path:?} is no file of a dump")));
        };
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        let size_bytes = entry.size();
        if std::io::copy(&mut entry, &mut file)? != size_bytes {
            return Err(invalid(format!("{path:?} is cut off")));
        }
    }
    // The blocks at the end, and whether the end was said.
    std::io::copy(&mut tar.into_inner(), &mut std::io::sink())?;
    Ok(())
}

/// Reads what is sent to it.
struct Input {
    from: Receiver<Piece>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            let left = self.current.get(self.at..).unwrap_or_default();
            let count = left.len().min(into.len());
            if count > 0 || self.ended || into.is_empty() {
                for (to, from) in into.iter_mut().zip(left) {
                    *to = *from;
                }
                self.at += count;
                return Ok(count);
            }
            match self.from.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    self.current = bytes;
                    self.at = 0;
                }
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed) | None => return Err(invalid("it broke off".to_owned())),
            }
        }
    }
}
