//! Is a backup needed? With `backup.when = "pending_migrations"`, only if a migration waits, or if nobody can
//! say whether one does.

use crate::place::Place;
use kit_contract::body::{Backup, EarlierBackup};
use kit_contract::config::{Database, When};
use kit_contract::{Name, Reason};
use kit_core::StepError;
use kit_database::{MigrationSet, MigrationStatus};
use kit_step::{Outcome, ToolContext};

/// Looks as `migrate` will look. `None`: a backup is to be made, and why was said.
pub(crate) async fn not_needed(
    cx: &ToolContext,
    place: &Place,
    databases: &[Name],
) -> Option<Outcome<Backup>> {
    if cx.config().backup.when == When::Always {
        return None;
    }
    // One by URL alone belongs to no folder of migrations, and one outside a deploy, by hand or on a schedule, was
    // asked for as such.
    if cx.secret("database-url").is_some() || cx.identity().standalone {
        return None;
    }
    for database in &cx.config().databases {
        if let Some(why) = look(cx, database).await {
            cx.out.say(&format!("{}: a backup is needed: {why}", database.name));
            return None;
        }
    }
    match place.has_finished().await {
        Ok(false) => {}
        // It was needed when it was made, and this deployment may have migrated since.
        Ok(true) => {
            cx.out.say("nothing is pending, but an earlier run of this deployment made a backup");
            return None;
        }
        Err(error) => {
            let why = error.chain();
            cx.out.say(&format!("whether this deployment has a backup could not be asked: {why}"));
            return None;
        }
    }
    Some(outcome(databases, place.newest_of(databases).await))
}

/// Why this database needs a backup; `None` if nothing waits for it.
async fn look(cx: &ToolContext, config: &Database) -> Option<String> {
    let folder = config.migrations.as_ref()?;
    match status(cx, config, folder).await {
        Ok(status) => why(&status),
        Err(error) => Some(format!("whether a migration is pending is not known ({})", error.chain())),
    }
}

async fn status(cx: &ToolContext, config: &Database, folder: &str) -> Result<MigrationStatus, StepError> {
    let url = cx.secret_ref(&config.url)?;
    let input = format!("{} of database {}", config.url.env, config.name);
    let database =
        kit_database::open(&url, &input, kit_database::OpenOptions::of(config), cx.context()).await?;
    let set = MigrationSet::read(&cx.resolve(folder)).await?;
    Ok(database.migration_status(cx.context(), &set).await?)
}

/// What waits, of either phase. Books that do not agree with the folder say nothing that could be relied on.
/// Pure.
fn why(status: &MigrationStatus) -> Option<String> {
    if !status.drifted.is_empty() || !status.dirty.is_empty() {
        return Some(
            "the migrations that were applied are not those of the folder, or failed half-way".to_owned(),
        );
    }
    match status.pending.len() {
        0 => None,
        1 => Some("1 migration is pending".to_owned()),
        count => Some(format!("{count} migrations are pending")),
    }
}

/// The end of a step that made no backup: what a restore would need, and what it could have. Pure.
fn outcome(databases: &[Name], newest: Result<Vec<EarlierBackup>, StepError>) -> Outcome<Backup> {
    let message = "no migration is pending, and backup.when is \"pending_migrations\": no backup was made; taking \
                   back this release needs none";
    let (instead, unknown) = match newest {
        Ok(instead) => (instead, None),
        Err(error) => (Vec::new(), Some(error.chain())),
    };
    let body = Backup { instead: instead.clone(), ..Backup::default() };
    let mut outcome = Outcome::new(Reason::BackupNotNeeded, message, body);
    if let Some(why) = unknown {
        return outcome.hint(format!("warning: which backup a restore would bring back is not known: {why}"));
    }
    for name in databases {
        outcome = outcome.hint(match instead.iter().find(|earlier| earlier.database == *name) {
            Some(earlier) => format!(
                "a restore of {name} would bring back what was there at {:.0} ({}, proof: {})",
                earlier.snapshot_at, earlier.location, earlier.proof
            ),
            None => format!("warning: {name} has no backup at all: what is lost there cannot be restored"),
        });
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restore_would_bring_back_is_said_for_each_database() {
        let names: Vec<Name> = ["main", "users"].map(|name| name.parse().unwrap()).to_vec();
        let earlier = EarlierBackup {
            database: names[0].clone(),
            location: "file:store/a".to_owned(),
            snapshot_at: jiff::Timestamp::UNIX_EPOCH,
            proof: kit_contract::body::Proof::Full,
        };
        let ended = outcome(&names, Ok(vec![earlier.clone()]));
        assert_eq!((ended.reason, ended.body.instead), (Reason::BackupNotNeeded, vec![earlier]));
        assert!(
            ended.hints[0].contains("at 1970-01-01T00:00:00Z (file:store/a, proof: full)"),
            "{:?}",
            ended.hints
        );
        assert!(ended.hints[1].contains("users has no backup at all"), "{:?}", ended.hints);
        let ended = outcome(&names, Err(StepError::new(Reason::StoreUnreachable, "gone")));
        assert!(ended.hints[0].contains("is not known: gone"), "{:?}", ended.hints);
        assert_eq!(ended.hints.len(), 1, "not known is not none: {:?}", ended.hints);
    }
}
