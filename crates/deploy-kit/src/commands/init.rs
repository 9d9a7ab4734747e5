//! `deploy-kit init`: a first `deploy.toml`.

use kit_contract::config::{Config, Span};
use kit_contract::{Name, Reason};
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};

/// The inputs of `init`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name of the app
    #[arg(long, default_value = "app")]
    app: Name,
}

/// `deploy-kit init`.
pub(crate) struct Init;

impl Tool for Init {
    type Args = Args;
    const MAKES_CONFIG: bool = true;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("init"),
        about: "Writes a first deploy.toml, with every section explained",
        details: "Never writes over a file.",
        examples: &[Example { what: "Start here", line: "deploy-kit init --app shop" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "refuses, because the file is there",
        deadline: Span::from_secs(10),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let path = cx.config_file();
        let shown = path.display();
        let text = template(&args.app);
        // What is written must be readable, whatever the template says.
        Config::parse(&text, &cx.identity().environment)
            .or_reason(Reason::InternalError, "the template is wrong")?;
        match fs::create_new(path, text.as_bytes()) {
            Ok(()) => Ok(ToolOutput {
                reason: Reason::Recorded,
                text: format!("wrote {shown}; next: `deploy-kit config check`"),
                json: serde_json::json!({ "path": path }),
            }),
            Err(error) if error.source.kind() == std::io::ErrorKind::AlreadyExists => Err(StepError::new(
                Reason::UsageError,
                format!("{shown} is there already; nothing was written"),
            )
            .hint("`deploy-kit config check` says whether it is right")),
            Err(error) => Err(error).or_reason(Reason::UsageError, format!("{shown} cannot be written")),
        }
    }
}

fn template(app: &Name) -> String {
    include_str!("deploy.template.toml").replace("{app}", app.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_can_be_read() {
        let config =
            Config::parse(&template(&"shop".parse().unwrap()), &"production".parse().unwrap()).unwrap();
        assert_eq!(config.app.as_str(), "shop");
        assert_eq!(config.stages.len(), 3);
    }
}
