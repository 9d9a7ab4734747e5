//! A backup that another tool makes: its program is run, its answer is read strictly, and what it says is
//! written down as its word, never as proof.

use crate::place::Place;
use kit_contract::body::{ExternalAnswer, ExternalBackup, ExternalKind};
use kit_contract::config::ExternalCommand;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::StepError;
use kit_exec::{Command, Stdout};
use kit_step::ToolContext;
use std::fmt::Write as _;

/// An answer says a few things; a longer one is not an answer.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;
/// No id, place or advice is longer.
const TEXT_LIMIT_CHARS: usize = 2000;

/// Has the backup made, or takes the one that an earlier run of this deployment had made.
pub(crate) async fn back_up(
    cx: &ToolContext,
    place: &Place,
    name: &Name,
    command: &ExternalCommand,
) -> Result<ExternalBackup, StepError> {
    let metadata = place.metadata_key(name);
    let backup = match place.external(&metadata).await? {
        Some(known) => {
            let ours = known.database == *name
                && known.metadata_key == metadata.as_str()
                && known.deployment_id == cx.identity().deployment_id;
            if !ours {
                let location = place.location(&metadata);
                let message = format!("{location} does not speak of this deployment's backup of {name}");
                return Err(StepError::new(Reason::ArtifactInvalid, message)
                    .hint("nothing but db-backup may write there; find out who did"));
            }
            cx.out.say(&format!(
                "{name}: an earlier run had the backup {} made; whether it is still there only the tool knows",
                known.id
            ));
            ExternalBackup { adopted: true, ..known }
        }
        None => ask(cx, name, command, metadata.as_str()).await?,
    };
    let database = cx.config().databases.iter().find(|database| database.name == *name);
    cx.config().backup.accepts_external(&backup, database, cx.clock.now()).map_err(|(reason, text)| {
        StepError::new(reason, text).hint(format!("the tool calls it {} ({})", backup.id, backup.location))
    })?;
    if !backup.adopted {
        if cx.cancel.is_cancelled() {
            let message = format!("stopped before the backup {} of {name} was written down", backup.id);
            return Err(
                StepError::new(Reason::Interrupted, message).hint("the next run has another one made")
            );
        }
        place.write_metadata(cx, &metadata, &backup).await?;
    }
    Ok(backup)
}

async fn ask(
    cx: &ToolContext,
    name: &Name,
    config: &ExternalCommand,
    metadata_key: &str,
) -> Result<ExternalBackup, StepError> {
    let identity = cx.identity();
    let program = config.command.first().cloned().unwrap_or_default();
    cx.out.say(&format!("{name}: {program} has another tool make the backup"));
    let output = Command::new(&program)
        .args(config.command.iter().skip(1).map(String::as_str))
        .current_folder(cx.resolve("."))
        .env("DEPLOY_KIT_BACKUP_DATABASE", name.as_str())
        .env("DEPLOY_KIT_BACKUP_DEPLOYMENT", identity.deployment_id.as_str())
        .stdout(Stdout::Capture { limit_bytes: ANSWER_LIMIT_BYTES })
        .deadline(config.timeout.duration())
        .run(cx.context())
        .await?;
    let answer = read(&output.stdout).map_err(|problem| {
        let problem = cx.out.clean(&problem);
        StepError::new(Reason::ExternalInvalid, format!("the answer of {program} about {name}: {problem}"))
            .hint("a backup may have been made all the same, of which nothing is known here")
            .hint("docs/databases.md says what the answer must be; schemas/external-backup.v1.json has its shape")
    })?;
    let made_of = cx.clock.now();
    Ok(of_answer(answer, name, (config, metadata_key), identity.deployment_id, made_of))
}

fn of_answer(
    answer: ExternalAnswer,
    name: &Name,
    (config, metadata_key): (&ExternalCommand, &str),
    deployment_id: DeploymentId,
    recorded_at: jiff::Timestamp,
) -> ExternalBackup {
    ExternalBackup {
        kind: ExternalKind::External,
        database: name.clone(),
        deployment_id,
        id: answer.id,
        content_at: answer.content_at,
        location: answer.location,
        claim: answer.claim,
        expires_at: answer.expires_at,
        restore: answer.restore,
        command: config.command.clone(),
        metadata_key: metadata_key.to_owned(),
        recorded_at,
        adopted: false,
    }
}

/// Reads an answer; the error says what is wrong with it. Pure.
fn read(stdout: &[u8]) -> Result<ExternalAnswer, String> {
    if stdout.trim_ascii().is_empty() {
        return Err("stdout is empty, and one JSON object is asked for".to_owned());
    }
    let answer: ExternalAnswer =
        serde_json::from_slice(stdout).map_err(|error| format!("stdout is not it: {error}"))?;
    if answer.schema != ExternalAnswer::SCHEMA {
        return Err(format!("its schema is {:?}, not {:?}", answer.schema, ExternalAnswer::SCHEMA));
    }
    for (field, text) in [("id", &answer.id), ("location", &answer.location), ("restore", &answer.restore)] {
        let problem = if text.trim().is_empty() {
            "is empty"
        } else if text.chars().count() > TEXT_LIMIT_CHARS {
            "is too long"
        } else if text.chars().any(char::is_control) {
            "holds a control character"
        } else if has_password(text) {
            "holds an address with a password"
        } else {
            continue;
        };
        let mut message = format!("{field} {problem}");
        if problem == "is too long" {
            // Writing to a String cannot fail.
            let _ = write!(message, ": at most {TEXT_LIMIT_CHARS} characters");
        }
        return Err(message);
    }
    Ok(answer)
}

/// True for `scheme://user:password@host`: what is written down is read by many.
fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or(rest);
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer() -> Value {
        json!({
            "schema": "deploy-kit/external-backup/v1", "id": "20261126-101500F", "claim": "checked",
            "content_at": "2026-11-26T10:15:00Z", "location": "s3://backups/main/20261126-101500F",
            "expires_at": "2026-12-26T10:15:00Z", "restore": "pgbackrest --set=20261126-101500F restore",
        })
    }

    #[test]
    fn an_answer_is_read_strictly() {
        let good = read(answer().to_string().as_bytes()).unwrap();
        assert_eq!((good.id.as_str(), good.claim), ("20261126-101500F", kit_contract::body::Claim::Checked));
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 12] = [
            (|value| value["schema"] = json!("deploy-kit/external-backup/v2"), "its schema is"),
            (|value| value["id"] = json!(" "), "id is empty"),
            (|value| value["id"] = json!("a\n::error::b"), "id holds a control character"),
            (
                |value| value["location"] = json!("s3://u:hunter2@b/x"),
                "location holds an address with a password",
            ),
            (|value| value["restore"] = json!("psql postgres://u:hunter2@h"), "restore holds an address"),
            (|value| value["restore"] = json!("x".repeat(2001)), "restore is too long: at most 2000"),
            (|value| value["claim"] = json!("full"), "unknown variant `full`"),
            (|value| value["content_at"] = json!("yesterday"), "stdout is not it"),
            (|value| value["content_at"] = json!(1_763_712_000), "stdout is not it"),
            (|value| value["expires"] = json!("2026-12-26T10:15:00Z"), "unknown field `expires`"),
            (|value| drop(value.as_object_mut().unwrap().remove("restore")), "missing field `restore`"),
            (|value| *value = json!([value.clone()]), "stdout is not it"),
        ];
        for (change, expected) in changes {
            let mut changed = answer();
            change(&mut changed);
            let problem = read(changed.to_string().as_bytes()).unwrap_err();
            assert!(problem.contains(expected), "{problem} does not say {expected:?}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        for (text, expected) in
            [("", "stdout is empty"), ("done\n", "stdout is not it"), ("{} {}", "missing field")]
        {
            assert!(read(text.as_bytes()).unwrap_err().contains(expected), "{text:?}");
        }
        let twice = format!("{0}\n{0}", answer());
        assert!(read(twice.as_bytes()).unwrap_err().contains("trailing characters"));
    }
}
