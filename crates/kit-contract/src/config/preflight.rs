use super::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What must be true before anything is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preflight {
    /// Secrets that later steps need, beside those that the file names elsewhere.
    pub secrets: Vec<SecretRef>,
    /// Addresses that must answer, whatever they say.
    pub endpoints: Vec<String>,
}
