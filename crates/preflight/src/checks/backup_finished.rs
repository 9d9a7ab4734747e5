//! `backup_finished`: every database has a backup of this deployment, verified as far as `migrate` will ask.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::body::Backup;
use kit_contract::config::When;
use kit_contract::{ArtifactKind, ArtifactName, Reason};
use kit_core::StepError;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("backup_finished", async move { look(&world).unwrap_or_else(Finding::from) })
}

fn look(world: &World) -> Result<Finding, StepError> {
    let config = world.cx.config();
    if config.databases.is_empty() {
        return Ok(Finding::pass("no databases are configured"));
    }
    let name = ArtifactName::only(ArtifactKind::Backup);
    let Some(artifact) = world.cx.read_if_there::<Backup>(&name)? else {
        return Ok(Finding::fail("there is no backup.json").hint("run db-backup first"));
    };
    if !artifact.is_go() {
        let text =
            format!("db-backup ended with {} ({}): {}", artifact.result, artifact.reason, artifact.message);
        return Ok(Finding::fail(text).hint("correct what it says and run db-backup again"));
    }
    if artifact.reason == Reason::BackupNotNeeded {
        return Ok(if config.backup.when == When::PendingMigrations {
            Finding::pass("no migration was pending, so none was needed (backup.when)")
        } else {
            Finding::fail(
                "db-backup made none, because backup.when asked for one only with pending migrations, which \
                           it does no more",
            )
            .hint("run db-backup again with this deploy.toml")
        });
    }
    let body = artifact.body.unwrap_or_default();
    let backups = body.databases;
    let required = config.backup.required_proof.level();
    for database in &config.databases {
        if let Some(external) = body.external.iter().find(|external| external.database == database.name) {
            if let Err((_, text)) =
                config.backup.accepts_external(external, Some(database), world.cx.clock.now())
            {
                return Ok(Finding::fail(text).hint("run db-backup again, or see backup in deploy.toml"));
            }
            continue;
        }
        let Some(backup) = backups.iter().find(|backup| backup.database == database.name) else {
            let text = format!("backup.json holds no backup of database {}", database.name);
            return Ok(Finding::fail(text).hint("run db-backup again with this deploy.toml"));
        };
        if backup.proof < required {
            let text = format!(
                "the backup of {} is verified to level {}, and {required} is required",
                database.name, backup.proof
            );
            return Ok(
                Finding::fail(text).hint("raise the proof of db-backup, or lower backup.required_proof")
            );
        }
    }
    let own = format!("{} verified to level {required} or better", counted(backups.len()));
    Ok(Finding::pass(match body.external.len() {
        0 => own,
        external => {
            format!("{own}; {} by another tool, whose word is allowed to be enough", counted(external))
        }
    }))
}

fn counted(backups: usize) -> String {
    if backups == 1 { "1 backup".to_owned() } else { format!("{backups} backups") }
}
