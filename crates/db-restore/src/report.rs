//! What was, or would be, restored: for people and for later steps.

use crate::consent::{flags, list};
use kit_backup::IDENTITY_INPUT;
use kit_contract::body::{DatabaseRestore, Restore};
use kit_contract::{Name, Reason};
use kit_core::count_text as count;
use kit_database::assertions::in_a_summary;
use kit_step::{Outcome, ToolContext, markdown_escape};
use std::fmt::Write as _;

/// Nothing was changed.
/// `store` is the one that was named, if one was.
pub(crate) fn planned(
    body: Restore,
    names: &[Name],
    unusable: &[String],
    store: Option<&str>,
) -> Outcome<Restore> {
    let plans: Vec<String> = body
        .databases
        .iter()
        .map(|entry| {
            format!(
                "{} over {}, as it was at {:.0} ({} in {})",
                entry.source,
                entry.restored_to,
                entry.snapshot_at,
                count(rows(entry), "row"),
                count(entry.tables.len() as u64, "table")
            )
        })
        .collect();
    let subject = body.subject.clone();
    let message = format!("would restore {}; nothing was changed", plans.join(", and "));
    let mut outcome = Outcome::new(Reason::RestorePlanned, message, body)
        .hint(
            "everything written since then would be lost to the live database, which would be kept under another name",
        )
        .hint("stop the programs that use it first")
        .hint(format!("to do it: db-restore --deployment {subject} {}{}", selection(names), store_flag(store)));
    for why in unusable.iter().take(3) {
        outcome = outcome.hint(format!("not offered: {why}"));
    }
    outcome
}

/// What a command that is repeated must not leave out: another store has other backups.
pub(crate) fn store_flag(store: Option<&str>) -> String {
    store.map(|store| format!(" --store {store}")).unwrap_or_default()
}

/// What a command that is repeated needs, and cannot be shown.
pub(crate) fn secrets_as_now(cx: &ToolContext) -> Option<String> {
    let given: Vec<&str> =
        ["database-url", IDENTITY_INPUT].into_iter().filter(|name| cx.secret(name).is_some()).collect();
    (!given.is_empty()).then(|| format!("give {} with it, as now", given.join(" and ")))
}

fn selection(names: &[Name]) -> String {
    let databases: Vec<String> = names.iter().map(|name| format!("--database {name}")).collect();
    format!("{} {}", databases.join(" "), flags(names))
}

/// Everything stands beside the live databases.
pub(crate) fn beside(body: Restore) -> Outcome<Restore> {
    let places: Vec<&str> = body.databases.iter().map(|entry| entry.restored_to.as_str()).collect();
    let message =
        format!("restored beside the live database: {}; nothing else was changed", places.join(", "));
    with_limits(message, body)
}

/// Everything took its place.
pub(crate) fn restored(body: Restore) -> Outcome<Restore> {
    let names: Vec<Name> = body.databases.iter().map(|entry| entry.database.clone()).collect();
    let since = body.databases.iter().map(|entry| entry.snapshot_at).min();
    let since = since.map(|at| format!(", as it was at {at:.0}")).unwrap_or_default();
    let kept: Vec<&str> = body.databases.iter().filter_map(|entry| entry.kept.as_deref()).collect();
    let kept = if body.in_place {
        "; it was overwritten: what it held before is lost".to_owned()
    } else if kept.is_empty() {
        String::new()
    } else {
        format!("; what was live is kept as {}", kept.join(" and "))
    };
    let message = format!("restored {} from the backup of {}{since}{kept}", list(&names), body.subject);
    with_limits(message, body)
}

/// What was not compared is said.
fn with_limits(message: String, body: Restore) -> Outcome<Restore> {
    let limits: Vec<String> = body
        .databases
        .iter()
        .filter_map(|entry| {
            let why = entry.content_limit.as_ref()?;
            Some(format!(
                "warning: of {} only schema and numbers of rows were compared: {why}",
                entry.database
            ))
        })
        .collect();
    limits.into_iter().fold(Outcome::new(Reason::Restored, message, body), Outcome::hint)
}

fn rows(entry: &DatabaseRestore) -> u64 {
    entry.tables.iter().map(|table| table.rows).sum()
}

/// The outputs.
pub(crate) fn outputs(body: &Restore) -> Vec<(&'static str, String)> {
    let done = body.databases.iter().filter(|_| !body.dry_run);
    let restored: Vec<&str> = done.clone().map(|entry| entry.restored_to.as_str()).collect();
    let kept: Vec<&str> = done.filter_map(|entry| entry.kept.as_deref()).collect();
    vec![
        ("subject", body.subject.to_string()),
        ("restored-to", restored.join("\n")),
        ("kept", kept.join("\n")),
    ]
}

/// The part of the job summary.
pub(crate) fn summary(body: &Restore) -> String {
    let mut text = String::from(
        "\n| database | as it was at | rows | compared | restored to | before kept as |\n|---|---|---|---|---|---|\n",
    );
    for entry in &body.databases {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.0} | {} | {} | {} | {} |",
            entry.database,
            entry.snapshot_at,
            rows(entry),
            match entry.content_compared {
                Some(true) => "schema, rows, content",
                Some(false) => "schema, numbers of rows",
                None => "not restored",
            },
            markdown_escape(&entry.restored_to),
            markdown_escape(entry.kept.as_deref().unwrap_or_default())
        );
    }
    for entry in &body.databases {
        text.push_str(&in_a_summary(entry.database.as_str(), &entry.assertions));
    }
    text
}
