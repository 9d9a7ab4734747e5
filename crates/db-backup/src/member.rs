//! One block of the dump as one gzip member, checked before it goes anywhere.
//!
//! A gzip file may have many members (RFC 1952, section 2.2); `gunzip` reads them as one. Independent ones
//! can be made side by side, and each can be read without those before it.

use flate2::bufread::GzDecoder;
use libdeflater::{CompressionLvl, Compressor};
use std::cell::RefCell;
use std::io::Read as _;

/// What goes into one member. Larger ones hardly get smaller (0.3 % at 2 MiB).
pub(crate) const BLOCK_BYTES: usize = 512 * 1024;

/// What one thread makes member after member with: its tables and buffers are large.
struct Maker {
    level: u8,
    compressor: Compressor,
    member: Vec<u8>,
    back: Vec<u8>,
}

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
        Ok(Self { level, compressor: Compressor::new(lvl), member: Vec::new(), back: Vec::new() })
    }

    fn make(&mut self, block: &[u8]) -> Result<Vec<u8>, String> {
        self.member.resize(self.compressor.gzip_compress_bound(block.len()), 0);
        let size = self
            .compressor
            .gzip_compress(block, &mut self.member)
            .map_err(|error| format!("cannot compress: {error}"))?;
        let member = self.member.get(..size).unwrap_or_default();
        check(block, member, &mut self.back)?;
        // Members wait for the store: only what is in them may take memory.
        Ok(member.to_vec())
    }
}

/// True compression, or a broken machine: memory that forgets is found here, and not when the backup is needed.
/// By another implementation, and a stricter one, than that which compressed: it is what readers use.
fn check(block: &[u8], member: &[u8], back: &mut Vec<u8>) -> Result<(), String> {
    back.clear();
    back.reserve(block.len() + 1);
    match GzDecoder::new(member).read_to_end(back) {
        Ok(_) if back == block => Ok(()),
        Ok(_) => Err("what was compressed does not inflate to the same bytes".to_owned()),
        Err(error) => Err(format!("what was compressed does not inflate: {error}")),
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
    fn a_flipped_bit_anywhere_is_found() {
        let block = b"some text that is worth keeping, some text that is worth keeping".repeat(8);
        let member = make(&block, 1).unwrap();
        let mut harmless = 0;
        for at in 0..member.len() * 8 {
            let mut flipped = member.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            // Some bits mean nothing to the content: the time, the name of the system, padding.
            harmless += usize::from(check(&block, &flipped, &mut Vec::new()).is_ok());
        }
        assert!(harmless < 12 * 8, "{harmless}");
    }
}
