//! `db-restore`: brings a database back from a proved backup.
//!
//! Finds the finished backups in the store and picks one (`catalogue`); without consent it only says what
//! would happen (`consent`). Every database is restored beside the live one and compared with what the
//! backup's metadata promises (`beside`); only when all of them came back whole do they take the places of
//! the live ones, which are kept (`swap`). The chain then says that it happened.
//! `drill` goes the same way into a scratch place, and says how long it was.
#![warn(missing_docs)]

mod args;
mod beside;
mod bundle;
mod catalogue;
mod consent;
mod drill;
mod fault;
mod hooks;
mod in_place;
mod judge;
mod report;
mod swap;

use args::{Args, Target};
use catalogue::{Catalogue, Chosen};
use consent::Consent;
use hooks::Hooks;
use kit_backup::{IDENTITY_INPUT, Identity, key_for};
use kit_contract::body::{DatabaseBackup, DatabaseRestore, Restore};
use kit_contract::chain::ChainEvent;
use kit_contract::config::Span;
use kit_contract::{Artifact, Name, Reason};
use kit_core::{Rows, StepError};
use kit_database::{Beside, Database, Depth};
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, SecretSpec, Step, StepContext,
    ToolContext,
};
use kit_store::{Chain, Layout, Store};
use std::sync::Arc;

/// The program.
pub fn program() -> Program {
    Program::new("db-restore", "Brings a database back from a proved backup")
        .step::<DbRestore>()
        .step::<drill::Practice>()
        .tool::<bundle::Unbundle>()
}

/// What opens an encrypted backup.
const IDENTITY: SecretSpec = SecretSpec {
    name: IDENTITY_INPUT,
    help: "an identity of age (what age-keygen writes) that opens the backup, if it is encrypted",
};

/// The step.
struct DbRestore;

/// One database that is to be brought back, and from what.
struct Job {
    name: Name,
    database: Box<dyn Database>,
    backup: DatabaseBackup,
    /// Opens the backup; absent if it is not encrypted.
    key: Option<Identity>,
    /// Where the database tells how many rows have passed.
    rows: Rows,
}

impl Job {
    /// Reading all of it is for nothing if there is nothing to compare it with.
    const fn depth(&self) -> Depth {
        if self.backup.details.content.is_some() { Depth::Content } else { Depth::Rows }
    }
}

/// The identity that was given.
fn given_key(cx: &ToolContext) -> Result<Option<Identity>, StepError> {
    cx.secret(IDENTITY_INPUT).map(|secret| Identity::parse(&secret)).transpose()
}

impl Step for DbRestore {
    type Args = Args;
    type Body = Restore;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Brings a database back from a proved backup",
        details: "Without --confirm it changes nothing: it says which backup it would restore over which \
                  database, and which consent that needs. With it, the backup is fetched, its digest compared, \
                  restored beside the live database, compared in integrity, schema, rows and content, asked your assertions, \
                  and only then put in its place by a rename. The database that was live is kept and named; with --in-place \
                  it is overwritten instead, and what it held is lost: on a terminal this shows what that is and has the name \
                  of the database typed, elsewhere it needs --confirm. restore.before_swap and restore.after_swap of \
                  deploy.toml are run around the exchange. Only finished, proved \
                  backups are offered. An encrypted one is opened with an identity of age; without one nothing is \
                  touched. Stop the programs that use the database first; everything written since \
                  the backup is lost to them.",
        examples: &[
            Example { what: "what would be restored?", line: "db-restore --deployment latest" },
            Example { what: "restore it", line: "db-restore --deployment 1763712000-abc1234 --confirm main" },
            Example {
                what: "overwrite it where it stands; what it holds is lost",
                line: "db-restore --deployment latest --database main --in-place",
            },
            Example {
                what: "restore beside the live one, to look into it",
                line: "db-restore --deployment latest --confirm main --no-swap",
            },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "subject", help: "The deployment whose backup it was" },
            OutputSpec { name: "restored-to", help: "What was restored, one database per line" },
            OutputSpec { name: "kept", help: "Where the databases that gave way are kept, one per line" },
        ],
        secrets: &[
            SecretSpec {
                name: "database-url",
                help: "the URL of one database, which is restored instead of those of deploy.toml",
            },
            IDENTITY,
        ],
        identity: IdentityRule::Own,
        rerun: "restores again, under an id of its own; what gave way before stays kept",
        deadline: Span::from_secs(2 * 60 * 60),
    };

    async fn run(args: Args, cx: StepContext<Restore>) -> Result<Outcome<Restore>, StepError> {
        let targets = args.targets(&cx)?;
        let store =
            kit_store_s3::open(args.store.as_deref(), &cx.config().store, &cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        let names: Vec<Name> = targets.iter().map(|target| target.name.clone()).collect();
        let catalogue = Catalogue::read(&*store, &layout, &args.deployment).await?;
        let chosen = catalogue.choose(&args.deployment, &names)?;
        let mut jobs = jobs(targets, &chosen, &*store, &cx).await?;
        if args.in_place {
            in_place::check(&jobs)?;
        }
        let given = given_key(&cx)?;
        let mut body = Restore {
            subject: chosen.deployment.clone(),
            dry_run: true,
            in_place: args.in_place,
            databases: jobs.iter().map(planned).collect(),
        };
        let consent = consent::judge(&args.confirm, &names)?;
        if consent == Consent::NotGiven && !args.in_place {
            let planned = report::planned(body, &names, &catalogue.unusable, args.store.as_deref());
            let planned = catalogue.newer_elsewhere(&chosen).into_iter().fold(planned, Outcome::hint);
            let planned = report::secrets_as_now(&cx).into_iter().fold(planned, Outcome::hint);
            let locked = jobs.iter().filter_map(|job| key_for(&job.backup, given.as_ref()).err());
            return Ok(locked.fold(planned, |planned, error| planned.hint(error.chain())));
        }
        for job in &mut jobs {
            job.key = key_for(&job.backup, given.as_ref())?.cloned();
        }
        if let (Consent::NotGiven, [job]) = (consent, jobs.as_slice()) {
            in_place::agree(&cx, job).await?;
        }
        body.dry_run = false;
        cx.save(body.clone());
        let id = identity.deployment_id;
        if let (true, [job]) = (args.in_place, jobs.as_slice()) {
            in_place::overwrite(&cx, &*store, job, &mut body).await?;
            return Ok(history(&cx, store, layout, report::restored(body)).await);
        }
        let ready = beside::restore_all(&cx, &*store, &jobs, id.as_str(), &mut body.databases).await?;
        if args.no_swap {
            for (entry, ready) in body.databases.iter_mut().zip(&ready) {
                entry.restored_to.clone_from(&ready.name);
            }
            return Ok(report::beside(body));
        }
        let warnings = exchange(&cx, (&jobs, &ready), &mut body, args.store.as_deref()).await?;
        let outcome = warnings.into_iter().fold(report::restored(body), Outcome::hint);
        Ok(history(&cx, store, layout, outcome).await)
    }

    fn outputs(artifact: &Artifact<Restore>) -> Vec<(&'static str, String)> {
        artifact.body.as_ref().map(report::outputs).unwrap_or_default()
    }

    fn summary(artifact: &Artifact<Restore>) -> String {
        artifact.body.as_ref().map(report::summary).unwrap_or_default()
    }
}

/// Writes into the chain what has happened. A history that cannot say so does not undo it.
async fn history(
    cx: &StepContext<Restore>,
    store: Arc<dyn Store>,
    layout: Layout,
    outcome: Outcome<Restore>,
) -> Outcome<Restore> {
    let databases = outcome.body.databases.iter().map(|entry| entry.database.clone()).collect();
    let event = ChainEvent::Restored { subject: outcome.body.subject.clone(), databases };
    let (id, actor) = (cx.identity().deployment_id, cx.run_info().actor.clone());
    match Chain::new(store, layout).append(event, id, cx.clock.now(), actor).await {
        Ok(_) => outcome,
        Err(error) => {
            let why = StepError::from(error).chain();
            outcome.hint(format!("warning: the chain does not say that this was restored: {why}"))
        }
    }
}

/// Puts the restored databases in the places of the live ones, between the programs that are run around that.
async fn exchange(
    cx: &StepContext<Restore>,
    (jobs, ready): (&[Job], &[Beside]),
    body: &mut Restore,
    store: Option<&str>,
) -> Result<Vec<String>, StepError> {
    let databases: Vec<Name> = jobs.iter().map(|job| job.name.clone()).collect();
    let subject = body.subject.clone();
    let hooks = Hooks { cx, subject: &subject, databases: &databases };
    let swapped = match hooks.before().await {
        Ok(()) => swap::swap_all(cx, (jobs, ready), body, store).await,
        Err(error) => {
            beside::discard(cx, jobs, ready).await;
            Err(error.hint("nothing was changed: the live database is where it was"))
        }
    };
    hooks.end(swapped).await
}

/// Brings targets and backups together, and sees that the objects are there.
async fn jobs(
    targets: Vec<Target>,
    chosen: &Chosen,
    store: &dyn Store,
    cx: &StepContext<Restore>,
) -> Result<Vec<Job>, StepError> {
    let mut jobs = Vec::new();
    for target in targets {
        let Some(backup) = chosen.backups.iter().find(|backup| backup.database == target.name) else {
            return Err(StepError::new(Reason::InternalError, "a backup was chosen that lacks a database"));
        };
        let rows = target.options.rows.clone();
        rows.counted(backup.tables.iter().map(|table| table.rows).sum());
        let database =
            kit_database::open_for_restore(&target.url, &target.input, target.options, cx.context()).await?;
        if database.engine() != backup.engine {
            return Err(StepError::new(
                Reason::UsageError,
                format!("the backup of {} was made of another kind of database", target.name),
            ));
        }
        catalogue::check_object(store, backup).await?;
        jobs.push(Job { name: target.name, database, backup: backup.clone(), key: None, rows });
    }
    Ok(jobs)
}

fn planned(job: &Job) -> DatabaseRestore {
    DatabaseRestore {
        database: job.name.clone(),
        engine: job.backup.engine,
        source: job.backup.location.clone(),
        source_sha256: job.backup.sha256.clone(),
        snapshot_at: job.backup.snapshot_at,
        restored_to: job.database.display(),
        kept: None,
        swapped: false,
        tables: job.backup.tables.clone(),
        content_compared: None,
        content_limit: None,
        assertions: Vec::new(),
        restore_ms: None,
        compare_ms: None,
    }
}
