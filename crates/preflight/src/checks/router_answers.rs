//! `router_answers`: the router says for every service which version is the stable one.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::{Name, Reason};
use kit_core::StepError;
use kit_traffic::Service;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("router_answers", async move { look(&world).await })
}

async fn look(world: &World) -> Finding {
    let config = world.cx.config();
    let Some(router) = kit_traffic::open(&config.traffic, &world.cx.resolve("")) else {
        return Finding::pass("traffic.driver is \"none\": no traffic is moved");
    };
    let names: Vec<Name> = config.services.iter().map(|service| service.name.clone()).collect();
    if names.is_empty() {
        return Finding::fail("traffic.driver is set, but there are no services")
            .hint("add [[services]] with a name each to deploy.toml");
    }
    let id = world.cx.identity().deployment_id;
    let observed = router.observe(world.cx.context(), &id, &names).await;
    let services = match observed {
        Ok(services) => services,
        Err(error) => {
            let error: StepError = error.into_step_error(Reason::DriverFailed, "the router does not answer");
            // Whether it answers is the very question here.
            return Finding::fail(error.chain()).hint(Reason::DriverFailed.remedy());
        }
    };
    // Only a chain that was read can say that nothing was ever deployed.
    let first = world.chain().await.is_ok_and(|loaded| loaded.state.good.is_empty());
    judge(&services, first)
}

/// Pure: the worst that is true of any service.
fn judge(services: &[Service], first_deployment: bool) -> Finding {
    let list = |found: Vec<&Service>| {
        found.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let all = |what: fn(&&Service) -> bool| services.iter().filter(what).collect::<Vec<_>>();
    let sick = all(|service| service.stable_healthy == Some(false));
    let nameless = all(|service| service.stable_version.is_none());
    let busy = all(|service| service.canary_percent > 0.0);
    if !sick.is_empty() && !first_deployment {
        return Finding::fail(format!("the stable version is unhealthy: {}", list(sick)))
            .hint("a rollback would return to it: repair it first");
    }
    if !nameless.is_empty() {
        let names = list(nameless);
        return if first_deployment {
            Finding::warn(format!("first deployment: there is no stable version yet: {names}"))
        } else {
            Finding::fail(format!("the router does not know the stable version: {names}"))
                .hint("see `rollout status`; a rollback must know what to return to")
        };
    }
    if !busy.is_empty() {
        return Finding::fail(format!("a canary that nobody watches has traffic already: {}", list(busy)))
            .hint("an earlier deploy may have left it: `rollout abort` withdraws it");
    }
    let stable: Vec<String> = services
        .iter()
        .map(|service| format!("{} {}", service.name, service.stable_version.as_deref().unwrap_or("unknown")))
        .collect();
    Finding::pass(format!("the router answers; stable: {}", stable.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;

    #[test]
    fn the_table() {
        let service = |version: Option<&str>, healthy: Option<bool>, canary_percent: f64| Service {
            name: "api".parse().unwrap(),
            canary_percent,
            stable_version: version.map(str::to_owned),
            stable_healthy: healthy,
            canary_version: None,
            canary_healthy: None,
        };
        let good = service(Some("1.0.0"), Some(true), 0.0);
        for (found, first, outcome, text) in [
            (good.clone(), false, CheckOutcome::Pass, "stable: api 1.0.0"),
            (service(Some("1.0.0"), None, 0.0), false, CheckOutcome::Pass, "the router answers"),
            (service(Some("1.0.0"), Some(false), 0.0), false, CheckOutcome::Fail, "unhealthy: api"),
            (service(None, None, 0.0), false, CheckOutcome::Fail, "does not know"),
            (service(None, None, 0.0), true, CheckOutcome::Warn, "first deployment"),
            (service(None, Some(false), 0.0), true, CheckOutcome::Warn, "first deployment"),
            (service(Some("1.0.0"), Some(true), 5.0), false, CheckOutcome::Fail, "has traffic already"),
        ] {
            let finding = judge(&[good.clone(), found], first);
            assert_eq!(finding.outcome, outcome, "{finding:?}");
            assert!(finding.message.contains(text), "{finding:?}");
        }
    }
}
