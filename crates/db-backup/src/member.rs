//! One block of the dump as one gzip member, checked before it goes anywhere.
//!
//! A gzip file may have many members (RFC 1952, section 2.2); `gunzip` reads them as one. Independent ones
//! can be made side by side, and each can be read without those before it.

use flate2::bufread::GzDecoder;
use libdeflater::{CompressionLvl, Compressor};
use std::io::Read as _;

/// What goes into one member. Larger ones hardly get smaller (0.3 % at 2 MiB).
pub(crate) const BLOCK_BYTES: usize = 512 * 1024;

/// Compresses a block, inflates it again and compares; the error says what broke.
pub(crate) fn make(block: &[u8], level: u8) -> Result<Vec<u8>, String> {
    let level = CompressionLvl::new(i32::from(level)).map_err(|error| format!("{error:?}"))?;
    let mut compressor = Compressor::new(level);
    let mut member = vec![0_u8; compressor.gzip_compress_bound(block.len())];
    let size =
        compressor.gzip_compress(block, &mut member).map_err(|error| format!("cannot compress: {error}"))?;
    member.truncate(size);
    // Members wait for the store: only what is in them may take memory.
    member.shrink_to_fit();
    check(block, &member)?;
    Ok(member)
}

/// True compression, or a broken machine: memory that forgets is found here, and not when the backup is needed.
/// By another implementation, and a stricter one, than that which compressed: it is what readers use.
fn check(block: &[u8], member: &[u8]) -> Result<(), String> {
    let mut back = Vec::with_capacity(block.len() + 1);
    match GzDecoder::new(member).read_to_end(&mut back) {
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
            harmless += usize::from(check(&block, &flipped).is_ok());
        }
        assert!(harmless < 12 * 8, "{harmless}");
    }
}
