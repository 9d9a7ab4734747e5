//! The record for people.

use crate::finish::status_word;
use kit_contract::body::Record;
use kit_contract::{DeploymentId, Name};
use kit_step::markdown_escape;
use std::fmt::Write as _;

/// The record as a part of the job summary. Writing to a String cannot fail.
pub(crate) fn report(record: &Record) -> String {
    let mut text = String::from("\n| step | result | reason | took |\n|---|---|---|---|\n");
    for step in &record.steps {
        let took = match (step.started_at, step.finished_at) {
            (Some(start), Some(end)) => format!("{:.1} s", end.duration_since(start).as_secs_f64()),
            _ => String::new(),
        };
        let result = step.result.map_or("missing", kit_contract::StepResult::as_str);
        let reason = step.reason.as_deref().unwrap_or_default();
        let _ = writeln!(text, "| {} | {result} | {} | {took} |", step.artifact, markdown_escape(reason));
    }
    if let Some(deadline) = record.rollback_deadline {
        let _ = writeln!(text, "\nRollback is possible until {deadline}.");
    }
    text
}

/// `rollback.md`: what to do if this release turns out bad.
pub(crate) fn rollback_page(app: &Name, environment: &Name, id: &DeploymentId, record: &Record) -> String {
    let version = record.deployment.as_ref().map(|deployment| deployment.version.to_string());
    let version = version.as_deref().unwrap_or("unknown");
    let mut text = format!(
        "# Rolling back {app} {version} in {environment}\n\nDeployment `{id}`, status {}.\n\n## When\n\n\
         - a critical service fails in a way that the smoke tests did not see\n\
         - data is damaged\n- it is slower or fails more often than is bearable\n- it has a security hole\n\n## How\n\n",
        status_word(record.status)
    );
    match (&record.previous, record.rollback_deadline) {
        (Some(previous), Some(deadline)) => {
            let _ = writeln!(
                text,
                "Until **{deadline}**, returning to deployment `{previous}`:\n\n```sh\nrollback --deployment {id} \
                 --reason \"what is wrong\"\n```\n\nAfter that, the same with `--force`: more has changed by then, and \
                 nobody promises that the old version still fits."
            );
        }
        (None, _) => {
            text.push_str("No deployment to return to is known: this was the first, or never began.\n");
        }
        (Some(_), None) => text.push_str("Nothing to roll back: this deployment did not take over.\n"),
    }
    text.push_str(
        "\n## The data\n\nA rollback never restores a database: everything written since would be lost.\n",
    );
    for backup in record.backup.iter().flat_map(|backup| &backup.databases) {
        let _ = writeln!(
            text,
            "\n- `{}`: {} ({} bytes, proof: {}, everything up to {})",
            backup.database,
            markdown_escape(&backup.location),
            backup.size_bytes,
            backup.proof,
            backup.snapshot_at
        );
    }
    let _ = writeln!(
        text,
        "\n```sh\ndb-restore --deployment {id}   # says what it would do and which consent it needs\n```"
    );
    text
}

/// `failure-report.md`: what ended the deploy, what is left, what to do. Only for one that did not succeed.
pub(crate) fn failure_report(id: &DeploymentId, record: &Record, because: Option<&str>) -> String {
    let version = record.deployment.as_ref().map(|deployment| deployment.version.to_string());
    let mut text = format!(
        "# Deployment {id} did not succeed\n\n- version: {}\n- status: {}\n- ended by: {}\n",
        version.as_deref().unwrap_or("unknown"),
        status_word(record.status),
        markdown_escape(because.unwrap_or("unknown"))
    );
    let reason = because.and_then(|because| because.rsplit_once(": ")).map(|(_, reason)| reason);
    let known = reason.and_then(kit_contract::Reason::from_code);
    if let Some(reason) = known {
        let _ = writeln!(text, "- meaning: {}\n- what to do: {}", reason.meaning(), reason.remedy());
    }
    text.push_str("\n## Backups\n");
    let backups: Vec<_> = record.backup.iter().flat_map(|backup| &backup.databases).collect();
    let external: Vec<_> = record.backup.iter().flat_map(|backup| &backup.external).collect();
    if backups.is_empty() && external.is_empty() {
        text.push_str("\nNone was made by this deployment.\n");
    }
    for earlier in record.backup.iter().flat_map(|backup| &backup.instead) {
        let location = markdown_escape(&earlier.location);
        let _ = writeln!(
            text,
            "\n- `{}`: none was needed; the newest is of {:.0}: {location} (proof: {})",
            earlier.database, earlier.snapshot_at, earlier.proof
        );
    }
    for backup in backups {
        let location = markdown_escape(&backup.location);
        let _ = writeln!(text, "\n- `{}`: {location} (proof: {}); kept", backup.database, backup.proof);
    }
    for backup in external {
        let (id, location) = (markdown_escape(&backup.id), markdown_escape(&backup.location));
        let restore = markdown_escape(&backup.restore);
        let _ = writeln!(
            text,
            "\n- `{}`: {id} at {location}, by another tool; to restore: {restore}",
            backup.database
        );
    }
    text.push_str("\n## Steps\n");
    text.push_str(&report(record));
    text
}
