//! How bad the canary could be all the same.

/// What was not ruled out is bounded with this probability.
const CONFIDENCE: f64 = 0.95;

/// The exact (Clopper–Pearson) one-sided upper 95 % bound on an error rate, after `errors` of `n`
/// samples: the rate at which so few errors would be seen only once in twenty times. 0 to 1, rounded
/// up to six digits; `None` without samples.
pub fn upper_bound(errors: u64, n: u64) -> Option<f64> {
    kit_sequential::upper_bound(errors, n, CONFIDENCE).map(|bound| ((bound * 1e6).ceil() / 1e6).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_rounded_up() {
        assert_eq!(upper_bound(0, 60), Some(0.048_703));
        assert_eq!(upper_bound(0, 100), Some(0.029_514));
        assert_eq!(upper_bound(3, 3), Some(1.0));
        assert_eq!(upper_bound(0, 0), None);
    }
}
