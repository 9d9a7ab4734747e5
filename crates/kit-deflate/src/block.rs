//! One block with codes of its own (RFC 1951, section 3.2.7).

use crate::bits::Bits;
use crate::huffman::{self, Code};
use crate::symbols::{self, DISTANCES, END, LITLENS, Symbol};
use crate::tokens::{DISTANCE_ENTRIES, KINDS, LENGTHS_FROM, Token, Tokens};

/// Of literals, lengths and distances.
const LONGEST_CODE: usize = 15;
/// Of the codes in which the lengths of codes are written.
const LONGEST_CODE_OF_LENGTHS: usize = 7;
/// Bits of the kind of a block with codes of its own.
const DYNAMIC: u64 = 0b10;
/// In this order the lengths of the codes of lengths are written: those that are seldom used come last.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The length before, three to six times more.
const AGAIN: usize = 16;
/// Zero, three to ten times.
const ZEROS: usize = 17;
/// Zero, eleven to 138 times.
const MANY_ZEROS: usize = 18;

/// Writes it. `None`: there is no room for it, and nothing was written.
pub(crate) fn write(tokens: &Tokens, is_last: bool, bits: &mut Bits<'_>) -> Option<()> {
    let by_length: Vec<Symbol> = symbols::lengths().collect();
    let litlens = huffman::lengths(&count_litlens(tokens.kinds(), &by_length), LONGEST_CODE);
    let distances = huffman::lengths(tokens.distances(), LONGEST_CODE);
    let header = Header::new(&litlens, &distances);
    let litlen_codes = huffman::codes(&litlens);
    let kinds = kinds(&litlen_codes, &by_length);
    let distances = distance_entries(&huffman::codes(&distances));
    let end = litlen_codes[END];
    let of_kinds: u64 =
        tokens.kinds().iter().zip(&kinds).map(|(count, entry)| u64::from(*count) * entry.count()).sum();
    let of_distances: u64 = tokens
        .distances()
        .iter()
        .zip(&distances)
        .map(|(count, entry)| u64::from(*count) * entry.count())
        .sum();
    if !bits.has_room_for(header.bits() + of_kinds + of_distances + u64::from(end.count)) {
        return None;
    }
    header.write(is_last, bits);
    for token in tokens.list() {
        write_token(*token, &kinds, &distances, bits);
    }
    bits.put(u64::from(end.bits), end.count);
    Some(())
}

/// The same work for a literal and for a match: which of them comes next cannot be guessed, and a wrong guess costs more
/// than writing nothing. 15 + 5 + 15 + 13 bits at most.
#[inline]
fn write_token(
    token: Token,
    kinds: &[Entry; KINDS],
    distances: &[Entry; DISTANCE_ENTRIES],
    bits: &mut Bits<'_>,
) {
    let kind = kinds[token.kind() % KINDS];
    let distance = distances[token.distance() % DISTANCE_ENTRIES];
    let distance_bits = distance.bits() | u64::from(token.extra()) << distance.code_count();
    bits.put(kind.bits() | distance_bits << kind.count(), (kind.count() + distance.count()) as u32);
}

fn count_litlens(kinds: &[u32; KINDS], by_length: &[Symbol]) -> [u32; LITLENS] {
    let mut counts = [0; LITLENS];
    let (literals, lengths) = kinds.split_at(LENGTHS_FROM);
    counts[..LENGTHS_FROM].copy_from_slice(literals);
    for (count, length) in lengths.iter().zip(by_length) {
        counts[length.symbol] += count;
    }
    counts[END] = 1;
    counts
}

/// What is written for a literal, a length or a distance: 20 bits, how many of them are the code, and how many are
/// written in all, with those that follow it.
#[derive(Clone, Copy, Debug, Default)]
struct Entry(u32);

impl Entry {
    const fn new(bits: u32, code_count: u32, count: u32) -> Self {
        Self(bits | code_count << 20 | count << 26)
    }

    #[inline]
    const fn bits(self) -> u64 {
        (self.0 & 0xf_ffff) as u64
    }

    #[inline]
    const fn code_count(self) -> u32 {
        self.0 >> 20 & 0x3f
    }

    #[inline]
    const fn count(self) -> u64 {
        (self.0 >> 26) as u64
    }
}

fn kinds(codes: &[Code], by_length: &[Symbol]) -> [Entry; KINDS] {
    let mut entries = [Entry::default(); KINDS];
    let (literals, lengths) = entries.split_at_mut(LENGTHS_FROM);
    for (entry, code) in literals.iter_mut().zip(codes) {
        *entry = Entry::new(code.bits, code.count, code.count);
    }
    for (entry, length) in lengths.iter_mut().zip(by_length) {
        let code = codes[length.symbol];
        *entry =
            Entry::new(code.bits | length.extra << code.count, code.count, code.count + length.extra_bits);
    }
    entries
}

/// Those behind the last symbol are of no bits, which is what stands for "no distance".
fn distance_entries(codes: &[Code]) -> [Entry; DISTANCE_ENTRIES] {
    let mut entries = [Entry::default(); DISTANCE_ENTRIES];
    for (symbol, (entry, code)) in entries.iter_mut().zip(codes).enumerate() {
        *entry = Entry::new(code.bits, code.count, code.count + symbols::extra_bits_of_distance(symbol));
    }
    entries
}

/// The codes of a block, as lengths that are themselves written in codes.
struct Header {
    litlens: usize,
    distances: usize,
    /// Symbols, what follows each, and in how many bits.
    lengths: Vec<(usize, u64, u32)>,
    codes: Vec<Code>,
    /// Of the codes of lengths, as many as are written.
    orders: usize,
}

impl Header {
    fn new(litlens: &[u8], distances: &[u8]) -> Self {
        let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
        let (litlen_count, distance_count) =
            (used(litlens).clamp(END + 1, LITLENS), used(distances).clamp(1, DISTANCES));
        let lengths = run_lengths(&[&litlens[..litlen_count], &distances[..distance_count]].concat());
        let mut counts = [0; ORDER.len()];
        lengths.iter().for_each(|(symbol, ..)| counts[*symbol] += 1);
        let codes = huffman::codes(&huffman::lengths(&counts, LONGEST_CODE_OF_LENGTHS));
        let orders =
            ORDER.iter().rposition(|symbol| codes[*symbol].count > 0).map_or(0, |last| last + 1).max(4);
        Self { litlens: litlen_count, distances: distance_count, lengths, codes, orders }
    }

    /// How many bits it takes.
    fn bits(&self) -> u64 {
        let lengths: u32 =
            self.lengths.iter().map(|(symbol, _, extra)| self.codes[*symbol].count + extra).sum();
        (1 + 2 + 5 + 5 + 4 + 3 * self.orders) as u64 + u64::from(lengths)
    }

    fn write(&self, is_last: bool, bits: &mut Bits<'_>) {
        bits.put(u64::from(is_last) | DYNAMIC << 1, 3);
        bits.put((self.litlens - 257) as u64, 5);
        bits.put((self.distances - 1) as u64, 5);
        bits.put((self.orders - 4) as u64, 4);
        for symbol in &ORDER[..self.orders] {
            bits.put(u64::from(self.codes[*symbol].count), 3);
        }
        for (symbol, extra, extra_bits) in &self.lengths {
            let code = self.codes[*symbol];
            bits.put(u64::from(code.bits) | extra << code.count, code.count + extra_bits);
        }
    }
}

/// Lengths with repetitions said in short.
fn run_lengths(lengths: &[u8]) -> Vec<(usize, u64, u32)> {
    let mut short = Vec::new();
    for run in lengths.chunk_by(|one, next| one == next) {
        let (mut left, symbol) = (run.len(), usize::from(run[0]));
        if symbol == 0 {
            while left >= 11 {
                let now = left.min(138);
                short.push((MANY_ZEROS, (now - 11) as u64, 7));
                left -= now;
            }
            if left >= 3 {
                short.push((ZEROS, (left - 3) as u64, 3));
                left = 0;
            }
        } else {
            short.push((symbol, 0, 0));
            left -= 1;
            while left >= 3 {
                let now = left.min(6);
                short.push((AGAIN, (now - 3) as u64, 2));
                left -= now;
            }
        }
        short.extend(std::iter::repeat_n((symbol, 0, 0), left));
    }
    short
}
