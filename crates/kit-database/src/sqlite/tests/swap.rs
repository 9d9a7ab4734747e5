use super::{FileMoves, Place, connect, number, run};
use crate::sqlite::SqliteDatabase;
use crate::{Beside, Database as _, DatabaseError};
use kit_contract::Reason;
use kit_core::fs::FsError;
use sqlx::{Connection as _, Executor as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const LIVE: &str = "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1);";

/// A live database that holds 2 where the restored one beside it holds 1.
async fn ready(sql: &str) -> (Place, Beside) {
    let place = Place::with(sql).await;
    let dump = place.dump().await;
    place.sql("UPDATE t SET a = 2").await;
    let beside = place.database().restore_beside(&place.cx, &mut &dump[..], None, "r1").await.unwrap();
    assert!(beside.name.ends_with("shop.db.unfinished-r1"), "{beside:?}");
    assert_eq!(place.names(), ["shop.db", "shop.db.unfinished-r1"]);
    let error = place.database().swap(&place.cx, &beside).await.unwrap_err();
    assert!(error.to_string().contains("is unfinished"), "{error}");
    let beside = place.database().finish_beside(&place.cx, &beside).await.unwrap();
    assert!(beside.name.ends_with("shop.db.restore-r1"), "{beside:?}");
    (place, beside)
}

async fn value(path: &Path) -> i64 {
    number(path, "SELECT a FROM t").await
}

async fn is_wal(path: &Path) -> bool {
    number(path, "SELECT journal_mode = 'wal' FROM pragma_journal_mode").await == 1
}

#[tokio::test]
async fn a_swap_keeps_the_one_before_and_what_a_dump_does_not_carry() {
    for (sql, wal) in [(LIVE, true), ("CREATE TABLE t (a); INSERT INTO t VALUES (1);", false)] {
        let (place, beside) = ready(sql).await;
        std::fs::set_permissions(&place.path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let swapped = place.database().swap(&place.cx, &beside).await.unwrap();
        let kept = place.path.with_file_name("shop.db.before-r1");
        assert_eq!(swapped.kept.as_deref(), kept.to_str());
        assert_eq!(swapped.warnings, Vec::<String>::new());
        assert_eq!(place.names(), ["shop.db", "shop.db.before-r1"]);
        assert_eq!((value(&place.path).await, value(&kept).await), (1, 2));
        assert_eq!((is_wal(&place.path).await, is_wal(&kept).await), (wal, wal));
        let mode = std::fs::metadata(&place.path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640);

        let again = async || {
            let dump = place.dump().await;
            place.database().restore_beside(&place.cx, &mut &dump[..], None, "r1").await.unwrap()
        };
        let finished = place.database().finish_beside(&place.cx, &again().await).await.unwrap();
        let error = place.database().swap(&place.cx, &finished).await.unwrap_err();
        assert!(error.to_string().contains("is never replaced"), "{error}");
        again().await;
        assert_eq!(
            place.names(),
            ["shop.db", "shop.db.before-r1", "shop.db.unfinished-r1"],
            "it is replaced"
        );
        place.database().discard(&place.cx, &beside).await.unwrap();
        assert_eq!(place.names(), ["shop.db", "shop.db.before-r1"]);
    }
}

#[tokio::test]
async fn what_a_killed_restore_has_left_is_said_and_stays() {
    let place = Place::with(LIVE).await;
    let dump = place.dump().await;
    let (cx, captured) = kit_core::Context::for_test(kit_core::Env::default());
    for id in ["r1", "r2"] {
        place.database().restore_beside(&cx, &mut &dump[..], None, id).await.unwrap();
        let said = captured.stderr();
        let left = place.path.with_file_name("shop.db.unfinished-r1");
        let warning = format!("warning: {} holds a part of a backup at most", left.display());
        assert_eq!(said.contains(&warning), id == "r2", "{said}");
    }
    assert_eq!(place.names(), ["shop.db", "shop.db.unfinished-r1", "shop.db.unfinished-r2"]);
}

#[tokio::test]
async fn a_database_in_use_is_not_swapped_and_stays_as_it_is() {
    for (sql, wal, held) in [
        (LIVE, true, "SELECT a FROM t"),
        (LIVE, true, "BEGIN IMMEDIATE"),
        ("CREATE TABLE t (a); INSERT INTO t VALUES (1);", false, "BEGIN IMMEDIATE"),
        ("CREATE TABLE t (a); INSERT INTO t VALUES (1);", false, "BEGIN; SELECT a FROM t"),
    ] {
        let (place, beside) = ready(sql).await;
        let before = place.names();
        let mut other = connect(&place.path).await;
        other.execute(held).await.unwrap();
        let error = place.database().swap(&place.cx, &beside).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Busy { waited_ms: 50, .. }), "{held}: {error:?}");
        assert!(error.to_string().ends_with("so nothing was swapped"), "{error}");
        other.close().await.unwrap();
        assert_eq!(place.names(), before, "{held}");
        assert_eq!(value(&place.path).await, 2);
        assert_eq!(is_wal(&place.path).await, wal, "{held}");
        place.database().swap(&place.cx, &beside).await.unwrap();
        assert_eq!(value(&place.path).await, 1);
    }
}

fn refuse(action: &'static str, path: &Path) -> FsError {
    FsError { action, path: path.to_owned(), source: std::io::Error::other("injected") }
}

fn holds(path: &Path, part: &str) -> bool {
    path.to_string_lossy().contains(part)
}

fn no_links(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn second_fails(from: &Path, to: &Path) -> Result<(), FsError> {
    if holds(from, ".restore-") { Err(refuse("rename", from)) } else { kit_core::fs::rename(from, to) }
}

fn second_and_undo_fail(from: &Path, to: &Path) -> Result<(), FsError> {
    if holds(from, ".before-") { Err(refuse("rename", from)) } else { second_fails(from, to) }
}

fn moved_but_not_synced(from: &Path, to: &Path) -> Result<(), FsError> {
    kit_core::fs::rename(from, to)?;
    Err(refuse("sync", to))
}

fn with_moves(place: &Place, moves: FileMoves) -> SqliteDatabase {
    SqliteDatabase { moves, ..place.database() }
}

#[tokio::test]
async fn a_second_rename_that_fails_is_undone() {
    for link in [FileMoves::default().link, no_links] {
        let (place, beside) = ready(LIVE).await;
        let before = place.names();
        let broken = with_moves(&place, FileMoves { link, rename: second_fails });
        let error = broken.swap(&place.cx, &beside).await.unwrap_err();
        assert!(matches!(error, DatabaseError::File(_)), "{error:?}");
        assert_eq!(place.names(), before);
        assert_eq!(value(&place.path).await, 2);
        assert!(is_wal(&place.path).await);
        let healthy = with_moves(&place, FileMoves { link, ..FileMoves::default() });
        let swapped = healthy.swap(&place.cx, &beside).await.unwrap();
        assert_eq!((value(&place.path).await, value(swapped.kept.unwrap().as_ref()).await), (1, 2));
    }
}

#[tokio::test]
async fn what_cannot_be_undone_is_said_with_names() {
    let (place, beside) = ready(LIVE).await;
    let broken = with_moves(&place, FileMoves { link: no_links, rename: second_and_undo_fail });
    let error = broken.swap(&place.cx, &beside).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LeftChanged);
    assert_eq!(error.reason().exit_code(), 30);
    for name in ["shop.db.before-r1", "shop.db.restore-r1"] {
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(value(&place.path.with_file_name("shop.db.before-r1")).await, 2, "nothing is lost");
}

#[tokio::test]
async fn where_the_file_is_counts_not_what_the_rename_said() {
    for link in [FileMoves::default().link, no_links] {
        let (place, beside) = ready(LIVE).await;
        let database = with_moves(&place, FileMoves { link, rename: moved_but_not_synced });
        database.swap(&place.cx, &beside).await.unwrap();
        assert_eq!(value(&place.path).await, 1);
    }
}

#[tokio::test]
async fn a_lost_or_damaged_database_can_be_replaced() {
    for damaged in [false, true] {
        let (place, beside) = ready(LIVE).await;
        if damaged {
            kit_core::fs::write_atomic(&place.path, &[b'x'; 9000]).unwrap();
        } else {
            kit_core::fs::remove(&place.path).unwrap();
        }
        // Left behind by the database that was there; SQLite would take it for the restored one's.
        kit_core::fs::write_atomic(&place.path.with_file_name("shop.db-wal"), b"stale").unwrap();
        let swapped = place.database().swap(&place.cx, &beside).await.unwrap();
        assert_eq!(swapped.kept.is_some(), damaged);
        assert_eq!(swapped.warnings.len(), usize::from(damaged), "{:?}", swapped.warnings);
        assert_eq!(value(&place.path).await, 1);
        let names = place.names();
        assert!(names.contains(&"shop.db.before-r1-wal".to_owned()), "{names:?}");
        assert!(!names.contains(&"shop.db-wal".to_owned()), "{names:?}");
    }
}

#[tokio::test]
async fn only_what_we_restored_is_swapped_in() {
    let (place, beside) = ready(LIVE).await;
    run(&place.path.with_file_name("other.db"), "CREATE TABLE t (a)").await;
    let other = place.path.with_file_name("other.db").display().to_string();
    for (name, id) in
        [(other.as_str(), "r1"), (&beside.name, "r2"), (&beside.name, "../r1"), (&beside.name, "")]
    {
        let beside = Beside { name: name.to_owned(), id: id.to_owned() };
        let error = place.database().swap(&place.cx, &beside).await.unwrap_err();
        assert_eq!(error.reason(), Reason::UsageError, "{error}");
    }
    let read_only = SqliteDatabase { writable: false, ..place.database() };
    assert_eq!(read_only.swap(&place.cx, &beside).await.unwrap_err().reason(), Reason::UsageError);
    assert_eq!(value(&place.path).await, 2);
}

#[tokio::test]
async fn a_swap_that_died_half_way_is_finished() {
    for died_after_second_name in [true, false] {
        let (place, beside) = ready(LIVE).await;
        let kept = place.path.with_file_name("shop.db.before-r1");
        if died_after_second_name {
            std::fs::hard_link(&place.path, &kept).unwrap();
        } else {
            kit_core::fs::rename(&place.path, &kept).unwrap();
        }
        let swapped = place.database().swap(&place.cx, &beside).await.unwrap();
        assert_eq!(swapped.kept.as_deref(), kept.to_str());
        assert_eq!((value(&place.path).await, value(&kept).await), (1, 2));
    }
}
