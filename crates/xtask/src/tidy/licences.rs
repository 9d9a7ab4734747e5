//! Every dependency can be used under a licence on the list.

use super::finding::Finding;
use super::graph::Graph;
use super::spdx;

const RULE: &str = "licences";

/// `deny.toml` holds the same list, for people who use cargo-deny.
pub(crate) const ALLOWED: [&str; 16] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "MPL-2.0",
    "BSL-1.0",
    "OpenSSL",
    "Unlicense",
    "CDLA-Permissive-2.0",
    "MIT-0",
];

pub(crate) fn check(graph: &Graph) -> Vec<Finding> {
    let outside = graph.packages.iter().filter(|package| package.folder.is_none());
    let findings = outside.filter_map(|package| {
        let message = match package.license.as_deref() {
            None => "states no licence expression".to_owned(),
            Some(expression) => match spdx::satisfied(expression, |licence| ALLOWED.contains(&licence)) {
                Ok(true) => return None,
                Ok(false) => format!("`{expression}` cannot be satisfied from the list of allowed licences"),
                Err(error) => format!("`{expression}` is no licence expression: {error}"),
            },
        };
        Some(Finding::violation(RULE, &format!("{} {}", package.name, package.version), message))
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(folder: &str, license: Option<&str>) -> usize {
        let mut graph = Graph::of(&[(folder, "a", &[])]);
        graph.packages[0].license = license.map(str::to_owned);
        check(&graph).len()
    }

    #[test]
    fn allowed_licences_pass() {
        assert_eq!(check_one("", Some("MIT OR GPL-3.0-only")), 0);
        assert_eq!(check_one("", Some("ISC AND (Apache-2.0 OR ISC) AND OpenSSL")), 0);
        assert_eq!(check_one("crates/a", None), 0, "our own crates are not dependencies");
    }

    #[test]
    fn a_foreign_missing_or_unreadable_licence_is_caught() {
        assert_eq!(check_one("", Some("GPL-3.0-only")), 1);
        assert_eq!(check_one("", Some("MIT AND GPL-3.0-only")), 1);
        assert_eq!(check_one("", None), 1);
        assert_eq!(check_one("", Some("MIT OR")), 1);
    }
}
