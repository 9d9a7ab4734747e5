//! Failures and delays on request, so that a bad release can be shown.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How badly a service behaves.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Faults {
    /// Share of the requests to each route that is answered with 500, in whole percent
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) fail_percent: u8,
    /// Delay of answers, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub(crate) slow_ms: u64,
    /// How long after the start answers are slow, in milliseconds; without this, always
    #[arg(long, requires = "slow_ms")]
    pub(crate) slow_for_ms: Option<u64>,
}

struct Injector {
    faults: Faults,
    began: Instant,
    /// Each route counts for itself: requests to two routes in turn must not put all failures on one of them.
    seen: AtomicU64,
}

/// Makes a route misbehave as told.
pub(crate) fn inject<S: Clone + Send + Sync + 'static>(
    faults: Faults,
    route: MethodRouter<S>,
) -> MethodRouter<S> {
    let injector = Arc::new(Injector { faults, began: Instant::now(), seen: AtomicU64::new(0) });
    route.route_layer(from_fn_with_state(injector, misbehave))
}

async fn misbehave(State(injector): State<Arc<Injector>>, request: Request, next: Next) -> Response {
    let is_cold = injector
        .faults
        .slow_for_ms
        .is_none_or(|limit_ms| injector.began.elapsed() < Duration::from_millis(limit_ms));
    if injector.faults.slow_ms > 0 && is_cold {
        tokio::time::sleep(Duration::from_millis(injector.faults.slow_ms)).await;
    }
    let index = injector.seen.fetch_add(1, Ordering::Relaxed);
    if fails(index, injector.faults.fail_percent) {
        let body = axum::Json(serde_json::json!({ "error": "injected failure" }));
        return (StatusCode::INTERNAL_SERVER_ERROR, body).into_response();
    }
    next.run(request).await
}

/// Whether the request with this index (from 0) fails: evenly spread, exactly `percent` of each hundred.
fn fails(index: u64, percent: u8) -> bool {
    let place = index % 100;
    let due = |count: u64| count * u64::from(percent) / 100;
    due(place + 1) > due(place)
}

#[cfg(test)]
mod tests {
    use super::fails;

    #[test]
    fn exactly_the_share_of_each_hundred_fails() {
        for percent in 0..=100 {
            for start in [0, 37, u64::MAX - 300] {
                let failed = (start..start + 100).filter(|index| fails(*index, percent)).count();
                assert_eq!(failed, usize::from(percent), "{percent} % from {start}");
            }
        }
    }

    #[test]
    fn failures_are_spread_and_not_in_bursts() {
        let failed: Vec<u64> = (0..40).filter(|index| fails(*index, 10)).collect();
        assert_eq!(failed, [9, 19, 29, 39]);
    }
}
