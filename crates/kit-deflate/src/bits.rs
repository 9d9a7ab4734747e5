//! Bits into bytes, the first one lowest (RFC 1951, section 3.1.1).

/// Writes into memory that somebody else has.
#[derive(Debug)]
pub(crate) struct Bits<'a> {
    room: &'a mut [u8],
    at: usize,
    /// Those that do not fill a byte yet: fewer than eight between two calls.
    pending: u64,
    count: u32,
}

/// Eight are written at once, whatever is in them.
const AHEAD_BYTES: usize = 8;

impl<'a> Bits<'a> {
    pub(crate) const fn new(room: &'a mut [u8]) -> Self {
        Self { room, at: 0, pending: 0, count: 0 }
    }

    /// True if so many more bits surely have a place.
    pub(crate) const fn has_room_for(&self, bits: u64) -> bool {
        self.at as u64 + bits / 8 + 1 + AHEAD_BYTES as u64 <= self.room.len() as u64
    }

    /// Adds up to 56 bits. Panics where there is no room, for which [`has_room_for`](Self::has_room_for) was to be asked.
    #[inline]
    pub(crate) fn put(&mut self, value: u64, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
        self.room[self.at..][..AHEAD_BYTES].copy_from_slice(&self.pending.to_le_bytes());
        self.at += (self.count / 8) as usize;
        self.pending >>= self.count & !7;
        self.count %= 8;
    }

    /// The bytes, the last of them filled up. `None`: it has no place.
    pub(crate) fn finish(mut self) -> Option<usize> {
        if self.count > 0 {
            *self.room.get_mut(self.at)? = self.pending.to_le_bytes()[0];
            self.at += 1;
        }
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_is_the_lowest() {
        let mut room = [0xff; 16];
        let mut bits = Bits::new(&mut room);
        for (value, count) in [(1, 1), (0, 0), (0b10, 2), (0x1234_5678_9abc, 48)] {
            bits.put(value, count);
        }
        assert_eq!(bits.finish(), Some(7));
        assert_eq!(
            u64::from_le_bytes(*room.first_chunk().unwrap()) & 0xff_ffff_ffff_ffff,
            0x1234_5678_9abc << 3 | 0b101
        );
    }

    #[test]
    fn room_is_known_before() {
        let bits = Bits { room: &mut [0; 20], at: 10, pending: 0, count: 7 };
        assert!(bits.has_room_for(15) && !bits.has_room_for(16));
    }
}
