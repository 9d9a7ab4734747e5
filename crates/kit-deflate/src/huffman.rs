//! Codes whose length goes by how often a symbol comes (D. A. Huffman, *A Method for the Construction of
//! Minimum-Redundancy Codes*, 1952), none longer than allowed.

/// How long the code of each symbol is, 0 for those that never come: at least two have one, and all bits are used
/// (inflating refuses what leaves some unused).
///
/// Lengths above `longest` are cut, and others made longer until there is room for all, as zlib does: it costs a trifle
/// where it happens at all.
pub(crate) fn lengths(counts: &[u32], longest: usize) -> Vec<u8> {
    let mut lengths = vec![0; counts.len()];
    let mut used: Vec<(u32, usize)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| (*count, symbol))
        .collect();
    let mut spare = (0..counts.len()).filter(|symbol| counts[*symbol] == 0);
    while let Some(symbol) = spare.next().filter(|_| used.len() < 2) {
        used.push((0, symbol));
    }
    used.sort_unstable();
    let mut of_length = [0_usize; 64];
    for depth in depths(&used) {
        of_length[depth.min(longest)] += 1;
    }
    let mut taken: usize = (1..=longest).map(|length| of_length[length] << (longest - length)).sum();
    while taken > 1 << longest {
        let shorter = (1..longest).rev().find(|length| of_length[*length] > 0).unwrap_or(1);
        of_length[shorter] -= 1;
        of_length[shorter + 1] += 2;
        of_length[longest] -= 1;
        taken -= 1;
    }
    let longest_first = (1..=longest).rev().flat_map(|length| std::iter::repeat_n(length, of_length[length]));
    for ((_, symbol), length) in used.into_iter().zip(longest_first) {
        lengths[symbol] = length as u8;
    }
    lengths
}

/// How deep each lies in the tree; `used` goes from the rarest to the most frequent.
///
/// With these sorted, and sums coming in ascending order by themselves, the two smallest are always at the head of one
/// of two queues (J. van Leeuwen, *On the Construction of Huffman Trees*, 1976).
fn depths(used: &[(u32, usize)]) -> Vec<usize> {
    let leaves = used.len();
    let mut weights: Vec<u64> = used.iter().map(|(count, _)| u64::from(*count)).collect();
    let mut parents = vec![0; 2 * leaves];
    let (mut leaf, mut sum) = (0, leaves);
    for node in leaves..(2 * leaves).saturating_sub(1) {
        let mut weight = 0;
        for _ in 0..2 {
            let takes_leaf = leaf < leaves && (sum >= weights.len() || weights[leaf] <= weights[sum]);
            let next = if takes_leaf { &mut leaf } else { &mut sum };
            weight += weights[*next];
            parents[*next] = node;
            *next += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0; 2 * leaves];
    for node in (0..(2 * leaves).saturating_sub(2)).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(leaves);
    depths
}

/// A code as it is written, lowest bit first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) bits: u32,
    pub(crate) count: u32,
}

/// The codes that follow from their lengths (RFC 1951, section 3.2.2).
pub(crate) fn codes(lengths: &[u8]) -> Vec<Code> {
    let mut of_length = [0_u32; 16];
    for length in lengths.iter().filter(|length| **length > 0) {
        of_length[usize::from(*length)] += 1;
    }
    let mut next = [0_u32; 16];
    for length in 1..16 {
        next[length] = (next[length - 1] + of_length[length - 1]) << 1;
    }
    let code = |length: &u8| {
        let count = u32::from(*length);
        if count == 0 {
            return Code::default();
        }
        let code = &mut next[usize::from(*length)];
        // Codes begin with their highest bit, everything else with the lowest (section 3.1.1).
        let bits = code.reverse_bits() >> (32 - count);
        *code += 1;
        Code { bits, count }
    };
    lengths.iter().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fills(lengths: &[u8], longest: usize) -> bool {
        let taken: usize = lengths
            .iter()
            .filter(|length| **length > 0)
            .map(|length| 1 << (longest - usize::from(*length)))
            .sum();
        taken == 1 << longest && lengths.iter().all(|length| usize::from(*length) <= longest)
    }

    #[test]
    fn the_example_of_the_specification() {
        let codes: Vec<(u32, u32)> = codes(&[3, 3, 3, 3, 3, 2, 4, 4])
            .iter()
            .map(|code| (code.bits.reverse_bits() >> (32 - code.count), code.count))
            .collect();
        let expected = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        assert_eq!(codes.iter().map(|(bits, _)| *bits).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_comes_often_is_short() {
        assert_eq!(lengths(&[8, 4, 2, 1, 0, 1], 15), [1, 2, 3, 4, 0, 4]);
        assert_eq!(lengths(&[5, 5, 5, 5], 15), [2; 4]);
    }

    #[test]
    fn every_bit_is_used_whatever_comes() {
        let fibonacci = |n: usize| {
            let mut counts = vec![1_u32, 1];
            while counts.len() < n {
                counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
            }
            counts
        };
        for (counts, longest) in [
            (vec![0; 30], 15),
            (vec![0, 0, 9], 15),
            (vec![9, 0], 7),
            (fibonacci(30), 15),
            (fibonacci(19), 7),
            (fibonacci(40), 15),
            (vec![1; 286], 15),
            ((0..286).map(|n| n * n).collect(), 15),
        ] {
            let lengths = lengths(&counts, longest);
            assert!(fills(&lengths, longest), "{counts:?} {lengths:?}");
            assert!(
                counts.iter().zip(&lengths).all(|(count, length)| *count == 0 || *length > 0),
                "{counts:?}"
            );
        }
    }
}
