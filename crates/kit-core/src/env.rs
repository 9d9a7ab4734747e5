//! The environment, captured once.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The environment variables as they were when the program started. Empty counts as not set.
#[derive(Clone, Default)]
pub struct Env(Arc<BTreeMap<String, String>>);

impl Env {
    /// Captures the process's environment. Variables that are not UTF-8 are left out: no input of
    /// ours can be one.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn capture() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of `name`, unless it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True if `name` is set to something other than the usual words for no.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "0" | "false" | "False" | "FALSE"))
    }

    /// True inside GitHub Actions.
    pub fn in_github_actions(&self) -> bool {
        self.get("GITHUB_ACTIONS") == Some("true")
    }

    /// True inside any CI.
    pub fn in_ci(&self) -> bool {
        self.in_github_actions() || self.flag("CI")
    }

    /// Every variable, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(Arc::new(pairs.into_iter().collect()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Env;

    #[test]
    fn empty_is_not_set_and_debug_shows_no_value() {
        let env = Env::from([("A", ""), ("B", "hunter2"), ("CI", "false")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get("B"), Some("hunter2"));
        assert!(!env.in_ci());
        assert!(!format!("{env:?}").contains("hunter2"));
    }
}
