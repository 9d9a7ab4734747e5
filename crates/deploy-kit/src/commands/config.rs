//! `deploy-kit config check` and `config show`.

use kit_contract::{Reason, config::Span};
use kit_core::{ResultExt as _, StepError};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Action {
    /// Say whether it can be read, and which secrets it names
    Check,
    /// Print it as it holds for the environment, with defaults and overlay applied
    Show,
}

/// The inputs of `config`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to do
    #[arg(value_enum)]
    action: Action,
}

/// `deploy-kit config`.
pub(crate) struct ConfigCommand;

impl Tool for ConfigCommand {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("config"),
        about: "Checks or shows deploy.toml",
        details: "Reads deploy.toml as every step does: unknown keys are errors with line, column and the \
                  nearest known key, inside overlays too, whichever environment is asked for.",
        examples: &[
            Example { what: "Is the file right?", line: "deploy-kit config check" },
            Example { what: "What holds for staging?", line: "deploy-kit config show --environment staging" },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(10),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        if !cx.has_config_file() {
            return Err(StepError::new(Reason::ConfigInvalid, "there is no deploy.toml here")
                .hint("name one with --config"));
        }
        let config = cx.config();
        let toml =
            config.to_toml().or_reason(Reason::InternalError, "the configuration cannot be written")?;
        let secrets: Vec<&str> = config.secret_refs().iter().map(|secret| secret.env.as_str()).collect();
        let text = match args.action {
            Action::Show => toml.clone(),
            Action::Check => format!(
                "deploy.toml is right for {}: app {}, {} services, {} databases, {} stages\n\
                 secrets it names: {}",
                cx.identity().environment,
                config.app,
                config.services.len(),
                config.databases.len(),
                config.stages.len(),
                if secrets.is_empty() { "none".to_owned() } else { secrets.join(", ") }
            ),
        };
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text,
            json: serde_json::json!({ "config": toml, "secrets": secrets }),
        })
    }
}
