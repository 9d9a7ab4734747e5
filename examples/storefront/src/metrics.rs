//! `/metrics`, as Prometheus reads it: how many requests, how they ended, how long they took.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Upper limits of the buckets, in seconds.
const LIMITS_S: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The counters of one process.
#[derive(Debug)]
pub(crate) struct Metrics {
    labels: String,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_code: BTreeMap<u16, u64>,
    /// Requests that took at most as long as each limit, and all of them.
    up_to: [u64; LIMITS_S.len()],
    all: u64,
    sum_s: f64,
}

impl Metrics {
    pub(crate) fn new(service: &str, version: &str) -> Self {
        Self { labels: format!("service=\"{service}\",version=\"{version}\""), counts: Mutex::default() }
    }

    fn add(&self, code: u16, took_s: f64) {
        // A thread that panicked while it counted has left whole numbers all the same.
        let mut counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.by_code.entry(code).or_default() += 1;
        for (count, limit_s) in counts.up_to.iter_mut().zip(LIMITS_S) {
            *count += u64::from(took_s <= limit_s);
        }
        counts.all += 1;
        counts.sum_s += took_s;
    }

    fn page(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let labels = &self.labels;
        let mut page = String::from("# TYPE http_requests_total counter\n");
        // A class that is there from the start: a counter that only appears with the first failure hides it.
        let mut by_code = BTreeMap::from([(200, 0), (500, 0)]);
        by_code.extend(&counts.by_code);
        for (code, count) in by_code {
            let _ = writeln!(page, "http_requests_total{{{labels},code=\"{code}\"}} {count}");
        }
        page.push_str("# TYPE http_request_duration_seconds histogram\n");
        let limits = LIMITS_S.iter().map(ToString::to_string).zip(counts.up_to);
        for (limit, count) in limits.chain([("+Inf".to_owned(), counts.all)]) {
            let _ = writeln!(page, "http_request_duration_seconds_bucket{{{labels},le=\"{limit}\"}} {count}");
        }
        let _ = writeln!(page, "http_request_duration_seconds_sum{{{labels}}} {}", counts.sum_s);
        let _ = writeln!(page, "http_request_duration_seconds_count{{{labels}}} {}", counts.all);
        page
    }
}

/// Counts a request once it is answered.
pub(crate) async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    metrics.add(response.status().as_u16(), began.elapsed().as_secs_f64());
    response
}

/// `GET /metrics`.
pub(crate) async fn show(State(metrics): State<Arc<Metrics>>) -> String {
    metrics.page()
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn buckets_hold_all_requests_up_to_their_limit() {
        let metrics = Metrics::new("catalog", "1.4.0");
        for (code, took_s) in [(200, 0.004), (200, 0.2), (500, 3.0)] {
            metrics.add(code, took_s);
        }
        let page = metrics.page();
        let own = "service=\"catalog\",version=\"1.4.0\"";
        for (name, labels, count) in [
            ("http_requests_total", "code=\"200\"", 2),
            ("http_requests_total", "code=\"500\"", 1),
            ("http_request_duration_seconds_bucket", "le=\"0.005\"", 1),
            ("http_request_duration_seconds_bucket", "le=\"0.25\"", 2),
            ("http_request_duration_seconds_bucket", "le=\"+Inf\"", 3),
        ] {
            assert!(page.contains(&format!("{name}{{{own},{labels}}} {count}\n")), "{page}");
        }
    }
}
