//! Is what is observed what was asked for? Pure.

use crate::{Service, Want};
use kit_contract::Name;

/// Why a service is not where it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Shortfall {
    /// It has another share.
    Share {
        /// The service.
        service: Name,
        /// In percent.
        wanted: f64,
        /// In percent.
        observed: f64,
    },
    /// Its stable side is unhealthy, so whatever the router says, all traffic may go to the canary.
    StableUnhealthy {
        /// The service.
        service: Name,
    },
    /// Its canary is of another version than the one that is deployed.
    WrongVersion {
        /// The service.
        service: Name,
        /// The version that is deployed.
        wanted: String,
        /// The version that the router sends traffic to.
        observed: String,
    },
    /// Its stable side is another version than the one that it was switched to.
    NotStable {
        /// The service.
        service: Name,
        /// The version that is to be stable.
        wanted: String,
        /// The version that is; `None` if the router does not know.
        observed: Option<String>,
    },
    /// The router refused the change.
    Refused {
        /// What it said.
        problem: String,
    },
    /// The router says nothing about it.
    Unknown {
        /// The service.
        service: Name,
    },
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Share { service, wanted, observed } => {
                write!(f, "{service}: {wanted} % asked for, {observed} % observed")
            }
            Self::StableUnhealthy { service } => write!(f, "{service}: the stable version is unhealthy"),
            Self::WrongVersion { service, wanted, observed } => {
                write!(f, "{service}: the canary is version {observed}, not {wanted}")
            }
            Self::NotStable { service, wanted, observed } => {
                let observed = observed.as_deref().unwrap_or("unknown");
                write!(f, "{service}: the stable version is {observed}, not {wanted}")
            }
            Self::Refused { problem } => f.write_str(problem),
            Self::Unknown { service } => write!(f, "{service}: the router says nothing about it"),
        }
    }
}

/// What is missing until every service is where it should be; empty when the stage is reached.
///
/// `tolerance_percent` is in percentage points. The health of the stable side matters only while it is
/// to have traffic: a router sends everything to the canary when the stable side is down, whatever the
/// weights say (HAProxy does exactly that).
pub fn shortfalls(wants: &[Want], observed: &[Service], tolerance_percent: f64) -> Vec<Shortfall> {
    wants.iter().filter_map(|want| shortfall(want, observed, tolerance_percent)).collect()
}

fn shortfall(want: &Want, observed: &[Service], tolerance_percent: f64) -> Option<Shortfall> {
    let service = want.service.clone();
    let Some(found) = observed.iter().find(|found| found.name == service) else {
        return Some(Shortfall::Unknown { service });
    };
    let off = (found.canary_percent - want.canary_percent).abs();
    // Zero and everything are exact: a canary at 0.4 % is not withdrawn.
    let exact = want.canary_percent <= 0.0 || want.canary_percent >= 100.0;
    // Written so that NaN is never close enough.
    let close_enough = if exact { off <= f64::EPSILON } else { off <= tolerance_percent };
    if !close_enough {
        return Some(Shortfall::Share {
            service,
            wanted: want.canary_percent,
            observed: found.canary_percent,
        });
    }
    if want.canary_percent > 0.0
        && let (Some(wanted), Some(seen)) = (&want.version, &found.canary_version)
        && wanted != seen
    {
        return Some(Shortfall::WrongVersion { service, wanted: wanted.clone(), observed: seen.clone() });
    }
    if want.canary_percent < 100.0 && found.stable_healthy == Some(false) {
        return Some(Shortfall::StableUnhealthy { service });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(percent: f64) -> Want {
        Want { service: "api".parse().unwrap(), canary_percent: percent, version: Some("2.0.0".into()) }
    }

    fn seen(percent: f64) -> Service {
        Service {
            name: "api".parse().unwrap(),
            canary_percent: percent,
            stable_version: Some("1.0.0".into()),
            stable_healthy: Some(true),
            canary_version: Some("2.0.0".into()),
            canary_healthy: None,
        }
    }

    #[test]
    fn the_table() {
        let reached = |want: Want, seen: Service| shortfalls(&[want], &[seen], 0.5).is_empty();
        assert!(reached(want(5.0), seen(5.0)));
        assert!(reached(want(5.0), seen(5.4)));
        assert!(!reached(want(5.0), seen(6.0)));
        assert!(!reached(want(0.0), seen(0.4)), "nearly withdrawn is not withdrawn");
        assert!(!reached(want(100.0), seen(99.6)));
        assert!(!reached(want(5.0), seen(f64::NAN)));
        assert!(!reached(want(5.0), Service { stable_healthy: Some(false), ..seen(5.0) }));
        assert!(reached(want(100.0), Service { stable_healthy: Some(false), ..seen(100.0) }));
        assert!(!reached(want(5.0), Service { canary_version: Some("1.9.0".into()), ..seen(5.0) }));
        assert!(reached(want(5.0), Service { canary_version: None, ..seen(5.0) }));
        let missing = shortfalls(&[want(5.0)], &[], 0.5);
        assert!(matches!(missing[..], [Shortfall::Unknown { .. }]));
    }
}
