//! Exact percentiles of values that come in one by one.

/// Values in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Percentiles(Vec<f64>);

impl Percentiles {
    /// Takes one more value. What is not a number is no latency and is left out.
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_finite() {
            let at = self.0.partition_point(|known| *known <= value);
            self.0.insert(at, value);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The smallest value that at least `percent` of all values do not exceed (nearest rank).
    pub(crate) fn at(&self, percent: u32) -> Option<f64> {
        let rank = (self.0.len() * percent as usize).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut percentiles = Percentiles::default();
        assert_eq!(percentiles.at(50), None);
        for value in (1..=20).rev() {
            percentiles.add(f64::from(value));
        }
        percentiles.add(f64::NAN);
        assert_eq!(percentiles.count(), 20);
        for (percent, value) in [(1, 1.0), (50, 10.0), (95, 19.0), (99, 20.0), (100, 20.0)] {
            assert_eq!(percentiles.at(percent), Some(value), "{percent}");
        }
    }
}
