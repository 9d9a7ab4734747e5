//! `deploy-kit stop`: the red button.

use super::memory::{Memory, StoreArgs};
use kit_contract::config::Span;
use kit_contract::{DeploymentId, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::{StopRequest, StopSubject};

/// The inputs of `stop`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// The deployment to stop; without this, the one that is open
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// `deploy-kit stop`.
pub(crate) struct StopCommand;

impl Tool for StopCommand {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("stop"),
        about: "Asks the deploy that runs to stop and withdraw",
        details: "Writes a request into the store. Rollout and gate read it at every tick, withdraw the canary and \
                  end. It does not wait for that; `deploy-kit status` shows how far it is. If the deploy is dead, \
                  `rollback` does the work itself.",
        examples: &[Example { what: "Stop it", line: "deploy-kit stop --reason \"wrong version\"" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "adds a second request, which changes nothing more",
        deadline: Span::from_secs(60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let memory = Memory::existing(&args.store, &cx).await?;
        let open = memory.chain.load().await?.state.open.map(|open| open.deployment_id);
        let Some(subject) = args.deployment.or(open) else {
            return Err(StepError::new(
                Reason::NothingToUndo,
                format!(
                    "no deploy of {} is open by the store {}, so there is nothing to stop",
                    cx.identity().app,
                    memory.store.describe()
                ),
            )
            .hint("to undo a release that serves, use `rollback`"));
        };
        let request = StopRequest {
            subject: StopSubject::Deployment(subject.clone()),
            requested_by: cx.run_info().actor.clone(),
            why: args.reason,
            at: cx.clock.now(),
            by_deployment: None,
        };
        memory.stop.request(request).await?;
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: format!("asked {subject} to stop; it withdraws at its next tick"),
            json: serde_json::json!({ "subject": subject }),
        })
    }
}
