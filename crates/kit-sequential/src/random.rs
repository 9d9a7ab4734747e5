//! Random numbers that are the same every time: for simulated power and for benchmarks, never for secrets.

/// The generator SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number
/// generators*, OOPSLA 2014): one word of state, the whole of it a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for every seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform on (0, 1): never 0, never 1.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Standard normal (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Failures before the first success of probability `p`; `u64::MAX` if there is none in sight.
    pub fn geometric(&mut self, p: f64) -> u64 {
        if p >= 1.0 {
            return 0;
        }
        if p <= 0.0 {
            return u64::MAX;
        }
        // A cast from a float saturates.
        (self.uniform().ln() / (-p).ln_1p()) as u64
    }

    /// Binomial(n, p): exact, in a time that grows with n·p. For large n·p the normal approximation.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let mean = n as f64 * p;
        if mean > 200.0 {
            let drawn = (mean + (mean * (1.0 - p)).sqrt() * self.normal()).round();
            return (drawn.max(0.0) as u64).min(n);
        }
        let (mut count, mut at) = (0, self.geometric(p));
        while at < n {
            count += 1;
            at = at.saturating_add(1).saturating_add(self.geometric(p));
        }
        count
    }

    /// Poisson(mean), as the limit of a binomial; large means by the normal approximation.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 200.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        // Arrivals with exponential gaps.
        let (mut count, mut time) = (0, -self.uniform().ln());
        while time < mean {
            count += 1;
            time -= self.uniform().ln();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_fixed() {
        // The first outputs for seed 0 as published with the algorithm.
        let mut random = Random::new(0);
        assert_eq!(random.bits(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.bits(), 0x6E78_9E6A_A1B9_65F4);
    }

    /// Mean and variance of what is drawn are those of the distribution, within five standard errors.
    #[test]
    fn moments() {
        let mut random = Random::new(7);
        let draws = 40_000;
        let mut check = |name: &str, mean: f64, variance: f64, draw: &mut dyn FnMut(&mut Random) -> f64| {
            let drawn: Vec<f64> = (0..draws).map(|_| draw(&mut random)).collect();
            let found = drawn.iter().sum::<f64>() / f64::from(draws);
            let spread = drawn.iter().map(|x| (x - found).powi(2)).sum::<f64>() / f64::from(draws);
            assert!((found - mean).abs() < 5.0 * (variance / f64::from(draws)).sqrt(), "{name}: {found}");
            assert!((spread / variance - 1.0).abs() < 0.1, "{name}: variance {spread}, not {variance}");
        };
        check("uniform", 0.5, 1.0 / 12.0, &mut |random| random.uniform());
        check("normal", 0.0, 1.0, &mut |random| random.normal());
        check("geometric", 4.0, 20.0, &mut |random| random.geometric(0.2) as f64);
        for (n, p) in [(5, 0.2), (95, 0.01), (20, 0.9), (1000, 0.4)] {
            let n_p = n as f64 * p;
            check("binomial", n_p, n_p * (1.0 - p), &mut |random| random.binomial(n, p) as f64);
        }
        for mean in [0.3, 40.0, 500.0] {
            check("poisson", mean, mean, &mut |random| random.poisson(mean) as f64);
        }
    }
}
