use super::{Place, needs};
use crate::{Database as _, DatabaseError, Depth, OpenOptions, ScratchPlace, compare};
use kit_contract::Reason;
use kit_core::{Cause, StepError};
use tokio::io::AsyncReadExt as _;

/// Some megabytes, so that a dump can be interrupted.
const LARGE: &str = "CREATE TABLE filler (id bigint PRIMARY KEY, note text);
    INSERT INTO filler SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_20000;
    CREATE TABLE later (a integer); INSERT INTO later VALUES (1);";

/// Kills the connection of the dump program at several byte counts; then the whole server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_whose_server_dies_is_never_whole() {
    let mut place = Place::with(LARGE);
    let size = place.dump().await.0.len();
    for at in [1000, size / 3, size / 2] {
        let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
        let mut begun = vec![0; at];
        dump.reader().read_exact(&mut begun).await.unwrap();
        place.server.kill("db = 'shop' AND user = 'admin'");
        let mut rest = Vec::new();
        dump.reader().read_to_end(&mut rest).await.unwrap();
        assert!(at + rest.len() < size, "it ended early");
        let error = dump.finish(&place.cx).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed, "{at}: {error}");
        let text = StepError::from(error).chain();
        // 3 among the rows of a table; 2 where what was on its way was the rest of them.
        assert!(
            ["code 3", "code 2"].iter().any(|code| text.contains(&format!("exited with {code}"))),
            "{text}"
        );
    }
    let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
    let mut begun = vec![0; size / 2];
    dump.reader().read_exact(&mut begun).await.unwrap();
    place.server.stop();
    dump.reader().read_to_end(&mut begun).await.unwrap();
    assert_eq!(dump.finish(&place.cx).await.unwrap_err().reason(), Reason::DumpFailed);
    let error =
        place.database("shop").begin_dump(&place.cx, place.folder.path()).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable, "{error}");
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_has_no_dump() {
    let place = Place::with(LARGE);
    let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BackupTruncated);
    let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    place.cx.cancel.cancel(Cause::Terminated);
    let mut rest = Vec::new();
    // It may end with an error or early; what counts is what it says in the end.
    let _ = dump.reader().read_to_end(&mut rest).await;
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::Terminated | Reason::BackupTruncated), "{error}");
}

/// The lie that `mariadb-dump` tells: exit code 0, the closing line, and none of the code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_see_everything_gets_no_backup() {
    let place = Place::with(super::AWKWARD);
    let url = place.server.url_as("half", "hunter2-half", "shop");
    place.server.sql("mysql", "CREATE USER half@'%' IDENTIFIED BY 'hunter2-half'");
    for (grant, lacks) in [
        ("SELECT, SHOW VIEW", "GRANT TRIGGER, EVENT, EXECUTE ON `shop`.*"),
        ("SELECT, SHOW VIEW, EVENT", "GRANT TRIGGER, EXECUTE ON"),
        ("SELECT, SHOW VIEW, EVENT, TRIGGER", "GRANT EXECUTE ON"),
    ] {
        place.server.sql(
            "mysql",
            &format!("REVOKE ALL, GRANT OPTION FROM half@'%'; GRANT {grant} ON shop.* TO half@'%'"),
        );
        let database = place.database_with(&url, OpenOptions::default());
        let error = place.try_dump(&database).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed);
        let text = StepError::from(error).chain();
        assert!(text.contains(lacks) && !text.contains("hunter2"), "{text}");
        // It is known before anybody begins.
        let foreseen = database.can_be_dumped(&place.cx).await.unwrap_err();
        assert_eq!(StepError::from(foreseen).chain(), text);
    }
    // The program itself sees that it cannot read the bodies of others.
    place.server.sql("mysql", "GRANT EXECUTE ON shop.* TO half@'%'");
    let database = place.database_with(&url, OpenOptions::default());
    let error = place.try_dump(&database).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed, "{error}");
    place.server.sql("mysql", "GRANT SELECT ON mysql.proc TO half@'%'");
    let (dump, report) = place.try_dump(&database).await.unwrap();
    let restored = place.restored(&database, &dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_copied_in_one_snapshot_is_refused() {
    let place = Place::with(
        "CREATE TABLE old (a int) ENGINE=MyISAM; CREATE TABLE past (a int) WITH SYSTEM VERSIONING;
         CREATE TABLE good (a int)",
    );
    let error = place.try_dump(&place.database("shop")).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError);
    let text = error.to_string();
    assert!(text.contains("old uses the engine MyISAM, past keeps the history"), "{text}");
    let foreseen = place.database("shop").can_be_dumped(&place.cx).await.unwrap_err();
    assert_eq!(foreseen.to_string(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_not_repeated() {
    let place = Place::with("SELECT 1");
    let database =
        place.database_with(&place.server.url_as("admin", "hunter2-wrong", "shop"), OpenOptions::default());
    for error in [
        database.begin_dump(&place.cx, place.folder.path()).await.map(drop).unwrap_err(),
        database.ping(&place.cx, std::time::Duration::from_secs(10)).await.map(drop).unwrap_err(),
        database.inventory(&place.cx).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.reason(), Reason::DatabaseUnreachable);
        let text = StepError::from(error).chain();
        assert!(text.contains("Access denied for user 'admin'"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let missing = place.database("nothing").begin_dump(&place.cx, place.folder.path()).await.map(drop);
    let text = StepError::from(missing.unwrap_err()).chain();
    assert!(text.contains("Unknown database 'nothing'"), "{text}");
    let answered = place.database("shop").ping(&place.cx, std::time::Duration::from_secs(10)).await.unwrap();
    assert!(place.server.sql("mysql", "SELECT VERSION()").starts_with(&answered.version), "{answered:?}");
    assert!(answered.version.ends_with("-MariaDB"), "{answered:?}");
}

/// A dump that was cut or changed on its way back, at many places.
/// Needs root, as the whole suite does where servers are started: a file system of its own that is too small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_scratch_place_says_nothing_about_the_dump() {
    let place = Place::with(
        "CREATE TABLE filler (id int, note text);
         INSERT INTO filler SELECT seq, repeat(md5(seq), 20) FROM seq_1_to_60000",
    );
    let (dump, report) = place.dump().await;
    // Its log alone takes 96 MiB.
    let small = kit_testing::SmallDisk::new(150);
    let scratch = small.path().join("scratch");
    let tried = place
        .database("shop")
        .restore_scratch(&place.cx, &mut &dump[..], Some(needs(&report)), &scratch)
        .await;
    let error = tried.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::ProofUnavailable, "{error:?}");
    assert!(error.to_string().contains("the scratch database says"), "{error}");
    assert!(kit_core::fs::list(&scratch).unwrap().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_broken_is_found() {
    let place = Place::with(LARGE);
    let (dump, report) = place.dump().await;
    let database = place.database_with(
        &place.server.url("shop"),
        OpenOptions { scratch: ScratchPlace::Beside, ..Default::default() },
    );
    for length in [0, dump.len() / 2, dump.len() - 20] {
        let error =
            place.restored(&database, &dump[..length], needs(&report), Depth::Rows).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{length}: {error}");
    }
    let at = dump.windows(6).position(|bytes| bytes == b"CREATE").unwrap();
    let mut broken = dump.clone();
    broken[at] = b'X';
    let error = place.restored(&database, &broken, needs(&report), Depth::Rows).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Damaged { .. }), "{error:?}");
    let text = StepError::from(error).chain();
    assert!(text.contains("syntax") && !text.contains("filler"), "{text}");
    let at = dump.windows(7).position(|bytes| bytes == b"\n(100,'").unwrap();
    let mut other = dump.clone();
    other[at + 8] ^= 1;
    let restored = place.restored(&database, &other, needs(&report), Depth::Content).await.unwrap();
    let found = compare(&report.inspection, &restored);
    assert_eq!(found, [crate::Difference::Content("filler".to_owned())]);
    // Says nothing about the dump, whatever the scratch place lacks.
    let mut lacking = needs(&report).clone();
    lacking.series = Some("MariaDB 11.4".to_owned());
    for database in [&database, &place.database("shop")] {
        let error = place.restored(database, &dump, &lacking, Depth::Rows).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ProofUnavailable);
        assert!(error.to_string().contains("another version proves nothing"), "{error}");
    }
    lacking.series = needs(&report).series.clone();
    lacking.collate = "klingon_ci".to_owned();
    let error = place.restored(&database, &dump, &lacking, Depth::Rows).await.unwrap_err();
    assert!(error.to_string().contains("cannot hold a database like it"), "{error}");
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

/// Rows come and go while the dump is made: it is one snapshot, and taken for whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_database_is_dumped_in_one_snapshot() {
    let place = Place::with(
        "CREATE TABLE one (id bigint AUTO_INCREMENT PRIMARY KEY, a int);
         CREATE TABLE two (id bigint AUTO_INCREMENT PRIMARY KEY, a int);
         CREATE TABLE filler (id bigint PRIMARY KEY, note text);
         INSERT INTO filler SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_20000;
         DELIMITER ;;
         CREATE PROCEDURE work() BEGIN DECLARE n int DEFAULT 0; WHILE n < 100000 DO
            START TRANSACTION; INSERT INTO one (a) VALUES (n); INSERT INTO two (a) VALUES (n);
            IF n % 3 = 0 THEN DELETE FROM one ORDER BY id LIMIT 2; DELETE FROM two ORDER BY id LIMIT 2; END IF;
            COMMIT; SET n = n + 1; END WHILE; END;;",
    );
    let mut worker = place.server.command("mariadb").args(["shop", "-e", "CALL work()"]).spawn().unwrap();
    for _ in 0..3 {
        let (_, report) = place.dump().await;
        let rows = report.inspection.table_rows();
        let of = |table: &str| rows.iter().find(|row| row.table == table).unwrap().rows;
        assert_eq!(of("one"), of("two"));
    }
    assert!(worker.try_wait().unwrap().is_none(), "it worked all the time");
    worker.kill().unwrap();
    worker.wait().unwrap();
}

/// What is written as hexadecimal digits is twice as long as what the server has once taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_take_a_statement_of_the_backup_is_left_as_it_is() {
    let place = Place::with(
        "CREATE TABLE t (a int, b longblob); INSERT INTO t VALUES (1, REPEAT('x', 9000000)), (2, 'y')",
    );
    let (dump, report) = place.dump().await;
    let longest = needs(&report).longest_statement_bytes.unwrap();
    assert!((18_000_000..18_001_000).contains(&longest), "{longest}");
    let database = place.database("shop");
    place.restored(&database, &dump, needs(&report), Depth::Content).await.unwrap();
    place.server.sql("shop", "DELETE FROM t WHERE a = 1");
    let error =
        database.restore_in_place(&place.cx, &mut dump.as_slice(), Some(needs(&report))).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("SET GLOBAL max_allowed_packet = 18 * 1024 * 1024"), "{error}");
    assert_eq!(place.server.sql("shop", "SELECT COUNT(*) FROM t"), "1", "nothing was dropped");
    let beside = database.restore_beside(&place.cx, &mut dump.as_slice(), Some(needs(&report)), "r1").await;
    assert!(matches!(&beside, Err(DatabaseError::Unavailable { .. })), "{beside:?}");
    // As it says.
    place.server.sql("shop", "SET GLOBAL max_allowed_packet = 18 * 1024 * 1024");
    database.restore_in_place(&place.cx, &mut dump.as_slice(), Some(needs(&report))).await.unwrap();
    assert_eq!(place.server.sql("shop", "SELECT SUM(LENGTH(b)) FROM t"), "9000001");
}
