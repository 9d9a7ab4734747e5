//! `deploy-record verify`: is the chain whole, and are the records those that it names?

use crate::store::{Memory, StoreArgs};
use kit_contract::chain::ChainEvent;
use kit_contract::config::Span;
use kit_contract::{ArtifactKind, ArtifactName, Reason, Sha256};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};

/// The inputs of `verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// `deploy-record verify`.
pub(crate) struct Verify;

impl Tool for Verify {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("verify"),
        about: "Checks that nobody has changed the history",
        details: "Reads every entry of the chain, checks every link and the head, and compares every record with \
                  the digest that the chain holds of it. Lists everything that is wrong and changes nothing.",
        examples: &[Example { what: "Is the history whole?", line: "deploy-record verify" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(10 * 60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let memory = Memory::open(&args.store, &cx).await?;
        let verification = memory.chain.verify().await?;
        let mut problems: Vec<String> = verification.problems.iter().map(ToString::to_string).collect();
        let mut records = 0;
        if problems.is_empty() {
            for (entry, _) in memory.chain.load().await?.entries {
                let digest = match entry.event {
                    ChainEvent::Deployed { record_sha256, .. } => Some(record_sha256),
                    ChainEvent::Failed { record_sha256, .. } => record_sha256,
                    _ => None,
                };
                if let Some(digest) = digest {
                    records += 1;
                    problems
                        .extend(check_record(&memory, entry.sequence, &entry.deployment_id, &digest).await?);
                }
            }
        }
        let json =
            serde_json::json!({ "entries": verification.entries, "records": records, "problems": problems });
        if problems.is_empty() {
            let text = format!("the chain is whole: {} entries, {records} records", verification.entries);
            return Ok(ToolOutput { reason: Reason::ChainValid, text, json });
        }
        let text =
            format!("{} entries, and this is wrong:\n  {}", verification.entries, problems.join("\n  "));
        Ok(ToolOutput { reason: Reason::ChainBroken, text, json })
    }
}

/// The record may have been published by any attempt.
async fn check_record(
    memory: &Memory,
    sequence: u64,
    id: &kit_contract::DeploymentId,
    digest: &Sha256,
) -> Result<Option<String>, StepError> {
    let record = ArtifactName::only(ArtifactKind::Record).file_name();
    let keys = memory.store.list(&memory.layout.deployment_prefix(id)).await?;
    for key in keys.iter().filter(|key| key.ends_with(&format!("/{record}"))) {
        let key: kit_store::Key = match key.parse() {
            Ok(key) => key,
            Err(_) => continue,
        };
        if let Some(object) = memory.store.get(&key).await?
            && Sha256::of(&object.bytes) == *digest
        {
            return Ok(None);
        }
    }
    Ok(Some(format!("entry {sequence}: the record of {id} is missing, or is not the one that was written")))
}
