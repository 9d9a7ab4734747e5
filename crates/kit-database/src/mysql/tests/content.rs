use super::{AWKWARD, Place, needs};
use crate::{Database as _, Depth, OpenOptions, ScratchPlace, compare};
use kit_core::Secret;

/// Everything comes back: into a server of our own, beside the source, on a named server, and by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_awkward_database_comes_back_equal_everywhere() {
    let place = Place::with(AWKWARD);
    let (dump, report) = place.dump().await;
    assert_eq!(report.uncompressed_bytes, dump.len() as u64);
    let rows: Vec<(String, u64)> =
        report.inspection.table_rows().into_iter().map(|row| (row.table, row.rows)).collect();
    let expected =
        [("customers", 2), ("empty_one", 0), ("hidden", 1), ("odd `name", 3), ("orders", 3), ("parted", 50)];
    assert_eq!(rows, expected.map(|(table, rows)| (table.to_owned(), rows)));
    assert_eq!(place.database("shop").inventory(&place.cx).await.unwrap(), report.inspection.table_rows());
    assert_eq!(needs(&report).series.as_deref(), Some("MariaDB 10.11"));
    assert_eq!(
        (needs(&report).encoding.as_str(), needs(&report).collate.as_str()),
        ("utf8mb4", "utf8mb4_unicode_ci")
    );
    assert!(report.details.log_position.as_ref().unwrap().starts_with("binlog.0"), "{:?}", report.details);
    assert!(
        report.details.client.as_ref().unwrap().starts_with("mariadb-dump 10.11"),
        "{:?}",
        report.details
    );

    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &live), []);
    let server = ScratchPlace::Server(Secret::new(place.server.url("mysql")));
    for scratch in [ScratchPlace::Auto, ScratchPlace::Beside, server] {
        let options = OpenOptions { scratch, ..Default::default() };
        let database = place.database_with(&place.server.url("shop"), options);
        let restored = place.restored(&database, &dump, needs(&report), Depth::Content).await.unwrap();
        assert_eq!(compare(&report.inspection, &restored), []);
        assert_eq!(database.options.rows.so_far(), report.inspection.row_count());
    }
    // All of it through something else.
    let via = ["socat", "-", "TCP:{host}:{port}"].map(str::to_owned).to_vec();
    let options = OpenOptions { via, scratch: ScratchPlace::Beside, ..Default::default() };
    let database = place.database_with(&place.server.url("shop"), options);
    assert!(database.display().ends_with(" via socat"), "{}", database.display());
    let (through, _) = place.try_dump(&database).await.unwrap();
    let restored = place.restored(&database, &through, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    // The schema alone.
    let mut script = report.schema_script.as_ref().unwrap().reader().unwrap();
    let database = place.database("shop");
    let scratch = database
        .restore_scratch(&place.cx, &mut script, Some(needs(&report)), place.folder.path())
        .await
        .unwrap();
    let schema = scratch.inspect(&place.cx, Depth::Rows).await.unwrap();
    scratch.close(&place.cx).await.unwrap();
    assert_eq!(schema.schema_sha256, report.inspection.schema_sha256);
    assert_eq!(schema.row_count(), 0);

    // By hand, without us.
    place.server.sql("mysql", "CREATE DATABASE by_hand CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
    place.server.load("by_hand", &dump);
    let by_hand = place.database("by_hand").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &by_hand), []);
    assert_eq!(place.server.sql("by_hand", "SELECT two FROM `all names` ORDER BY 1"), "2\n4\n6");
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

/// Each of these is seen by a comparison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_shows() {
    let place = Place::with(AWKWARD);
    let database = place.database("shop");
    let mut last = database.inspect(&place.cx, Depth::Content).await.unwrap();
    for (sql, expected) in [
        ("UPDATE customers SET bin = x'0001ff28' WHERE id = 77", "content"),
        ("DELETE FROM orders LIMIT 1", "has 2 rows instead of 3"),
        ("ALTER TABLE orders AUTO_INCREMENT = 500", "sequences stand elsewhere"),
        ("ALTER EVENT nightly DISABLE", "sequences stand elsewhere"),
        ("DROP TRIGGER counted", "the schemas differ"),
        ("ALTER TABLE empty_one MODIFY a bigint", "the schemas differ"),
        ("CREATE OR REPLACE VIEW names AS SELECT 1 AS id, 'x' AS name, 2 AS two", "the schemas differ"),
        ("SET sql_mode = 'ORACLE'; DROP PACKAGE BODY parts", "the schemas differ"),
    ] {
        place.server.sql("shop", sql);
        let now = database.inspect(&place.cx, Depth::Content).await.unwrap();
        let found: Vec<String> = compare(&last, &now).iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(expected), "{sql}: {found:?}");
        last = now;
    }
}
