//! Tests do not sleep for time to pass: they wait for a condition, or own the clock.

use super::finding::Finding;

const RULE: &str = "sleeps";
const NEEDLES: [&str; 2] = [concat!("thread::", "sleep"), concat!("time::", "sleep")];
const ALLOW: &str = "// tidy: allow-sleep";

/// Looks at integration tests; unit tests are already kept from sleeping by `clippy.toml`.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let is_test = path.ends_with(".rs") && path.split('/').rev().skip(1).any(|folder| folder == "tests");
    if !is_test {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut previous = "";
    for (index, line) in text.lines().enumerate() {
        let sleeps = NEEDLES.iter().any(|needle| line.contains(needle));
        if sleeps && !allowed(line) && !allowed(previous) {
            let message = format!("a test sleeps; wait for the condition, or say `{ALLOW} <reason>`");
            findings.push(Finding::violation(RULE, path, message).at(index + 1));
        }
        previous = line;
    }
    findings
}

/// The comment counts only with a reason behind it.
fn allowed(line: &str) -> bool {
    line.split_once(ALLOW).is_some_and(|(_, reason)| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_test_is_caught() {
        for needle in NEEDLES {
            let findings = check("crates/a/tests/it/main.rs", &format!("fn a() {{\n    {needle}(d);\n}}\n"));
            assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
        }
    }

    #[test]
    fn a_reason_allows_it_on_the_line_or_above_and_an_empty_one_does_not() {
        let sleep = NEEDLES[0];
        let path = "tests/a.rs";
        assert_eq!(check(path, &format!("{ALLOW} the child needs a tick\n{sleep}(d);\n")), []);
        assert_eq!(check(path, &format!("{sleep}(d); {ALLOW} the child needs a tick\n")), []);
        assert_eq!(check(path, &format!("{ALLOW}\n{sleep}(d);\n")).len(), 1);
    }

    #[test]
    fn only_integration_tests_are_looked_at() {
        assert_eq!(check("crates/a/src/tests.rs", NEEDLES[0]), []);
        assert_eq!(check("crates/a/tests/notes.md", NEEDLES[0]), []);
    }
}
