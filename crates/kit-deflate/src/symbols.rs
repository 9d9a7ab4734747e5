//! Which symbol stands for a length or a distance, and what follows it (RFC 1951, section 3.2.5).

/// Literals, the end of a block, and lengths.
pub(crate) const LITLENS: usize = 286;
/// The end of a block.
pub(crate) const END: usize = 256;
/// The symbol of the shortest length.
const FIRST_LENGTH: usize = 257;
pub(crate) const DISTANCES: usize = 30;
pub(crate) const SHORTEST: usize = 3;
pub(crate) const LONGEST: usize = 258;
/// How far back a match may lie.
pub(crate) const FARTHEST: usize = 32 * 1024;

/// The shortest length of every symbol, and how many bits tell those that share it apart.
const LENGTHS: [(usize, u32); LITLENS - FIRST_LENGTH] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// A symbol and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) symbol: usize,
    pub(crate) extra: u32,
    pub(crate) extra_bits: u32,
}

/// Of every length, beginning with the shortest.
pub(crate) fn lengths() -> impl Iterator<Item = Symbol> {
    (SHORTEST..=LONGEST).map(|length| {
        let index = LENGTHS.iter().rposition(|(first, _)| *first <= length).unwrap_or_default();
        let (first, extra_bits) = LENGTHS[index];
        Symbol { symbol: FIRST_LENGTH + index, extra: (length - first) as u32, extra_bits }
    })
}

/// Of a distance, which counts from 0 here. The symbols are pairs, of which each has one more bit than the one before.
#[inline]
pub(crate) const fn distance(from_0: u32) -> Symbol {
    if from_0 < 2 {
        return Symbol { symbol: from_0 as usize, extra: 0, extra_bits: 0 };
    }
    let log2 = from_0.ilog2();
    let extra_bits = log2 - 1;
    let symbol = 2 * log2 + (from_0 >> extra_bits & 1);
    Symbol { symbol: symbol as usize, extra: from_0 & ((1 << extra_bits) - 1), extra_bits }
}

/// How many bits follow the symbol of a distance.
pub(crate) const fn extra_bits_of_distance(symbol: usize) -> u32 {
    if symbol < 4 { 0 } else { symbol as u32 / 2 - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_the_table_of_the_specification() {
        let symbol = |symbol, extra, extra_bits| Symbol { symbol, extra, extra_bits };
        let lengths: Vec<Symbol> = lengths().collect();
        assert_eq!(lengths.len(), 256);
        for (length, expected) in [
            (3, symbol(257, 0, 0)),
            (10, symbol(264, 0, 0)),
            (12, symbol(265, 1, 1)),
            (130, symbol(280, 15, 4)),
            (257, symbol(284, 30, 5)),
            (258, symbol(285, 0, 0)),
        ] {
            assert_eq!(lengths[length - 3], expected, "{length}");
        }
        for (from_1, expected) in [
            (1, symbol(0, 0, 0)),
            (2, symbol(1, 0, 0)),
            (4, symbol(3, 0, 0)),
            (6, symbol(4, 1, 1)),
            (8, symbol(5, 1, 1)),
            (24_576, symbol(28, 8191, 13)),
            (32_768, symbol(29, 8191, 13)),
        ] {
            assert_eq!(distance(from_1 - 1), expected, "{from_1}");
        }
        for from_0 in 0..FARTHEST as u32 {
            let found = distance(from_0);
            assert_eq!(extra_bits_of_distance(found.symbol), found.extra_bits, "{from_0}");
        }
    }
}
