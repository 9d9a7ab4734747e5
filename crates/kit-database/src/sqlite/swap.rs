//! The swap: lock the live database against everybody, move the files, let go.

use super::connect::{self, Access, Doing, is_busy, is_damage};
use super::exchange::{Exchange, is_same_file, there};
use super::inspect::{self, NO_WAIT};
use super::restore::SIDE_FILES;
use super::with_suffix;
use super::{FINISHED, SqliteDatabase};
use crate::{Beside, Database as _, DatabaseError, EngineError, Swapped};
use kit_core::Context;
use sqlx::Executor as _;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;
use std::time::Duration;

/// Between two attempts to get the lock.
const RETRY: Duration = Duration::from_millis(100);

/// The live database while its files are moved.
enum Live {
    /// There is none.
    Absent,
    /// There is one, too damaged to be locked.
    Damaged(EngineError),
    /// Nobody else can read or write it. `wal`: it was in WAL mode before.
    Locked { connection: SqliteConnection, wal: bool },
}

pub(super) async fn swap(
    database: &SqliteDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Swapped, DatabaseError> {
    let restored = database.sibling(FINISHED, &beside.id)?;
    if database.beside_path(beside)? != restored {
        let problem = format!("{} is unfinished: it was not compared with its backup", beside.name);
        return Err(DatabaseError::Refused { problem });
    }
    let kept = database.sibling("before", &beside.id)?;
    if !database.writable {
        return Err(DatabaseError::Refused {
            problem: format!("{} was given as read-only (mode=ro)", database.display()),
        });
    }
    if !there(&restored)? {
        return Err(DatabaseError::Missing { path: restored.display().to_string() });
    }
    let resumed = clear_way(&database.path, &kept)?;
    let live = lock(database, cx).await?;
    let mut warnings = Vec::new();
    let prepared = prepare(database, cx, &live, &restored, &mut warnings).await;
    let exchange = Exchange { live: &database.path, restored: &restored, kept: &kept, moves: database.moves };
    let exchanged = prepared.and_then(|()| exchange.run());
    let now_at = if exchanged.is_ok() { &kept } else { &database.path };
    if let Err(error) = release(live, now_at).await {
        warnings.push(format!("{} could not be set back to WAL mode: {error}", now_at.display()));
    }
    let had_live = exchanged?;
    Ok(Swapped { kept: (had_live || resumed).then(|| kept.display().to_string()), warnings })
}

/// Looks at what already has the name under which the live database would be kept. Gives whether the
/// live database is there already, because an earlier swap died between its two moves.
fn clear_way(live: &Path, kept: &Path) -> Result<bool, DatabaseError> {
    if !there(kept)? {
        return Ok(false);
    }
    if !there(live)? {
        return Ok(true);
    }
    if is_same_file(live, kept)? {
        // A second name, given by a swap that died before its first change.
        kit_core::fs::remove(kept)?;
        return Ok(false);
    }
    Err(DatabaseError::Refused {
        problem: format!("{} exists; it holds an earlier database and is never replaced", kept.display()),
    })
}

/// Locks the live database, waiting for others no longer than our patience.
async fn lock(database: &SqliteDatabase, cx: &Context) -> Result<Live, DatabaseError> {
    if !there(&database.path)? {
        return Ok(Live::Absent);
    }
    let display = database.display();
    let doing = Doing { action: "lock", database: &display, waited: database.patience };
    let began = cx.clock.elapsed();
    let mut wal = false;
    match look(database, cx).await {
        Ok(_) => {}
        Err(error) if is_damage(&error) => return Ok(Live::Damaged(error.into())),
        Err(error) if is_busy(&error) => {}
        Err(error) => return Err(doing.failed(error, cx)),
    }
    let mut connection = connect::open(&database.path, Access::ReadWrite, NO_WAIT, Some(&cx.cancel))
        .await
        .map_err(|error| doing.failed(error, cx))?;
    loop {
        let error = match try_lock(&mut connection, &mut wal).await {
            Ok(true) => return Ok(Live::Locked { connection, wal }),
            Ok(false) => None,
            Err(error) if is_busy(&error) => None,
            Err(error) => Some(error),
        };
        let gone = cx.clock.elapsed().saturating_sub(began) >= database.patience;
        if error.is_none() && !gone && cx.cancel.unless(cx.clock.sleep(RETRY)).await.is_some() {
            continue;
        }
        // Leave it as it was found, also if the lock was lost to somebody half-way.
        let left = release(Live::Locked { connection, wal }, &database.path).await;
        return match (error, left) {
            (Some(error), _) if is_damage(&error) => Ok(Live::Damaged(error.into())),
            (Some(error), _) => Err(doing.failed(error, cx)),
            _ if cx.cancel.is_cancelled() => Err(DatabaseError::Cancelled {
                unfinished: "the databases were swapped; nothing was moved",
                cause: cx.cancel.cause(),
            }),
            _ => Err(DatabaseError::Busy {
                database: display.clone(),
                waited_ms: database.patience.as_millis(),
                refused: "nothing was swapped",
            }),
        };
    }
}

/// Whether it can be read, without touching it: closing a connection that may write would put the WAL
/// into a damaged database, and the damaged one has to be kept as it is.
async fn look(database: &SqliteDatabase, cx: &Context) -> Result<String, sqlx::Error> {
    let mut connection = connect::open(&database.path, Access::ReadOnly, NO_WAIT, Some(&cx.cancel)).await?;
    let version = inspect::version(&mut connection).await;
    connect::close(connection).await;
    version
}

/// One attempt. In WAL mode an exclusive transaction does not keep readers out, and every connection
/// that has read anything holds a shared lock; leaving WAL mode needs all of them to be gone, writes
/// the whole WAL into the database and removes it (sqlite.org/wal.html).
async fn try_lock(connection: &mut SqliteConnection, wal: &mut bool) -> Result<bool, sqlx::Error> {
    if journal_mode(connection, "PRAGMA journal_mode").await? == "wal" {
        *wal = true;
        if journal_mode(connection, "PRAGMA journal_mode = DELETE").await? != "delete" {
            return Ok(false);
        }
    }
    connection.execute("BEGIN EXCLUSIVE").await?;
    // Somebody may have opened it and switched back between the two.
    if journal_mode(connection, "PRAGMA journal_mode").await? == "wal" {
        connection.execute("ROLLBACK").await?;
        return Ok(false);
    }
    Ok(true)
}

async fn journal_mode(connection: &mut SqliteConnection, sql: &'static str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(sql).persistent(false).fetch_one(connection).await
}

/// Makes the restored file like the live one in what a dump does not carry: journal mode, owner, mode.
async fn prepare(
    database: &SqliteDatabase,
    cx: &Context,
    live: &Live,
    restored: &Path,
    warnings: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    match live {
        Live::Absent => return Ok(()),
        Live::Damaged(error) => warnings.push(format!(
            "{} is too damaged to be locked ({error}); whatever has it open must be restarted",
            database.display()
        )),
        Live::Locked { wal: true, .. } => {
            let name = restored.display().to_string();
            let doing = Doing { action: "prepare", database: &name, waited: NO_WAIT };
            set_wal(restored).await.map_err(|error| doing.failed(error, cx))?;
            for suffix in SIDE_FILES {
                let side = with_suffix(restored, suffix);
                if there(&side)? {
                    return Err(DatabaseError::Refused {
                        problem: format!(
                            "{} is there, so somebody uses the restored database",
                            side.display()
                        ),
                    });
                }
            }
        }
        Live::Locked { .. } => {}
    }
    copy_ownership(&database.path, restored, warnings)
}

fn copy_ownership(live: &Path, restored: &Path, warnings: &mut Vec<String>) -> Result<(), DatabaseError> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let look = |path: &Path| {
        std::fs::metadata(path).map_err(|source| kit_core::fs::FsError {
            action: "look at",
            path: path.to_owned(),
            source,
        })
    };
    let (from, to) = (look(live)?, look(restored)?);
    if (from.uid(), from.gid()) != (to.uid(), to.gid())
        && let Err(error) = chown(restored, Some(from.uid()), Some(from.gid()))
    {
        warnings.push(format!(
            "the restored database belongs to user {} and group {}, the one before it to {} and {}: {error}",
            to.uid(),
            to.gid(),
            from.uid(),
            from.gid()
        ));
    }
    std::fs::set_permissions(restored, from.permissions()).map_err(|source| {
        kit_core::fs::FsError { action: "set the permissions of", path: restored.to_owned(), source }.into()
    })
}

/// Lets go, and gives the database that was live its journal mode back, wherever it lies now.
async fn release(live: Live, now_at: &Path) -> Result<(), EngineError> {
    let Live::Locked { mut connection, wal } = live else { return Ok(()) };
    // Fails where no transaction was begun; closing ends one as well.
    let _ = connection.execute("ROLLBACK").await;
    connect::close(connection).await;
    if wal { set_wal(now_at).await.map_err(EngineError::from) } else { Ok(()) }
}

/// Puts a database into WAL mode. Leaves no file beside it: closing the only connection removes them.
async fn set_wal(path: &Path) -> Result<(), sqlx::Error> {
    // Not cancellable: it gives back what was taken, and takes no time.
    let mut connection = connect::open(path, Access::ReadWrite, NO_WAIT, None).await?;
    let set = journal_mode(&mut connection, "PRAGMA journal_mode = WAL").await;
    connect::close(connection).await;
    set.map(|_| ())
}
