//! `migrate`: one migration after the other.

use crate::databases::{Opened, open_all};
use crate::journal::Journal;
use crate::phase::Phase;
use crate::safety::{self, Place};
use clap::builder::NonEmptyStringValueParser;
use kit_contract::body::{DatabaseMigration, Migration};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, Name, Reason};
use kit_core::StepError;
use kit_database::{DatabaseError, MigrationFile, MigrationOutcome};
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, ReadSpec, Step, StepContext, markdown_escape,
};
use std::fmt::Write as _;

/// The inputs of `migrate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
    /// Which half of an expand-and-contract change to apply
    #[arg(long, value_enum, default_value_t = Phase::Pre)]
    phase: Phase,
    /// Only say what would be applied; outside a deployment
    #[arg(long)]
    dry_run: bool,
    /// Migrate without a backup, outside a deployment; says why
    #[arg(long, value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    without_backup: Option<String>,
}

/// `migrate`.
pub(crate) struct Migrate;

impl Step for Migrate {
    type Args = Args;
    type Body = Migration;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Applies pending migrations after a proved backup of the same deployment",
        details: "Applies the SQL files of each database's folder (<version>_<description>.sql, recorded in \
                  _sqlx_migrations), one by one. Refuses, before anything is changed, if a migration that was \
                  applied has been edited or failed half-way, and if there is no finished backup of this \
                  deployment that is proved as far and is as fresh as deploy.toml asks; the store must confirm \
                  what backup.json claims. Files named ….contract.sql or …_contract.sql are changes that only \
                  the new version can live with: they wait for --phase post, after the rollback window. A \
                  migration that fails leaves the database as it was before that migration.",
        examples: &[
            Example { what: "before traffic is shifted", line: "migrate" },
            Example { what: "after the rollback window", line: "migrate --phase post" },
            Example {
                what: "a development database, by hand",
                line: "migrate --without-backup \"throw-away data\"",
            },
        ],
        reads: &[
            ReadSpec {
                kind: ArtifactKind::Deployment,
                required: false,
                what_for: "must say go; without one, the step runs alone",
            },
            ReadSpec {
                kind: ArtifactKind::Backup,
                required: false,
                what_for: "the way back; needed unless nothing is pending or the step runs alone",
            },
        ],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "applied-count", help: "How many migrations this run applied" },
            OutputSpec { name: "pending-count", help: "How many wait still, also for the other phase" },
        ],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "applies what is still pending; nothing_pending if there is nothing",
        deadline: Span::from_secs(30 * 60),
    };

    async fn run(args: Args, cx: StepContext<Migration>) -> Result<Outcome<Migration>, StepError> {
        cx.deployment()?;
        check_usage(&args, cx.identity().standalone)?;
        let databases = open_all(&cx).await?;
        let mut body = Migration {
            phase: args.phase.of_contract(),
            dry_run: args.dry_run,
            databases: databases.iter().map(Opened::body).collect(),
        };
        if databases.is_empty() {
            return Ok(Outcome::new(
                Reason::NotConfigured,
                "no database of deploy.toml has migrations",
                body,
            ));
        }
        cx.save(body.clone());
        for opened in &databases {
            opened.status.check(&opened.database.display())?;
        }
        let plan: Vec<(usize, Vec<&MigrationFile>)> = databases
            .iter()
            .enumerate()
            .map(|(index, opened)| (index, args.phase.pending(&opened.status)))
            .filter(|(_, files)| !files.is_empty())
            .collect();
        if plan.is_empty() {
            let message = format!("nothing is pending{}", waiting(&databases, args.phase));
            return Ok(Outcome::new(Reason::NothingPending, message, body));
        }
        let pending: Vec<(&Name, &[&MigrationFile])> = plan
            .iter()
            .filter_map(|(index, files)| Some((&databases.get(*index)?.name, files.as_slice())))
            .collect();
        if args.dry_run {
            let message = format!("would apply {}; nothing was changed", list(&pending));
            return Ok(Outcome::new(Reason::Planned, message, body));
        }
        let names: Vec<&Name> = pending.iter().map(|(name, _)| *name).collect();
        let place = way_back(&args, &names, &cx).await?;
        let journal = Journal::new(place.as_ref(), cx.identity().deployment_id, cx.attempt())?;
        for (index, files) in &plan {
            let Some(opened) = databases.get(*index) else { continue };
            for file in files {
                one(opened, file, &journal, &cx, (&mut body, *index)).await?;
            }
        }
        let mut message = format!("applied {}{}", list(&pending), waiting(&databases, args.phase));
        if let Some(why) = &args.without_backup {
            let _ = write!(message, "; without a backup, because: {why}");
        }
        Ok(Outcome::new(Reason::Migrated, message, body))
    }

    fn outputs(artifact: &Artifact<Migration>) -> Vec<(&'static str, String)> {
        let Some(body) = &artifact.body else { return Vec::new() };
        let pending: usize = body.databases.iter().map(|database| database.pending.len()).sum();
        vec![("applied-count", body.applied_count().to_string()), ("pending-count", pending.to_string())]
    }

    fn summary(artifact: &Artifact<Migration>) -> String {
        let mut text = String::new();
        for database in artifact.body.iter().flat_map(|body| &body.databases) {
            for migration in &database.applied {
                let description = markdown_escape(&migration.description);
                let took = migration.duration_ms.unwrap_or_default();
                // Writing to a String cannot fail.
                let _ =
                    writeln!(text, "- {}: {} {description}, {took} ms", database.database, migration.version);
            }
        }
        text
    }
}

/// What makes sense inside a deployment and what outside.
fn check_usage(args: &Args, standalone: bool) -> Result<(), StepError> {
    if standalone {
        return Ok(());
    }
    if args.without_backup.is_some() {
        return Err(StepError::new(
            Reason::UsageError,
            "--without-backup does not exist inside a deployment",
        )
        .hint("run db-backup; outside a deployment, use another artifact folder"));
    }
    if args.dry_run {
        // Later steps would take the artifact of a dry run for that of a migration.
        return Err(StepError::new(Reason::UsageError, "--dry-run does not exist inside a deployment")
            .hint("`migrate plan` says what would be applied and leaves no artifact"));
    }
    Ok(())
}

/// Makes sure that there is a way back. Gives the place of the journal, inside a deployment.
async fn way_back(
    args: &Args,
    databases: &[&Name],
    cx: &StepContext<Migration>,
) -> Result<Option<Place>, StepError> {
    if !cx.identity().standalone {
        let place = Place::open(args.store.as_deref(), cx).await?;
        safety::check(databases, &place, cx).await?;
        return Ok(Some(place));
    }
    if args.without_backup.is_some() {
        return Ok(None);
    }
    Err(StepError::new(
        Reason::BackupRequired,
        "this belongs to no deployment, so there is no backup of it that could be checked",
    )
    .hint("inside a deployment, give the artifact folder that holds deployment.json and backup.json")
    .hint("outside one, --without-backup with a reason migrates all the same"))
}

/// Applies one migration and keeps what came of it.
async fn one(
    opened: &Opened,
    file: &MigrationFile,
    journal: &Journal,
    cx: &StepContext<Migration>,
    (body, index): (&mut Migration, usize),
) -> Result<(), StepError> {
    let name = &opened.name;
    let shown = format!("migration {} ({}) of {name}", file.version, file.description);
    if cx.cancel.is_cancelled() {
        return Err(StepError::new(
            Reason::Interrupted,
            format!("stopped before {shown}; nothing of it was applied"),
        ));
    }
    journal.intend(cx.context(), name, file).await?;
    cx.out.say(&format!("applying {shown}"));
    if file.no_transaction {
        cx.in_danger(
            format!("{shown} runs outside a transaction and may have been applied in part"),
            "compare the schema with the migration by hand, put it right, then run migrate again",
        );
    }
    let applied = opened.database.apply_migration(cx.context(), &opened.set, file.version).await;
    if !matches!(applied, Err(DatabaseError::MigrationPartial { .. })) {
        cx.out_of_danger();
    }
    let entry = body.databases.get_mut(index);
    let changed = match &applied {
        Ok(_) => Some(true),
        Err(DatabaseError::MigrationFailed { .. }) => Some(false),
        Err(_) => None,
    };
    let (said, error) = match applied {
        Ok(outcome) => (keep(entry, outcome), None),
        Err(error) => {
            let kept = entry.map(|entry| failed(entry, file, &error)).unwrap_or_default();
            let error = StepError::from(error);
            (error.chain(), Some(if kept.is_empty() { error } else { error.hint(kept) }))
        }
    };
    cx.save(body.clone());
    journal.conclude(cx.context(), name, file, (&said, changed)).await;
    error.map_or(Ok(()), Err)
}

fn keep(entry: Option<&mut DatabaseMigration>, outcome: MigrationOutcome) -> String {
    let Some(entry) = entry else { return String::new() };
    entry.pending.retain(|version| *version != outcome.migration().version);
    match outcome {
        MigrationOutcome::Applied(migration) => {
            let said = format!("applied in {} ms", migration.duration_ms.unwrap_or_default());
            entry.applied.push(migration);
            said
        }
        MigrationOutcome::AppliedElsewhere(migration) => {
            entry.before.push(migration);
            "somebody else had applied it".to_owned()
        }
    }
}

/// Notes the failure; says what stays.
fn failed(entry: &mut DatabaseMigration, file: &MigrationFile, error: &DatabaseError) -> String {
    // What was interrupted, or never came to run, did not fail.
    if matches!(error, DatabaseError::MigrationFailed { .. } | DatabaseError::MigrationPartial { .. }) {
        entry.failed = Some(file.version.to_string());
    }
    if entry.applied.is_empty() {
        return String::new();
    }
    let versions: Vec<&str> = entry.applied.iter().map(|migration| migration.version.as_str()).collect();
    format!("this run applied {} to {} before, which stays", versions.join(", "), entry.database)
}

/// `2 migrations (main: 1 initial, 2 discounts)`.
fn list(pending: &[(&Name, &[&MigrationFile])]) -> String {
    let count: usize = pending.iter().map(|(_, files)| files.len()).sum();
    let per_database = pending.iter().map(|(name, files)| {
        let files: Vec<String> =
            files.iter().map(|file| format!("{} {}", file.version, file.description)).collect();
        format!("{name}: {}", files.join(", "))
    });
    let noun = if count == 1 { "migration" } else { "migrations" };
    format!("{count} {noun} ({})", per_database.collect::<Vec<_>>().join("; "))
}

/// What waits for the other phase.
fn waiting(databases: &[Opened], phase: Phase) -> String {
    let other = phase.other();
    match databases.iter().map(|opened| other.pending(&opened.status).len()).sum::<usize>() {
        0 => String::new(),
        count => format!("; {count} more in --phase {}", other.as_str()),
    }
}
