//! `services_watched`: the gate can ask every service how it is. Pure: only the configuration is looked at.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::config::{Service, Source};
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let finding = judge(&world.cx.config().services);
    // Alone, preflight asks for whoever uses single steps, and those need no gate.
    let finding = if world.deployment.is_some() { finding } else { finding.at_most_a_warning() };
    Check::new("services_watched", async move { finding })
}

fn judge(services: &[Service]) -> Finding {
    if services.is_empty() {
        return Finding::fail("deploy.toml has no [[services]], so the gate would have nothing to watch")
            .hint("add one with a probe: `deploy-kit init` shows what it looks like");
    }
    let blind: Vec<&str> =
        services.iter().filter(|one| !is_watched(one)).map(|one| one.name.as_str()).collect();
    if !blind.is_empty() {
        let names = blind.join(", ");
        return Finding::fail(format!(
            "no probe and no source, so the gate could not say how it is: {names}"
        ))
        .hint("add probe.canary and probe.baseline with a url each, or a source that counts its requests");
    }
    let alone: Vec<&str> =
        services.iter().filter(|one| !has_baseline(one)).map(|one| one.name.as_str()).collect();
    if !alone.is_empty() {
        return Finding::pass(format!(
            "the gate can ask every service; without a baseline to compare with: {}",
            alone.join(", ")
        ));
    }
    Finding::pass("the gate can ask both versions of every service")
}

fn is_watched(service: &Service) -> bool {
    service.probe.is_some() || service.source.is_some()
}

fn has_baseline(service: &Service) -> bool {
    service.probe.as_ref().is_some_and(|probe| probe.baseline.is_some())
        || service.source.as_ref().is_some_and(Source::has_baseline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;
    use kit_contract::config::Config;

    #[test]
    fn the_table() {
        let arm = |name: &str| format!("[services.probe.{name}]\nurl = \"http://shop.example\"\n");
        let service = "[[services]]\nname = \"api\"\n";
        for (services, outcome, text) in [
            (String::new(), CheckOutcome::Fail, "nothing to watch"),
            (
                service.to_owned(),
                CheckOutcome::Fail,
                "no probe and no source, so the gate could not say how it is: api",
            ),
            (format!("{service}{}", arm("canary")), CheckOutcome::Pass, "without a baseline"),
            (format!("{service}{}{}", arm("canary"), arm("baseline")), CheckOutcome::Pass, "both versions"),
            (
                format!("{service}[services.source.command]\ncommand = [\"./count\"]\n"),
                CheckOutcome::Pass,
                "both versions",
            ),
        ] {
            let config = format!("app = \"shop\"\n{services}");
            let config = Config::parse(&config, &"production".parse().unwrap()).unwrap();
            let finding = judge(&config.services);
            assert_eq!(finding.outcome, outcome, "{services}");
            assert!(finding.message.contains(text), "{finding:?}");
        }
    }
}
