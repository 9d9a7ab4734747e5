//! `deploy-record verify`: is the chain whole, and are the records those that it names?

use crate::place::record_sha256;
use crate::store::{Memory, StoreArgs};
use kit_contract::body::Record;
use kit_contract::config::Span;
use kit_contract::{ArtifactName, DeploymentId, Reason, Sha256};
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
                  the digest that the chain holds of it, and every artifact with the digest that its record holds. \
                  Lists everything that is wrong and changes nothing.",
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
        let memory = Memory::existing(&args.store, &cx).await?;
        let verification = memory.chain.verify().await?;
        let mut problems: Vec<String> = verification.problems.iter().map(ToString::to_string).collect();
        let mut records = 0;
        if problems.is_empty() {
            for (entry, _) in memory.chain.load().await?.entries {
                if let Some(digest) = record_sha256(&entry.event) {
                    records += 1;
                    problems
                        .extend(check_record(&memory, entry.sequence, &entry.deployment_id, digest).await?);
                }
            }
        }
        let json =
            serde_json::json!({ "entries": verification.entries, "records": records, "problems": problems });
        if problems.is_empty() {
            let text = format!(
                "the chain is whole: {} entries, {records} records; read from {}",
                verification.entries,
                memory.store.describe()
            );
            return Ok(ToolOutput { reason: Reason::ChainValid, text, json });
        }
        let text =
            format!("{} entries, and this is wrong:\n  {}", verification.entries, problems.join("\n  "));
        Ok(ToolOutput { reason: Reason::ChainBroken, text, json })
    }
}

/// The record may have been published by any attempt; the artifacts that it names lie beside it.
async fn check_record(
    memory: &Memory,
    sequence: u64,
    id: &DeploymentId,
    digest: &Sha256,
) -> Result<Vec<String>, StepError> {
    let records = memory.records(id).await?;
    let Some(record) = records.into_iter().find(|record| Sha256::of(&record.bytes) == *digest) else {
        return Ok(vec![format!(
            "entry {sequence}: the record of {id} is missing, or is not the one that was written"
        )]);
    };
    let Ok(body) = serde_json::from_slice::<Record>(&record.bytes) else {
        return Ok(vec![format!("entry {sequence}: the record of {id} cannot be read")]);
    };
    let mut problems = Vec::new();
    for step in body.steps {
        let (Some(digest), Ok(name)) = (step.sha256, step.artifact.parse::<ArtifactName>()) else { continue };
        let key = memory.layout.artifact(id, record.attempt, &name);
        let same = memory.store.get(&key).await?.is_some_and(|object| Sha256::of(&object.bytes) == digest);
        if !same {
            problems.push(format!("entry {sequence}: {key} is missing, or is not the one that was recorded"));
        }
    }
    Ok(problems)
}
