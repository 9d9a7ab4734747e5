//! Makes versions the stable ones and watches until that is so.

use crate::settle::watch;
use crate::{Router, Service, Settled, Shortfall, TrafficError};
use kit_contract::{DeploymentId, Name};
use kit_core::Context;
use std::time::Duration;

/// Makes each version the stable one of its service and looks until that is so or `limit` has passed;
/// gives the last look either way. A refusal is part of what is missing, unless it is so all the same.
///
/// # Errors
/// If the last look failed: then nobody knows which version is the stable one.
pub async fn switch(
    router: &dyn Router,
    cx: &Context,
    id: &DeploymentId,
    targets: &[(Name, String)],
    limit: Duration,
) -> Result<Settled, TrafficError> {
    let told = router.switch(cx, id, targets).await;
    // A router that refused is not waited for, but looked at: some services may have switched.
    let limit = if told.is_ok() { limit } else { Duration::ZERO };
    let names: Vec<Name> = targets.iter().map(|(name, _)| name.clone()).collect();
    match (watch(router, cx, id, &names, limit, |seen| unswitched(targets, seen)).await, told) {
        (Ok(mut seen), Err(refusal)) if !seen.missing.is_empty() => {
            seen.missing.push(Shortfall::Refused { problem: refusal.chain() });
            Ok(seen)
        }
        (Err(_), Err(refusal)) => Err(refusal),
        (seen, _) => seen,
    }
}

/// What is missing until each of these versions is the stable one of its service and serves everything;
/// empty when they are. A version that the router does not know is not the one.
pub fn unswitched(targets: &[(Name, String)], observed: &[Service]) -> Vec<Shortfall> {
    targets.iter().filter_map(|(name, version)| shortfall(name, version, observed)).collect()
}

fn shortfall(name: &Name, version: &str, observed: &[Service]) -> Option<Shortfall> {
    let service = name.clone();
    let Some(found) = observed.iter().find(|found| found.name == service) else {
        return Some(Shortfall::Unknown { service });
    };
    if found.stable_version.as_deref() != Some(version) {
        return Some(Shortfall::NotStable {
            service,
            wanted: version.to_owned(),
            observed: found.stable_version.clone(),
        });
    }
    if found.canary_percent.is_nan() || found.canary_percent > 0.0 {
        return Some(Shortfall::Share { service, wanted: 0.0, observed: found.canary_percent });
    }
    (found.stable_healthy == Some(false)).then_some(Shortfall::StableUnhealthy { service })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let targets = [("api".parse().unwrap(), "2.0.0".to_owned())];
        let seen = |stable: Option<&str>, canary_percent: f64, stable_healthy: Option<bool>| Service {
            name: "api".parse().unwrap(),
            canary_percent,
            stable_version: stable.map(str::to_owned),
            stable_healthy,
            canary_version: None,
            canary_healthy: None,
        };
        let switched = |seen: Service| unswitched(&targets, &[seen]).is_empty();
        assert!(switched(seen(Some("2.0.0"), 0.0, Some(true))));
        assert!(switched(seen(Some("2.0.0"), 0.0, None)), "a router need not know about health");
        assert!(!switched(seen(Some("2.0.0"), 0.0, Some(false))));
        assert!(!switched(seen(Some("2.0.0"), 5.0, Some(true))), "something else has a share");
        assert!(!switched(seen(Some("2.0.0"), f64::NAN, Some(true))));
        assert!(!switched(seen(Some("1.0.0"), 0.0, Some(true))));
        assert!(!switched(seen(None, 0.0, Some(true))), "unknown is not the one");
        assert!(matches!(unswitched(&targets, &[])[..], [Shortfall::Unknown { .. }]));
    }
}
