//! The archive formats.

use super::content::AWKWARD;
use super::{Place, needs};
use crate::{Database as _, DatabaseError, Depth, OpenOptions, ScratchPlace, compare};
use kit_contract::Reason;
use kit_contract::config::DumpFormat;
use std::io::Write as _;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;

fn of(format: DumpFormat) -> OpenOptions {
    OpenOptions { format, ..Default::default() }
}

/// What is read along says the same as in the plain format, and everything comes back, by us and without us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_awkward_schema_comes_back_equal_from_an_archive() {
    let place = Place::with(&AWKWARD.replace('→', "\t"));
    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    for (format, extension) in [(DumpFormat::Custom, "dump"), (DumpFormat::Directory, "tar")] {
        let database = place.database_with("shop", of(format));
        assert_eq!(database.extension(), extension);
        let (dump, report) = place.try_dump(&database).await.unwrap();
        assert_eq!(report.uncompressed_bytes, dump.len() as u64);
        assert_eq!(report.details.format.as_deref(), Some(format.as_str()));
        assert_eq!(compare(&live, &report.inspection), [], "{format:?}");
        // Whatever is configured by then: a dump says what it is.
        let database = place.database("shop");
        let restored = place.restored_by(&database, &dump, needs(&report), Depth::Content).await.unwrap();
        assert_eq!(compare(&live, &restored), [], "{format:?}");
        let mut script = report.schema_script.as_ref().unwrap().reader().unwrap();
        let mut text = Vec::new();
        script.read_to_end(&mut text).await.unwrap();
        let beside = OpenOptions { scratch: ScratchPlace::Beside, ..Default::default() };
        let beside = place.database_with("shop", beside);
        let schema = place.restored_by(&beside, &text, needs(&report), Depth::Rows).await.unwrap();
        assert_eq!((&schema.schema_sha256, schema.row_count()), (&live.schema_sha256, 0));

        let by_hand = format!("by_hand_{extension}");
        place.server.sql("postgres", &format!("CREATE DATABASE {by_hand} TEMPLATE template0"));
        restore_by_hand(&place, format, &dump, &by_hand);
        let by_hand = place.database(&by_hand).inspect(&place.cx, Depth::Content).await.unwrap();
        assert_eq!(compare(&live, &by_hand), [], "{format:?}");
        drop(report);
        assert_eq!(place.left(), [""; 0]);
    }
    // Beside the live one there is no scratch folder, and rows are rows in any format.
    let database = place.database_with("shop", of(DumpFormat::Directory));
    let (dump, report) = place.try_dump(&database).await.unwrap();
    let beside =
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await.unwrap();
    let restored = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &restored), []);
    // What is overwritten and what is restored cannot be one transaction of `pg_restore`.
    let error = database.restore_in_place(&place.cx, &mut &dump[..], Some(needs(&report))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError, "{error}");
    let untouched = database.inspect(&place.cx, Depth::Rows).await.unwrap();
    assert_eq!(untouched.table_rows(), live.table_rows());
}

fn restore_by_hand(place: &Place, format: DumpFormat, dump: &[u8], database: &str) {
    let mut pg_restore = place.server.command("pg_restore", database);
    pg_restore.args(["--exit-on-error", "--dbname", database]);
    if format == DumpFormat::Directory {
        let folder = tempfile::tempdir().unwrap();
        tar::Archive::new(dump).unpack(folder.path()).unwrap();
        assert!(pg_restore.arg(folder.path()).status().unwrap().success());
        return;
    }
    let mut running = pg_restore.stdin(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(dump).unwrap();
    assert!(running.wait().unwrap().success());
}

/// Some megabytes, and an end that no row announces.
const LARGE: &str = "CREATE TABLE filler (id bigint, note text);
    INSERT INTO filler SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) AS i;
    CREATE TABLE later (a integer); INSERT INTO later VALUES (1); CREATE INDEX ON filler (id);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_whose_server_dies_or_that_is_not_read_is_never_whole() {
    let place = Place::with(LARGE);
    let end =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'deploy-kit'";
    let custom = place.database_with("shop", of(DumpFormat::Custom));
    let (whole, report) = place.try_dump(&custom).await.unwrap();
    for at in [0, 1000, whole.len() / 2] {
        let mut dump = custom.begin_dump(&place.cx, place.folder.path()).await.unwrap();
        let mut begun = vec![0; at];
        dump.reader().read_exact(&mut begun).await.unwrap();
        assert_ne!(place.server.sql("postgres", end), "0");
        dump.reader().read_to_end(&mut begun).await.unwrap();
        assert!(begun.len() < whole.len(), "it ended early");
        let error = dump.finish(&place.cx).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed, "{at}: {error}");
    }
    for format in [DumpFormat::Custom, DumpFormat::Directory] {
        let database = place.database_with("shop", of(format));
        let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
        dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
        let error = dump.finish(&place.cx).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{format:?}: {error}");
    }
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_cut_off_or_changed_is_never_restored() {
    let place = Place::with(LARGE);
    let options = OpenOptions { scratch: ScratchPlace::Beside, ..of(DumpFormat::Custom) };
    let custom = place.database_with("shop", options);
    let (whole, report) = place.try_dump(&custom).await.unwrap();
    let worthless = |error: &DatabaseError| {
        matches!(error, DatabaseError::Truncated { .. } | DatabaseError::Damaged { .. })
    };
    for at in [6, 400, whole.len() / 2, whole.len() - 1] {
        let cut = &whole[..at];
        let error = place.restored_by(&custom, cut, needs(&report), Depth::Rows).await.unwrap_err();
        assert!(worthless(&error), "{at}: {error}");
    }
    let options = OpenOptions { scratch: ScratchPlace::Beside, ..of(DumpFormat::Directory) };
    let directory = place.database_with("shop", options);
    let (whole, report) = place.try_dump(&directory).await.unwrap();
    for at in [2048, whole.len() - 1] {
        let cut = &whole[..at];
        let error = place.restored_by(&directory, cut, needs(&report), Depth::Rows).await.unwrap_err();
        assert!(worthless(&error), "{at}: {error}");
    }
    // A role that the server lacks says nothing about the archive.
    place.server.sql("shop", "CREATE ROLE bob; ALTER TABLE later OWNER TO bob");
    let (dump, report) = place.try_dump(&custom).await.unwrap();
    place.server.sql("shop", "ALTER TABLE later OWNER TO admin; DROP ROLE bob");
    let mut needs = needs(&report).clone();
    needs.roles.retain(|role| role != "bob");
    let error = place.restored_by(&custom, &dump, &needs, Depth::Rows).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Unavailable { what } if what.contains("bob")), "{error}");
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}
