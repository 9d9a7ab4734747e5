//! Rules without statistics.

use super::Second;

/// Every `every_s` the success rate of so many seconds is held against a limit. Rolled back when so many
/// looks have failed, counted over the whole stage.
pub(super) fn success(seconds: &[Second], every_s: usize, least: f64, failures: u32) -> Option<usize> {
    let mut failed = 0;
    for (at, window) in seconds.chunks_exact(every_s).enumerate() {
        let errors: u64 = window.iter().map(|second| second.errors).sum();
        let requests: u64 = window.iter().map(|second| second.requests).sum();
        failed += u32::from(requests > 0 && errors as f64 > (1.0 - least) * requests as f64);
        if failed >= failures {
            return Some((at + 1) * every_s);
        }
    }
    None
}

/// The seeds' probe every 10 s: one request of that second decides it. Rolled back after `k` in a row.
pub(super) fn probes_in_a_row(seconds: &[Second], k: u32) -> Option<usize> {
    let mut row = 0;
    for (at, second) in seconds.iter().enumerate().skip(9).step_by(10) {
        // Any request of that second: it fails with the share of failures in it.
        let failed = second.requests > 0 && (at as u64 * 7919) % second.requests < second.errors;
        row = if failed { row + 1 } else { 0 };
        if row >= k {
            return Some(at + 1);
        }
    }
    None
}
