//! A snapshot over the wire, as a replica gets it (`PSYNC`), read along by somebody else while it comes.
//!
//! The server says how long it is, or, where it writes it straight into the connection (`repl-diskless-sync`), by which
//! forty letters it will end. It writes nothing but empty lines until it has begun.

use super::connect::{Connection, Doing, Failed, Stream};
use super::rdb::{self, Bad, Content, Visit};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use kit_core::Context;
use std::io::{Read, Result as IoResult};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

/// Handed on at once, and how many of these may wait.
const PIECE_BYTES: usize = 256 * 1024;
const AHEAD: usize = 4;
/// How long a server may say nothing. While it makes the snapshot it shows once a second that it lives.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the text is by which a snapshot of unknown length ends.
const MARK_BYTES: usize = 40;

/// A snapshot that comes.
pub(super) struct Coming {
    stream: BufReader<Box<dyn Stream>>,
    frame: Frame,
    /// Where the server's stream of changes stood: its id and how many bytes.
    pub(super) position: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Length(u64),
    Mark(Vec<u8>),
}

/// Asks for a snapshot, and waits until it begins.
pub(super) async fn begin(
    mut connection: Connection,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Coming, DatabaseError> {
    let asked = async {
        connection.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await?;
        // We want no changes that come after it; servers before 7.0 do not know that.
        match connection.ask(&["REPLCONF", "rdb-only", "1"]).await {
            Ok(_) | Err(Failed::Refused(_)) => {}
            Err(broken) => return Err(broken),
        }
        connection.ask(&["PSYNC", "?", "-1"]).await
    };
    let said = doing.run(cx, asked).await?.text().unwrap_or_default();
    let Some(position) = said.strip_prefix("FULLRESYNC ") else {
        return Err(doing.because("it does not give a snapshot in answer to PSYNC"));
    };
    let position = position.replace(' ', ":");
    let line = loop {
        match cx.cancel.unless(cx.clock.timeout(SILENCE, connection.line())).await {
            None => return Err(doing.cancelled(cx)),
            Some(Ok(Ok(line))) if line.is_empty() => {}
            Some(Ok(line)) => break line.map_err(|failed| doing.failed(&failed))?,
            Some(Err(elapsed)) => return Err(silent(doing, elapsed.limit)),
        }
    };
    match frame(&line) {
        Some(frame) => Ok(Coming { stream: connection.into_stream(), frame, position }),
        None => match String::from_utf8_lossy(&line).strip_prefix('-') {
            Some(text) => Err(doing.failed(&Failed::Refused(text.to_owned()))),
            None => Err(doing.because("it does not say how its snapshot ends")),
        },
    }
}

fn silent(doing: Doing<'_>, limit: Duration) -> DatabaseError {
    DatabaseError::NoAnswer { database: doing.database.to_owned(), limit_ms: limit.as_millis() }
}

/// `$1234` or `$EOF:<forty letters>`
fn frame(line: &[u8]) -> Option<Frame> {
    let said = line.strip_prefix(b"$")?;
    match said.strip_prefix(b"EOF:") {
        Some(mark) if mark.len() == MARK_BYTES => Some(Frame::Mark(mark.to_vec())),
        Some(_) => None,
        None => Some(Frame::Length(std::str::from_utf8(said).ok()?.parse().ok()?)),
    }
}

impl Coming {
    /// How long it is, if the server said so.
    pub(super) const fn size_bytes(&self) -> Option<u64> {
        match &self.frame {
            Frame::Length(length) => Some(*length),
            Frame::Mark(_) => None,
        }
    }

    /// Begins to read it. The pieces end well only if all of it came.
    pub(super) fn read<V: Visit + Send + 'static>(self, cx: &Context, visit: V) -> (Pieces, Reading<V>) {
        let (to_reader, pieces) = Pieces::channel(AHEAD);
        let (to_scanner, scanning) = scan(cx, visit);
        let cx = cx.clone();
        let pump = AbortOnDropHandle::new(tokio::spawn(async move {
            let pumped = pump(self.stream, self.frame, &cx, (&to_reader, &to_scanner)).await;
            let last = if pumped.is_ok() { Piece::End } else { Piece::Failed };
            // Nobody who is gone needs to know.
            let _ = to_reader.send(last).await;
            pumped
        }));
        (pieces, Reading { pump, scanning })
    }

    /// Reads it for its own sake.
    pub(super) async fn look<V: Visit + Send + 'static>(
        self,
        cx: &Context,
        visit: V,
        doing: Doing<'_>,
    ) -> Result<Content, DatabaseError> {
        let (mut pieces, reading) = self.read(cx, visit);
        let read = cx.cancel.unless(tokio::io::copy(&mut pieces, &mut tokio::io::sink())).await;
        if read.is_none() {
            return Err(doing.cancelled(cx));
        }
        reading.finish(cx, doing).await.map(|(content, _)| content)
    }
}

/// Why it did not come.
enum Broke {
    Read(std::io::Error),
    Silent,
    Ended {
        bytes: u64,
    },
    /// Nobody takes it any more.
    NotWanted,
}

async fn pump(
    mut stream: impl AsyncRead + Unpin,
    frame: Frame,
    cx: &Context,
    (to_reader, to_scanner): (&Sender<Piece>, &Sender<Vec<u8>>),
) -> Result<u64, Broke> {
    // What may be the mark, or the beginning of it.
    let mut held = Vec::new();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut given = 0_u64;
    loop {
        let most = match &frame {
            Frame::Length(length) => usize::try_from(length - given).unwrap_or(usize::MAX).min(PIECE_BYTES),
            Frame::Mark(_) => PIECE_BYTES,
        };
        if most == 0 {
            return Ok(given);
        }
        let room = buffer.get_mut(..most).unwrap_or_default();
        let read = cx.clock.timeout(SILENCE, stream.read(room)).await;
        let count = read.map_err(|_| Broke::Silent)?.map_err(Broke::Read)?;
        if count == 0 {
            return Err(Broke::Ended { bytes: given });
        }
        held.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let (piece, ended) = match &frame {
            Frame::Length(_) => (std::mem::take(&mut held), false),
            Frame::Mark(mark) => match memchr::memmem::find(&held, mark) {
                Some(at) => {
                    held.truncate(at);
                    (std::mem::take(&mut held), true)
                }
                None => {
                    let rest = held.split_off(held.len().saturating_sub(MARK_BYTES - 1));
                    (std::mem::replace(&mut held, rest), false)
                }
            },
        };
        given += piece.len() as u64;
        if !piece.is_empty() {
            // A scanner that is gone says why itself, at the end.
            let _ = to_scanner.send(piece.clone()).await;
            to_reader.send(Piece::Bytes(piece)).await.map_err(|_| Broke::NotWanted)?;
        }
        if ended {
            return Ok(given);
        }
    }
}

/// What reads along.
pub(super) type Scanning<V> = JoinHandle<(Result<Content, Bad>, V)>;

/// Starts to read what will be sent; the end is when nobody sends any more.
pub(super) fn scan<V: Visit + Send + 'static>(cx: &Context, mut visit: V) -> (Sender<Vec<u8>>, Scanning<V>) {
    let (sender, receiver) = channel(AHEAD);
    let now_ms = u64::try_from(cx.clock.now().as_millisecond()).unwrap_or_default();
    let scanning = tokio::task::spawn_blocking(move || {
        let mut fed = Fed { receiver, current: Vec::new(), at: 0 };
        (rdb::read(&mut fed, now_ms, &mut visit), visit)
    });
    (sender, scanning)
}

/// The reading end, for who waits.
struct Fed {
    receiver: Receiver<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        while self.at == self.current.len() {
            match self.receiver.blocking_recv() {
                Some(bytes) => (self.current, self.at) = (bytes, 0),
                None => return Ok(0),
            }
        }
        let left = self.current.get(self.at..).unwrap_or_default();
        let count = left.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), left.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

/// A snapshot that is being read.
pub(super) struct Reading<V> {
    pump: AbortOnDropHandle<Result<u64, Broke>>,
    scanning: Scanning<V>,
}

impl<V> Reading<V> {
    /// After the end: what was in it, if all of it came. Gives how many bytes came, too.
    pub(super) async fn finish(
        self,
        cx: &Context,
        doing: Doing<'_>,
    ) -> Result<(Content, u64), DatabaseError> {
        let pumped = match cx.cancel.unless(self.pump).await {
            None => return Err(doing.cancelled(cx)),
            Some(Ok(pumped)) => pumped,
            Some(Err(error)) => return Err(doing.because(error.to_string())),
        };
        let bytes = pumped.map_err(|broke| match broke {
            Broke::Read(error) => doing.failed(&Failed::Broken(error)),
            Broke::Silent => silent(doing, SILENCE),
            Broke::Ended { bytes } => {
                doing.because(format!("the connection was closed after {bytes} bytes of the snapshot"))
            }
            Broke::NotWanted => doing.truncated("it was not read to its end".to_owned()),
        })?;
        let (read, _) = self.scanning.await.map_err(|error| doing.because(error.to_string()))?;
        Ok((read.map_err(|bad| judge(bad, doing))?, bytes))
    }
}

/// What cannot be read is no dump.
pub(super) fn judge(bad: Bad, doing: Doing<'_>) -> DatabaseError {
    match bad {
        Bad::Ended => doing.truncated("it ends in the middle".to_owned()),
        Bad::Wrong(problem) => doing.truncated(problem),
        Bad::Unknown(problem) => DatabaseError::Unavailable {
            what: format!("the snapshot of {} cannot be read: {problem}", doing.database),
        },
        Bad::Given(source) => {
            DatabaseError::Transfer { action: "read", database: doing.database.to_owned(), source }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_snapshot_is_announced() {
        let mark = "a".repeat(40);
        assert_eq!(frame(b"$1234"), Some(Frame::Length(1234)));
        assert_eq!(frame(format!("$EOF:{mark}").as_bytes()), Some(Frame::Mark(mark.into_bytes())));
        for line in [&b"$"[..], b"$x", b"$-1", b"$EOF:abc", b"-ERR", b""] {
            assert_eq!(frame(line), None);
        }
    }

    async fn pumped(frame: Frame, bytes: &[u8], at_once: usize) -> (Result<u64, Broke>, Vec<u8>) {
        let cx = Context::for_test(kit_core::Env::default()).0;
        let (mut far, near) = tokio::io::duplex(at_once);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            let _ = far.write_all(&bytes).await;
        });
        let (to_reader, mut reader) = channel(1000);
        let (to_scanner, _scanner) = channel(1000);
        let done = pump(near, frame, &cx, (&to_reader, &to_scanner)).await;
        drop(to_reader);
        let mut came = Vec::new();
        while let Some(Piece::Bytes(piece)) = reader.recv().await {
            came.extend(piece);
        }
        (done, came)
    }

    #[tokio::test]
    async fn only_what_was_announced_is_an_end() {
        let mark = b"0123456789".repeat(4);
        let text = b"0123456789012345 and so on";
        let sent = [&text[..], &mark, b"more"].concat();
        for at_once in [1, 7, 40, 1000] {
            let (done, came) = pumped(Frame::Mark(mark.clone()), &sent, at_once).await;
            assert!(done.is_ok_and(|bytes| bytes == text.len() as u64) && came == text, "{at_once}");
            let (done, came) = pumped(Frame::Length(16), &sent, at_once).await;
            assert!(done.is_ok() && came == text[..16], "{at_once}");
            for length in 0..text.len() + mark.len() {
                let (done, _) = pumped(Frame::Mark(mark.clone()), &sent[..length], at_once).await;
                assert!(matches!(done, Err(Broke::Ended { .. })), "{length}");
            }
            let (done, _) = pumped(Frame::Length(17), &sent[..16], at_once).await;
            assert!(matches!(done, Err(Broke::Ended { bytes: 16 })));
        }
    }
}
