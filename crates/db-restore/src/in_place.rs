//! Overwrites the live database where it stands. What it held is lost, so this is never done unless it was asked for
//! by name, and the backup is read through and compared before anything is dropped.

use crate::Job;
use crate::beside::{Compared, compare, fetch, hold, mismatch, why_not};
use crate::hooks::Hooks;
use crate::judge::other_bytes;
use kit_contract::body::{Engine, Restore};
use kit_contract::{Name, Reason};
use kit_core::StepError;
use kit_database::DatabaseError;
use kit_step::StepContext;
use kit_store::Store;

/// Refuses what cannot be overwritten as one.
pub(crate) fn check(jobs: &[Job]) -> Result<(), StepError> {
    let refuse = |message: String| StepError::new(Reason::UsageError, message);
    match jobs {
        [job] if job.database.engine() == Engine::Sqlite => Err(refuse(format!(
            "--in-place is not for {}: a SQLite database is a file, which is exchanged by a rename",
            job.name
        ))
        .hint("leave --in-place out")),
        [_] => Ok(()),
        _ => {
            let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
            Err(refuse(format!(
                "--in-place overwrites one database at a time, and {} are meant",
                names.join(" and ")
            ))
            .hint(format!("name one: --database {}", names.first().unwrap_or(&"NAME"))))
        }
    }
}

/// Overwrites one database; the entry then says what was compared.
pub(crate) async fn overwrite(
    cx: &StepContext<Restore>,
    store: &dyn Store,
    job: &Job,
    body: &mut Restore,
) -> Result<(), StepError> {
    cx.out.say(&format!("{}: reading {} through before anything is dropped", job.name, job.backup.location));
    read_through(cx, store, job).await?;
    let (subject, databases): (_, [Name; 1]) = (body.subject.clone(), [job.name.clone()]);
    let hooks = Hooks { cx, subject: &subject, databases: &databases };
    let overwritten = match hooks.before().await {
        Ok(()) => replace(cx, store, job).await,
        Err(error) => Err(error.hint("nothing was changed: the live database is as it was")),
    };
    let compared = hooks.end(overwritten).await?;
    if let Some(entry) = body.databases.first_mut() {
        entry.swapped = true;
        entry.content_compared = Some(compared.content_limit.is_none());
        entry.content_limit = compared.content_limit;
        entry.assertions = compared.assertions;
    }
    cx.save(body.clone());
    Ok(())
}

/// The whole backup is there and is the one that was proved.
async fn read_through(cx: &StepContext<Restore>, store: &dyn Store, job: &Job) -> Result<(), StepError> {
    let mut gunzip = fetch(cx, store, job, "reading").await?;
    let through = cx.cancel.unless(tokio::io::copy(&mut gunzip, &mut tokio::io::sink())).await;
    match (through, gunzip.read()) {
        (None, _) => Err(StepError::new(Reason::Interrupted, "stopped before anything was changed")),
        (Some(Ok(_)), Some(read)) => match other_bytes(&job.backup, &read) {
            None => Ok(()),
            Some(difference) => Err(mismatch(job, &difference)),
        },
        (Some(Err(source)), _) => {
            let error = DatabaseError::Transfer { action: "read", database: job.name.to_string(), source };
            Err(why_not(job, gunzip.fault(), error))
        }
        (Some(Ok(_)), None) => {
            Err(StepError::new(Reason::InternalError, "the backup was not read to its end"))
        }
    }
}

async fn replace(cx: &StepContext<Restore>, store: &dyn Store, job: &Job) -> Result<Compared, StepError> {
    let mut gunzip = fetch(cx, store, job, "overwriting").await?;
    let display = job.database.display();
    cx.in_danger(
        format!("{display} was being overwritten"),
        format!(
            "what it held may be gone: keep the programs that use it stopped, and run the same command again; \
             {} is whole",
            job.backup.location
        ),
    );
    let needs = job.backup.details.needs.as_ref();
    let live = match job.database.restore_in_place(cx.context(), &mut gunzip, needs).await {
        Ok(live) => live,
        // The danger stays: it says what to do.
        Err(error @ DatabaseError::Stuck { .. }) => return Err(error.into()),
        Err(error) => {
            cx.out_of_danger();
            let error = why_not(job, gunzip.fault(), error);
            return Err(error.hint("nothing was changed: the live database is as it was"));
        }
    };
    // It is whole, and what it held before is gone; whether it is right is another question.
    cx.out_of_danger();
    let compared = compare(job, job.database.inspect(cx.context(), job.depth()).await);
    let compared = match compared {
        Ok(limit) => hold(job, limit, job.database.assertions_beside(cx.context(), &live).await),
        Err(error) => Err(error),
    };
    compared.map_err(|error| {
        let (found, hint) = match error.reason {
            Reason::Interrupted | Reason::Terminated | Reason::DeadlineExceeded => (
                "nobody has compared what is in it now",
                "run the same command again, or look at it before anything uses it",
            ),
            _ => ("what is in it now is not what it should be", "restore another backup"),
        };
        StepError::new(Reason::LeftChanged, format!("{display} was overwritten, and {found}"))
            .because(error.chain())
            .hint(hint)
    })
}
