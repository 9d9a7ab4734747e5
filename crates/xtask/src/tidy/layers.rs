//! Which crate may depend on which: contract, core, kits and the frame, steps, the whole.

use super::finding::Finding;
use super::graph::{Graph, Package};

const RULE: &str = "layers";

const STEPS: [&str; 11] = [
    "validate-tag",
    "preflight",
    "db-backup",
    "db-restore",
    "migrate",
    "rollout",
    "canary-gate",
    "smoke-test",
    "deploy-record",
    "rollback",
    "notify",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// kit-contract: pure data.
    Contract,
    /// kit-sequential, kit-deflate: pure, and by themselves.
    Alone,
    /// kit-core.
    Core,
    /// Any other kit.
    Kit,
    /// kit-step.
    Frame,
    Step,
    /// deploy-kit.
    Whole,
    /// kit-testing: a development dependency only.
    Testing,
    Automation,
    /// `tests/` and `examples/`: stand outside the product and look at it.
    Outside,
    /// Under `crates/`, but with no place in the layers.
    Unplaced,
}

fn layer(package: &Package) -> Layer {
    let in_crates = package.folder.as_deref().is_some_and(|folder| folder.starts_with("crates/"));
    match package.name.as_str() {
        _ if !in_crates => Layer::Outside,
        "kit-contract" => Layer::Contract,
        "kit-sequential" | "kit-deflate" => Layer::Alone,
        "kit-core" => Layer::Core,
        "kit-step" => Layer::Frame,
        "kit-testing" => Layer::Testing,
        "deploy-kit" => Layer::Whole,
        "xtask" => Layer::Automation,
        step if STEPS.contains(&step) => Layer::Step,
        kit if kit.starts_with("kit-") => Layer::Kit,
        _ => Layer::Unplaced,
    }
}

/// Whether `from` may have `to` among its normal dependencies.
fn allowed(from: Layer, to: &Package) -> bool {
    use Layer::{Alone, Automation, Contract, Core, Frame, Kit, Outside, Step, Testing, Unplaced, Whole};
    let target = layer(to);
    match from {
        Alone | Contract | Automation => false,
        Core => target == Contract,
        Kit => matches!(target, Alone | Contract | Core | Kit),
        Frame => matches!(target, Contract | Core) || to.name == "kit-exec",
        Testing => matches!(target, Alone | Contract | Core | Kit | Frame),
        Step => matches!(target, Alone | Contract | Core | Kit | Frame),
        Whole => !matches!(target, Testing | Automation | Outside),
        Outside => target != Automation,
        // Already a violation; more of them would not help.
        Unplaced => true,
    }
}

pub(crate) fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in graph.members() {
        let from = layer(package);
        if from == Layer::Unplaced {
            let message = "has no place in the layers; add it to the table of this rule";
            findings.push(Finding::violation(RULE, &package.name, message));
        }
        for dependency in graph.dependencies(package).filter(|dependency| dependency.folder.is_some()) {
            if !allowed(from, dependency) {
                let message = format!("must not depend on {}", dependency.name);
                findings.push(Finding::violation(RULE, &package.name, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(from: &str, to: &str) -> usize {
        let folder = |name: &str| match name {
            "deploy-kit-tests" => "tests".to_owned(),
            _ => format!("crates/{name}"),
        };
        check(&Graph::of(&[(&folder(from), from, &[to]), (&folder(to), to, &[])])).len()
    }

    #[test]
    fn what_points_downwards_is_allowed() {
        for (from, to) in [
            ("kit-core", "kit-contract"),
            ("kit-store", "kit-core"),
            ("kit-store-s3", "kit-store"),
            ("kit-step", "kit-exec"),
            ("migrate", "kit-step"),
            ("migrate", "kit-database"),
            ("canary-gate", "kit-sequential"),
            ("db-backup", "kit-deflate"),
            ("deploy-kit", "rollback"),
            ("kit-testing", "kit-store"),
            ("deploy-kit-tests", "kit-testing"),
            ("deploy-kit-tests", "deploy-kit"),
        ] {
            assert_eq!(violations(from, to), 0, "{from} -> {to}");
        }
    }

    #[test]
    fn what_points_upwards_or_sideways_is_caught() {
        for (from, to) in [
            ("kit-contract", "kit-core"),
            ("kit-core", "kit-exec"),
            ("kit-exec", "kit-step"),
            ("kit-store", "kit-testing"),
            ("kit-step", "kit-store"),
            ("kit-sequential", "kit-contract"),
            ("kit-deflate", "kit-core"),
            ("kit-database", "migrate"),
            ("migrate", "db-backup"),
            ("migrate", "deploy-kit"),
            ("migrate", "kit-testing"),
            ("deploy-kit", "kit-testing"),
            ("deploy-kit", "xtask"),
            ("xtask", "kit-contract"),
            ("deploy-kit-tests", "xtask"),
        ] {
            assert_eq!(violations(from, to), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn a_crate_without_a_place_is_caught() {
        assert_eq!(check(&Graph::of(&[("crates/helpers", "helpers", &[])])).len(), 1);
    }

    #[test]
    fn packages_from_outside_are_not_layered() {
        assert_eq!(
            check(&Graph::of(&[("crates/kit-contract", "kit-contract", &["serde"]), ("", "serde", &[])])),
            []
        );
    }
}
