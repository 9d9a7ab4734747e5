//! Puts what was restored in the places of the live databases.

use crate::Job;
use crate::beside::discard;
use crate::report::store_flag;
use kit_contract::Reason;
use kit_contract::body::{Engine, Restore};
use kit_core::StepError;
use kit_database::{Beside, DatabaseError};
use kit_step::StepContext;

/// Swaps one after the other. Gives what a person should know although all went well.
///
/// Until the first swap an error means that nothing was changed; after it, that the databases are of
/// different times, which only a human can judge.
pub(crate) async fn swap_all(
    cx: &StepContext<Restore>,
    (jobs, ready): (&[Job], &[Beside]),
    body: &mut Restore,
    store: Option<&str>,
) -> Result<Vec<String>, StepError> {
    let mut warnings = Vec::new();
    for (index, (job, beside)) in jobs.iter().zip(ready).enumerate() {
        cx.in_danger(
            format!("{} was being exchanged for what was restored", job.database.display()),
            what_to_look_at(job, beside),
        );
        let swapped = match job.database.swap(cx.context(), beside).await {
            Ok(swapped) => swapped,
            // The danger stays: it says what to do.
            Err(error @ DatabaseError::Stuck { .. }) => return Err(error.into()),
            Err(error) => {
                cx.out_of_danger();
                discard(
                    cx.context(),
                    jobs.get(index..).unwrap_or_default(),
                    ready.get(index..).unwrap_or_default(),
                )
                .await;
                return Err(not_swapped((jobs, index), error.into(), body, store));
            }
        };
        cx.out_of_danger();
        if let Some(entry) = body.databases.get_mut(index) {
            entry.kept.clone_from(&swapped.kept);
            entry.swapped = true;
        }
        cx.save(body.clone());
        warnings.extend(swapped.warnings);
    }
    Ok(warnings)
}

/// What a human must do if nobody draws a conclusion.
fn what_to_look_at(job: &Job, beside: &Beside) -> String {
    let (live, Beside { name, id }) = (job.database.display(), beside);
    match job.database.engine() {
        Engine::Redis => format!(
            "look at {name} of the server of {live}: if it has the key deploy-kit:restore, nothing was exchanged, and it \
             can be emptied; else {live} is the restored one, and {name} the one before"
        ),
        _ => format!(
            "look at {live} and at {name}: if the former is missing, rename {name} to it; the one that was live is kept \
             beside it as ….before-{id}"
        ),
    }
}

/// One of them could not be swapped; those before it were.
fn not_swapped(
    (jobs, index): (&[Job], usize),
    error: StepError,
    body: &Restore,
    store: Option<&str>,
) -> StepError {
    let names = |jobs: &[Job]| jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(" and ");
    let before = jobs.get(..index).unwrap_or_default();
    if before.is_empty() {
        return error.hint("nothing was changed: the live database is where it was");
    }
    let rest = jobs.get(index..).unwrap_or_default();
    let mut stuck = StepError::new(
        Reason::LeftChanged,
        format!("{} was restored, {} was not: {}", names(before), names(rest), error.chain()),
    );
    let again: Vec<String> =
        rest.iter().map(|job| format!("--database {0} --confirm {0}", job.name)).collect();
    stuck = stuck.hint(format!(
        "restore the rest with db-restore --deployment {} {}{}, or put back what is kept",
        body.subject,
        again.join(" "),
        store_flag(store)
    ));
    for entry in body.databases.iter().filter(|entry| entry.swapped) {
        if let Some(kept) = &entry.kept {
            stuck = stuck.hint(format!("{} before it was restored: {kept}", entry.database));
        }
    }
    error.hints.into_iter().fold(stuck, StepError::hint)
}
