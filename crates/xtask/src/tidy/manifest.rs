//! Every crate takes its version, edition, licence and lints from the workspace.

use toml::Table;

use super::finding::Finding;
use super::tree;

const RULE: &str = "manifest";
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Looks at every `Cargo.toml` with a `[package]`, outside test data.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    if path.rsplit('/').next() != Some("Cargo.toml") || tree::is_fixture(path) {
        return Vec::new();
    }
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Finding::violation(RULE, path, format!("not valid TOML: {}", error.message()))];
        }
    };
    let Some(package) = manifest.get("package") else { return Vec::new() };
    let mut messages = Vec::new();
    if !inherits(manifest.get("lints")) {
        messages.push("`[lints] workspace = true` is missing".to_owned());
    }
    for key in INHERITED {
        if !inherits(package.get(key)) {
            messages.push(format!("`{key}.workspace = true` is missing"));
        }
    }
    let description = package.get("description").and_then(|value| value.as_str());
    if description.is_none_or(|text| text.trim().is_empty()) {
        messages.push("`description` is missing".to_owned());
    }
    messages.into_iter().map(|message| Finding::violation(RULE, path, message)).collect()
}

fn inherits(value: Option<&toml::Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\ndescription = \"A.\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        publish.workspace = true\n[lints]\nworkspace = true\n";

    #[test]
    fn a_crate_that_inherits_passes() {
        assert_eq!(check("crates/a/Cargo.toml", GOOD), []);
        assert_eq!(check("Cargo.toml", "[workspace]\n"), []);
        assert_eq!(check("tests/fixtures/Cargo.toml", "[package]\n"), []);
    }

    #[test]
    fn each_missing_line_is_caught() {
        let needed = |line: &&str| line.contains("workspace = true") || line.contains("description");
        assert_eq!(GOOD.lines().filter(needed).count(), INHERITED.len() + 2);
        for line in GOOD.lines().filter(needed) {
            let rest: Vec<&str> = GOOD.lines().filter(|other| *other != line).collect();
            assert_eq!(check("crates/a/Cargo.toml", &rest.join("\n")).len(), 1, "without {line}");
        }
    }

    #[test]
    fn own_values_and_bad_toml_are_caught() {
        let own = GOOD.replace("version.workspace = true\nedition", "version = \"1.0.0\"\nedition");
        assert_eq!(check("crates/a/Cargo.toml", &own).len(), 1);
        assert_eq!(check("crates/a/Cargo.toml", "[package").len(), 1);
    }
}
