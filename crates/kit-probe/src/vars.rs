//! Placeholders: `{version}` and `{sha}`.

use crate::ProbeError;

/// The known placeholders.
pub(crate) const KNOWN: &[&str] = &["version", "sha"];

/// What the placeholders stand for. `None` where this run does not know: a text that needs it is then
/// an error, never silently empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vars {
    /// The version that is deployed, without a leading `v`.
    pub version: Option<String>,
    /// The full object id of the commit.
    pub sha: Option<String>,
}

impl Vars {
    fn get(&self, name: &str) -> Option<&str> {
        match name {
            "version" => self.version.as_deref(),
            "sha" => self.sha.as_deref(),
            _ => None,
        }
    }

    /// Replaces known placeholders and leaves every other brace alone: expected texts may be JSON.
    ///
    /// # Errors
    /// The name of a placeholder whose value is not known.
    pub(crate) fn fill(&self, text: &str) -> Result<String, &'static str> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        // One pass: a value that looks like a placeholder is not filled in again.
        while let Some(at) = rest.find('{') {
            let (before, tail) = rest.split_at(at);
            filled.push_str(before);
            let known = KNOWN.iter().find_map(|name| {
                let after = tail.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?;
                Some((*name, after))
            });
            rest = match known {
                Some((name, after)) => {
                    filled.push_str(self.get(name).ok_or(name)?);
                    after
                }
                None => {
                    filled.push('{');
                    tail.get(1..).unwrap_or_default()
                }
            };
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Replaces `{version}` and `{sha}` in an address.
///
/// # Errors
/// If it holds another `{name}`, or one whose value is not known.
pub fn substitute(text: &str, vars: &Vars) -> Result<String, ProbeError> {
    if let Some(name) = placeholders(text).find(|name| !KNOWN.contains(name)) {
        return Err(unknown(name).near(&name.to_ascii_lowercase(), KNOWN));
    }
    vars.fill(text).map_err(not_known)
}

pub(crate) fn not_known(name: &str) -> ProbeError {
    ProbeError::new(format!("{{{name}}} cannot be filled in: this run does not know the {name}"))
        .hint(Some("run the step with the deployment's artifact".to_owned()))
}

pub(crate) fn unknown(name: &str) -> ProbeError {
    ProbeError::new(format!(
        "unknown placeholder {{{}}}; known are {{version}} and {{sha}}",
        crate::text::short_line(name)
    ))
}

/// What stands in braces and looks like a name, as written.
pub(crate) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|part| {
        let (name, _) = part.split_once('}')?;
        let is_name = name.trim().chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        (is_name && !name.trim().is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> Vars {
        Vars { version: Some("2.0.0".into()), sha: Some("{version}".into()) }
    }

    #[test]
    fn only_the_two_known_ones_are_replaced_and_once() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("{version}", "2.0.0"),
            ("a{version}b{sha}{version}", "a2.0.0b{version}2.0.0"),
            (r#"{"v":"{version}"}"#, r#"{"v":"2.0.0"}"#),
            ("{{version}}", "{2.0.0}"),
            ("{", "{"),
            ("{version", "{version"),
            ("ä{ö}{version}", "ä{ö}2.0.0"),
        ] {
            assert_eq!(vars().fill(text).unwrap(), filled, "{text}");
        }
        assert_eq!(Vars::default().fill("{sha}"), Err("sha"));
    }

    #[test]
    fn an_address_with_an_unknown_name_is_refused() {
        for (text, hint) in [
            ("http://h/{verison}", Some("did you mean \"version\"?")),
            ("http://h/{ version }", None),
            ("http://h/{Version}", Some("did you mean \"version\"?")),
            ("http://h/{sah}", Some("did you mean \"sha\"?")),
            ("http://h/{deployment}", None),
        ] {
            let error = substitute(text, &vars()).unwrap_err();
            assert!(error.message.starts_with("unknown placeholder {"), "{error}");
            if hint.is_some() {
                assert_eq!(error.hint.as_deref(), hint, "{text}");
            }
        }
        assert_eq!(
            substitute("http://h/?q={\"a\":1}&v={version}", &vars()).unwrap(),
            "http://h/?q={\"a\":1}&v=2.0.0"
        );
        let error = substitute("http://h/{version}", &Vars::default()).unwrap_err();
        assert_eq!(error.message, "{version} cannot be filled in: this run does not know the version");
    }
}
