//! `migration_plan:<database>`: its migrations can be read, and fit what was applied before.

use super::database_reachable::open;
use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::Reason;
use kit_contract::config::Database;
use kit_core::StepError;
use kit_database::MigrationSet;
use std::sync::Arc;

/// One check per database that has migrations.
pub(crate) fn checks(world: &Arc<World>) -> Vec<Check> {
    let databases = world.cx.config().databases.clone();
    let check = |(database, folder): (Database, String)| {
        let world = Arc::clone(world);
        Check::new(format!("migration_plan:{}", database.name), async move {
            look(&world, &database, &folder).await.unwrap_or_else(|error| match error.reason {
                // Then nothing is known about its migrations; that it is missing is said by `preflight`.
                Reason::SecretMissing => Finding::unavailable(error.chain()),
                _ => error.into(),
            })
        })
    };
    let with_folder = |database: Database| Some((database.clone(), database.migrations?));
    databases.into_iter().filter_map(with_folder).map(check).collect()
}

async fn look(world: &World, database: &Database, folder: &str) -> Result<Finding, StepError> {
    let set = MigrationSet::read(&world.cx.resolve(folder)).await?;
    let engine = open(world, database).await?;
    let status = engine.migration_status(world.cx.context(), &set).await?;
    status.check(&engine.display())?;
    let pending = status.pending_versions();
    let list = if pending.is_empty() { "none".to_owned() } else { pending.join(", ") };
    Ok(Finding::pass(format!("{} applied, pending: {list}", status.applied.len())))
}
