use super::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The level of proof that a backup must have reached before anything is migrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequiredProof {
    /// Checked while it was written.
    Stream,
    /// Read back from the store and compared.
    Remote,
    /// Its schema was restored and compared.
    #[default]
    Schema,
    /// All of it was restored and compared.
    Full,
}

impl RequiredProof {
    /// As the level that a backup can reach.
    pub const fn level(self) -> crate::body::Proof {
        match self {
            Self::Stream => crate::body::Proof::Stream,
            Self::Remote => crate::body::Proof::Remote,
            Self::Schema => crate::body::Proof::Schema,
            Self::Full => crate::body::Proof::Full,
        }
    }
}

/// How backups are made and proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// What `migrate` asks of a backup.
    pub required_proof: RequiredProof,
    /// How old a backup may be when `migrate` starts, counted from the moment its content was fixed.
    pub max_age: Span,
}

impl Default for Backup {
    fn default() -> Self {
        Self { required_proof: RequiredProof::Schema, max_age: Span::from_secs(60 * 60) }
    }
}
