use super::address::{Headers, check_address, check_headers};
use super::{ConfigError, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What must be true of the release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Smoke {
    /// All checks together must be through by then; each is tried again until then.
    pub deadline: Span,
    /// Pause between two tries of one check.
    pub interval: Span,
    /// How long one try may take.
    pub timeout: Span,
    /// The checks. They run side by side.
    pub checks: Vec<SmokeCheck>,
}

impl Default for Smoke {
    fn default() -> Self {
        Self {
            deadline: Span::from_secs(60),
            interval: Span::from_secs(2),
            timeout: Span::from_secs(5),
            checks: Vec::new(),
        }
    }
}

impl Smoke {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for check in &self.checks {
            let path = format!("smoke.checks.{}", check.name);
            check_address(&path, &check.url)?;
            check_headers(&path, &check.headers)?;
        }
        Ok(())
    }
}

/// One HTTP check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmokeCheck {
    /// Its name.
    pub name: String,
    /// Absolute address. `{version}` and `{sha}` stand for those of the deployment.
    pub url: String,
    /// Method.
    #[serde(default = "get")]
    pub method: String,
    /// Headers to send. One that carries a secret names where it is found: `{ env = "NAME" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: Headers,
    /// Body to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What the answer must be like.
    #[serde(default)]
    pub expect: Expect,
    /// True if it only informs and never fails the step.
    #[serde(default)]
    pub advisory: bool,
}

fn get() -> String {
    "GET".to_owned()
}

/// What an answer must be like. Everything that is given must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// One of these statuses.
    pub status: Vec<u16>,
    /// JSON fields by path (RFC 9535, `$.version`), each equal to the value. In strings, `{version}`
    /// and `{sha}` stand for those of the deployment.
    pub json: BTreeMap<String, serde_json::Value>,
    /// Headers by name, each equal to the value.
    pub header: BTreeMap<String, String>,
    /// The body holds this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// The answer took no longer than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Span>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            status: vec![200],
            json: BTreeMap::new(),
            header: BTreeMap::new(),
            body_contains: None,
            latency: None,
        }
    }
}
