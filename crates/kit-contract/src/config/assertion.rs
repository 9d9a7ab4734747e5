//! What a user knows of his data, asked of what was restored from a backup.

use super::{ConfigError, Span};
use crate::Name;
use schemars::JsonSchema;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One question to a restored database, and its only right answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Its name, by which it is told. The data that it looked at is never told.
    pub name: Name,
    /// One statement that yields one row with one value: `SELECT count(*) FROM orders WHERE total < 0`. For Redis, one
    /// command that only reads: `SCARD users`.
    pub sql: String,
    /// What it must yield.
    pub expect: Expected,
    /// How long it may take.
    #[serde(default = "one_minute")]
    pub timeout: Span,
}

const fn one_minute() -> Span {
    Span::from_secs(60)
}

impl Assertion {
    pub(super) fn check(&self, path: &str) -> Result<(), ConfigError> {
        if self.sql.trim().trim_end_matches(';').trim().is_empty() {
            let message = "it asks nothing: write one SELECT that yields one row with one value";
            return Err(ConfigError::rule(format!("{path}.sql"), message));
        }
        if self.timeout.is_zero() {
            return Err(ConfigError::rule(format!("{path}.timeout"), "0s leaves no time to ask"));
        }
        Ok(())
    }
}

/// The right answer: a truth, a whole number or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `true` or `false`; engines without truths say 1 and 0.
    Truth(bool),
    /// A whole number.
    Number(i64),
    /// A text, letter by letter.
    Text(String),
}

impl Expected {
    /// True if `value`, as the engine writes it, is the right answer. NULL never is.
    pub fn is(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return false };
        match self {
            Self::Truth(true) => matches!(value, "true" | "1"),
            Self::Truth(false) => matches!(value, "false" | "0"),
            Self::Number(number) => {
                // Sums come as decimals: `3.00` is 3.
                let whole = match value.split_once('.') {
                    Some((whole, rest)) if !rest.is_empty() && rest.bytes().all(|byte| byte == b'0') => whole,
                    _ => value,
                };
                whole.parse() == Ok(*number)
            }
            Self::Text(text) => value == text,
        }
    }
}

/// As `deploy.toml` writes it.
impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl Serialize for Expected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Truth(truth) => serializer.serialize_bool(*truth),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpectedVisitor)
    }
}

struct ExpectedVisitor;

impl Visitor<'_> for ExpectedVisitor {
    type Value = Expected;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("true, false, a whole number or a text")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Expected, E> {
        Ok(Expected::Truth(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Expected, E> {
        Ok(Expected::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Expected, E> {
        i64::try_from(number).map(Expected::Number).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Expected, E> {
        Err(E::custom(
            "a number with a fraction: engines write those in several ways; round it in the statement",
        ))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Expected, E> {
        Ok(Expected::Text(text.to_owned()))
    }
}

impl JsonSchema for Expected {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expected".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The right answer: a truth, a whole number or a text.",
            "type": ["boolean", "integer", "string"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_and_wrong_ones() {
        let text = |text: &str| Expected::Text(text.to_owned());
        for (expected, right, wrong) in [
            (Expected::Truth(true), &["true", "1"][..], &["false", "0", "t", "2", "", "TRUE"][..]),
            (Expected::Truth(false), &["false", "0"], &["true", "1", "", "00"]),
            (
                Expected::Number(0),
                &["0", "0.00", "0.0"],
                &["", "1", "0.", "0.001", "false", " 0", "0x0", "-1"],
            ),
            (Expected::Number(-3), &["-3", "-3.0"], &["3", "-3.5", "-30"]),
            (text("a"), &["a"], &["A", "a ", "", "ab"]),
            (text(""), &[""], &[" ", "0"]),
        ] {
            for value in right {
                assert!(expected.is(Some(value)), "{expected} {value:?}");
            }
            for value in wrong {
                assert!(!expected.is(Some(value)), "{expected} {value:?}");
            }
            assert!(!expected.is(None), "NULL is no answer");
        }
    }
}
