//! `deploy-record keep` and `bring`: from job to job by way of the store, where the artifacts of the CI are
//! open to everybody.

use crate::store::{Memory, StoreArgs};
use kit_contract::config::Span;
use kit_contract::{DeploymentId, Reason};
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::{Key, OBJECT_LIMIT_BYTES};
use std::collections::BTreeMap;
use std::path::Path;

/// Artifacts of earlier attempts, beside the others.
const HISTORY: &str = "history";

/// The inputs of both.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// `deploy-record keep`.
pub(crate) struct Keep;

impl Tool for Keep {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("keep"),
        about: "Keeps the files of the artifact folder in the store, for later jobs",
        details: "For repositories that everybody can read: the artifacts of a CI are open to everybody there, and \
                  these hold addresses, names of databases, statements. Nothing is ever written over; what is in \
                  the store already is not written again. `bring` brings them into the folder of another job.",
        examples: &[Example { what: "At the end of a job", line: "deploy-record keep" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "keeps what has changed since",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let (memory, id) = open(&args, &cx).await?;
        let kept = newest(&memory, &id).await?;
        let mut names = Vec::new();
        for (name, bytes) in files(cx.artifacts().path())? {
            let newest = kept.get(&name).copied();
            let same = match newest {
                Some(number) => memory.store.get(&key(&memory, &id, number, &name)?).await?,
                None => None,
            };
            if same.is_some_and(|object| object.bytes == bytes) {
                continue;
            }
            let next = newest.map_or(1, |number| number.saturating_add(1));
            memory.store.create(&key(&memory, &id, next, &name)?, &bytes).await?;
            names.push(name);
        }
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: format!(
                "kept for {id}: {}",
                if names.is_empty() { "nothing new".to_owned() } else { names.join(", ") }
            ),
            json: serde_json::json!({ "kept": names }),
        })
    }
}

/// `deploy-record bring`.
pub(crate) struct Bring;

impl Tool for Bring {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("bring"),
        about: "Brings what `keep` has kept of a deployment into the artifact folder",
        details: "What lies in the folder already stays as it is. Whoever reads one of the files compares its \
                  digest, as with artifacts of the CI.",
        examples: &[Example { what: "At the start of a job", line: "deploy-record bring" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "brings what is missing",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let (memory, id) = open(&args, &cx).await?;
        let folder = cx.artifacts().path();
        let mut names = Vec::new();
        for (name, number) in newest(&memory, &id).await? {
            let path = folder.join(&name);
            if path.exists() {
                continue;
            }
            // One that is gone since it was listed is simply not there.
            let Some(object) = memory.store.get(&key(&memory, &id, number, &name)?).await? else { continue };
            let unwritable = "what was kept cannot be written";
            fs::create_folder(path.parent().unwrap_or(folder))
                .or_reason(Reason::ArtifactUnwritable, unwritable)?;
            fs::write_atomic(&path, &object.bytes).or_reason(Reason::ArtifactUnwritable, unwritable)?;
            names.push(name);
        }
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: format!(
                "brought of {id}: {}",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            ),
            json: serde_json::json!({ "brought": names }),
        })
    }
}

async fn open(args: &Args, cx: &ToolContext) -> Result<(Memory, DeploymentId), StepError> {
    let identity = cx.identity();
    if identity.standalone {
        return Err(StepError::new(Reason::UsageError, "nobody knows of which deployment these files are")
            .hint("run this where deployment.json is, or name the deployment with --deployment-id"));
    }
    Ok((Memory::open(&args.store, cx).await?, identity.deployment_id))
}

/// The files that were kept, each with its newest number. Names that somebody else put there do not count.
async fn newest(memory: &Memory, id: &DeploymentId) -> Result<BTreeMap<String, u32>, StepError> {
    let prefix = memory.layout.kept_prefix(id);
    Ok(numbered(&prefix, &memory.store.list(&prefix).await?))
}

fn numbered(prefix: &str, keys: &[String]) -> BTreeMap<String, u32> {
    let mut newest = BTreeMap::new();
    for key in keys.iter().filter(|key| key.parse::<Key>().is_ok()) {
        let Some((number, name)) = key.strip_prefix(prefix).and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let plain = !name.strip_prefix("history/").unwrap_or(name).contains('/');
        if let (Ok(number), true) = (number.parse::<u32>(), plain) {
            let known = newest.entry(name.to_owned()).or_insert(number);
            *known = number.max(*known);
        }
    }
    newest
}

fn key(memory: &Memory, id: &DeploymentId, number: u32, name: &str) -> Result<Key, StepError> {
    format!("{}{number}/{name}", memory.layout.kept_prefix(id))
        .parse()
        .or_reason(Reason::ArtifactInvalid, "an artifact has a name that the store cannot take")
}

/// Name and content of every artifact and of what lies beside, also of earlier attempts.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, StepError> {
    let mut files = Vec::new();
    for (prefix, folder) in [("", folder.to_owned()), ("history/", folder.join(HISTORY))] {
        let unreadable = "the artifact folder cannot be read";
        let names = fs::list(&folder).or_reason(Reason::ArtifactInvalid, unreadable)?.unwrap_or_default();
        for name in names {
            let path = folder.join(&name);
            if name.starts_with('.') || !path.is_file() {
                continue;
            }
            let limit_bytes = OBJECT_LIMIT_BYTES;
            let bytes = fs::read(&path, limit_bytes).or_reason(Reason::ArtifactInvalid, unreadable)?;
            files.push((format!("{prefix}{name}"), bytes));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_file_counts() {
        let keys = [
            "k/1/a.json",
            "k/10/a.json",
            "k/9/a.json",
            "k/1/history/a.1.json",
            "k/1/x/y/a.json",
            "k/x/a.json",
        ];
        let keys: Vec<String> = keys.map(str::to_owned).into();
        let expected = [("a.json".to_owned(), 10), ("history/a.1.json".to_owned(), 1)];
        assert_eq!(numbered("k/", &keys), expected.into());
    }
}
