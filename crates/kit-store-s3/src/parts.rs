//! How a stream is cut into parts: pure.
//!
//! S3 takes 10 000 parts of 5 MiB to 5 GiB each (Amazon S3 User Guide, "Multipart upload limits"). A part
//! has to be held in memory until it is stored, since it may have to be sent again; so parts stay small
//! for as long as possible and grow only where the count runs out.

/// One mebibyte.
const MIB: usize = 1024 * 1024;

/// The most parts of an upload.
pub(crate) const MOST_PARTS: i32 = 10_000;

/// How much may be on its way at once. One more part is being filled meanwhile.
const IN_FLIGHT_BYTES: usize = 20 * MIB;

/// Up to which part number, which size. The smallest are the smallest that S3 takes. As long as it goes, no more than two
/// of 24 MiB are held, the one on its way and the one that is filled: beside what else a backup needs, that is flat.
const SIZES: [(i32, usize); 9] = [
    (3_500, 5 * MIB),      // 17 GiB
    (5_000, 8 * MIB),      // 28 GiB
    (8_500, 24 * MIB),     // 110 GiB: until here at most 48 MiB are held
    (8_700, 64 * MIB),     // 123 GiB
    (8_900, 128 * MIB),    // 148 GiB
    (9_100, 256 * MIB),    // 198 GiB
    (9_300, 512 * MIB),    // 298 GiB
    (9_500, 1_024 * MIB),  // 498 GiB
    (10_000, 4_096 * MIB), // 2.4 TiB
];

/// The size of the part with this number, counted from 1; `None` beyond the last.
pub(crate) fn size_bytes(number: i32) -> Option<usize> {
    SIZES.iter().find(|(up_to, _)| number >= 1 && number <= *up_to).map(|(_, size)| *size)
}

/// True if a part of `size` may be sent while `in_flight` bytes are on their way.
pub(crate) const fn may_send(size: usize, in_flight: usize) -> bool {
    in_flight == 0 || in_flight + size <= IN_FLIGHT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_the_limits_of_s3_and_reach_terabytes() {
        let mut total = 0_u64;
        for number in 1..=MOST_PARTS {
            let size = size_bytes(number).unwrap();
            assert!((5 * MIB..=5 * 1024 * MIB).contains(&size), "{number}");
            assert!(number == 1 || size >= size_bytes(number - 1).unwrap(), "{number}");
            total += size as u64;
        }
        assert!(total > 2 << 40, "{total}");
        assert_eq!(size_bytes(0), None);
        assert_eq!(size_bytes(MOST_PARTS + 1), None);
    }

    #[test]
    fn memory_is_flat_up_to_a_hundred_gibibytes() {
        let mut total = 0_u64;
        for number in 1..=MOST_PARTS {
            let size = size_bytes(number).unwrap();
            let mut in_flight = 0;
            while may_send(size, in_flight) {
                in_flight += size;
            }
            if total < 110 << 30 {
                assert!(in_flight + size <= 48 * MIB, "part {number}: {in_flight} + {size}");
            }
            total += size as u64;
        }
    }

    #[test]
    fn one_part_is_always_under_way() {
        assert!(may_send(4_096 * MIB, 0));
        assert!(!may_send(32 * MIB, 1));
        assert!(may_send(5 * MIB, 15 * MIB));
        assert!(!may_send(5 * MIB, 20 * MIB));
    }
}
