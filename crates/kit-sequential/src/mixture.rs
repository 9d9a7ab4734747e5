//! An e-process mixed over effect sizes and over the moments at which an effect may have begun.

/// Beyond this the evidence is as good as infinite; larger values would overflow.
const MOST: f64 = 1e280;
/// No single update multiplies by more than this.
const LN_MOST: f64 = 600.0;

/// A convex combination of likelihood-ratio processes, one per alternative and per start.
///
/// For each alternative `i` with weight `w_i`, and with the prior mass `π_t` of an effect that begins at
/// update `t`,
///
/// ```text
/// W_t = (W_{t-1} + π_t) · L_t        E_t = Σ_i w_i W_t  +  1 - Σ_{s ≤ t} π_s
/// ```
///
/// where `L_t` is the likelihood ratio of update `t` alone, with expectation at most 1 under the null
/// hypothesis, given the past. `E_t` averages, over all starts `s`, the product of the ratios since `s`;
/// what is not placed on a start yet counts 1. As an average of e-processes it is one. An effect that
/// begins late costs `ln(1/π_s)` more evidence instead of everything that was lost while all was well.
/// Each update costs a constant per alternative.
///
/// The recursion is that of Shiryaev's procedure, used here for the probability of any false alarm;
/// J. Shin, A. Ramdas, A. Rinaldo, *E-detectors*, New England Journal of Statistics in Data Science (2024).
#[derive(Clone, Debug)]
pub struct Mixture {
    weights: Vec<f64>,
    started: Vec<f64>,
    /// Mass of starts since the last update that said something: its ratio was 1 for all of them.
    waiting: f64,
    spent: f64,
}

impl Mixture {
    /// One alternative per weight. Weights are scaled to sum 1; negative or infinite ones count as 0.
    pub fn new(weights: &[f64]) -> Self {
        let clean = |weight: f64| if weight.is_finite() && weight > 0.0 { weight } else { 0.0 };
        let sum: f64 = weights.iter().map(|weight| clean(*weight)).sum();
        let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        let weights: Vec<f64> = weights.iter().map(|weight| clean(*weight) * scale).collect();
        Self { started: vec![0.0; weights.len()], weights, waiting: 0.0, spent: 0.0 }
    }

    /// Places prior mass on an effect that begins now. The sum over all calls is cut off at 1.
    pub fn start(&mut self, mass: f64) {
        let mass = mass.clamp(0.0, 1.0 - self.spent);
        self.spent += mass;
        self.waiting += mass;
    }

    /// Takes the logarithms of the likelihood ratios, one per alternative in the order of the weights.
    /// What is not a number counts as no evidence.
    pub fn update(&mut self, ln_ratio: impl Fn(usize) -> f64) {
        for (at, started) in self.started.iter_mut().enumerate() {
            let ln_ratio = ln_ratio(at);
            let ratio = if ln_ratio.is_nan() { 0.0 } else { ln_ratio.min(LN_MOST).exp() };
            *started = ((*started + self.waiting) * ratio).min(MOST);
        }
        self.waiting = 0.0;
    }

    /// E_t.
    pub fn evidence(&self) -> f64 {
        let told: f64 = self
            .weights
            .iter()
            .zip(&self.started)
            .map(|(weight, started)| weight * (started + self.waiting))
            .sum();
        told + 1.0 - self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The recursion equals the sum over all starts and alternatives, written out.
        #[test]
        fn it_is_the_average_over_starts(
            steps in proptest::collection::vec((0.0_f64..0.2, -2.0_f64..2.0, -2.0_f64..2.0), 1..20),
        ) {
            let weights = [0.7, 0.3];
            let mut mixture = Mixture::new(&weights);
            for (mass, a, b) in &steps {
                mixture.start(*mass);
                mixture.update(|at| if at == 0 { *a } else { *b });
            }
            let mut left = 1.0;
            let mut expected = 0.0;
            for begin in 0..steps.len() {
                let mass = steps[begin].0.min(left);
                left -= mass;
                let ln = |pick: fn(&(f64, f64, f64)) -> f64| steps[begin..].iter().map(pick).sum::<f64>();
                expected += mass * (weights[0] * ln(|step| step.1).exp() + weights[1] * ln(|step| step.2).exp());
            }
            expected += left;
            prop_assert!((mixture.evidence() / expected - 1.0).abs() < 1e-12);
        }

        #[test]
        fn it_neither_overflows_nor_becomes_nothing(ln in proptest::collection::vec(-1e6_f64..1e6, 1..40)) {
            let mut mixture = Mixture::new(&[1.0, f64::NAN, -1.0]);
            mixture.start(0.5);
            for ratio in ln {
                mixture.update(|_| ratio);
                prop_assert!(mixture.evidence().is_finite() && mixture.evidence() >= 0.5);
            }
        }
    }

    #[test]
    fn without_an_update_it_is_one() {
        let mut mixture = Mixture::new(&[1.0, 1.0]);
        for _ in 0..20 {
            mixture.start(0.1);
            assert!((mixture.evidence() - 1.0).abs() < 1e-12);
        }
        mixture.update(|_| f64::NAN);
        assert!(mixture.evidence().abs() < 1e-12, "what is not a number is no evidence");
    }
}
