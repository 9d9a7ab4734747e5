//! `deploy-record list` and `show`.

use crate::store::{Memory, StoreArgs};
use kit_contract::chain::{ChainEntry, ChainEvent};
use kit_contract::config::Span;
use kit_contract::{DeploymentId, Reason};
use kit_core::{ResultExt as _, StepError};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};

/// The inputs of `list`.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// How many entries, newest last; 0 for all
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// `deploy-record list`.
pub(crate) struct List;

impl Tool for List {
    type Args = ListArgs;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("list"),
        about: "Lists what happened here, newest last",
        details: "Prints the entries of the chain after checking every link.",
        examples: &[Example { what: "The last 20 entries", line: "deploy-record list" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(args: ListArgs, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let memory = Memory::existing(&args.store, &cx).await?;
        let loaded = memory.chain.load().await?;
        let skip = if args.limit == 0 { 0 } else { loaded.entries.len().saturating_sub(args.limit) };
        let shown: Vec<&ChainEntry> = loaded.entries.iter().skip(skip).map(|(entry, _)| entry).collect();
        let mut lines: Vec<String> = shown.iter().map(|entry| line(entry)).collect();
        lines.push(match loaded.state.current() {
            Some(good) => format!("serves now: {} (deployment {})", good.version, good.deployment_id),
            None => format!("the store {} knows of no deployment that serves", memory.store.describe()),
        });
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: lines.join("\n"),
            json: serde_json::json!({ "entries": shown, "state": loaded.state }),
        })
    }
}

fn line(entry: &ChainEntry) -> String {
    let what = match &entry.event {
        ChainEvent::Begun { version, .. } => format!("begun {version}"),
        ChainEvent::Deployed { .. } => "deployed".to_owned(),
        ChainEvent::Failed { because, .. } => format!("failed: {because}"),
        ChainEvent::RolledBack { subject, target, why } => {
            match target {
                Some(target) => format!("rolled back {subject} to {target}: {why}"),
                // Without a target nothing was switched back: only a canary was taken out.
                None => format!("withdrew {subject}: {why}"),
            }
        }
        ChainEvent::MarkedBad { version, why } => format!("marked {version} bad: {why}"),
        ChainEvent::Restored { subject, .. } => format!("restored the backup of {subject}"),
        ChainEvent::Override { what, why } => format!("overrode {what}: {why}"),
        ChainEvent::Adopted { version, .. } => format!("adopted {version}"),
        ChainEvent::Unknown => "something that a newer version wrote".to_owned(),
    };
    let actor = entry.actor.as_deref().map(|actor| format!(" by {actor}")).unwrap_or_default();
    format!("{:>5}  {:.0}  {}  {what}{actor}", entry.sequence, entry.at, entry.deployment_id)
}

/// The inputs of `show`.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The deployment
    id: DeploymentId,
}

/// `deploy-record show`.
pub(crate) struct Show;

impl Tool for Show {
    type Args = ShowArgs;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("show"),
        about: "Shows the record of one deployment",
        details: "Prints the newest record that was published for the deployment.",
        examples: &[Example { what: "How did it go?", line: "deploy-record show 1763712000-abc1234" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(args: ShowArgs, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let memory = Memory::existing(&args.store, &cx).await?;
        let Some(newest) = memory.records(&args.id).await?.pop() else {
            return Err(StepError::new(
                Reason::ArtifactMissing,
                format!("there is no record of {}", args.id),
            )
            .hint("`deploy-record list` lists the deployments"));
        };
        let json: serde_json::Value = serde_json::from_slice(&newest.bytes)
            .or_reason(Reason::ArtifactInvalid, "the record cannot be read")?;
        Ok(ToolOutput { reason: Reason::Recorded, text: format!("{json:#}"), json })
    }
}
