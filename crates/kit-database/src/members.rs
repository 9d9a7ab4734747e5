//! Gzip members that say how long they are. Who has such a member whole can inflate it at once, which takes half the
//! time of inflating it as it comes; for everybody else it is a gzip member like any other.
//!
//! The length stands in an extra field of the header (RFC 1952, section 2.3.1.1), as in the BGZF files of
//! bioinformatics (SAM specification, section 4.1), under letters of our own.

use flate2::write::MultiGzDecoder;
use libdeflater::Decompressor;
use std::io::{Error, ErrorKind, Write as _};

/// Of the header of such a member.
pub const HEADER_BYTES: usize = 20;
/// Of its trailer: CRC-32 and length of what is in it.
pub const TRAILER_BYTES: usize = 8;
/// With which such a member begins: a deflated stream with an extra field, made at no time by nobody, as quickly as
/// possible; the field has eight bytes, of which four are the length.
const START: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 4, 0xff, 8, 0, b'D', b'K', 4, 0];
/// Longer ones, or with more in them, are inflated as they come: memory is bounded by it.
const MOST_BYTES: usize = 1 << 20;

/// Puts header and trailer around what was deflated: so many bytes of `room`, behind the place of the header. Gives the
/// member; `None` if it has no place there, or is longer than a header can say.
pub fn frame<'a>(room: &'a mut [u8], deflated_bytes: usize, plain: &[u8]) -> Option<&'a [u8]> {
    let member_bytes = HEADER_BYTES.checked_add(deflated_bytes)?.checked_add(TRAILER_BYTES)?;
    let member = room.get_mut(..member_bytes)?;
    let (start, rest) = member.split_first_chunk_mut()?;
    *start = START;
    *rest.first_chunk_mut()? = u32::try_from(member_bytes).ok()?.to_le_bytes();
    *member.last_chunk_mut()? = trailer(plain);
    Some(member)
}

/// CRC-32 and length of what is in a member; the latter modulo 2^32, as RFC 1952 has it.
fn trailer(plain: &[u8]) -> [u8; TRAILER_BYTES] {
    (u64::from(libdeflater::crc32(plain)) | (plain.len() as u64) << 32).to_le_bytes()
}

/// Inflates gzip members of any kind, and checks their CRC-32.
pub(crate) struct Inflater {
    /// Compressed, and not yet inflated.
    input: Vec<u8>,
    /// What came out last; what is behind `plain_bytes` is of no meaning.
    plain: Vec<u8>,
    plain_bytes: usize,
    whole: Decompressor,
    /// From the first member on that does not say how long it is.
    piecemeal: Option<MultiGzDecoder<Vec<u8>>>,
    is_empty: bool,
}

/// What is known of the next member.
enum Next {
    /// Too little of it has come to know.
    Unknown,
    /// It is this long.
    Whole { member_bytes: usize },
    /// It does not say, or something that cannot be used.
    Piecemeal,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            input: Vec::new(),
            plain: Vec::new(),
            plain_bytes: 0,
            whole: Decompressor::new(),
            piecemeal: None,
            is_empty: true,
        }
    }

    /// What came out last.
    pub(crate) fn plain(&self) -> &[u8] {
        self.plain.get(..self.plain_bytes).unwrap_or_default()
    }

    /// The next compressed bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.is_empty &= bytes.is_empty();
        match &mut self.piecemeal {
            Some(decoder) => decoder.write_all(bytes),
            None => {
                self.input.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Inflates more of what was taken. False: nothing came out, and more has to be taken first.
    pub(crate) fn inflate(&mut self) -> Result<bool, Error> {
        loop {
            self.plain_bytes = 0;
            if let Some(decoder) = &mut self.piecemeal {
                self.plain.clear();
                std::mem::swap(&mut self.plain, decoder.get_mut());
                self.plain_bytes = self.plain.len();
                return Ok(self.plain_bytes > 0);
            }
            match next(&self.input) {
                Next::Unknown => return Ok(false),
                Next::Piecemeal => self.go_on_piecemeal()?,
                Next::Whole { member_bytes } => {
                    if self.input.len() < member_bytes {
                        return Ok(false);
                    }
                    self.member(member_bytes)?;
                    // An empty one is no end.
                    if self.plain_bytes > 0 {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// There is nothing more to take. What comes out now is the last of it.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        if self.piecemeal.is_none() && (self.is_empty || !self.input.is_empty()) {
            self.go_on_piecemeal()?;
        }
        if let Some(decoder) = &mut self.piecemeal {
            decoder.try_finish()?;
        }
        self.inflate().map(drop)
    }

    fn go_on_piecemeal(&mut self) -> Result<(), Error> {
        let decoder = self.piecemeal.insert(MultiGzDecoder::new(Vec::new()));
        decoder.write_all(&std::mem::take(&mut self.input))
    }

    fn member(&mut self, member_bytes: usize) -> Result<(), Error> {
        let broken = |problem: &str| Error::new(ErrorKind::InvalidData, problem);
        let Some((deflated, trailer)) =
            self.input.get(HEADER_BYTES..member_bytes).and_then(|rest| rest.split_last_chunk())
        else {
            return self.go_on_piecemeal();
        };
        let promised = promised(trailer);
        if promised > MOST_BYTES {
            return self.go_on_piecemeal();
        }
        if self.plain.len() < promised {
            self.plain.resize(promised, 0);
        }
        let room = self.plain.get_mut(..promised).unwrap_or_default();
        let count = self
            .whole
            .deflate_decompress(deflated, room)
            .map_err(|error| broken(&format!("a member does not inflate: {error}")))?;
        // A length that was changed cannot pass over a member: only the same one again ends in the same sum. (Headers are
        // what gzip does not protect; the digest of the file does.)
        if self.plain.get(..count).is_none_or(|plain| self::trailer(plain) != *trailer) {
            return Err(broken("what is in a member is not what its trailer says"));
        }
        self.plain_bytes = count;
        self.input.drain(..member_bytes);
        Ok(())
    }
}

/// How much is in a member, as its trailer says.
fn promised([_, _, _, _, length @ ..]: &[u8; TRAILER_BYTES]) -> usize {
    u32::from_le_bytes(*length) as usize
}

fn next(input: &[u8]) -> Next {
    let known = input.len().min(START.len());
    if input.get(..known) != START.get(..known) {
        return Next::Piecemeal;
    }
    let Some(length) = input.get(START.len()..).and_then(|rest| rest.first_chunk()) else {
        return Next::Unknown;
    };
    let member_bytes = u32::from_le_bytes(*length) as usize;
    if (HEADER_BYTES + TRAILER_BYTES..=MOST_BYTES).contains(&member_bytes) {
        Next::Whole { member_bytes }
    } else {
        Next::Piecemeal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};

    fn foreign(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(3));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn ours(plain: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(3));
        encoder.write_all(plain).unwrap();
        let deflated = encoder.finish().unwrap();
        let mut room = [&[0; HEADER_BYTES][..], &deflated, &[0; TRAILER_BYTES]].concat();
        frame(&mut room, deflated.len(), plain).unwrap().to_vec()
    }

    /// What comes out, and how often something did, if it is taken in such pieces.
    fn inflate(packed: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Error> {
        let mut inflater = Inflater::new();
        let (mut plain, mut times) = (Vec::new(), 0);
        for bytes in packed.chunks(piece) {
            inflater.take(bytes)?;
            while inflater.inflate()? {
                plain.extend_from_slice(inflater.plain());
                times += 1;
            }
        }
        inflater.finish()?;
        plain.extend_from_slice(inflater.plain());
        Ok((plain, times))
    }

    fn plain() -> Vec<u8> {
        (0..50_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 12).to_le_bytes()).collect()
    }

    #[test]
    fn members_of_any_kind_in_any_order_come_back() {
        let plain = plain();
        let (one, two) = plain.split_at(70_000);
        let large = vec![b'x'; MOST_BYTES + 1];
        for (what, packed, expected) in [
            ("ours", [ours(one), ours(two)].concat(), plain.clone()),
            ("foreign", [foreign(one), foreign(two)].concat(), plain.clone()),
            ("ours, then foreign", [ours(one), foreign(two)].concat(), plain.clone()),
            ("foreign, then ours", [foreign(one), ours(two)].concat(), plain.clone()),
            ("empty ones of ours", [ours(b""), ours(&plain), ours(b"")].concat(), plain.clone()),
            ("nothing but an empty one", ours(b""), Vec::new()),
            (
                "more in it than is inflated at once",
                [ours(&large), ours(one)].concat(),
                [&large[..], one].concat(),
            ),
        ] {
            for piece in [1, 7, 4096, packed.len()] {
                assert!(inflate(&packed, piece).unwrap().0 == expected, "{what}, {piece}");
            }
        }
    }

    #[test]
    fn a_member_of_ours_comes_out_at_once() {
        let packed = [ours(&plain()), ours(&plain())].concat();
        assert_eq!(inflate(&packed, 4096).unwrap().1, 2);
        assert!(inflate(&[foreign(&plain()), ours(&plain())].concat(), 4096).unwrap().1 > 2);
    }

    #[test]
    fn nobody_else_needs_to_know_of_it() {
        let packed = [ours(&plain()), ours(&plain())].concat();
        let mut decoder = MultiGzDecoder::new(Vec::new());
        decoder.write_all(&packed).unwrap();
        assert!(decoder.finish().unwrap() == plain().repeat(2));
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_what_is_flipped_too() {
        let plain = plain();
        let packed = [ours(&plain), ours(&plain)].concat();
        let first = packed.len() / 2;
        for at in (0..packed.len()).filter(|at| *at != first).step_by(997) {
            assert!(inflate(&packed[..at], 4096).is_err(), "cut at {at}");
        }
        for at in (HEADER_BYTES..first).step_by(997).chain([first - 8, first - 1]) {
            let mut changed = packed.clone();
            changed[at] ^= 4;
            assert!(inflate(&changed, 4096).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_length_that_lies_costs_no_byte() {
        let plain = plain();
        let first = ours(&plain).len();
        let packed = [ours(&plain), ours(&plain[4..])].concat();
        for lie in
            [0, 1, 27, 28, first - 8, first - 1, first + 1, packed.len() - 1, packed.len(), packed.len() + 1]
        {
            let mut changed = packed.clone();
            changed[16..20].copy_from_slice(&(lie as u32).to_le_bytes());
            if let Ok((back, _)) = inflate(&changed, 4096) {
                assert!(back == [&plain[..], &plain[4..]].concat(), "{lie} of {first}");
            }
        }
    }
}
