//! Names and identifiers, validated where they enter.

use serde::{Deserialize, Serialize};

/// A name or identifier that is not of the allowed form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} {value:?} is not allowed: use {allowed}")]
pub struct IdentityError {
    what: &'static str,
    value: String,
    allowed: &'static str,
}

/// Identifies one deployment for ever: `[a-z0-9][a-z0-9-]{7,62}`.
///
/// Ids made by `validate-tag` are `<unix seconds>-<short sha>-<random>`; standalone runs get `local-…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(String);

impl DeploymentId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the id of a run that belongs to no deployment.
    pub fn is_standalone(&self) -> bool {
        self.0.starts_with("local-")
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = IdentityError;
    fn try_from(value: String) -> Result<Self, Self::Error> {
        if (8..=63).contains(&value.len()) && is_kebab(&value) {
            return Ok(Self(value));
        }
        Err(IdentityError {
            what: "deployment id",
            value: shorten(&value),
            allowed: "8 to 63 characters of a-z, 0-9 and '-', not starting with '-'",
        })
    }
}

/// The name of an app, service, database, stage, environment or channel: `[a-z0-9][a-z0-9-]{0,39}`.
///
/// Such names become file names, object keys and environment variables, so nothing else is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = IdentityError;
    fn try_from(value: String) -> Result<Self, Self::Error> {
        if (1..=40).contains(&value.len()) && is_kebab(&value) {
            return Ok(Self(value));
        }
        Err(IdentityError {
            what: "name",
            value: shorten(&value),
            allowed: "1 to 40 characters of a-z, 0-9 and '-', not starting with '-'",
        })
    }
}

macro_rules! text_newtype {
    ($type:ident) => {
        impl std::str::FromStr for $type {
            type Err = IdentityError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
text_newtype!(DeploymentId);
text_newtype!(Name);
crate::schema::text_schema!(DeploymentId, "^[a-z0-9][a-z0-9-]{7,62}$");
crate::schema::text_schema!(Name, "^[a-z0-9][a-z0-9-]{0,39}$");

fn is_kebab(text: &str) -> bool {
    !text.starts_with('-') && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Enough of a refused value to recognise it, never a flood.
fn shorten(value: &str) -> String {
    value.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{DeploymentId, Name};

    #[test]
    fn ids_are_strict() {
        for good in ["1763712000-abc1234", "local-00", &"a".repeat(63)] {
            assert!(good.parse::<DeploymentId>().is_ok(), "{good}");
        }
        for bad in ["", "short", "-leading-dash", "UPPERCASE-1", "with space", "../../etc", &"a".repeat(64)] {
            assert!(bad.parse::<DeploymentId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_strict() {
        assert!("api".parse::<Name>().is_ok());
        for bad in ["", "a_b", "a/b", "-a", "ä", "$(x)"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
