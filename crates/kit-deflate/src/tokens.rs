//! What a block is made of, in the order of its bytes: literals and matches, all of one size, and counted.

use crate::symbols::{self, DISTANCES, LONGEST, SHORTEST};

/// In one block: so many that its codes cost nothing, and few enough for codes to follow what they stand for.
pub(crate) const MOST: usize = 1 << 15;
/// Literals, and behind them lengths: each by itself, and not yet as symbols.
pub(crate) const KINDS: usize = LENGTHS_FROM + LONGEST - SHORTEST + 1;
pub(crate) const LENGTHS_FROM: usize = 256;
/// The symbol of a distance where there is none, which has no bits.
pub(crate) const NO_DISTANCE: usize = DISTANCES;
/// Symbols of distances, that one, and as many more as make a power of two.
pub(crate) const DISTANCE_ENTRIES: usize = 32;

/// One literal or match: 9 bits of kind, 5 of the distance's symbol, 13 of what follows that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Token(u32);

impl Token {
    #[inline]
    const fn new(kind: usize, distance: usize, extra: u32) -> Self {
        Self(kind as u32 | (distance as u32) << 9 | extra << 14)
    }

    /// Below [`KINDS`].
    #[inline]
    pub(crate) const fn kind(self) -> usize {
        (self.0 & 0x1ff) as usize
    }

    /// The symbol of its distance, or none: below [`DISTANCE_ENTRIES`].
    #[inline]
    pub(crate) const fn distance(self) -> usize {
        (self.0 >> 9 & 0x1f) as usize
    }

    /// What follows the symbol of its distance.
    #[inline]
    pub(crate) const fn extra(self) -> u32 {
        self.0 >> 14
    }
}

/// Those of one block.
#[derive(Debug)]
pub(crate) struct Tokens {
    list: Box<[Token; MOST]>,
    len: usize,
    kinds: [u32; KINDS],
    distances: [u32; DISTANCE_ENTRIES],
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self {
            list: Box::new([Token::default(); MOST]),
            len: 0,
            kinds: [0; KINDS],
            distances: [0; DISTANCE_ENTRIES],
        }
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
        self.kinds = [0; KINDS];
        self.distances = [0; DISTANCE_ENTRIES];
    }

    #[inline]
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= MOST
    }

    /// Adds a byte that stands for itself. Not to be called when it is full.
    #[inline]
    pub(crate) const fn literal(&mut self, byte: u8) {
        self.push(Token::new(byte as usize, NO_DISTANCE, 0));
    }

    /// Adds what stands for `length` bytes so far back. Not to be called when it is full.
    #[inline]
    pub(crate) const fn repeat(&mut self, length: usize, distance: usize) {
        let found = symbols::distance(distance as u32 - 1);
        self.distances[found.symbol % DISTANCE_ENTRIES] += 1;
        self.push(Token::new(LENGTHS_FROM + length - SHORTEST, found.symbol, found.extra));
    }

    #[inline]
    const fn push(&mut self, token: Token) {
        self.kinds[token.kind() % KINDS] += 1;
        self.list[self.len % MOST] = token;
        self.len += 1;
    }

    pub(crate) fn list(&self) -> &[Token] {
        &self.list[..self.len]
    }

    /// How often each literal and each length is in it.
    pub(crate) const fn kinds(&self) -> &[u32; KINDS] {
        &self.kinds
    }

    /// How often each symbol of a distance is in it.
    pub(crate) fn distances(&self) -> &[u32] {
        &self.distances[..DISTANCES]
    }
}
