//! Deflates whole blocks (RFC 1951), as quickly as dumps of databases let it.
//!
//! A dump is rows that resemble each other: long stretches of a row stand in one shortly before it, and what differs
//! are digits that are worth no search. General libraries look for matches of three and four bytes, and at several
//! places for each; of these dumps they take a third more time for an output that is no smaller. What suffers is prose,
//! whose matches are short: there the output is about a tenth larger than theirs.
//!
//! The scheme is that of the fast levels of ISA-L's igzip: one look per place into one small table ([`mod@matches`]),
//! what is found as tokens of one size ([`tokens`]), and each token written without a branch by codes made for so many
//! of them ([`block`], [`huffman`]). Nothing here has to be trusted: whoever makes a backup inflates every block with a
//! library and compares.
//!
//! Pure: bytes in, bytes out, and the same bytes always come out the same.

mod bits;
mod block;
mod huffman;
mod matches;
mod symbols;
mod tokens;

use bits::Bits;
use matches::Matches;
use tokens::Tokens;

/// What blocks are deflated with, one after the other: its tables are worth keeping.
#[derive(Debug)]
pub struct Encoder {
    matches: Matches,
    tokens: Tokens,
}

impl Encoder {
    /// Makes the tables, about 150 KiB of them.
    pub fn new() -> Self {
        Self { matches: Matches::new(), tokens: Tokens::new() }
    }

    /// Deflates `plain`, of any length, to the beginning of `room`, and says how many bytes that took. It stands by itself:
    /// nothing in it refers to what was deflated before.
    ///
    /// `None`: there is too little room for it. What does not get smaller would take a little more than it has.
    pub fn deflate(&mut self, plain: &[u8], room: &mut [u8]) -> Option<usize> {
        self.matches.forget();
        let mut bits = Bits::new(room);
        let mut at = 0;
        loop {
            at = self.matches.find(plain, at, &mut self.tokens);
            let is_last = at == plain.len();
            block::write(&self.tokens, is_last, &mut bits)?;
            if is_last {
                return bits.finish();
            }
        }
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
