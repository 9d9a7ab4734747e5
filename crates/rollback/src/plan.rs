//! What has to be undone, and whether it may be. Pure.
//!
//! Withdrawing a canary is never refused. Guards stand only before switching back a version that was
//! promoted, because that is a deploy of its own.

use jiff::Timestamp;
use kit_contract::chain::State;
use kit_contract::{DeploymentId, Name, Reason};
use kit_traffic::Service;

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The deployment that was named; `None`: the one that is open, else the one that serves.
    pub(crate) asked: Option<DeploymentId>,
    /// What the chain says; `None` if the store cannot be asked.
    pub(crate) state: Option<State>,
    /// The deployment of the artifact folder, and its version where it got that far.
    pub(crate) local: Option<(DeploymentId, Option<String>)>,
    /// Stable versions before the first stage, as the artifacts of the folder say.
    pub(crate) before: Vec<(Name, String)>,
    /// What the router says; `None` if traffic is not ours to move.
    pub(crate) services: Option<Vec<Service>>,
    /// True if migrations were applied that the old version cannot live with.
    pub(crate) contracted: bool,
    /// The deployment that holds the lock, if it is neither the subject nor expired.
    pub(crate) locked_by: Option<DeploymentId>,
    /// Guards are overridden.
    pub(crate) force: bool,
    /// The schema may be ahead.
    pub(crate) accept_schema_ahead: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The deployment that is undone.
    pub(crate) subject: DeploymentId,
    /// Its version, where known.
    pub(crate) version: Option<String>,
    /// The deployment that is returned to; `None` if there is none, or only a canary is withdrawn.
    pub(crate) target: Option<DeploymentId>,
    /// Canaries to take to zero.
    pub(crate) withdraw: Vec<Name>,
    /// Services to switch back, and to which version.
    pub(crate) switch_back: Vec<(Name, String)>,
    /// True if the chain has the subject open or serving, so that it has to be closed there.
    pub(crate) close: bool,
    /// True if the version is to be marked bad.
    pub(crate) mark_bad: bool,
}

/// Why it may not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

fn refuse(reason: Reason, message: impl Into<String>) -> Refused {
    Refused { reason, message: message.into() }
}

/// Draws the plan.
pub(crate) fn plan(known: &Known, now: Timestamp) -> Result<Plan, Refused> {
    let empty = State::default();
    let state = known.state.as_ref().unwrap_or(&empty);
    let (subject, version) = subject(known, state)?;
    let services = known.services.as_deref().unwrap_or_default();
    let promoted: Vec<&Service> =
        services.iter().filter(|service| version.is_some() && service.stable_version == version).collect();
    let good = state.good.iter().find(|good| good.deployment_id == subject);
    let open = state.open.as_ref().is_some_and(|open| open.deployment_id == subject);
    // A version that serves and was not promoted by this deployment is nothing to switch back from:
    // a re-deploy of the same version has the old one on the stable side as well.
    let redeployed =
        state.good.iter().any(|g| g.deployment_id != subject && Some(&g.version) == version.as_ref());
    let switch = !(promoted.is_empty() || open && redeployed);
    let target = state.target_of(&subject);
    let mut switch_back = Vec::new();
    if switch {
        guard(known, good.and_then(|good| good.rollback_deadline), now)?;
        for service in &promoted {
            switch_back.push((
                service.name.clone(),
                old_version(known, target.map(|t| t.version.as_str()), &service.name)?,
            ));
        }
    }
    let withdraw = services
        .iter()
        .filter(|service| service.canary_percent > 0.0)
        .map(|service| service.name.clone())
        .collect();
    Ok(Plan {
        target: target.filter(|_| switch).map(|good| good.deployment_id.clone()),
        close: open || good.is_some(),
        mark_bad: good.is_some(),
        subject,
        version,
        withdraw,
        switch_back,
    })
}

fn subject(known: &Known, state: &State) -> Result<(DeploymentId, Option<String>), Refused> {
    let in_chain = |id: &DeploymentId| {
        let open = state.open.iter().map(|open| (&open.deployment_id, &open.version));
        let good = state.good.iter().map(|good| (&good.deployment_id, &good.version));
        open.chain(good).find(|(known, _)| *known == id).map(|(_, version)| version.clone())
    };
    let in_folder = |id: &DeploymentId| {
        known.local.as_ref().filter(|(local, _)| local == id).and_then(|(_, version)| version.clone())
    };
    let newest = state
        .open
        .as_ref()
        .map(|open| open.deployment_id.clone())
        .or_else(|| known.local.as_ref().map(|(id, _)| id.clone()))
        .or_else(|| state.current().map(|good| good.deployment_id.clone()));
    match known.asked.clone().or(newest) {
        Some(id) => {
            let version = in_chain(&id).or_else(|| in_folder(&id));
            Ok((id, version))
        }
        None => Err(refuse(Reason::NothingToUndo, "nothing was deployed here, and nothing is open")),
    }
}

fn guard(known: &Known, deadline: Option<Timestamp>, now: Timestamp) -> Result<(), Refused> {
    if known.force {
        return Ok(());
    }
    if let Some(holder) = &known.locked_by {
        return Err(refuse(Reason::LockHeld, format!("deployment {holder} is being deployed now")));
    }
    if let Some(deadline) = deadline.filter(|deadline| now > *deadline) {
        return Err(refuse(Reason::WindowExpired, format!("the rollback window ended at {deadline}")));
    }
    if known.contracted && !known.accept_schema_ahead {
        return Err(refuse(
            Reason::SchemaAhead,
            "migrations were applied that the old version cannot live with",
        ));
    }
    Ok(())
}

/// The chain knows best; without it, what the router had before the first stage.
fn old_version(known: &Known, target: Option<&str>, service: &Name) -> Result<String, Refused> {
    let before = known.before.iter().find(|(name, _)| name == service).map(|(_, version)| version.clone());
    target.map(str::to_owned).or(before).ok_or_else(|| {
        refuse(Reason::NoTarget, format!("nobody knows which version of {service} to return to"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::chain::{GoodVersion, OpenDeploy};

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn service(stable: &str, percent: f64) -> Service {
        Service {
            name: "api".parse().unwrap(),
            canary_percent: percent,
            stable_version: Some(stable.into()),
            stable_healthy: Some(true),
            canary_version: Some("2.0.0".into()),
            canary_healthy: Some(true),
        }
    }

    fn good(deployment: &str, version: &str) -> GoodVersion {
        GoodVersion {
            deployment_id: id(deployment),
            version: version.into(),
            services: Vec::new(),
            since: at(0),
            rollback_deadline: Some(at(3600)),
        }
    }

    /// 1.0.0 serves; 2.0.0 is being deployed.
    fn half_way(percent: f64) -> Known {
        Known {
            state: Some(State {
                good: vec![good("deploy-1", "1.0.0")],
                open: Some(OpenDeploy {
                    deployment_id: id("deploy-2"),
                    version: "2.0.0".into(),
                    services: Vec::new(),
                    begun_at: at(0),
                }),
                ..State::default()
            }),
            services: Some(vec![service("1.0.0", percent)]),
            ..Known::default()
        }
    }

    /// 2.0.0 serves; 1.0.0 was before it.
    fn promoted() -> Known {
        Known {
            state: Some(State {
                good: vec![good("deploy-1", "1.0.0"), good("deploy-2", "2.0.0")],
                ..State::default()
            }),
            services: Some(vec![service("2.0.0", 0.0)]),
            ..Known::default()
        }
    }

    #[test]
    fn a_dead_deploy_is_withdrawn_whatever_stands_against_it() {
        let mut known = half_way(50.0);
        known.locked_by = Some(id("deploy-9"));
        known.contracted = true;
        let plan = plan(&known, at(999_999)).unwrap();
        assert_eq!(plan.subject, id("deploy-2"));
        assert_eq!(plan.withdraw.len(), 1);
        assert!(plan.switch_back.is_empty());
        assert!(plan.close && !plan.mark_bad, "nobody has seen that it is bad");
    }

    #[test]
    fn a_deploy_that_died_before_any_traffic_is_only_closed() {
        let plan = plan(&half_way(0.0), at(0)).unwrap();
        assert!(plan.withdraw.is_empty() && plan.switch_back.is_empty() && plan.close);
    }

    #[test]
    fn a_promoted_release_is_switched_back_and_marked() {
        let plan = plan(&promoted(), at(10)).unwrap();
        assert_eq!(plan.subject, id("deploy-2"));
        assert_eq!(plan.target, Some(id("deploy-1")));
        assert_eq!(plan.switch_back, [("api".parse().unwrap(), "1.0.0".to_owned())]);
        assert!(plan.close && plan.mark_bad);
    }

    #[test]
    fn a_deploy_that_died_after_promotion_is_switched_back_too() {
        let mut known = half_way(0.0);
        known.services = Some(vec![service("2.0.0", 0.0)]);
        let plan = plan(&known, at(10)).unwrap();
        assert_eq!(plan.switch_back.len(), 1);
        assert!(plan.close && !plan.mark_bad);
    }

    #[test]
    fn the_guards_before_switching_back() {
        let refused = |known: &Known, now: i64| plan(known, at(now)).unwrap_err().reason;
        assert_eq!(refused(&promoted(), 3601), Reason::WindowExpired);
        assert_eq!(refused(&Known { contracted: true, ..promoted() }, 0), Reason::SchemaAhead);
        assert_eq!(refused(&Known { locked_by: Some(id("deploy-9")), ..promoted() }, 0), Reason::LockHeld);
        assert!(plan(&Known { force: true, contracted: true, ..promoted() }, at(9999)).is_ok());
        let accepted = Known { contracted: true, accept_schema_ahead: true, ..promoted() };
        assert!(plan(&accepted, at(0)).is_ok());
        let mut first = promoted();
        first.state.as_mut().unwrap().good.remove(0);
        assert_eq!(refused(&first, 0), Reason::NoTarget, "the first deployment has nothing to return to");
        assert_eq!(refused(&Known::default(), 0), Reason::NothingToUndo);
    }

    #[test]
    fn without_the_store_the_artifacts_say_what_was_before() {
        let known = Known {
            local: Some((id("deploy-2"), Some("2.0.0".into()))),
            before: vec![("api".parse().unwrap(), "1.0.0".into())],
            services: Some(vec![service("2.0.0", 0.0)]),
            ..Known::default()
        };
        let plan = plan(&known, at(0)).unwrap();
        assert_eq!(plan.switch_back, [("api".parse().unwrap(), "1.0.0".to_owned())]);
        assert!(!plan.close, "the chain cannot be told");
    }

    #[test]
    fn a_run_that_died_before_it_began_never_undoes_the_release_that_serves() {
        let known = Known { local: Some((id("deploy-3"), None)), ..promoted() };
        let plan = plan(&known, at(0)).unwrap();
        assert_eq!(plan.subject, id("deploy-3"));
        assert!(plan.withdraw.is_empty() && plan.switch_back.is_empty() && !plan.close);
    }

    #[test]
    fn a_bad_version_is_never_the_target() {
        let mut known = promoted();
        let state = known.state.as_mut().unwrap();
        state.good.insert(1, good("deploy-x", "1.5.0"));
        state.bad_versions.insert("1.5.0".into(), "slow".into());
        assert_eq!(plan(&known, at(0)).unwrap().target, Some(id("deploy-1")));
    }

    #[test]
    fn withdrawing_a_redeploy_does_not_switch_away_from_the_same_version() {
        let mut known = half_way(5.0);
        let state = known.state.as_mut().unwrap();
        state.good = vec![good("deploy-0", "1.0.0"), good("deploy-1", "2.0.0")];
        known.services = Some(vec![service("2.0.0", 5.0)]);
        let plan = plan(&known, at(0)).unwrap();
        assert!(plan.switch_back.is_empty());
        assert_eq!(plan.withdraw.len(), 1);
    }
}
