//! `deny.toml` allows the same licences as the rule that runs here.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::finding::Finding;
use super::licences::ALLOWED;
use crate::error::Error;

const RULE: &str = "deny-list";
const PATH: &str = "deny.toml";

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

/// # Errors
/// The file is not TOML, or has no list of licences.
pub(crate) fn check(text: &str) -> Result<Vec<Finding>, Error> {
    let deny: Deny = toml::from_str(text)
        .map_err(|source| Error::Toml { path: PATH.to_owned(), source: Box::new(source) })?;
    let theirs: BTreeSet<&str> = deny.licenses.allow.iter().map(String::as_str).collect();
    let ours = BTreeSet::from(ALLOWED);
    let missing = ours.difference(&theirs).map(|licence| format!("`{licence}` is missing in licenses.allow"));
    let extra = theirs
        .difference(&ours)
        .map(|licence| format!("`{licence}` is allowed here but not by `cargo xtask tidy`"));
    Ok(missing.chain(extra).map(|message| Finding::violation(RULE, PATH, message)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deny(licences: &[&str]) -> String {
        format!("[licenses]\nallow = {licences:?}\n")
    }

    #[test]
    fn equal_lists_pass_in_any_order() {
        let mut licences = ALLOWED;
        licences.reverse();
        assert_eq!(check(&deny(&licences)).unwrap(), []);
    }

    #[test]
    fn a_missing_and_an_extra_licence_are_caught() {
        assert_eq!(check(&deny(&ALLOWED[1..])).unwrap().len(), 1);
        assert_eq!(check(&deny(&[&ALLOWED[..], &["GPL-3.0-only"]].concat())).unwrap().len(), 1);
    }

    #[test]
    fn a_file_without_the_list_is_an_error() {
        assert!(check("[bans]\n").is_err());
    }
}
