//! One evidence from several, one budget for all.

/// A convex combination of e-values: an e-value again, whatever they have to do with each other. Weights
/// are scaled to sum 1. Each part needs `1 / weight` times the evidence that it would need alone.
pub fn weighted(parts: &[(f64, f64)]) -> f64 {
    let sum: f64 = parts.iter().map(|(weight, _)| weight).sum();
    if sum > 0.0 { parts.iter().map(|(weight, evidence)| weight * evidence).sum::<f64>() / sum } else { 1.0 }
}

/// How often a healthy release may be blamed, split over everything that could blame it.
///
/// By the union bound the parts may depend on each other in any way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Probability over the whole rollout, 0 to 1.
    pub whole: f64,
    /// Stages of the rollout; at least 1.
    pub stages: u32,
    /// Services judged in each of them; at least 1.
    pub services: u32,
}

impl Budget {
    /// What one stage may spend.
    pub fn stage(self) -> f64 {
        self.whole / f64::from(self.stages.max(1))
    }

    /// What one service in one stage may spend.
    pub fn service(self) -> f64 {
        self.stage() / f64::from(self.services.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_once() {
        let budget = Budget { whole: 0.009, stages: 3, services: 4 };
        assert!((budget.service() * 12.0 - 0.009).abs() < 1e-15);
        assert_eq!(Budget { stages: 0, services: 0, ..budget }.service(), 0.009);
    }

    #[test]
    fn the_average_of_evidence() {
        assert!((weighted(&[(0.8, 10.0), (0.2, 0.0)]) - 8.0).abs() < 1e-12);
        assert!((weighted(&[(4.0, 10.0), (1.0, 5.0)]) - 9.0).abs() < 1e-12);
        assert_eq!(weighted(&[]), 1.0);
    }
}
