//! `db-restore drill`: is there a way back, and how long is it?
//!
//! Restores a backup into a scratch place and compares it, as a real restore would (`one`), and holds what
//! it took against the limits (`verdict`). It never needs the live database, and is not even handed its
//! address, unless a scratch place beside it was asked for.

mod one;
mod report;
mod verdict;

pub(crate) use verdict::time_text;

use crate::catalogue::{Catalogue, Wanted};
use kit_backup::scratch_folder;
use kit_contract::body::Drill;
use kit_contract::config::{self, DrillLimits, ScratchKind, Span};
use kit_contract::{Artifact, Name, Reason};
use kit_core::{Secret, StepError};
use kit_database::{OpenOptions, ScratchPlace, Tools};
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Step, StepContext, ToolContext};
use kit_store::Layout;
use std::num::NonZeroU8;
use std::path::PathBuf;

/// The inputs of `drill`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The deployment whose backup to restore, or `latest` for the newest proved backup
    #[arg(long, value_name = "ID|latest", default_value = "latest")]
    deployment: Wanted,
    /// Database to restore; may be repeated; without this, all of deploy.toml that db-backup backs up
    #[arg(long, value_name = "NAME")]
    database: Vec<Name>,
    /// How old the content may be; without this, backup.drill.max_age of deploy.toml
    #[arg(long, value_name = "TIME")]
    max_age: Option<Span>,
    /// How long restoring and comparing may take; without this, backup.drill.max_time of deploy.toml
    #[arg(long, value_name = "TIME")]
    max_time: Option<Span>,
    /// Folder for scratch copies, with room for the largest database; without this, the system's folder for
    /// temporary files
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
    /// Sessions that load rows side by side (PostgreSQL); without this, one for a plain dump on a throw-away server, else
    /// as many as this machine has cores, at most 4; with 1, a plain dump is one transaction
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
}

/// `db-restore drill`.
pub(crate) struct Practice;

impl Step for Practice {
    type Args = Args;
    type Body = Drill;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("drill"),
        about: "Restores the newest backup into a scratch place and says how long that took",
        details: "Fetches the backup, compares its digest, restores it into a scratch database (scratch and \
                  scratch_url of [[databases]], as db-backup does), compares integrity, schema and rows with what \
                  the backup's metadata promises, and asks it your assertions. Reports how old the content is, which is what would be lost, and \
                  how long the way back took, measured; both can be limited. The live database is never touched and \
                  its URL is not asked for, unless scratch is \"beside\". Databases are restored one after the other, \
                  and all of them are tried also if one fails.",
        examples: &[
            Example { what: "is there a way back?", line: "db-restore drill" },
            Example { what: "within limits", line: "db-restore drill --max-age 26h --max-time 1h" },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "subject", help: "The deployment whose backup it was" },
            OutputSpec { name: "age-seconds", help: "Age of the oldest content when the drill began" },
            OutputSpec {
                name: "total-seconds",
                help: "How long restoring and comparing took; empty if a restore failed",
            },
        ],
        secrets: &[crate::IDENTITY],
        identity: IdentityRule::Own,
        rerun: "restores again, into a scratch place of its own",
        deadline: Span::from_secs(6 * 60 * 60),
    };

    async fn run(args: Args, cx: StepContext<Drill>) -> Result<Outcome<Drill>, StepError> {
        let databases = databases(&args.database, &cx)?;
        let names: Vec<Name> = databases.iter().map(|database| database.name.clone()).collect();
        let store =
            kit_store_s3::open(args.store.as_deref(), &cx.config().store, &cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        let catalogue = Catalogue::read(&*store, &layout, &args.deployment).await?;
        let chosen = catalogue.choose(&args.deployment, &names)?;
        let given = crate::given_key(&cx)?;
        let room = "the largest database";
        let scratch = scratch_folder(&cx, args.scratch.as_deref(), "db-restore-drill-", room)?;
        let limits = cx.config().backup.drill;
        let limits = DrillLimits {
            max_age: args.max_age.or(limits.max_age),
            max_time: args.max_time.or(limits.max_time),
        };
        let mut body = Drill {
            subject: chosen.deployment.clone(),
            max_age: limits.max_age,
            max_time: limits.max_time,
            databases: Vec::new(),
        };
        let (mut failed, mut incomplete) = (None, Vec::new());
        for backup in &chosen.backups {
            let Some(config) = databases.iter().find(|database| database.name == backup.database) else {
                continue;
            };
            let tried =
                one::try_restore(&cx, &*store, (config, backup), (given.as_ref(), scratch.path(), args.jobs))
                    .await;
            cx.out.say(&report::line(&tried.entry));
            body.databases.push(tried.entry);
            incomplete.extend(tried.note);
            cx.save(body.clone());
            if cx.cancel.is_cancelled() {
                return Err(StepError::new(Reason::Interrupted, "stopped before every backup was restored"));
            }
            failed = failed.or(tried.error);
        }
        let notes = catalogue.unusable.iter().take(3).map(|why| format!("not tried: {why}"));
        let notes: Vec<String> = notes.chain(catalogue.newer_elsewhere(&chosen)).chain(incomplete).collect();
        match failed {
            Some(error) => Err(notes.into_iter().fold(error, StepError::hint)),
            None => Ok(notes.into_iter().fold(verdict::outcome(body), Outcome::hint)),
        }
    }

    fn outputs(artifact: &Artifact<Drill>) -> Vec<(&'static str, String)> {
        artifact.body.as_ref().map(report::outputs).unwrap_or_default()
    }

    fn summary(artifact: &Artifact<Drill>) -> String {
        artifact.body.as_ref().map(report::summary).unwrap_or_default()
    }
}

/// The databases of `deploy.toml` that are meant.
fn databases(asked: &[Name], cx: &ToolContext) -> Result<Vec<config::Database>, StepError> {
    cx.must_have_config()?;
    let configured = &cx.config().databases;
    if let Some(unknown) = asked.iter().find(|name| !configured.iter().any(|one| one.name == **name)) {
        let known: Vec<&str> = configured.iter().map(|database| database.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(StepError::new(Reason::UsageError, format!("deploy.toml has no database {unknown}"))
            .hint(format!("it has: {known}")));
    }
    let wanted = |database: &&config::Database| match asked {
        // What another tool backs up, only that tool restores.
        [] => database.backup.is_none(),
        _ => asked.contains(&database.name),
    };
    let found: Vec<config::Database> = configured.iter().filter(wanted).cloned().collect();
    if found.is_empty() {
        let message = "deploy.toml names no database that db-backup backs up, so there is nothing to restore";
        return Err(StepError::new(Reason::UsageError, message));
    }
    Ok(found)
}

/// Where the restore is tried. Only beside the live database does that need the live one's URL.
fn place(
    database: &config::Database,
    jobs: Option<u8>,
    cx: &ToolContext,
) -> Result<(Option<Secret>, OpenOptions), StepError> {
    let tools = database.tools.as_ref().map(|tools| Tools::of(tools, |folder| cx.resolve(folder)));
    let (url, scratch) = match (&database.scratch_url, database.scratch) {
        (Some(reference), _) => (None, ScratchPlace::Server(cx.secret_ref(reference)?)),
        (None, ScratchKind::Cluster) => (None, ScratchPlace::Auto),
        (None, ScratchKind::Beside) => (Some(cx.secret_ref(&database.url)?), ScratchPlace::Beside),
    };
    let restore_jobs = jobs.and_then(NonZeroU8::new);
    Ok((url, OpenOptions { scratch, tools, restore_jobs, ..OpenOptions::of(database) }))
}
