//! Restores beside the live database: into another number of the same server that is empty. A key in it says whose it
//! is, until it takes the place of the live one.

use super::connect::{self, Connection, Doing, Failed};
use super::info::{Info, Series};
use super::rdb::{Keys, Visit};
use super::resp::Reply;
use super::{RedisDatabase, dump, load, sync};
use crate::rows::RowDigest;
use crate::{Beside, DatabaseError, Inspection};
use kit_contract::body::RestoreNeeds;
use kit_core::{Cancel, Context};
use tokio::io::AsyncRead;

/// Says in a database of ours under which id it was restored.
pub(super) const MARKER: &str = "deploy-kit:restore";
/// Stands behind the id while it is not all there, or was not compared.
const UNFINISHED: &str = " unfinished";
/// More databases than these are not looked at.
const MOST_DATABASES: u64 = 1024;

/// What a dump held that was restored: keys go while it is looked at.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) keys: Keys,
    pub(super) functions: RowDigest,
}

/// `Redis 7.0`, as metadata has it.
pub(super) fn series_of(needs: Option<&RestoreNeeds>) -> Result<&str, DatabaseError> {
    needs.and_then(|needs| needs.series.as_deref()).ok_or_else(|| DatabaseError::Unavailable {
        what: "the backup does not say what it needs; a newer version made it".to_owned(),
    })
}

pub(super) async fn restore(
    database: &RedisDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    id: &str,
) -> Result<Beside, DatabaseError> {
    let wanted = series_of(needs)?;
    let display = database.address.display();
    let doing = Doing { action: "restore beside", database: &display, unfinished: "the dump was restored" };
    let mut connection = connect::open(&database.address, cx, Doing { action: "reach", ..doing }).await?;
    let info = doing.run(cx, connection.info()).await?;
    check(&info, wanted, &display)?;
    load::has_room(&info, load::BATCH_BYTES as u64, doing)?;
    let number = claim(&mut connection, database.address.number, id, cx, doing).await?;
    let beside = Beside { name: format!("db{number}"), id: id.to_owned() };
    match load::run(connection, database.wanted, reader, cx, doing).await {
        Ok(restored) => {
            database.remember(id, restored);
            Ok(beside)
        }
        Err(error) => {
            // The first error is the one to report; what stays is replaced by the next run.
            if let Err(left) = discard(database, cx, &beside).await {
                cx.out.say(&format!("warning: {}", kit_core::StepError::from(left).chain()));
            }
            Err(error)
        }
    }
}

/// Whether a server can take a dump of this series, and exchange databases. Pure.
fn check(info: &Info, wanted: &str, display: &str) -> Result<(), DatabaseError> {
    if info.is_cluster() {
        let problem = format!(
            "{display} is a node of a cluster, which has one database and cannot exchange two: restore into a server of \
             its own, and lead the cluster there"
        );
        return Err(DatabaseError::Refused { problem });
    }
    if info.is_replica() {
        let problem =
            format!("{display} is a replica, which takes what its master says: give the URL of the master");
        return Err(DatabaseError::Refused { problem });
    }
    let found = info.series();
    let takes = wanted == found.to_string() || older(wanted, found);
    if takes {
        return Ok(());
    }
    Err(DatabaseError::Unavailable {
        what: format!(
            "{display} is {found}, and the backup is of {wanted}, whose values it may not understand"
        ),
    })
}

/// Values of an older server of the same product are understood.
fn older(wanted: &str, found: Series) -> bool {
    let number = wanted.strip_prefix(found.product.name()).map(str::trim);
    number.is_some_and(|number| Series::of(found.product, number).number < found.number)
}

/// Finds an empty database and marks it as ours; leaves it selected. What an earlier run left under the same id goes.
async fn claim(
    connection: &mut Connection,
    live: u64,
    id: &str,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<u64, DatabaseError> {
    let (mut free, mut left) = (Vec::new(), Vec::new());
    let mut number = 0;
    while number < MOST_DATABASES {
        match doing.run(cx, async { Ok(connection.select(number).await) }).await? {
            Ok(()) => {}
            // There are no more.
            Err(failed @ Failed::Refused(_)) if failed.code() == "ERR" => break,
            Err(failed) => return Err(doing.failed(&failed)),
        }
        if number != live {
            if doing.run(cx, connection.keys()).await? == 0 {
                free.push(number);
            } else if let Some(mark) = doing.run(cx, whose(connection)).await? {
                if mark.id == id {
                    doing.run_long(cx, connection.ask(&["FLUSHDB"])).await?;
                    free.push(number);
                } else if !mark.is_finished {
                    left.push(format!("database {number}"));
                }
            }
        }
        number += 1;
    }
    crate::sibling::say_left(cx, Ok(left));
    // Applications begin at the low ones.
    for free in free.into_iter().rev() {
        let claim = async {
            connection.select(free).await?;
            connection.ask(&["SET", MARKER, &format!("{id}{UNFINISHED}"), "NX"]).await
        };
        if doing.run(cx, claim).await? != Reply::Nothing {
            return Ok(free);
        }
    }
    let problem = format!(
        "the server of {} has {number} databases, and none is empty besides the live one, so that nothing can be restored \
         beside it: raise `databases` in redis.conf, or empty one that nobody needs (FLUSHDB)",
        doing.database
    );
    Err(DatabaseError::Refused { problem })
}

/// What the key says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Under which the database was restored.
    pub(super) id: String,
    /// It is whole, and was compared.
    pub(super) is_finished: bool,
}

impl Mark {
    fn parse(text: String) -> Self {
        match text.strip_suffix(UNFINISHED) {
            Some(id) => Self { id: id.to_owned(), is_finished: false },
            None => Self { id: text, is_finished: true },
        }
    }
}

/// The mark of the selected database, if it was restored and waits.
pub(super) async fn whose(connection: &mut Connection) -> Result<Option<Mark>, Failed> {
    match connection.ask(&["GET", MARKER]).await {
        Ok(said) => Ok(said.text().map(Mark::parse)),
        // Something else has that name.
        Err(failed @ Failed::Refused(_)) if failed.code() == "WRONGTYPE" => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// The number of a database of ours.
pub(super) fn number(beside: &Beside) -> Result<u64, DatabaseError> {
    beside.name.strip_prefix("db").and_then(|number| number.parse().ok()).ok_or_else(|| {
        DatabaseError::Refused { problem: format!("{:?} is no database of a Redis server", beside.name) }
    })
}

/// Says of it that it is whole, and was compared.
pub(super) async fn finish(
    database: &RedisDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Beside, DatabaseError> {
    let address = database.address.with_number(number(beside)?);
    let display = address.display();
    let doing =
        Doing { action: "finish", database: &display, unfinished: "what was restored counted as whole" };
    let mut connection = connect::open(&address, cx, doing).await?;
    if doing.run(cx, whose(&mut connection)).await?.is_none_or(|mark| mark.id != beside.id) {
        return Err(doing.because("it is not what was restored any more"));
    }
    doing.run(cx, connection.ask(&["SET", MARKER, &beside.id, "XX"])).await?;
    Ok(beside.clone())
}

/// Removes it, also when the step is cancelled; what is not ours, or live by now, stays.
pub(super) async fn discard(
    database: &RedisDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<(), DatabaseError> {
    let address = database.address.with_number(number(beside)?);
    let display = address.display();
    let doing = Doing { action: "remove", database: &display, unfinished: "what was restored was removed" };
    let cx = Context { cancel: Cancel::default(), ..cx.clone() };
    let mut connection = connect::open(&address, &cx, doing).await?;
    if doing.run(&cx, whose(&mut connection)).await?.is_some_and(|mark| mark.id == beside.id) {
        doing.run(&cx, connection.ask(&["FLUSHDB", "ASYNC"])).await?;
    }
    Ok(())
}

/// Reads what was restored back out of the server, as a snapshot.
pub(super) async fn inspect(
    database: &RedisDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Inspection, DatabaseError> {
    let number = number(beside)?;
    let display = database.address.with_number(number).display();
    let doing = Doing { action: "read", database: &display, unfinished: "what was restored was compared" };
    let mut connection = connect::open(&database.address, cx, doing).await?;
    let info = doing.run(cx, connection.info()).await?;
    let coming = sync::begin(connection, cx, doing).await?;
    let content = coming.look(cx, Marked(number), doing).await?;
    let second = u64::try_from(cx.clock.now().as_second()).unwrap_or_default();
    let found = content.keys(number);
    let live = database.wanted;
    let method = dump::method_of(info.series());
    let Some(restored) = database.remembered(&beside.id) else {
        return Ok(dump::inspection(live, &found.all(), Some(method)));
    };
    let Some((all, went)) = found.with_what_went(&restored.keys, second) else {
        return Err(doing.because(
            "a day has passed since the dump was restored: nobody knows any more which keys had to go",
        ));
    };
    if went > 0 {
        cx.out.say(&format!("{went} keys of {display} are not compared: their time is over"));
    }
    if restored.functions.sha256() != content.functions.sha256() {
        database.note_other_functions(&beside.id);
    }
    Ok(dump::inspection(live, &all, Some(method)))
}

/// Leaves out our mark in a database of ours.
struct Marked(u64);

impl Visit for Marked {
    fn wants(&self, _: u64) -> bool {
        false
    }

    fn entry(&mut self, _: u32, _: super::rdb::Entry) -> std::io::Result<()> {
        Ok(())
    }

    fn ignores(&self, database: u64, key: &[u8]) -> bool {
        database == self.0 && key == MARKER.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_server_can_take_which_backup() {
        let server = |text: &str| Info::parse(text);
        for (said, wanted, fits) in [
            ("redis_version:7.0.15", "Redis 7.0", true),
            ("redis_version:7.2.1", "Redis 7.0", true),
            ("redis_version:8.0.1", "Redis 7.0", true),
            ("redis_version:7.0.15", "Redis 7.2", false),
            ("redis_version:7.2.4\nvalkey_version:8.0.0", "Valkey 7.2", true),
            ("redis_version:7.2.4\nvalkey_version:8.0.0", "Redis 7.0", false),
            ("redis_version:7.2.4", "nonsense", false),
        ] {
            assert_eq!(check(&server(said), wanted, "it").is_ok(), fits, "{said} {wanted}");
        }
        for said in ["redis_version:7.0.1\nrole:slave", "redis_version:7.0.1\ncluster_enabled:1"] {
            assert!(matches!(check(&server(said), "Redis 7.0", "it"), Err(DatabaseError::Refused { .. })));
        }
    }
}
