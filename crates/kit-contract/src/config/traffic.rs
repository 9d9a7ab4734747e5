use super::{ConfigError, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What moves the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Nothing: deploys without shifting traffic.
    #[default]
    None,
    /// A program of yours that speaks `deploy-kit/traffic/v1` on stdin and stdout.
    Command,
}

/// How traffic is moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Traffic {
    /// What moves it.
    pub driver: Driver,
    /// Program and arguments of the `command` driver. No shell is involved.
    pub command: Vec<String>,
    /// How long the router may take until the share that was asked for is observed.
    pub settle: Span,
    /// How far the observed share may be from the one asked for, in percentage points.
    pub tolerance_percent: f64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            driver: Driver::None,
            command: Vec::new(),
            settle: Span::from_secs(30),
            tolerance_percent: 0.5,
        }
    }
}

impl Traffic {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match (self.driver, self.command.is_empty()) {
            (Driver::Command, true) => Err(ConfigError::rule(
                "traffic.command",
                "driver \"command\" needs a program: command = [\"./router-ctl\"]",
            )),
            (Driver::None, false) => {
                Err(ConfigError::rule("traffic.driver", "a command is given, so say driver = \"command\""))
            }
            _ => Ok(()),
        }
    }
}
