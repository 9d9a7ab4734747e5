//! `deploy-kit unlock`: breaks a lock, after showing who holds it.

use super::memory::{Memory, StoreArgs};
use kit_contract::Reason;
use kit_contract::config::Span;
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::Existing;

/// The inputs of `unlock`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// The deployment that holds the lock, typed to confirm that it is dead
    #[arg(long, value_name = "ID")]
    confirm: Option<String>,
}

/// `deploy-kit unlock`.
pub(crate) struct Unlock;

impl Tool for Unlock {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("unlock"),
        about: "Shows who holds the lock, and breaks it on confirmation",
        details: "A lock that nobody renews expires by itself after an hour, and `rollback` takes over the lock of \
                  what it undoes. This is for the rest. It breaks the lock only if the holder is still the one \
                  that you confirm.",
        examples: &[
            Example { what: "Who holds it?", line: "deploy-kit unlock" },
            Example { what: "Break it", line: "deploy-kit unlock --confirm 1763712000-abc1234" },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "finds the lock free",
        deadline: Span::from_secs(60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let memory = Memory::existing(&args.store, &cx).await?;
        let Some(existing) = memory.lock.peek().await? else {
            return Ok(ToolOutput {
                reason: Reason::Recorded,
                text: "the lock is free".to_owned(),
                json: serde_json::json!({ "held": false }),
            });
        };
        let (holder, word) = match &existing {
            Existing::Readable(lock) => {
                let text =
                    format!("{} since {:.0}, until {:.0}", lock.owner, lock.acquired_at, lock.expires_at);
                (text, lock.owner.deployment_id.to_string())
            }
            Existing::Unreadable { message } => {
                (format!("somebody who cannot be read ({message})"), "unreadable".to_owned())
            }
        };
        match args.confirm {
            Some(confirmed) if confirmed == word => {
                memory.lock.break_lock(&existing.holder()).await?;
                Ok(ToolOutput {
                    reason: Reason::Recorded,
                    text: format!("broke the lock of {holder}"),
                    json: serde_json::json!({ "broken": word }),
                })
            }
            Some(other) => Err(StepError::new(
                Reason::LockHeld,
                format!("--confirm {other:?} does not hold the lock; {holder} does"),
            )),
            None => Err(StepError::new(Reason::LockHeld, format!("the lock is held by {holder}"))
                .hint(format!("if that is dead, `deploy-kit unlock --confirm {word}` breaks the lock"))),
        }
    }
}
