//! A digest of a table's content that does not depend on the order of its rows. Pure.
//!
//! Rows have no order of their own, and a restore may bring them back in another one. So every row is
//! digested by itself (XXH3, 128 bits: memory speed) and the digests are added up modulo 2^128: the sum
//! is that of the multiset of rows. It finds accidents, which is its purpose; against an adversary stands
//! the SHA-256 of the whole dump.

use kit_contract::Sha256;
use twox_hash::XxHash3_128;
use twox_hash::xxhash3_128::Hasher;

/// Takes text line by line, as it comes, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowDigest {
    rows: u64,
    sum: u128,
}

impl RowDigest {
    /// One row, without its line end.
    pub(crate) fn row(&mut self, row: &[u8]) {
        self.add(XxHash3_128::oneshot(row));
    }

    /// One row, of which only its being there counts: the digest is worth nothing from then on.
    pub(crate) const fn counted(&mut self) {
        self.rows += 1;
    }

    /// One row that was digested in pieces.
    pub(crate) fn finished(&mut self, row: &Partial) {
        self.add(row.hasher.finish_128());
    }

    /// More rows of the same table.
    pub(crate) fn join(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    fn add(&mut self, digest: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(digest);
    }

    /// How many rows.
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// The digests of all of them, added up.
    pub(crate) const fn sum(&self) -> u128 {
        self.sum
    }

    /// The digest of all of them.
    pub(crate) fn sha256(&self) -> Sha256 {
        Sha256::of(format!("rows={} xxh3-128-sum={:032x}", self.rows, self.sum).as_bytes())
    }
}

/// A row that came in pieces: never held as a whole, since a row may have a gigabyte.
pub(crate) struct Partial {
    hasher: Hasher,
    /// Its first bytes.
    head: Vec<u8>,
    is_empty: bool,
}

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Partial")
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self { hasher: Hasher::new(), head: Vec::new(), is_empty: true }
    }
}

/// Enough of a row to tell the end of a COPY block from it.
const HEAD_BYTES: usize = 4;

impl Partial {
    /// The next bytes of the row.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.is_empty &= bytes.is_empty();
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(missing));
        self.hasher.write(bytes);
    }

    /// True if nothing of it has come yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// True if these bytes are all of it.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        text.len() < HEAD_BYTES && self.head == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&str]) -> Sha256 {
        let mut digest = RowDigest::default();
        rows.iter().for_each(|row| digest.row(row.as_bytes()));
        digest.sha256()
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        assert_eq!(digest(&["a", "b", "c"]), digest(&["c", "a", "b"]));
        let different = [
            &["a", "b"][..],
            &["a", "b", "b"],
            &["a", "a", "b"],
            &["ab"],
            &["a", "b", ""],
            &[""],
            &[],
            &["a\tb"],
        ];
        for (i, one) in different.iter().enumerate() {
            for (j, two) in different.iter().enumerate() {
                assert_eq!(digest(one) == digest(two), i == j, "{one:?} {two:?}");
            }
        }
    }

    #[test]
    fn a_row_in_pieces_is_the_same_row() {
        let row = "0123456789".repeat(100);
        let mut whole = RowDigest::default();
        whole.row(row.as_bytes());
        for size in [1, 3, 7, 256, 999] {
            let mut partial = Partial::default();
            row.as_bytes().chunks(size).for_each(|piece| partial.take(piece));
            let mut pieces = RowDigest::default();
            pieces.finished(&partial);
            assert_eq!(pieces.sha256(), whole.sha256(), "{size}");
        }
    }

    #[test]
    fn the_end_of_a_block_is_told_from_a_row() {
        let mut partial = Partial::default();
        partial.take(b"\\");
        assert!(!partial.is(b"\\."));
        partial.take(b".");
        assert!(partial.is(b"\\."));
        partial.take(b"x");
        assert!(!partial.is(b"\\."));
    }
}
