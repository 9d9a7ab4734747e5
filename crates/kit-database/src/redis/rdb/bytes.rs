//! The bytes of a snapshot, one after the other, summed up as they are used.

use crc::{CRC_64_REDIS, Crc, Digest, Table};
use std::io::Read;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
const BUFFER_BYTES: usize = 64 * 1024;
/// Compression by LZF makes at most so many bytes of one (three of them say "264 bytes").
const MOST_OF_ONE: u64 = 88;

/// Why a snapshot cannot be read on.
#[derive(Debug)]
pub(in crate::redis) enum Bad {
    /// It ends too early.
    Ended,
    /// It is not what it should be.
    Wrong(String),
    /// It holds what this version does not know.
    Unknown(String),
    /// Whoever gives it failed, or whoever takes it did, and says why himself.
    Given(std::io::Error),
}

impl Bad {
    pub(super) fn wrong(text: impl Into<String>) -> Self {
        Self::Wrong(text.into())
    }
}

/// The sum of these bytes.
pub(in crate::redis) fn sum(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}

/// Reads a snapshot.
pub(super) struct Bytes<R> {
    from: R,
    buffer: Vec<u8>,
    /// What of the buffer was used.
    at: usize,
    /// From where on it was not summed up yet.
    summed: usize,
    sum: Digest<'static, u64, Table<16>>,
    used: u64,
    /// A copy of what is used, while somebody wants one.
    copy: Option<Vec<u8>>,
}

impl<R: Read> Bytes<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), at: 0, summed: 0, sum: CRC.digest(), used: 0, copy: None }
    }

    /// How many bytes were used.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// From here on what is used is copied.
    pub(super) fn copy(&mut self) {
        self.copy = Some(Vec::new());
    }

    /// What was copied; nothing more is.
    pub(super) fn copied(&mut self) -> Vec<u8> {
        self.copy.take().unwrap_or_default()
    }

    /// The sum of all that was used.
    pub(super) fn sum(&mut self) -> u64 {
        self.sum_up();
        self.sum.clone().finalize()
    }

    fn sum_up(&mut self) {
        self.sum.update(self.buffer.get(self.summed..self.at).unwrap_or_default());
        self.summed = self.at;
    }

    /// At least one more byte, or `false` at the end.
    fn fill(&mut self) -> Result<bool, Bad> {
        if self.at < self.buffer.len() {
            return Ok(true);
        }
        self.sum_up();
        self.buffer.resize(BUFFER_BYTES, 0);
        let count = self.from.read(&mut self.buffer).map_err(Bad::Given)?;
        self.buffer.truncate(count);
        (self.at, self.summed) = (0, 0);
        Ok(count > 0)
    }

    /// True if there is nothing any more.
    pub(super) fn is_at_end(&mut self) -> Result<bool, Bad> {
        Ok(!self.fill()?)
    }

    /// The next so many bytes, in pieces.
    pub(super) fn take(&mut self, count: u64, mut each: impl FnMut(&[u8])) -> Result<(), Bad> {
        let mut left = count;
        while left > 0 {
            if !self.fill()? {
                return Err(Bad::Ended);
            }
            let there = self.buffer.get(self.at..).unwrap_or_default();
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(there.len());
            let piece = there.get(..most).unwrap_or_default();
            each(piece);
            if let Some(copy) = &mut self.copy {
                copy.extend_from_slice(piece);
            }
            self.at += most;
            self.used += most as u64;
            left -= most as u64;
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<(), Bad> {
        self.take(count, |_| {})
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (mut array, mut at) = ([0; N], 0);
        self.take(N as u64, |piece| {
            if let Some(place) = array.get_mut(at..at + piece.len()) {
                place.copy_from_slice(piece);
            }
            at += piece.len();
        })?;
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.array::<1>()?[0])
    }

    /// So many bytes as they are.
    pub(super) fn raw(&mut self, count: u64) -> Result<Vec<u8>, Bad> {
        // It grows with what really comes: a length may be a lie.
        let mut bytes = Vec::new();
        self.take(count, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// A length, or the way in which a string is written (rdb.h, "Defines related to the dump file format").
    fn size(&mut self) -> Result<Size, Bad> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Size::Length(u64::from(first & 0x3f)),
            (1, _) => Size::Length(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (2, 0x80) => Size::Length(u64::from(u32::from_be_bytes(self.array()?))),
            (2, 0x81) => Size::Length(u64::from_be_bytes(self.array()?)),
            (3, _) => Size::Special(first & 0x3f),
            _ => return Err(Bad::wrong("a length in it is written in no known way")),
        })
    }

    pub(super) fn length(&mut self) -> Result<u64, Bad> {
        match self.size()? {
            Size::Length(length) => Ok(length),
            Size::Special(_) => Err(Bad::wrong("a length in it is none")),
        }
    }

    /// A string, first its length and then its bytes in pieces.
    pub(super) fn string_into(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<(), Bad> {
        match self.size()? {
            Size::Length(length) => {
                each(&length.to_le_bytes());
                self.take(length, each)
            }
            Size::Special(kind) => {
                let text = self.special(kind)?;
                each(&(text.len() as u64).to_le_bytes());
                each(&text);
                Ok(())
            }
        }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, Bad> {
        match self.size()? {
            Size::Length(length) => self.raw(length),
            Size::Special(kind) => self.special(kind),
        }
    }

    fn special(&mut self, kind: u8) -> Result<Vec<u8>, Bad> {
        match kind {
            0 => Ok(i8::from_le_bytes(self.array()?).to_string().into_bytes()),
            1 => Ok(i16::from_le_bytes(self.array()?).to_string().into_bytes()),
            2 => Ok(i32::from_le_bytes(self.array()?).to_string().into_bytes()),
            3 => {
                let (packed, length) = (self.length()?, self.length()?);
                if length > packed.saturating_mul(MOST_OF_ONE) {
                    return Err(Bad::wrong("a compressed string in it is longer than it can be"));
                }
                let packed = self.raw(packed)?;
                unpack(&packed, length)
                    .ok_or_else(|| Bad::wrong("a compressed string in it cannot be unpacked"))
            }
            _ => Err(Bad::wrong("a string in it is written in no known way")),
        }
    }
}

enum Size {
    Length(u64),
    /// Not a length: a number or a compressed string follows.
    Special(u8),
}

/// Unpacks LZF (oldhome.schmorp.de/marc/liblzf.html): runs as they are, and references to what came before.
fn unpack(packed: &[u8], length: u64) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok()?;
    let mut out = Vec::new();
    let mut rest = packed.iter();
    while let Some(control) = rest.next() {
        let control = usize::from(*control);
        if control < 32 {
            let run = rest.as_slice().get(..=control)?;
            out.extend_from_slice(run);
            rest = rest.as_slice().get(control + 1..)?.iter();
        } else {
            let mut count = control >> 5;
            if count == 7 {
                count += usize::from(*rest.next()?);
            }
            let back = ((control & 0x1f) << 8) + usize::from(*rest.next()?) + 1;
            let first = out.len().checked_sub(back)?;
            // It may reach into what it makes.
            for from in first..first + count + 2 {
                out.push(*out.get(from)?);
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_strings() {
        // A run of one, then a reference to it that repeats itself.
        assert_eq!(unpack(&[0, b'a', 0xe0, 1, 0], 11).unwrap(), b"aaaaaaaaaaa");
        assert_eq!(unpack(&[2, b'a', b'b', b'c', 0x20, 2], 6).unwrap(), b"abcabc");
        assert_eq!(unpack(&[], 0).unwrap(), b"");
        for (packed, length) in [(&[0, b'a', 0x20, 1][..], 4), (&[5, b'a'], 6), (&[0, b'a'], 2), (&[0xe0], 9)]
        {
            assert_eq!(unpack(packed, length), None, "{packed:?}");
        }
    }

    #[test]
    fn strings_and_lengths() {
        let read = |bytes: &[u8]| Bytes::new(bytes).string();
        assert_eq!(read(b"\x03abc").unwrap(), b"abc");
        assert_eq!(read(b"\xc0\xff").unwrap(), b"-1");
        assert_eq!(read(b"\xc1\x00\x01").unwrap(), b"256");
        assert_eq!(read(b"\xc2\x00\x00\x01\x00").unwrap(), b"65536");
        assert_eq!(read(b"\xc3\x05\x0b\x00a\xe0\x01\x00").unwrap(), b"aaaaaaaaaaa");
        let mut long = vec![0x41, 0x00];
        long.extend([7; 256]);
        assert_eq!(read(&long).unwrap(), [7; 256]);
        assert!(matches!(read(b"\x03ab"), Err(Bad::Ended)));
        // A length that is a lie takes no memory.
        assert!(matches!(read(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xffa"), Err(Bad::Ended)));
        assert!(matches!(read(b"\xc3\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xffa"), Err(Bad::Wrong(_))));
        assert!(matches!(read(b"\xc4"), Err(Bad::Wrong(_))));
    }

    #[test]
    fn the_sum_is_that_of_what_was_used() {
        let mut bytes = Bytes::new(&b"123456789rest"[..]);
        bytes.skip(4).unwrap();
        bytes.copy();
        bytes.skip(5).unwrap();
        assert_eq!(
            (bytes.sum(), bytes.copied(), bytes.used()),
            (0xe9c6_d914_c4b8_d9ca, b"56789".to_vec(), 9)
        );
        assert!(!bytes.is_at_end().unwrap());
    }
}
