//! `migrate plan`: what is applied, pending and drifted.

use crate::databases::{Opened, open_all};
use crate::phase::Phase;
use kit_contract::Reason;
use kit_contract::config::Span;
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use serde_json::{Value, json};

/// It has no inputs of its own.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// `migrate plan`.
pub(crate) struct Plan;

impl Tool for Plan {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("plan"),
        about: "Shows which migrations are applied, pending, drifted or half-applied",
        details: "Compares the folder of each database with what the database records. Read-only; ends with 10 \
                  if migrate would refuse because of drift or a half-applied migration.",
        examples: &[Example { what: "What would be applied?", line: "migrate plan" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(_: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let databases = open_all(&cx).await?;
        let any = |test: fn(&Opened) -> bool| databases.iter().any(test);
        let reason = if databases.is_empty() {
            Reason::NotConfigured
        } else if any(|opened| !opened.status.dirty.is_empty()) {
            Reason::MigrationDirty
        } else if any(|opened| !opened.status.drifted.is_empty()) {
            Reason::MigrationDrifted
        } else if any(|opened| !opened.status.pending.is_empty()) {
            Reason::Planned
        } else {
            Reason::NothingPending
        };
        let text = match databases.is_empty() {
            true => "no database of deploy.toml has migrations".to_owned(),
            false => databases.iter().flat_map(lines).collect::<Vec<_>>().join("\n"),
        };
        let json = json!({ "databases": databases.iter().map(data).collect::<Vec<_>>() });
        Ok(ToolOutput { reason, text, json })
    }
}

fn lines(opened: &Opened) -> Vec<String> {
    let status = &opened.status;
    let mut lines = vec![format!(
        "{} ({}): {} applied, {} pending",
        opened.name,
        opened.database.display(),
        status.applied.len(),
        status.pending.len()
    )];
    for migration in &status.applied {
        lines.push(format!("  applied  {}  {}", migration.version, migration.description));
    }
    lines.extend(status.drifted.iter().map(|drift| format!("  drifted  {drift}")));
    lines.extend(status.dirty.iter().map(|version| format!("  dirty    {version}  failed half-way")));
    for file in &status.pending {
        let phase = Phase::of(file).as_str();
        lines.push(format!("  pending  {}  {}  (--phase {phase})", file.version, file.description));
    }
    lines
}

fn data(opened: &Opened) -> Value {
    let status = &opened.status;
    let pending = |file: &kit_database::MigrationFile| {
        json!({
            "version": file.version.to_string(), "description": file.description, "checksum": file.checksum,
            "phase": Phase::of(file).as_str(),
        })
    };
    let drift = |drift: &kit_database::Drift| json!({ "version": drift.version.to_string(), "what": drift.to_string() });
    json!({
        "database": opened.name,
        "applied": status.applied,
        "pending": status.pending.iter().map(pending).collect::<Vec<_>>(),
        "drifted": status.drifted.iter().map(drift).collect::<Vec<_>>(),
        "dirty": status.dirty.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
