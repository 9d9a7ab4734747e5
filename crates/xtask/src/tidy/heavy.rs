//! Dependencies that only some crates may carry: the AWS SDK, the GitHub client, sqlx, a second TLS provider.
//!
//! Each step is a program of its own; one that never talks to S3 must not make a runner download its SDK.

use super::finding::Finding;
use super::graph::{Graph, Package};

const RULE: &str = "heavy";

const MAY_REACH_AWS: [&str; 9] = [
    "preflight",
    "db-backup",
    "db-restore",
    "migrate",
    "rollout",
    "rollback",
    "deploy-record",
    "kit-store-s3",
    "deploy-kit",
];

/// `(dependency, crates that may name it)`; the others use what those crates offer.
const DIRECT: [(&str, &[&str]); 2] = [("octocrab", &["kit-github"]), ("sqlx", &["kit-database", "migrate"])];

/// The AWS SDK, but not aws-lc, the TLS crypto provider that every program shares.
fn is_aws_sdk(package: &Package) -> bool {
    package.name.starts_with("aws-") && !package.name.starts_with("aws-lc-")
}

/// `graph` is what the crate called `name` links when it is built alone; the crate itself comes first in it.
pub(crate) fn check(name: &str, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |message: String| findings.push(Finding::violation(RULE, name, message));
    if !MAY_REACH_AWS.contains(&name)
        && let Some(path) = graph.path(0, is_aws_sdk)
    {
        add(format!("must not link the AWS SDK: {path}"));
    }
    if let Some(path) = graph.path(0, |package| package.name == "ring") {
        add(format!("links a second TLS crypto provider beside aws-lc-rs: {path}"));
    }
    for (dependency, owners) in DIRECT {
        let mut direct = graph.packages.iter().take(1).flat_map(|package| graph.dependencies(package));
        if direct.any(|package| package.name == dependency) && !owners.contains(&name) {
            add(format!("must not use {dependency} itself; {} may", owners.join(" and ")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(packages: &[(&str, &str, &[&str])]) -> Vec<String> {
        let findings = check(packages[0].1, &Graph::of(packages));
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn the_sdk_is_caught_through_others_with_its_path() {
        let graph = |step| {
            [
                ("", step, &["kit-store"] as &[&str]),
                ("", "kit-store", &["middle"]),
                ("", "middle", &["aws-sdk-s3"]),
                ("", "aws-sdk-s3", &[]),
            ]
        };
        assert_eq!(
            messages(&graph("notify")),
            ["notify: must not link the AWS SDK: notify -> kit-store -> middle -> aws-sdk-s3 [heavy]"]
        );
        assert!(messages(&graph("migrate")).is_empty());
    }

    #[test]
    fn the_tls_provider_of_aws_is_not_its_sdk() {
        assert!(messages(&[("", "notify", &["aws-lc-rs"]), ("", "aws-lc-rs", &[])]).is_empty());
    }

    #[test]
    fn a_second_tls_provider_is_caught_with_its_path() {
        let found = messages(&[("", "migrate", &["rustls"]), ("", "rustls", &["ring"]), ("", "ring", &[])]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("migrate -> rustls -> ring"), "{found:?}");
    }

    #[test]
    fn direct_use_is_for_the_owners_alone() {
        for (name, dependency, expected) in [
            ("kit-github", "octocrab", 0),
            ("notify", "octocrab", 1),
            ("kit-database", "sqlx", 0),
            ("migrate", "sqlx", 0),
            ("kit-store", "sqlx", 1),
        ] {
            let found = messages(&[("", name, &[dependency]), ("", dependency, &[])]);
            assert_eq!(found.len(), expected, "{name} -> {dependency}");
        }
        let through_owner = [
            ("", "notify", &["kit-github"] as &[&str]),
            ("", "kit-github", &["octocrab"]),
            ("", "octocrab", &[]),
        ];
        assert!(messages(&through_owner).is_empty());
    }
}
