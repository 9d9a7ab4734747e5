//! `deploy-kit explain <reason>`: what a reason code means, and what to do about it.

use kit_contract::{Reason, config::Span, config::nearest};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};

/// The inputs of `explain`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The reason code, as it stands in an artifact or a log
    reason: String,
}

/// `deploy-kit explain`.
pub(crate) struct Explain;

impl Tool for Explain {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("explain"),
        about: "Explains a reason code: what it means and what to do about it",
        details: "Every step says why it ended as it did with a stable code. This prints what the code means, \
                  the exit code that goes with it, and what to do.",
        examples: &[Example { what: "What does it mean?", line: "deploy-kit explain backup_too_old" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(10),
    };

    async fn run(args: Args, _cx: ToolContext) -> Result<ToolOutput, StepError> {
        let Some(reason) = Reason::from_code(&args.reason) else {
            let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
            let error = StepError::new(Reason::UsageError, format!("there is no reason {:?}", args.reason));
            return Err(match nearest(&args.reason, &codes) {
                Some(near) => error.hint(format!("did you mean {near:?}?")),
                None => error.hint("docs/reference/reasons.md lists all of them"),
            });
        };
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: format!(
                "{reason}\n  given by:  {}\n  result:    {}\n  exit code: {} ({})\n  meaning:   {}\n  what to do: {}",
                reason.area(),
                reason.result(),
                reason.exit_code(),
                reason.class().meaning(),
                reason.meaning(),
                reason.remedy()
            ),
            json: serde_json::json!({
                "reason": reason.code(),
                "area": reason.area(),
                "result": reason.result().as_str(),
                "exit_code": reason.exit_code(),
                "meaning": reason.meaning(),
                "remedy": reason.remedy(),
            }),
        })
    }
}
