//! What rules without statistics cost: exact, for independent samples of one arm.

/// The probability that somewhere in `n` samples at least `k` in a row fail, each with probability `rate`.
/// 0 for `k = 0`, which is no rule.
pub fn consecutive(k: u32, n: u32, rate: f64) -> f64 {
    if k == 0 {
        return 0.0;
    }
    let k = k as usize;
    // The probability of a run of so many at the end, and no stop so far.
    let mut runs = vec![0.0; k];
    runs[0] = 1.0;
    let mut stopped = 0.0;
    for _ in 0..n {
        let going: f64 = runs.iter().sum();
        stopped += runs[k - 1] * rate;
        runs.rotate_right(1);
        runs.iter_mut().skip(1).for_each(|run| *run *= rate);
        runs[0] = going * (1.0 - rate);
    }
    stopped
}

/// The probability that, looked at after each of `n` samples from number `least` on, more than
/// `limit` (0 to 1) of all so far have failed, each with probability `rate`.
pub fn rate_above(limit: f64, least: u32, n: u32, rate: f64) -> f64 {
    let mut running = vec![1.0_f64];
    let mut stopped = 0.0;
    for at in 1..=n {
        running.push(0.0);
        for s in (1..running.len()).rev() {
            running[s] = running[s] * (1.0 - rate) + running[s - 1] * rate;
        }
        running[0] *= 1.0 - rate;
        if at >= least.max(1) {
            // As the rule is written: failures · 100 / n > limit · 100.
            let allowed =
                running.iter().enumerate().filter(|(s, _)| *s as f64 <= limit * f64::from(at)).count();
            stopped += running.drain(allowed..).sum::<f64>();
        }
    }
    stopped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_figures() {
        // 1 - (1-p)^n for any failure; runs of three in 30, 60 and 90.
        for (n, rate, expected) in [(180, 0.001, 0.165), (720, 0.001, 0.513), (180, 0.005, 0.594)] {
            assert!((consecutive(1, n, rate) - expected).abs() < 0.001);
            assert!((rate_above(0.0, 1, n, rate) - expected).abs() < 0.001);
        }
        for (n, expected) in [(30, 0.169), (60, 0.317), (90, 0.439)] {
            assert!((consecutive(3, n, 0.2) - expected).abs() < 0.001, "{n}");
        }
        assert_eq!(consecutive(0, 30, 0.5), 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn both_are_those_of_enumeration(n in 1_u32..13, rate in 0.0_f64..=1.0, k in 1_u32..5, limit in 0.0_f64..0.9, least in 0_u32..8) {
            let (mut runs, mut above) = (0.0, 0.0);
            for sequence in 0_u32..1 << n {
                let (mut probability, mut run, mut failures) = (1.0, 0, 0_u32);
                let (mut stopped_run, mut stopped_above) = (false, false);
                for at in 1..=n {
                    let failed = sequence >> (at - 1) & 1 == 1;
                    probability *= if failed { rate } else { 1.0 - rate };
                    run = if failed { run + 1 } else { 0 };
                    failures += u32::from(failed);
                    stopped_run |= run >= k;
                    stopped_above |= at >= least.max(1) && f64::from(failures) > limit * f64::from(at);
                }
                runs += if stopped_run { probability } else { 0.0 };
                above += if stopped_above { probability } else { 0.0 };
            }
            prop_assert!((consecutive(k, n, rate) - runs).abs() < 1e-12);
            prop_assert!((rate_above(limit, least, n, rate) - above).abs() < 1e-12);
        }
    }
}
