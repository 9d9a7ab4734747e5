//! Kayenta's judge: Mann-Whitney on points, once at the end of the stage.

use super::Second;

/// The stage in so many points, of the canary and of as much of the baseline.
fn points(seconds: &[Second], count: usize, of: fn(&Second) -> (u64, u64)) -> Vec<f64> {
    let point = |window: &[Second]| {
        let (errors, requests) = window.iter().map(of).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        if requests == 0 { 0.0 } else { errors as f64 / requests as f64 }
    };
    seconds.chunks_exact((seconds.len() / count).max(1)).map(point).collect()
}

/// Points of 10 s in a stage of five minutes.
pub(super) fn thirty(seconds: &[Second]) -> Option<usize> {
    at_the_end(seconds, 30)
}

/// Points of a minute.
pub(super) fn five(seconds: &[Second]) -> Option<usize> {
    at_the_end(seconds, 5)
}

fn at_the_end(seconds: &[Second], count: usize) -> Option<usize> {
    let canary = points(seconds, count, |second| (second.errors, second.requests));
    let baseline = points(seconds, count, |second| (second.thinned_errors, second.thinned_requests));
    is_high(&canary, &baseline).then_some(seconds.len())
}

/// Its classifier: Mann-Whitney at 98 %, and the lower limit of the shift above a quarter of its estimate.
fn is_high(experiment: &[f64], control: &[f64]) -> bool {
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

/// The port is the one whose figures stand in spinnaker/spinnaker#6278 and kayenta#426: ten points of
/// which seven are a hundred times worse pass, eight do not; sparse errors against none pass.
pub(crate) fn check() {
    let worse = |bad: usize| -> Vec<f64> { (0..10).map(|at| if at < bad { 100.0 } else { 1.0 }).collect() };
    assert!(!is_high(&worse(7), &[1.0; 10]), "7 of 10 pass there");
    assert!(is_high(&worse(8), &[1.0; 10]), "8 of 10 fail there");
    assert!(!is_high(&[0.0, 1.0, 2.0, 1.0, 0.0, 0.0], &[0.0; 6]), "sparse errors pass there");
}
