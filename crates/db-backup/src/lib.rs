//! `db-backup`: a backup whose restore was tried.
//!
//! For each database in turn: a consistent copy is compressed on all cores (`member`, `level`) and streamed
//! into the store (`produce`, `upload`), encrypted on the way where recipients are configured (`keys`), read back and restored into a scratch database as far as `ladder`
//! says (`prove`, `read_back`), and what came back is compared with what was copied (`proof`). The metadata, written last, makes it a backup (`one`); a backup that an
//! earlier run of the same deployment finished is proved again and adopted. `prune` removes what has had its time.
#![warn(missing_docs)]

mod args;
mod bundle;
mod external;
mod keys;
mod ladder;
mod level;
mod member;
mod one;
mod pending;
mod place;
mod produce;
mod proof;
mod prove;
mod prune;
mod read_back;
mod report;
#[cfg(test)]
mod tests;
mod upload;
mod workers;

use args::{Args, Wanted};
use keys::Keys;
use kit_backup::{IDENTITY_INPUT, scratch_folder};
use kit_contract::body::Backup;
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, Name, Reason};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, ReadSpec, SecretSpec, Step, StepContext,
};
use place::Place;

/// The program.
pub fn program() -> Program {
    Program::new("db-backup", "Backs up every database and tries the restore")
        .step::<DbBackup>()
        .tool::<prune::Prune>()
}

/// The step.
struct DbBackup;

impl Step for DbBackup {
    type Args = Args;
    type Body = Backup;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Backs up every database and tries the restore",
        details: "Copies each database of deploy.toml ([[databases]]), or the one that a URL names, in one \
                  consistent snapshot into the store as a gzip file that plain gunzip reads. Then reads it back, \
                  restores it into a scratch database, and compares integrity, schema, rows and content with the \
                  snapshot: all of it where that fits backup.proof_budget, else the schema, with the rows counted. \
                  The level of proof that was reached is always named. Only then is the metadata written that \
                  makes it a backup; migrate and db-restore accept nothing else. Nothing is ever stored under the \
                  final name unless the database said that the copy was complete. With backup.encryption it is \
                  encrypted in the format of age before it leaves this machine. The files of backup.bundle are kept beside \
                  the databases. With backup.when = \
                  \"pending_migrations\" it first looks, as migrate will, whether a migration waits; where none does, \
                  it makes no backup and says so. Where a database has its backups made by another tool (backup of \
                  [[databases]]), that is run instead, and its word is written down as its word.",
        examples: &[
            Example { what: "the databases of deploy.toml", line: "db-backup" },
            Example { what: "one database, by hand", line: "db-backup --database-url-file url.txt" },
            Example { what: "scratch copies on a larger disk", line: "db-backup --scratch /mnt/scratch" },
        ],
        reads: &[ReadSpec {
            kind: ArtifactKind::Deployment,
            required: false,
            what_for: "must say go; without one, the step runs alone",
        }],
        qualifier: None,
        outputs: &[
            OutputSpec {
                name: "proof",
                help: "The weakest level of proof reached: full, schema, remote, stream; external where another tool made it",
            },
            OutputSpec { name: "location", help: "Where the backups lie, one per line" },
        ],
        secrets: &[
            SecretSpec {
                name: "database-url",
                help: "the URL of one database, which is backed up instead of those of deploy.toml",
            },
            SecretSpec {
                name: IDENTITY_INPUT,
                help: "an identity of age, with which encrypted backups are read back; a backup that is made now needs none",
            },
        ],
        identity: IdentityRule::Joins,
        rerun: "proves a finished backup again and adopts it, needed or not; removes what a run left unfinished and starts anew",
        deadline: Span::from_secs(60 * 60),
    };

    async fn run(args: Args, cx: StepContext<Backup>) -> Result<Outcome<Backup>, StepError> {
        cx.deployment()?;
        let targets = args.targets(&cx)?;
        if targets.is_empty() {
            let message = "deploy.toml names no database: there is nothing to back up";
            return Ok(Outcome::new(Reason::NotConfigured, message, Backup::default()));
        }
        let place = Place::open(&args, &cx, targets.len() > 1).await?;
        let names: Vec<Name> = targets.iter().map(|target| target.name().clone()).collect();
        if let Some(outcome) = pending::not_needed(&cx, &place, &names).await {
            return Ok(outcome);
        }
        let keys = Keys::of(&cx)?;
        let room = "two copies of the largest database";
        let scratch = scratch_folder(&cx, args.scratch.as_deref(), "db-backup-", room)?;
        let rules = args.rules(&cx);
        let mut body = Backup::default();
        // One after the other: the scratch copies of one database at a time have to fit.
        for target in &targets {
            match target {
                Wanted::Dump(target) => {
                    let backup =
                        one::back_up(cx.context(), &place, target, (&rules, &keys, scratch.path())).await?;
                    cx.out.say(&report::line(&backup));
                    body.databases.push(backup);
                }
                Wanted::External(name, command) => {
                    let backup = external::back_up(&cx, &place, name, command).await?;
                    cx.out.say(&report::external_line(&backup));
                    body.external.push(backup);
                }
            }
            cx.save(body.clone());
        }
        // A database by its URL alone is not the app.
        if let Some(config) =
            cx.config().backup.bundle.as_ref().filter(|_| cx.secret("database-url").is_none())
        {
            let bundle = bundle::back_up(&cx, &place, (config, &keys)).await?;
            cx.out.say(&report::bundle_line(&bundle));
            body.bundle = Some(bundle);
        }
        Ok(report::outcome(body))
    }

    fn outputs(artifact: &Artifact<Backup>) -> Vec<(&'static str, String)> {
        artifact.body.as_ref().map(report::outputs).unwrap_or_default()
    }

    fn summary(artifact: &Artifact<Backup>) -> String {
        artifact.body.as_ref().map(report::summary).unwrap_or_default()
    }
}
