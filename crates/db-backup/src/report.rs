//! The backups for people and for later steps.

use crate::proof::reason;
use kit_contract::body::{Backup, BundleBackup, DatabaseBackup, ExternalBackup, Proof};
use kit_contract::config::BUNDLE;
use kit_core::{count_text as count, size_text as size};
use kit_database::assertions::{in_a_line, in_a_summary};
use kit_step::{Outcome, markdown_escape};
use std::fmt::Write as _;

/// One backup in a line.
pub(crate) fn line(backup: &DatabaseBackup) -> String {
    let rows: u64 = backup.tables.iter().map(|table| table.rows).sum();
    let adopted = if backup.adopted { ", made by an earlier run and proved again" } else { "" };
    let sealed = if backup.details.encryption.is_some() { ", encrypted" } else { "" };
    let limit = backup.details.proof_limit.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let asked = in_a_line(&backup.details.assertions).map(|line| format!(", {line}")).unwrap_or_default();
    format!(
        "{}: {} in {}, {} ({} before compression){sealed}, proof: {}{limit}{asked}{adopted}",
        backup.database,
        count(rows, "row"),
        count(backup.tables.len() as u64, "table"),
        size(backup.size_bytes),
        size(backup.uncompressed_bytes),
        backup.proof
    )
}

/// The bundle of files in a line.
pub(crate) fn bundle_line(backup: &BundleBackup) -> String {
    let sealed = if backup.encryption.is_some() { "encrypted" } else { "not encrypted" };
    let adopted = if backup.adopted { ", made by an earlier run" } else { "" };
    format!(
        "bundle: {}, {}, {sealed}, read back and compared{adopted}",
        count(backup.files, "file"),
        size(backup.size_bytes)
    )
}

/// The backup of another tool in a line.
pub(crate) fn external_line(backup: &ExternalBackup) -> String {
    let adopted = if backup.adopted { ", made for an earlier run" } else { "" };
    let until = backup.expires_at.map(|at| format!(", kept until {at:.0}")).unwrap_or_default();
    format!(
        "{}: {} at {}, as of {:.0}{until}, by another tool, which says that it was {}; nothing of it was proved \
         here{adopted}",
        backup.database, backup.id, backup.location, backup.content_at, backup.claim
    )
}

/// The end of a step that made or adopted every backup.
pub(crate) fn outcome(body: Backup) -> Outcome<Backup> {
    let own = body.databases.iter().map(|backup| backup.database.as_str());
    let external = body.external.iter().map(|backup| backup.database.as_str());
    let names: Vec<&str> = own.chain(external).chain(body.bundle.iter().map(|_| BUNDLE)).collect();
    let bytes = body.databases.iter().map(|backup| backup.size_bytes).sum();
    let proof = body.weakest_proof();
    let tried = match proof {
        Proof::Full | Proof::Schema => "every restore was tried",
        Proof::Remote | Proof::Stream | Proof::None => "not every restore was tried",
        Proof::External => "another tool vouches for what it made",
    };
    let message = format!("backed up {} ({}); {tried}, proof: {proof}", names.join(", "), size(bytes));
    let shrunk = shrunk(&body);
    shrunk.into_iter().fold(Outcome::new(reason(proof), message, body), Outcome::hint)
}

/// Warnings about backups that are less than half of what they were: an empty database dumps well, too.
fn shrunk(body: &Backup) -> Vec<String> {
    let warn = |backup: &DatabaseBackup| {
        let percent = backup.details.percent_of_previous.filter(|percent| *percent < 50)?;
        Some(format!(
            "warning: the backup of {} has {percent} % of the size of the one before: did it lose its data?",
            backup.database
        ))
    };
    body.databases.iter().filter_map(warn).collect()
}

/// The outputs.
pub(crate) fn outputs(body: &Backup) -> Vec<(&'static str, String)> {
    let own = body.databases.iter().map(|backup| backup.location.as_str());
    let locations: Vec<&str> = own
        .chain(body.external.iter().map(|backup| backup.location.as_str()))
        .chain(body.bundle.iter().map(|bundle| bundle.location.as_str()))
        .collect();
    vec![("proof", body.weakest_proof().to_string()), ("location", locations.join("\n"))]
}

/// The part of the job summary.
pub(crate) fn summary(body: &Backup) -> String {
    if body.databases.is_empty() && body.external.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n| database | rows | size | proof | everything up to | location |\n|---|---|---|---|---|---|\n",
    );
    for backup in &body.databases {
        let rows: u64 = backup.tables.iter().map(|table| table.rows).sum();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {rows} | {} | {} | {:.0} | {} |",
            backup.database,
            size(backup.size_bytes),
            backup.proof,
            backup.snapshot_at,
            markdown_escape(&backup.location)
        );
    }
    let mut asked = String::new();
    for backup in &body.databases {
        asked.push_str(&in_a_summary(backup.database.as_str(), &backup.details.assertions));
    }
    for backup in &body.external {
        let _ = writeln!(
            text,
            "| {} | | | external, {} | {:.0} | {} |",
            backup.database,
            backup.claim,
            backup.content_at,
            markdown_escape(&backup.location)
        );
    }
    text.push_str(&asked);
    text
}
