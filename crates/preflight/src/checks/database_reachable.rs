//! `database_reachable:<database>`: it is there and answers.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::Reason;
use kit_contract::config::Database;
use kit_core::{Secret, StepError};
use std::sync::Arc;
use std::time::Duration;

/// Shorter than a check may take, so that the check can say what kept it.
const LIMIT: Duration = Duration::from_secs(10);

/// One check per database.
pub(crate) fn checks(world: &Arc<World>) -> Vec<Check> {
    let databases = world.cx.config().databases.clone();
    let check = |database: Database| {
        let world = Arc::clone(world);
        Check::new(format!("database_reachable:{}", database.name), async move {
            look(&world, &database).await.unwrap_or_else(refused)
        })
    };
    databases.into_iter().map(check).collect()
}

async fn look(world: &World, database: &Database) -> Result<Finding, StepError> {
    let engine = open(world, database).await?;
    let info = engine.ping(world.cx.context(), LIMIT).await?;
    Ok(Finding::pass(format!("{} answers, version {}", engine.display(), info.version)))
}

/// Opens a database of `deploy.toml`.
pub(crate) async fn open(
    world: &World,
    database: &Database,
) -> Result<Box<dyn kit_database::Database>, StepError> {
    let (url, input) = url(world, database)?;
    let options = kit_database::OpenOptions::of(database);
    Ok(kit_database::open(&url, &input, options, world.cx.context()).await?)
}

/// Its URL, and how errors name where that came from.
pub(crate) fn url(world: &World, database: &Database) -> Result<(Secret, String), StepError> {
    let url = world.cx.secret_ref(&database.url)?;
    Ok((url, format!("{} of database {}", database.url.env, database.name)))
}

/// Whether it answers is the very question here, so no answer is a bad one. Without its address nobody
/// could ask.
fn refused(error: StepError) -> Finding {
    let outcome = error.reason;
    let finding = Finding::from(error);
    match outcome {
        Reason::DatabaseUnreachable => with(Finding::fail(finding.message.clone()), &finding),
        Reason::SecretMissing => Finding::unavailable(finding.message),
        _ => finding,
    }
}

fn with(mut finding: Finding, hints_of: &Finding) -> Finding {
    finding.hints.clone_from(&hints_of.hints);
    if finding.hints.is_empty() {
        finding = finding.hint(Reason::DatabaseUnreachable.remedy());
    }
    finding
}
