//! A stored backup as it comes back: digested, then inflated, which checks the CRC-32 of every member.

use crate::members::Inflater;
use kit_contract::Sha256;
use kit_core::Progress;
use sha2::Digest as _;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The compressed bytes as they come.
pub type ByteReader = Box<dyn AsyncRead + Send + Unpin>;

/// Read at once; deflate grows at most about a thousandfold, which bounds the memory.
const PIECE_BYTES: usize = 32 * 1024;

/// Why a stored backup could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It came, and it is broken.
    Content(String),
    /// It did not come: the store failed.
    Store(String),
}

/// Digest and sizes of what was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Of the bytes as they are stored: compressed, and sealed where they are.
    pub sha256: Sha256,
    /// Of the bytes as they are stored.
    pub size_bytes: u64,
    /// Of what came out.
    pub uncompressed_bytes: u64,
}

/// Inflates what a store gives.
pub struct Gunzip {
    source: ByteReader,
    inflater: Inflater,
    input: Vec<u8>,
    /// How much of what the inflater has made was handed on.
    at: usize,
    packed: Counter,
    /// Of what the store gave, where something else changed it before it came here.
    stored: Option<Tally>,
    plain_bytes: u64,
    ended: bool,
    fault: Option<Fault>,
    progress: Progress,
}

#[derive(Clone, Default)]
struct Counter {
    hasher: sha2::Sha256,
    bytes: u64,
}

impl Counter {
    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn digest(&self) -> Sha256 {
        Sha256::from_raw(&self.hasher.clone().finalize())
    }
}

/// Digest and size of what has passed through a reader.
pub struct Tally(Arc<Mutex<Counter>>);

struct Tallied {
    source: ByteReader,
    counter: Arc<Mutex<Counter>>,
}

/// Digests what passes through, for whoever changes it before it is inflated.
pub fn tallied(source: ByteReader) -> (ByteReader, Tally) {
    let counter = Arc::new(Mutex::new(Counter::default()));
    (Box::new(Tallied { source, counter: Arc::clone(&counter) }), Tally(counter))
}

impl AsyncRead for Tallied {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.source).poll_read(task, buffer))?;
        let mut counter = this.counter.lock().unwrap_or_else(PoisonError::into_inner);
        counter.take(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl Gunzip {
    /// Nothing is read yet.
    pub fn new(source: ByteReader, progress: Progress) -> Self {
        Self {
            source,
            inflater: Inflater::new(),
            input: vec![0; PIECE_BYTES],
            at: 0,
            packed: Counter::default(),
            stored: None,
            plain_bytes: 0,
            ended: false,
            fault: None,
            progress,
        }
    }

    /// Inflates what was made of what a store gave, which was tallied. An error of the kind `InvalidData` means
    /// that what the store gave is broken.
    pub fn of_opened(source: ByteReader, stored: Tally, progress: Progress) -> Self {
        Self { stored: Some(stored), ..Self::new(source, progress) }
    }

    /// Digest and sizes, once it was read to its end.
    pub fn read(&self) -> Option<Read> {
        let stored = match &self.stored {
            Some(tally) => tally.0.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            None => self.packed.clone(),
        };
        self.ended.then(|| Read {
            sha256: stored.digest(),
            size_bytes: stored.bytes,
            uncompressed_bytes: self.plain_bytes,
        })
    }

    /// Why reading failed, if it did.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    fn fail(&mut self, fault: Fault) -> Error {
        let (kind, text) = match &fault {
            Fault::Content(text) => (ErrorKind::InvalidData, text.clone()),
            Fault::Store(text) => (ErrorKind::Other, text.clone()),
        };
        self.fault = Some(fault);
        Error::new(kind, text)
    }

    /// The inflater has made something new of what the store gave.
    fn made(&mut self) {
        self.at = 0;
        self.plain_bytes += self.inflater.plain().len() as u64;
        self.progress.advance(self.inflater.plain().len());
    }

    fn broken(&mut self, error: &Error) -> Error {
        self.fail(Fault::Content(format!("its gzip data is broken: {error}")))
    }

    /// The next compressed bytes; none is the end.
    fn take(&mut self, count: usize) -> Result<(), Error> {
        let bytes = self.input.get(..count).unwrap_or_default();
        self.packed.take(bytes);
        if !bytes.is_empty() {
            return self.inflater.take(bytes).map_err(|error| self.broken(&error));
        }
        if self.inflater.finish().is_err() {
            let bytes = self.packed.bytes;
            let text = format!("its gzip data ends early or was changed ({bytes} bytes were read)");
            return Err(self.fail(Fault::Content(text)));
        }
        self.made();
        self.ended = true;
        Ok(())
    }
}

impl AsyncRead for Gunzip {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        loop {
            let left = this.inflater.plain().get(this.at..).unwrap_or_default();
            if let Some(fits) = left.get(..left.len().min(buffer.remaining())).filter(|fits| !fits.is_empty())
            {
                buffer.put_slice(fits);
                this.at += fits.len();
                return Poll::Ready(Ok(()));
            }
            if this.ended || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match this.inflater.inflate() {
                Ok(true) => {
                    this.made();
                    continue;
                }
                Ok(false) => this.at = 0,
                Err(error) => return Poll::Ready(Err(this.broken(&error))),
            }
            let mut input = ReadBuf::new(&mut this.input);
            if let Err(error) = ready!(Pin::new(&mut this.source).poll_read(task, &mut input)) {
                let broken = this.stored.is_some() && error.kind() == ErrorKind::InvalidData;
                let text = error.to_string();
                return Poll::Ready(Err(this.fail(if broken {
                    Fault::Content(text)
                } else {
                    Fault::Store(text)
                })));
            }
            let count = input.filled().len();
            this.take(count)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use kit_core::{Context, Env};
    use std::io::Write as _;
    use tokio::io::AsyncReadExt as _;

    fn pack(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(3));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn unpack(packed: Vec<u8>) -> (std::io::Result<Vec<u8>>, Option<Read>, Option<Fault>) {
        let (cx, _) = Context::for_test(Env::default());
        let source = Box::new(std::io::Cursor::new(packed));
        let mut gunzip = Gunzip::new(source, Progress::new(&cx, "test".to_owned(), None));
        let mut plain = Vec::new();
        let result = gunzip.read_to_end(&mut plain).await.map(|_| plain);
        (result, gunzip.read(), gunzip.fault().cloned())
    }

    fn plain() -> Vec<u8> {
        (0..100_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 12).to_le_bytes()).collect()
    }

    #[tokio::test]
    async fn it_inflates_and_digests_one_or_several_members() {
        let plain = plain();
        for packed in [pack(&plain), [pack(&plain[..1000]), pack(&plain[1000..])].concat()] {
            let (result, read, fault) = unpack(packed.clone()).await;
            assert_eq!(result.unwrap(), plain);
            assert_eq!(fault, None);
            let read = read.unwrap();
            assert_eq!((read.sha256, read.size_bytes), (Sha256::of(&packed), packed.len() as u64));
            assert_eq!(read.uncompressed_bytes, 400_000);
        }
    }

    #[tokio::test]
    async fn truncation_at_any_place_and_any_flipped_byte_are_seen() {
        let packed = pack(&plain());
        for at in [0, 1, 9, 10, 11, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
            let (result, read, fault) = unpack(packed[..at].to_vec()).await;
            assert!(result.is_err() && read.is_none(), "cut at {at}");
            let text = format!("its gzip data ends early or was changed ({at} bytes were read)");
            assert_eq!(fault, Some(Fault::Content(text)));
        }
        // What gzip itself does not protect (its header) is left to the digest.
        for at in [0, packed.len() / 3, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
            let mut changed = packed.clone();
            changed[at] ^= 4;
            let (result, _, fault) = unpack(changed).await;
            assert!(result.is_err() && matches!(fault, Some(Fault::Content(_))), "byte {at}");
        }
        let (result, _, _) = unpack([packed, b"garbage behind it".to_vec()].concat()).await;
        assert!(result.is_err());
    }
}
