//! What a drill found, for people and for later steps.

use super::verdict::{age_text, time_text};
use kit_contract::body::{DatabaseDrill, Drill};
use kit_core::{count_text as count, size_text};
use kit_database::assertions::in_a_summary;
use kit_step::markdown_escape;
use std::fmt::Write as _;

fn rows(entry: &DatabaseDrill) -> u64 {
    entry.tables.iter().map(|table| table.rows).sum()
}

/// One backup in a line.
pub(super) fn line(entry: &DatabaseDrill) -> String {
    if let Some(failure) = &entry.failure {
        return format!("{}: not restored: {failure}", entry.database);
    }
    format!(
        "{}: {} in {} came back from {} in {}, compared in {}; the content was {} old",
        entry.database,
        count(rows(entry), "row"),
        count(entry.tables.len() as u64, "table"),
        size_text(entry.size_bytes),
        time_text(entry.restore_ms.unwrap_or_default()),
        time_text(entry.compare_ms.unwrap_or_default()),
        age_text(entry.age_s)
    )
}

/// The outputs.
pub(super) fn outputs(body: &Drill) -> Vec<(&'static str, String)> {
    let complete = body.total_ms().filter(|_| !body.databases.is_empty());
    vec![
        ("subject", body.subject.to_string()),
        ("age-seconds", body.age_s().map(|age| age.to_string()).unwrap_or_default()),
        ("total-seconds", complete.map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000)).unwrap_or_default()),
    ]
}

/// The part of the job summary.
pub(super) fn summary(body: &Drill) -> String {
    let mut text = String::from(
        "\n| database | backup | size | proof when made | age (RPO) | restored in (RTO) | compared in | rows |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for entry in &body.databases {
        let time = |ms: Option<u64>| ms.map_or_else(|| "not restored".to_owned(), time_text);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            entry.database,
            markdown_escape(&entry.source),
            size_text(entry.size_bytes),
            entry.proof,
            age_text(entry.age_s),
            time(entry.restore_ms),
            time(entry.compare_ms),
            rows(entry)
        );
    }
    for entry in &body.databases {
        text.push_str(&in_a_summary(entry.database.as_str(), &entry.assertions));
        if let Some(failure) = &entry.failure {
            let _ = writeln!(text, "\n{}: {}", entry.database, markdown_escape(failure));
        }
    }
    text
}
