//! The exchange: `SWAPDB`, in one transaction with our mark, by which one can see afterwards whether it was done.
//! Whoever is connected sees the other data from one command to the next.

use super::RedisDatabase;
use super::beside::{MARKER, number, whose};
use super::connect::{self, Connection, Doing, Failed};
use super::resp::{self, Reply};
use crate::{Beside, DatabaseError, EngineError, Swapped};
use kit_core::{Cancel, Context};

pub(super) async fn swap(
    database: &RedisDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Swapped, DatabaseError> {
    let (live, restored) = (database.address.number, number(beside)?);
    let display = database.address.display();
    let doing = Doing {
        action: "swap",
        database: &display,
        unfinished: "the databases were swapped; nothing was exchanged",
    };
    let mut connection = connect::open(&database.address.with_number(restored), cx, doing).await?;
    let problem = match doing.run(cx, whose(&mut connection)).await? {
        Some(mark) if mark.id == beside.id && mark.is_finished => None,
        Some(mark) if mark.id == beside.id => Some(format!(
            "{} of the server of {display} is unfinished: it was not compared with its backup",
            beside.name
        )),
        _ => Some(format!(
            "{} of the server of {display} is not what was restored as {}, so there is nothing to swap",
            beside.name, beside.id
        )),
    };
    if let Some(problem) = problem {
        return Err(DatabaseError::Refused { problem });
    }
    // Whoever touches the mark stops the transaction: see `look_again`.
    doing.run(cx, connection.ask(&["WATCH", MARKER])).await?;
    let exchanged = doing.run(cx, async { Ok(exchange(&mut connection, live, restored).await) }).await;
    let kept = match exchanged {
        Ok(Ok(Some(kept))) => kept,
        Ok(Ok(None)) => {
            return Err(doing
                .because(format!("somebody else changed {} meanwhile: nothing was exchanged", beside.name)));
        }
        Ok(Err(failed @ Failed::Refused(_))) => return Err(doing.failed(&failed)),
        Ok(Err(failed @ Failed::Broken(_))) => {
            look_again(database, cx, (beside, restored), doing, doing.failed(&failed)).await?
        }
        Err(error) => look_again(database, cx, (beside, restored), doing, error).await?,
    };
    let name = database.address.with_number(restored).display();
    let mut warnings = Vec::new();
    if database.has_other_functions(&beside.id) {
        warnings.push(
            "the functions of the server are not those of the backup and stay as they are, since they belong to no \
             database: to have those of the backup, load it into a server of its own, and give its FUNCTION DUMP to \
             FUNCTION RESTORE here"
                .to_owned(),
        );
    }
    Ok(Swapped { kept: (kept > 0).then_some(name), warnings })
}

/// Gives how many keys the database has that was live; `None` if the server did nothing because of the mark.
async fn exchange(connection: &mut Connection, live: u64, restored: u64) -> Result<Option<u64>, Failed> {
    let (live, restored) = (live.to_string(), restored.to_string());
    let commands: [&[&str]; 7] = [
        &["MULTI"],
        &["SWAPDB", &live, &restored],
        &["SELECT", &live],
        &["DEL", MARKER],
        &["SELECT", &restored],
        &["DBSIZE"],
        &["EXEC"],
    ];
    let mut bytes = Vec::new();
    commands.iter().for_each(|command| resp::put(command, &mut bytes));
    connection.send(&bytes).await?;
    let mut first = None;
    for _ in 1..commands.len() {
        match connection.answer().await {
            Ok(_) => {}
            Err(broken @ Failed::Broken(_)) => return Err(broken),
            // The last one says only that there was one.
            Err(refused) => first = first.or(Some(refused)),
        }
    }
    let done = connection.answer().await;
    if let Some(refused) = first {
        return Err(refused);
    }
    match done? {
        Reply::Nothing => Ok(None),
        Reply::Several(replies) => match replies.first() {
            Some(Reply::Refusal(text)) => Err(Failed::Refused(text.clone())),
            _ => Ok(Some(
                replies
                    .last()
                    .and_then(Reply::number)
                    .and_then(|keys| u64::try_from(keys).ok())
                    .unwrap_or_default(),
            )),
        },
        _ => Err(Failed::Refused("ERR the answer to EXEC is none".to_owned())),
    }
}

/// The answer never came: the mark tells whether it was done, and touching it keeps it from being done from now on.
async fn look_again(
    database: &RedisDatabase,
    cx: &Context,
    (beside, restored): (&Beside, u64),
    doing: Doing<'_>,
    error: DatabaseError,
) -> Result<u64, DatabaseError> {
    // Also if the step is cancelled: what is where has to be said.
    let cx = Context { cancel: Cancel::default(), ..cx.clone() };
    let asked = async {
        let mut connection = connect::open(&database.address.with_number(restored), &cx, doing).await?;
        let mark = doing.run(&cx, connection.ask(&["SET", MARKER, &beside.id, "XX", "GET"])).await?;
        let keys = doing.run(&cx, connection.keys()).await?;
        Ok::<_, DatabaseError>((mark, keys))
    };
    match asked.await {
        Ok((Reply::Nothing, keys)) => Ok(keys),
        Ok(_) => Err(error),
        Err(why) => Err(DatabaseError::Stuck {
            state: format!(
                "the answer to the exchange of {} and {} never came, and the server cannot be asked: if EXISTS {MARKER} \
                 in {} says 1, nothing was exchanged; else {} is the restored one, and {} the one before",
                doing.database, beside.name, beside.name, doing.database, beside.name
            ),
            source: EngineError { text: kit_core::StepError::from(why).chain().into(), code: None },
        }),
    }
}
