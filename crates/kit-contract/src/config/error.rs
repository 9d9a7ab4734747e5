//! What can be wrong with a configuration.

use super::tree::Position;

/// An error in `deploy.toml`, with its place and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", display_position(*.at, .path))]
pub struct ConfigError {
    /// What is wrong, naming the value and what is allowed.
    pub message: String,
    /// Where it stands; absent where something is missing as a whole.
    pub at: Option<Position>,
    /// The key, as a dotted path.
    pub path: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

fn display_position(at: Option<Position>, path: &str) -> String {
    let place = at.map(|at| format!("line {}, column {}: ", at.line, at.column)).unwrap_or_default();
    if path.is_empty() { place } else { format!("{place}{path}: ") }
}

impl ConfigError {
    pub(super) fn at(message: impl Into<String>, at: Position) -> Self {
        Self { message: message.into(), at: Some(at), path: String::new(), hint: None }
    }

    /// A rule over several values is broken; `path` names the value to change.
    pub fn rule(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, path: path.into(), hint: None }
    }
}

impl serde::de::Error for ConfigError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None, path: String::new(), hint: None }
    }

    // A text in the wrong place may be a secret that somebody pasted: it is never repeated.
    fn invalid_type(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        match unexpected {
            serde::de::Unexpected::Str(_) => {
                Self::custom(format!("invalid type: a text, expected {expected}"))
            }
            other => Self::custom(format!("invalid type: {other}, expected {expected}")),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let nearest = nearest(field, expected);
        Self {
            message: format!("unknown key {field:?}"),
            at: None,
            path: String::new(),
            hint: Some(match nearest {
                Some(near) => format!("did you mean {near:?}?"),
                None if expected.is_empty() => "this table takes no keys".to_owned(),
                None => format!("known keys here: {}", expected.join(", ")),
            }),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(variant, expected).map(|near| format!("did you mean {near:?}?"));
        Self {
            message: format!("{variant:?} is not allowed here: use one of {}", expected.join(", ")),
            at: None,
            path: String::new(),
            hint,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { message: format!("missing key {field:?}"), at: None, path: String::new(), hint: None }
    }
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
