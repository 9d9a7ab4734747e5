//! The producing end: reads the dump, compresses it block by block on all cores, and hands the members on in their
//! order.
//!
//! The store must never take the end of a broken dump for the end of a whole one. So the end is said
//! explicitly, after the database has confirmed that the dump is complete, and the last member waits for
//! that, too.

use crate::level::{self, Seen, Ticks};
use crate::member::BLOCK_BYTES;
use crate::workers::{Member, Workers};
use bytes::BufMut as _;
use kit_backup::Sealer;
use kit_contract::Reason;
use kit_core::{Context, Progress, ResultExt as _, StepError};
use kit_database::pieces::Piece;
use kit_database::{Dump, DumpReport};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Less than this at once is not worth being woken for.
const LITTLE_BYTES: usize = 64 * 1024;
/// At 500 MB a second a pipe of 1 MiB is half full after it.
const PAUSE: Duration = Duration::from_millis(1);

/// Produces until the end. `None`: nobody takes the pieces any more.
pub(crate) async fn produce(
    cx: Context,
    dump: Box<dyn Dump>,
    mut progress: Progress,
    (pieces, mut sealer): (Sender<Piece>, Option<Sealer>),
) -> Result<Option<DumpReport>, StepError> {
    let workers = Workers::at_once();
    // Several wait for each that is worked on: then no core waits for the next block, and the dump seldom for a core.
    let (members, in_order) = channel(workers * 2 + 4);
    let compression = Compression::new(workers)?;
    let read = read_whole(&cx, dump, &mut progress, compression, members);
    let (read, forwarded) = tokio::join!(read, forward(in_order, &pieces, &mut sealer));
    let produced = match (read, forwarded) {
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        (Ok(produced), Ok(true)) => Ok(produced),
        (Ok(_), Ok(false)) => Ok(None),
    };
    match produced {
        Ok(Some(produced)) => Ok(end(&pieces, sealer).await?.then_some(produced)),
        other => {
            // If nobody listens, there is nobody to be misled.
            let _ = pieces.send(Piece::Failed).await;
            other
        }
    }
}

/// Says that this was all. What is sealed gets its end only now, so that nothing else can ever be opened as a whole.
/// False: nobody takes it any more.
async fn end(pieces: &Sender<Piece>, sealer: Option<Sealer>) -> Result<bool, StepError> {
    if let Some(sealer) = sealer {
        let last = match sealer.finish() {
            Ok(last) => last,
            Err(error) => {
                let _ = pieces.send(Piece::Failed).await;
                return Err(error);
            }
        };
        if pieces.send(Piece::Bytes(last)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(pieces.send(Piece::End).await.is_ok())
}

/// Reads to the end, asks the database whether that was all, and only then hands on the last member. The
/// sender ends with it: whether that is a good end is said by `Piece::End` alone.
async fn read_whole(
    cx: &Context,
    mut dump: Box<dyn Dump>,
    progress: &mut Progress,
    compression: Compression,
    members: Sender<Member>,
) -> Result<Option<DumpReport>, StepError> {
    let Some(last) = read(cx, dump.reader(), progress, compression, &members).await? else {
        return Ok(None);
    };
    let report = dump.finish(cx).await?;
    Ok(members.send(last).await.is_ok().then_some(report))
}

/// Reads to the end, and sets the members to work. Gives the last one, which must not be handed on before the dump is
/// known to be complete.
async fn read(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    progress: &mut Progress,
    mut compression: Compression,
    members: &Sender<Member>,
) -> Result<Option<Member>, StepError> {
    loop {
        let mut block = compression.workers.block();
        let Some(filled) = cx.cancel.unless(fill(cx, reader, &mut block)).await else {
            return Err(StepError::new(Reason::Interrupted, "stopped before the database was copied"));
        };
        let count = filled.or_reason(Reason::DumpFailed, "the copy of the database cannot be read")?;
        let is_last = count < BLOCK_BYTES;
        progress.advance(count);
        let member = compression.begin(block, members);
        if is_last {
            return Ok(Some(member));
        }
        if members.send(member).await.is_err() {
            return Ok(None);
        }
    }
}

/// Fills the block up to its capacity unless the end comes first.
///
/// Dump programs write through small buffers. Who reads at once can be woken for each of them; after a pause there is
/// more to read, and the pipe has room for it.
async fn fill(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    block: &mut Vec<u8>,
) -> std::io::Result<usize> {
    let mut room = (&mut *block).limit(BLOCK_BYTES);
    while room.has_remaining_mut() {
        match reader.read_buf(&mut room).await? {
            0 => break,
            count if count < LITTLE_BYTES && room.has_remaining_mut() => cx.clock.sleep(PAUSE).await,
            _ => {}
        }
    }
    Ok(block.len())
}

/// Hands the members on in their order, sealed if they are to be. False: nobody takes them any more.
async fn forward(
    mut members: Receiver<Member>,
    pieces: &Sender<Piece>,
    sealer: &mut Option<Sealer>,
) -> Result<bool, StepError> {
    while let Some(member) = members.recv().await {
        let made = member.await.or_reason(Reason::InternalError, "the compression ended in a bug")?;
        let bytes = made.map_err(|problem| {
            StepError::new(Reason::InternalError, "the copy was not compressed faithfully").because(problem)
        })?;
        let bytes = match sealer {
            Some(sealer) => sealer.seal(&bytes)?,
            None => bytes,
        };
        if pieces.send(Piece::Bytes(bytes)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Has members made of blocks, as hard as what it sees lets it.
struct Compression {
    tuner: Tuner,
    workers: Workers,
}

impl Compression {
    fn new(workers: usize) -> Result<Self, StepError> {
        let workers = Workers::start(workers)
            .or_reason(Reason::InternalError, "this machine has no thread to spare for the compression")?;
        Ok(Self { tuner: Tuner::new(), workers })
    }

    fn begin(&mut self, block: Vec<u8>, members: &Sender<Member>) -> Member {
        let level = self.tuner.level(members);
        self.workers.begin(block, level)
    }
}

/// Chooses the level by what it sees.
struct Tuner {
    level: u8,
    members: u32,
    seen: Seen,
    ticks: Option<Ticks>,
}

impl Tuner {
    fn new() -> Self {
        Self { level: level::FASTEST, members: 0, seen: Seen::default(), ticks: Ticks::now() }
    }

    /// The level of the next member.
    fn level(&mut self, members: &Sender<Member>) -> u8 {
        let free = members.capacity();
        self.seen.empty += u32::from(free == members.max_capacity());
        self.seen.full += u32::from(free == 0);
        self.members += 1;
        if self.members == level::WINDOW {
            let now = Ticks::now();
            let idle_percent = now.zip(self.ticks).and_then(|(now, before)| now.idle_percent_since(before));
            self.level = level::next(self.level, Seen { idle_percent, ..self.seen });
            *self = Self { level: self.level, members: 0, seen: Seen::default(), ticks: now };
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_database::pieces::Pieces;
    use std::io::Read as _;

    #[tokio::test]
    async fn what_is_compressed_comes_back_in_order_and_the_last_member_waits() {
        let (cx, _) = Context::for_test(kit_core::Env::default());
        let plain: Vec<u8> = (0..1_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, plain.len()] {
            let plain = &plain[..length];
            let (members, in_order) = channel(64);
            let (sender, mut pieces) = Pieces::channel(64);
            let mut progress = Progress::new(&cx, "test".to_owned(), None);
            let mut reader = plain;
            let last = read(&cx, &mut reader, &mut progress, Compression::new(2).unwrap(), &members)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                64 - members.capacity(),
                length / BLOCK_BYTES,
                "all members but the last were handed on"
            );
            members.send(last).await.ok().unwrap();
            drop(members);
            assert!(forward(in_order, &sender, &mut None).await.unwrap());
            sender.send(Piece::End).await.ok().unwrap();
            let mut packed = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut pieces, &mut packed).await.unwrap();
            let mut back = Vec::new();
            flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut back).unwrap();
            assert_eq!(back, plain);
        }
    }
}
