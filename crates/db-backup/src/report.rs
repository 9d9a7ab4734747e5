//! The backups for people and for later steps.

use crate::proof::reason;
use kit_contract::body::{Backup, DatabaseBackup};
use kit_core::size_text as size;
use kit_step::{Outcome, markdown_escape};
use std::fmt::Write as _;

/// One backup in a line.
pub(crate) fn line(backup: &DatabaseBackup) -> String {
    let rows: u64 = backup.tables.iter().map(|table| table.rows).sum();
    let adopted = if backup.adopted { ", made by an earlier run and proved again" } else { "" };
    format!(
        "{}: {} in {}, {} ({} before compression), proof: {}{adopted}",
        backup.database,
        count(rows, "row"),
        count(backup.tables.len() as u64, "table"),
        size(backup.size_bytes),
        size(backup.uncompressed_bytes),
        backup.proof
    )
}

/// The end of a step that made or adopted every backup.
pub(crate) fn outcome(body: Backup) -> Outcome<Backup> {
    let names: Vec<&str> = body.databases.iter().map(|backup| backup.database.as_str()).collect();
    let bytes = body.databases.iter().map(|backup| backup.size_bytes).sum();
    let proof = body.weakest_proof();
    let message =
        format!("backed up {} ({}); every restore was tried, proof: {proof}", names.join(", "), size(bytes));
    Outcome::new(reason(proof), message, body)
}

/// The outputs.
pub(crate) fn outputs(body: &Backup) -> Vec<(&'static str, String)> {
    let locations: Vec<&str> = body.databases.iter().map(|backup| backup.location.as_str()).collect();
    vec![("proof", body.weakest_proof().to_string()), ("location", locations.join("\n"))]
}

/// The part of the job summary.
pub(crate) fn summary(body: &Backup) -> String {
    if body.databases.is_empty() {
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
    text
}

/// `1 row`, `2 rows`.
fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
