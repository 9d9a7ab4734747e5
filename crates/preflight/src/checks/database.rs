//! Can every database be reached?

use crate::check::{Check, Finding};
use kit_core::StepError;
use kit_step::ToolContext;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// One check per database.
pub(crate) fn databases(cx: &ToolContext) -> Vec<Check<'_>> {
    cx.config()
        .databases
        .iter()
        .map(|database| {
            Check::new(format!("database_reachable:{}", database.name), async move {
                match ping(cx, &database.url).await {
                    Ok(message) => Finding::pass(message),
                    Err(error) => Finding::failed(&error),
                }
            })
        })
        .collect()
}

async fn ping(cx: &ToolContext, reference: &kit_contract::config::SecretRef) -> Result<String, StepError> {
    let url = cx.secret_ref(reference)?;
    let database = kit_database::open(&url, &reference.env, cx.context()).await?;
    let info = database.ping(cx.context(), LIMIT).await?;
    Ok(format!("{} answers, version {}", database.display(), info.version))
}
