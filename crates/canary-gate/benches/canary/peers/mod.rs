//! What others do with the same requests, as their source has it, without scrape lag.

pub(crate) mod kayenta;
mod latency;
mod sequential;
mod threshold;

use crate::shape::BUCKETS;
use canary_gate::tick::Counts;
use kit_sequential::Random;
pub(crate) use sequential::oracle;

/// What one sees of a second.
#[derive(Clone, Copy, Default)]
pub(crate) struct Second {
    pub(crate) errors: u64,
    pub(crate) requests: u64,
    pub(crate) baseline_errors: u64,
    pub(crate) baseline_requests: u64,
    /// Of the baseline, as much as the canary has: Kayenta asks for equal sizes.
    pub(crate) thinned_errors: u64,
    pub(crate) thinned_requests: u64,
    /// Numbers of requests by latency, canary first.
    pub(crate) latencies: [[u32; BUCKETS]; 2],
}

impl Second {
    pub(crate) fn add(&mut self, arm: usize, counts: &Counts, ratio: f64, thinning: &mut Random) {
        if arm == 0 {
            self.errors += counts.errors;
            self.requests += counts.requests;
        } else {
            self.baseline_errors += counts.errors;
            self.baseline_requests += counts.requests;
            let errors = thinning.binomial(counts.errors, 1.0 / ratio);
            self.thinned_errors += errors;
            self.thinned_requests += errors + thinning.binomial(counts.requests - counts.errors, 1.0 / ratio);
        }
        if let Some(latencies) = &counts.latencies {
            for (sum, count) in self.latencies[arm].iter_mut().zip(&latencies.counts) {
                *sum += *count as u32;
            }
        }
    }
}

/// A rule of somebody else's: the second in which the canary is rolled back.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) judge: fn(&[Second]) -> Option<usize>,
}

const fn peer(name: &'static str, judge: fn(&[Second]) -> Option<usize>) -> Peer {
    Peer { name, judge }
}

/// Rules about errors. Argo Rollouts rolls back when failed looks exceed `failureLimit`, Flagger when they
/// reach `threshold`; "tuned" is a success rate of 99 %, and what its documentation shows is 95 % and 99 %.
pub(crate) const ERRORS: [Peer; 12] = [
    peer("Argo, 1 m, limit 0", |seconds| threshold::success(seconds, 60, 0.99, 1)),
    peer("Argo, 10 s, limit 3", |seconds| threshold::success(seconds, 10, 0.99, 4)),
    peer("Argo as documented", |seconds| threshold::success(seconds, 60, 0.95, 4)),
    peer("Flagger, 10 s, 5", |seconds| threshold::success(seconds, 10, 0.99, 5)),
    peer("Flagger, 1 m, 3", |seconds| threshold::success(seconds, 60, 0.99, 3)),
    peer("Flagger as documented", |seconds| threshold::success(seconds, 60, 0.99, 10)),
    peer("Kayenta, 30 points", kayenta::thirty),
    peer("Kayenta, 5 points", kayenta::five),
    peer("GrowthBook", sequential::growthbook),
    peer("seed: any", |seconds| threshold::probes_in_a_row(seconds, 1)),
    peer("seed: 3 in a row", |seconds| threshold::probes_in_a_row(seconds, 3)),
    peer("seed: 5 in a row", |seconds| threshold::probes_in_a_row(seconds, 5)),
];
/// The best tuned one for 20 % errors, of which the failed requests are counted.
pub(crate) const BEST_TUNED: usize = 1;

/// Rules about latency. Argo's limit is 1.25 times the true 95th percentile, which its user would have to know.
pub(crate) const LATENCY: [Peer; 5] = [
    peer("Argo p95, 1 m, limit 0", |seconds| latency::quantile(seconds, 60, 0.95, 261.0, 1)),
    peer("Argo p95, 10 s, limit 3", |seconds| latency::quantile(seconds, 10, 0.95, 261.0, 4)),
    peer("Flagger p99, 10 s, 5", |seconds| latency::quantile(seconds, 10, 0.99, 500.0, 5)),
    peer("Flagger p99, 1 m, 3", |seconds| latency::quantile(seconds, 60, 0.99, 500.0, 3)),
    peer("DKW bands, 1 %", latency::dkw),
];
