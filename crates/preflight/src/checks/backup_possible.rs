//! `backup_possible:<database>`: programs that fit its server are here, and its user may read all of it.

use super::database_reachable::url;
use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_contract::Reason;
use kit_contract::body::CheckOutcome;
use kit_contract::config::{self, Database};
use kit_core::StepError;
use kit_database::{OpenOptions, Tools};
use std::sync::Arc;

/// One check per database that is dumped here.
pub(crate) fn checks(world: &Arc<World>) -> Vec<Check> {
    let check = |database: Database| {
        let world = Arc::clone(world);
        Check::new(format!("backup_possible:{}", database.name), async move {
            look(&world, &database).await.unwrap_or_else(refused)
        })
    };
    // Another tool's backup is that tool's business.
    let databases = world.cx.config().databases.iter().filter(|database| database.backup.is_none());
    databases.cloned().map(check).collect()
}

async fn look(world: &World, database: &Database) -> Result<Finding, StepError> {
    let (url, input) = url(world, database)?;
    let tools = database.tools.as_ref().map(|tools| Tools::of(tools, |folder| world.cx.resolve(folder)));
    let options = OpenOptions { tools, ..OpenOptions::of(database) };
    let engine = kit_database::open_for_restore(&url, &input, options, world.cx.context()).await?;
    engine.can_be_dumped(world.cx.context()).await?;
    let with = match &database.tools {
        Some(config::Tools::Image(tools)) => format!("programs of the image {}", tools.image),
        Some(config::Tools::Folder(_)) | None => "what is installed here".to_owned(),
    };
    Ok(Finding::pass(format!("{} can be copied with {with}", engine.display())))
}

/// What the dump itself would fail with is the answer.
fn refused(error: StepError) -> Finding {
    let outcome = error.reason;
    let finding = Finding::from(error);
    match outcome {
        Reason::DumpFailed | Reason::ToolMissing => Finding { outcome: CheckOutcome::Fail, ..finding },
        _ => finding,
    }
}
