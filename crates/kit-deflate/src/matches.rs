//! Finds what was there before.

use crate::symbols::{FARTHEST, LONGEST};
use crate::tokens::Tokens;

/// So many bytes are looked up: shorter repetitions cost as many bits as the digits that they would stand for.
const KEY_BYTES: u32 = 6;
/// Of the table: small enough to stay where a core finds it at once, beside the bytes that it points to.
const TABLE_BITS: u32 = 13;
/// Nearer to the end nothing is looked up, so that reading ahead needs no look at the end.
const TAIL_BYTES: usize = 24;
/// Two words, which are compared before a loop is begun.
const AT_ONCE_BYTES: usize = 16;
/// Even if the bytes that were looked up are other ones.
const SHORTEST: u64 = 4;

/// Where something was seen last.
#[derive(Debug)]
pub(crate) struct Matches {
    /// By a hash of what begins there, a place modulo 65536. What stands there is a guess, and compared: a place that was
    /// never written, or that is long past, points to other bytes, or happens to be right.
    places: Box<[u16; 1 << TABLE_BITS]>,
}

impl Matches {
    pub(crate) fn new() -> Self {
        Self { places: Box::new([0; 1 << TABLE_BITS]) }
    }

    /// Before something else is looked at. Guesses from before would do no harm, but nothing would come out twice the
    /// same.
    pub(crate) fn forget(&mut self) {
        self.places.fill(0);
    }

    /// Takes what begins at `at` as tokens until they are full or the end has come; gives the place behind it.
    pub(crate) fn find(&mut self, plain: &[u8], mut at: usize, tokens: &mut Tokens) -> usize {
        tokens.clear();
        let end = plain.len().saturating_sub(TAIL_BYTES);
        while at < end && !tokens.is_full() {
            let here = word(plain, at);
            let distance = self.guess(here, at);
            if (1..=FARTHEST.min(at)).contains(&distance) {
                let length = common(plain, at, at - distance, here);
                if length as u64 >= SHORTEST {
                    tokens.repeat(length, distance);
                    // Rows begin alike, and end alike: both ends of what was the same are looked for next.
                    self.note(word(plain, at + 1), at + 1);
                    at += length;
                    if at <= end {
                        self.note(word(plain, at - 1), at - 1);
                    }
                    continue;
                }
            }
            tokens.literal(here as u8);
            at += 1;
        }
        while let Some(byte) = plain.get(at).filter(|_| at >= end && !tokens.is_full()) {
            tokens.literal(*byte);
            at += 1;
        }
        at
    }

    /// How far back the same key may have stood, and may not; this place is noted.
    #[inline]
    fn guess(&mut self, key: u64, at: usize) -> usize {
        let place = &mut self.places[hash(key)];
        let distance = (at as u16).wrapping_sub(*place);
        *place = at as u16;
        usize::from(distance)
    }

    #[inline]
    fn note(&mut self, key: u64, at: usize) {
        self.places[hash(key)] = at as u16;
    }
}

/// Of the first bytes, by multiplication with 2^64 divided by the golden ratio (D. Knuth, *The Art of Computer
/// Programming*, volume 3, section 6.4).
#[inline]
const fn hash(key: u64) -> usize {
    let key = key << (64 - 8 * KEY_BYTES);
    (key.wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - TABLE_BITS)) as usize
}

#[inline]
fn word(plain: &[u8], at: usize) -> u64 {
    plain[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// How many bytes are the same at both places, of which `at` is the later one and has `here`. Two words are compared
/// without a branch, since nobody can guess where they begin to differ.
#[inline]
fn common(plain: &[u8], at: usize, before: usize, here: u64) -> usize {
    let first = here ^ word(plain, before);
    if first as u32 != 0 {
        return 0;
    }
    let second = word(plain, at + 8) ^ word(plain, before + 8);
    let same_bits = if first != 0 { first.trailing_zeros() } else { 64 + second.trailing_zeros() };
    match (same_bits / 8) as usize {
        AT_ONCE_BYTES => AT_ONCE_BYTES + common_after(plain, at + AT_ONCE_BYTES, before + AT_ONCE_BYTES),
        length => length,
    }
}

fn common_after(plain: &[u8], at: usize, before: usize) -> usize {
    let most = (plain.len() - at).min(LONGEST - AT_ONCE_BYTES);
    let (here, there) = (&plain[at..at + most], &plain[before..before + most]);
    let mut same = 0;
    while same + 8 <= most {
        let differs = word(here, same) ^ word(there, same);
        if differs != 0 {
            return same + (differs.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    same + here[same..].iter().zip(&there[same..]).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::SHORTEST as SHORTEST_LENGTH;
    use crate::tokens::LENGTHS_FROM;

    fn lengths(plain: &[u8]) -> Vec<usize> {
        let mut tokens = Tokens::new();
        assert_eq!(Matches::new().find(plain, 0, &mut tokens), plain.len());
        let length =
            |kind: usize| if kind < LENGTHS_FROM { 1 } else { kind - LENGTHS_FROM + SHORTEST_LENGTH };
        tokens.list().iter().map(|token| length(token.kind())).collect()
    }

    #[test]
    fn what_was_there_before_is_found_in_its_whole_length() {
        let row = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for length in (6..=row.len()).rev() {
            let plain = [&row[..], b"#", &row[..length], b"?=!/&%$(){}[]+-.,;:_<>|~^*'\""].concat();
            let found = lengths(&plain);
            assert_eq!(found[row.len() + 1], length, "{found:?}");
            assert_eq!(found.iter().sum::<usize>(), plain.len());
        }
        assert_eq!(lengths(&[7; 1000])[..4], [1, 258, 258, 258]);
    }

    #[test]
    fn what_lies_too_far_back_is_not() {
        for (between, expected) in [(FARTHEST - 100, true), (FARTHEST - 99, false), (65_536 - 100, false)] {
            let row: Vec<u8> = (100..200).collect();
            let filling = vec![1; between];
            let plain = [&row[..], &filling, &row, &[0; 30]].concat();
            let mut tokens = Tokens::new();
            let (mut matches, mut at, mut found) = (Matches::new(), 0, Vec::new());
            while at < plain.len() {
                at = matches.find(&plain, at, &mut tokens);
                found.extend(tokens.list().iter().map(|token| token.kind()));
            }
            let hundred = LENGTHS_FROM + 100 - SHORTEST_LENGTH;
            assert_eq!(found.contains(&hundred), expected, "{between}");
        }
    }
}
