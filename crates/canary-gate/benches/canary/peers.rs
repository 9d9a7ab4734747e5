//! What others do with the same requests, as their source has it, without scrape lag. They look at the
//! canary's errors only; Kayenta's judge compares with the baseline.

/// Errors and requests of the canary and of an equal share of the baseline, per second.
#[derive(Clone, Copy, Default)]
pub(crate) struct Second {
    pub(crate) errors: u64,
    pub(crate) requests: u64,
    pub(crate) baseline_errors: u64,
    pub(crate) baseline_requests: u64,
}

/// A rule: every `every_s` the success rate of so many seconds is held against 99 %.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    pub(crate) every_s: usize,
    /// Rolled back when so many looks have failed, counted over the whole stage.
    pub(crate) failures: u32,
}

/// In this order: Argo Rollouts with 1 m and failureLimit 0, with 10 s and 3; Flagger with 10 s and 5, with
/// 1 m and 3. Argo Rollouts: rolled back when failed looks exceed failureLimit. Flagger: when they reach threshold.
pub(crate) const RULES: [Threshold; 4] = [
    Threshold { every_s: 60, failures: 1 },
    Threshold { every_s: 10, failures: 4 },
    Threshold { every_s: 10, failures: 5 },
    Threshold { every_s: 60, failures: 3 },
];

impl Threshold {
    /// The second in which the canary is rolled back.
    pub(crate) fn rolls_back(&self, seconds: &[Second]) -> Option<usize> {
        let mut failed = 0;
        for (at, window) in seconds.chunks_exact(self.every_s).enumerate() {
            let errors: u64 = window.iter().map(|second| second.errors).sum();
            let requests: u64 = window.iter().map(|second| second.requests).sum();
            failed += u32::from(requests > 0 && errors as f64 > 0.01 * requests as f64);
            if failed >= self.failures {
                return Some((at + 1) * self.every_s);
            }
        }
        None
    }
}

/// The seed's probe every 10 s: one request of the window decides it. Rolled back after `k` in a row.
pub(crate) fn probes_in_a_row(seconds: &[Second], k: u32) -> Option<usize> {
    let mut row = 0;
    for (at, second) in seconds.iter().enumerate().skip(9).step_by(10) {
        // The first request of that second: it fails with the share of failures in it.
        let failed = second.requests > 0 && (at as u64 * 7919) % second.requests < second.errors;
        row = if failed { row + 1 } else { 0 };
        if row >= k {
            return Some(at + 1);
        }
    }
    None
}

/// Kayenta: 30 points of 10 s at the end of the stage.
pub(crate) fn kayenta(seconds: &[Second]) -> bool {
    let points = |rate: fn(&Second) -> (u64, u64)| -> Vec<f64> {
        let point = |window: &[Second]| {
            let (errors, requests) = window.iter().map(rate).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            if requests == 0 { 0.0 } else { errors as f64 / requests as f64 }
        };
        seconds.chunks_exact(10).map(point).collect()
    };
    is_high(
        &points(|second| (second.errors, second.requests)),
        &points(|second| (second.baseline_errors, second.baseline_requests)),
    )
}

/// Its classifier: Mann-Whitney at 98 %, and the lower limit of the shift above a quarter of its estimate.
pub(crate) fn is_high(experiment: &[f64], control: &[f64]) -> bool {
    if experiment == control {
        return false;
    }
    let estimate = shift(experiment, control, 0.0, 0.0);
    // qnorm(0.99), and the correction for continuity of the two-sided test.
    let lower = shift(experiment, control, 2.326_347_874_040_841, 0.5);
    lower > 0.25 * estimate.abs()
}

/// The shift `d` at which the standardised rank sum of `experiment - d` against `control` is `z`.
fn shift(experiment: &[f64], control: &[f64], z: f64, correction: f64) -> f64 {
    let spread = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((x_low, x_high), (y_low, y_high)) = (spread(experiment), spread(control));
    let (mut low, mut high) = (x_low - y_high - 1e-4, x_high - y_low + 1e-4);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if standardised(experiment, control, middle, correction) > z {
            low = middle;
        } else {
            high = middle;
        }
    }
    // From below: where ties make the sum jump, the limit is the side on which it has not jumped yet.
    low
}

fn standardised(experiment: &[f64], control: &[f64], d: f64, correction: f64) -> f64 {
    let mut all: Vec<(f64, bool)> = experiment.iter().map(|x| (x - d, true)).collect();
    all.extend(control.iter().map(|y| (*y, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|one| one.0 == all[at].0).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks += rank * all[at..at + same].iter().filter(|one| one.1).count() as f64;
        ties += (same.pow(3) - same) as f64;
        at += same;
    }
    let (m, n) = (experiment.len() as f64, control.len() as f64);
    let difference = ranks - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let sigma = (m * n / 12.0 * ((m + n + 1.0) - ties / ((m + n) * (m + n - 1.0)))).sqrt();
    if sigma > 0.0 { (difference - correction * difference.signum()) / sigma } else { 0.0 }
}

/// The test that knows both rates and the moment of the onset: no other with its alpha is quicker.
pub(crate) fn oracle(seconds: &[Second], from_s: usize, noise: f64, rate: f64, alpha: f64) -> Option<usize> {
    let (bad, good) =
        ((rate / noise).ln(), if rate < 1.0 { ((1.0 - rate) / (1.0 - noise)).ln() } else { -1e9 });
    let mut sum = 0.0;
    for (at, second) in seconds.iter().enumerate().skip(from_s) {
        let successes = (second.requests - second.errors) as f64;
        sum += second.errors as f64 * bad + if successes > 0.0 { successes * good } else { 0.0 };
        if sum >= (1.0 / alpha).ln() {
            return Some(at + 1);
        }
    }
    None
}

/// The port is the one whose figures stand in spinnaker/spinnaker#6278 and kayenta#426: ten points of
/// which seven are a hundred times worse pass, eight do not; sparse errors against none pass.
pub(crate) fn check_kayenta() {
    let worse = |bad: usize| -> Vec<f64> { (0..10).map(|at| if at < bad { 100.0 } else { 1.0 }).collect() };
    assert!(!is_high(&worse(7), &[1.0; 10]), "7 of 10 pass there");
    assert!(is_high(&worse(8), &[1.0; 10]), "8 of 10 fail there");
    assert!(!is_high(&[0.0, 1.0, 2.0, 1.0, 0.0, 0.0], &[0.0; 6]), "sparse errors pass there");
}
