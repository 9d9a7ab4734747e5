//! One block of the dump as one gzip member, checked before it goes anywhere.
//!
//! A gzip file may have many members (RFC 1952, section 2.2); `gunzip` reads them as one. Independent ones
//! can be made side by side, and each can be read without those before it.

use crate::level;
use flate2::bufread::GzDecoder;
use kit_database::members::{self, HEADER_BYTES, TRAILER_BYTES};
use kit_deflate::Encoder;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use std::cell::RefCell;
use std::io::Read as _;

/// What goes into one member. Larger ones hardly get smaller (0.3 % at 2 MiB).
pub(crate) const BLOCK_BYTES: usize = 512 * 1024;

/// What one thread makes member after member with: its tables and buffers are large.
struct Maker {
    level: u8,
    /// For the fastest level.
    encoder: Encoder,
    /// For all others, and for what does not get smaller.
    compressor: Compressor,
    member: Vec<u8>,
    checker: Checker,
}

/// True compression, or a broken machine: memory that forgets is found here, and not when the backup is needed.
///
/// Every member by the library whose inflation is the quickest; one of several, the first among them, also by an
/// independent and stricter one, the one that restores use: a mistake that both halves of a library agree on would not be
/// made once only.
struct Checker {
    decompressor: Decompressor,
    back: Vec<u8>,
    checked: usize,
}

/// One member of so many is checked by both libraries.
const INDEPENDENTLY_ONE_OF: usize = 64;

thread_local! {
    static MAKER: RefCell<Option<Maker>> = const { RefCell::new(None) };
}

/// Compresses a block, inflates it again and compares; the error says what broke.
pub(crate) fn make(block: &[u8], level: u8) -> Result<Vec<u8>, String> {
    MAKER.with_borrow_mut(|maker| {
        let maker = match maker {
            Some(maker) if maker.level == level => maker,
            other => other.insert(Maker::new(level)?),
        };
        maker.make(block)
    })
}

impl Maker {
    fn new(level: u8) -> Result<Self, String> {
        let lvl = CompressionLvl::new(i32::from(level)).map_err(|error| format!("{error:?}"))?;
        Ok(Self {
            level,
            encoder: Encoder::new(),
            compressor: Compressor::new(lvl),
            member: Vec::new(),
            checker: Checker::new(),
        })
    }

    fn make(&mut self, block: &[u8]) -> Result<Vec<u8>, String> {
        let most = HEADER_BYTES + self.compressor.deflate_compress_bound(block.len()) + TRAILER_BYTES;
        if self.member.len() < most {
            self.member.resize(most, 0);
        }
        let room = self.member.get_mut(HEADER_BYTES..most - TRAILER_BYTES).unwrap_or_default();
        let fastest = match self.level {
            level::FASTEST => self.encoder.deflate(block, room),
            _ => None,
        };
        let deflated = match fastest {
            Some(deflated) => deflated,
            None => self
                .compressor
                .deflate_compress(block, room)
                .map_err(|error| format!("cannot compress: {error}"))?,
        };
        let member = members::frame(&mut self.member, deflated, block).ok_or("a member is too long")?;
        self.checker.check(block, member)?;
        // Members wait for the store: only what is in them may take memory.
        Ok(member.to_vec())
    }
}

impl Checker {
    fn new() -> Self {
        Self { decompressor: Decompressor::new(), back: Vec::new(), checked: 0 }
    }

    fn check(&mut self, block: &[u8], member: &[u8]) -> Result<(), String> {
        let independently = self.checked.is_multiple_of(INDEPENDENTLY_ONE_OF);
        self.checked += 1;
        self.quickly(block, member)?;
        if independently { self.independently(block, member) } else { Ok(()) }
    }

    fn quickly(&mut self, block: &[u8], member: &[u8]) -> Result<(), String> {
        self.back.resize(block.len(), 0);
        match self.decompressor.gzip_decompress(member, &mut self.back) {
            Ok(count) => compare(block, self.back.get(..count)),
            Err(error) => Err(format!("what was compressed does not inflate: {error}")),
        }
    }

    fn independently(&mut self, block: &[u8], member: &[u8]) -> Result<(), String> {
        self.back.clear();
        self.back.reserve(block.len() + 1);
        match GzDecoder::new(member).read_to_end(&mut self.back) {
            Ok(_) => compare(block, Some(&self.back)),
            Err(error) => Err(format!("what was compressed does not inflate: {error}")),
        }
    }
}

fn compare(block: &[u8], back: Option<&[u8]>) -> Result<(), String> {
    match back == Some(block) {
        true => Ok(()),
        false => Err("what was compressed does not inflate to the same bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_one_file_for_everybody() {
        let plain: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut file = Vec::new();
        for (index, block) in plain.chunks(BLOCK_BYTES).enumerate() {
            file.extend(make(block, 1 + index as u8 % 6).unwrap());
        }
        file.extend(make(b"", 1).unwrap());
        let mut back = Vec::new();
        flate2::read::MultiGzDecoder::new(file.as_slice()).read_to_end(&mut back).unwrap();
        assert!(back == plain && file.len() < plain.len() / 2);
    }

    #[test]
    fn the_first_member_and_every_so_many_are_checked_by_both() {
        // Inflates to the block for the one library, and is refused by the other: its header promises a CRC that
        // does not follow (RFC 1952, FHCRC).
        let block = b"some text that is worth keeping".repeat(8);
        let mut member = make(&block, 1).unwrap();
        member[3] |= 0b10;
        member.splice(HEADER_BYTES..HEADER_BYTES, [0xff, 0xff]);
        let mut checker = Checker::new();
        assert!(checker.quickly(&block, &member).is_ok());
        assert!(checker.independently(&block, &member).is_err());
        let refused: Vec<usize> =
            (0..INDEPENDENTLY_ONE_OF * 2).filter(|_| checker.check(&block, &member).is_err()).collect();
        assert_eq!(refused, [0, INDEPENDENTLY_ONE_OF]);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let block = b"some text that is worth keeping, some text that is worth keeping".repeat(8);
        let member = make(&block, 1).unwrap();
        let mut harmless = [0, 0];
        let mut checker = Checker::new();
        for at in 0..member.len() * 8 {
            let mut flipped = member.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            // Some bits mean nothing to the content: the time, the name of the system, the length that we add, padding.
            harmless[0] += usize::from(checker.quickly(&block, &flipped).is_ok());
            harmless[1] += usize::from(checker.independently(&block, &flipped).is_ok());
        }
        assert!(harmless.iter().all(|count| *count < 18 * 8), "{harmless:?}");
    }
}
