//! `deploy-kit status`: what serves, what is open, who holds the lock, who asked to stop.

use super::memory::{Memory, StoreArgs};
use kit_contract::Reason;
use kit_contract::config::Span;
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::Existing;

/// The inputs of `status`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// `deploy-kit status`.
pub(crate) struct Status;

impl Tool for Status {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("status"),
        about: "Says what serves, what is being deployed, and who holds the lock",
        details: "Reads the store and changes nothing.",
        examples: &[Example { what: "What is going on?", line: "deploy-kit status" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let memory = Memory::existing(&args.store, &cx).await?;
        let state = memory.chain.load().await?.state;
        let lock = memory.lock.peek().await?;
        let stops = memory.stop.list().await?;
        let identity = cx.identity();
        let store = memory.store.describe();
        let mut lines = vec![format!("{} in {}, by the store {store}", identity.app, identity.environment)];
        lines.push(match state.current() {
            Some(good) => format!(
                "  serves:  {} since {:.0} (deployment {})",
                good.version, good.since, good.deployment_id
            ),
            None => "  serves:  nothing was deployed here yet".to_owned(),
        });
        lines.push(match &state.open {
            Some(open) => format!(
                "  open:    {} since {:.0} (deployment {})",
                open.version, open.begun_at, open.deployment_id
            ),
            None => "  open:    no deploy".to_owned(),
        });
        lines.push(match &lock {
            None => "  lock:    free".to_owned(),
            Some(Existing::Readable(lock)) => {
                let state = if lock.expires_at > cx.clock.now() { "held" } else { "expired, was held" };
                format!(
                    "  lock:    {state} by {} since {:.0}, until {:.0}",
                    lock.owner, lock.acquired_at, lock.expires_at
                )
            }
            Some(Existing::Unreadable { message }) => {
                format!("  lock:    held by somebody who cannot be read: {message}")
            }
        });
        for request in &stops {
            let by = request.requested_by.as_deref().unwrap_or("somebody");
            lines.push(format!("  stop:    {by} asked to stop at {:.0}: {}", request.at, request.why));
        }
        for (version, why) in &state.bad_versions {
            lines.push(format!("  bad:     {version}: {why}"));
        }
        let lock_json = match lock {
            Some(Existing::Readable(lock)) => serde_json::json!(lock),
            Some(Existing::Unreadable { message }) => serde_json::json!({ "unreadable": message }),
            None => serde_json::Value::Null,
        };
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: lines.join("\n"),
            json: serde_json::json!({ "store": store, "state": state, "lock": lock_json, "stop_requests": stops }),
        })
    }
}
