use super::{ConfigError, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program that is run around a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Program and arguments, run in the folder of `deploy.toml`. No shell is involved.
    pub command: Vec<String>,
    /// How long it may take.
    #[serde(default = "one_minute")]
    pub timeout: Span,
}

fn one_minute() -> Span {
    Span::from_secs(60)
}

/// What is done around a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restore {
    /// Run once everything is restored and compared, and before the live databases give way: it stops what uses them.
    /// If it fails, nothing is exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_swap: Option<Hook>,
    /// Run afterwards, however the exchange, or `before_swap`, ended; `DEPLOY_KIT_RESTORE_RESULT` tells it (`restored`,
    /// `unchanged`, `stuck`). If it fails, a human is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_swap: Option<Hook>,
}

impl Restore {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (name, hook) in [("before_swap", &self.before_swap), ("after_swap", &self.after_swap)] {
            let Some(hook) = hook else { continue };
            if hook.command.first().is_none_or(String::is_empty) {
                return Err(ConfigError::rule(format!("restore.{name}.command"), "it names no program"));
            }
        }
        Ok(())
    }
}
