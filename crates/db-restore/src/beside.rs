//! Restores beside the live databases and compares. The live ones are not touched.

use crate::Job;
use crate::catalogue::object_key;
use crate::drill::time_text;
use crate::fault;
use crate::judge::{not_comparable, not_holding, other_bytes, other_content};
use kit_backup::unpack;
use kit_contract::Reason;
use kit_contract::body::{AssertionResult, DatabaseRestore};
use kit_core::{Context, Progress, StepError};
use kit_database::assertions::unmet;
use kit_database::gunzip::{Fault, Gunzip};
use kit_database::{Beside, DatabaseError, Inspection};
use kit_store::Store;

/// Restores every database beside the live one. After an error none of them stays there.
pub(crate) async fn restore_all(
    cx: &Context,
    store: &dyn Store,
    jobs: &[Job],
    id: &str,
    entries: &mut [DatabaseRestore],
) -> Result<Vec<Beside>, StepError> {
    let mut ready = Vec::new();
    for (job, entry) in jobs.iter().zip(entries) {
        cx.out.say(&format!(
            "{}: restoring {} beside {}",
            job.name,
            job.backup.location,
            job.database.display()
        ));
        match restore_one(cx, store, job, id).await {
            Ok((beside, compared)) => {
                ready.push(beside);
                compared.enter(cx, entry);
            }
            Err(error) => {
                discard(cx, jobs, &ready).await;
                return Err(error);
            }
        }
    }
    Ok(ready)
}

/// Removes what was restored beside, as far as that is possible.
pub(crate) async fn discard(cx: &Context, jobs: &[Job], ready: &[Beside]) {
    for (job, beside) in jobs.iter().zip(ready) {
        if let Err(error) = job.database.discard(cx, beside).await {
            let why = StepError::from(error).chain();
            cx.out.say(&format!("warning: {} stays behind: {why}", beside.name));
        }
    }
}

/// What was compared.
pub(crate) struct Compared {
    /// Why the content was not, if it was not.
    pub(crate) content_limit: Option<String>,
    /// What came of the user's assertions.
    pub(crate) assertions: Vec<AssertionResult>,
    /// How long it took until everything was in it.
    pub(crate) restore_ms: u64,
    /// How long comparing took.
    pub(crate) compare_ms: u64,
}

impl Compared {
    /// Says it, and writes it down.
    pub(crate) fn enter(self, cx: &Context, entry: &mut DatabaseRestore) {
        cx.out.say(&format!(
            "{}: restored in {}, compared in {}",
            entry.database,
            time_text(self.restore_ms),
            time_text(self.compare_ms)
        ));
        entry.content_compared = Some(self.content_limit.is_none());
        entry.content_limit = self.content_limit;
        entry.assertions = self.assertions;
        entry.restore_ms = Some(self.restore_ms);
        entry.compare_ms = Some(self.compare_ms);
    }
}

/// When it began, and when everything was in it, by the clock that only goes forward.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) began_ms: u64,
    pub(crate) restored_ms: u64,
}

async fn restore_one(
    cx: &Context,
    store: &dyn Store,
    job: &Job,
    id: &str,
) -> Result<(Beside, Compared), StepError> {
    let began_ms = cx.clock.elapsed_ms();
    let mut gunzip = fetch(cx, store, job, "restoring").await?;
    let beside = job.database.restore_beside(cx, &mut gunzip, job.backup.details.needs.as_ref(), id).await;
    let beside = beside.map_err(|error| why_not(job, gunzip.fault(), error))?;
    let times = Times { began_ms, restored_ms: cx.clock.elapsed_ms() };
    let compared = match gunzip.read() {
        None => Err(StepError::new(Reason::InternalError, "the restore ended before the backup did")),
        Some(read) => match other_bytes(&job.backup, &read) {
            Some(difference) => Err(mismatch(job, &difference)),
            None => look(cx, job, &beside, times).await,
        },
    };
    let finished = match compared {
        Ok(compared) => match job.database.finish_beside(cx, &beside).await {
            Ok(finished) => Ok((finished, compared)),
            Err(error) => Err(StepError::from(error).hint("the live database was not touched")),
        },
        Err(error) => Err(error),
    };
    match finished {
        Ok(finished) => Ok(finished),
        Err(error) => {
            discard(cx, std::slice::from_ref(job), std::slice::from_ref(&beside)).await;
            Err(error)
        }
    }
}

/// The backup as it comes out of the store.
pub(crate) async fn fetch(
    cx: &Context,
    store: &dyn Store,
    job: &Job,
    doing: &str,
) -> Result<Gunzip, StepError> {
    let key = object_key(&job.backup)?;
    let Some(source) = store.read_stream(&key).await? else {
        return Err(StepError::new(Reason::BackupNotFound, format!("{key} is gone from the store")));
    };
    let total = Some(job.backup.uncompressed_bytes);
    let what = format!("{}: {doing}", job.name);
    let progress = Progress::with_rows(cx, what, total, Some(job.rows.clone()));
    unpack(source, job.key.as_ref(), progress)
        .await
        .map_err(|fault| untouched(fault::of_fault(&job.backup, &fault)))
}

async fn look(cx: &Context, job: &Job, beside: &Beside, times: Times) -> Result<Compared, StepError> {
    let inspected = job.database.inspect_beside(cx, beside, job.depth()).await;
    let found = compare(job, inspected)?;
    let asked = job.database.assertions_beside(cx, beside).await;
    hold(cx, job, (found, asked), times).map_err(|error| error.hint("the live database was not touched"))
}

/// Compares what came back with what was promised. Gives why the content was not compared, if it was not.
pub(crate) fn compare(
    job: &Job,
    inspected: Result<Inspection, DatabaseError>,
) -> Result<Option<String>, StepError> {
    let inspection = inspected.map_err(|error| why_not(job, None, error))?;
    let found = other_content(&job.backup, &inspection);
    if !found.is_empty() {
        return Err(mismatch(job, &found.join("; ")));
    }
    Ok(not_comparable(&job.backup, &inspection))
}

/// What was compared, if the user's assertions hold.
pub(crate) fn hold(
    cx: &Context,
    job: &Job,
    (content_limit, asked): (Option<String>, Result<Vec<AssertionResult>, DatabaseError>),
    times: Times,
) -> Result<Compared, StepError> {
    let assertions = asked.map_err(|error| why_not(job, None, error))?;
    match unmet(&assertions) {
        Some(unmet) => Err(not_holding(&job.name, unmet)),
        None => Ok(Compared {
            content_limit,
            assertions,
            restore_ms: times.restored_ms.saturating_sub(times.began_ms),
            compare_ms: cx.clock.elapsed_ms().saturating_sub(times.restored_ms),
        }),
    }
}

pub(crate) fn mismatch(job: &Job, difference: &str) -> StepError {
    untouched(fault::mismatch(&job.backup, difference))
}

fn untouched(error: StepError) -> StepError {
    match error.reason {
        Reason::RestoreMismatch => error.hint("the live database was not touched"),
        _ => error,
    }
}

/// Tells a worthless backup from one that could not be fetched or put anywhere.
pub(crate) fn why_not(job: &Job, fault: Option<&Fault>, error: DatabaseError) -> StepError {
    match (fault, error) {
        (None, DatabaseError::Transfer { database, source, .. }) => StepError::new(
            Reason::DatabaseUnreachable,
            format!("the backup cannot be written beside {database}"),
        )
        .because(source),
        (fault, error) => untouched(fault::why_not(&job.backup, fault, error)),
    }
}
