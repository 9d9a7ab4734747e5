//! Dumps that several connections make together.

use super::super::PostgresDatabase;
use super::super::parallel::Sizes;
use super::content::AWKWARD;
use super::{Place, needs};
use crate::{Database as _, DatabaseError, Depth, OpenOptions, compare};
use kit_testing::postgres::Server;
use std::num::NonZeroU8;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Every table is large, and a piece is two pages.
pub(super) fn in_small_pieces(place: &Place, jobs: u8) -> PostgresDatabase {
    let options = OpenOptions { dump_jobs: Some(jobs), ..OpenOptions::default() };
    let dump_sizes = Sizes { smallest_bytes: 1, piece_bytes: 16 * 1024 };
    PostgresDatabase { dump_sizes, ..place.database_with("shop", options) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_awkward_schema_comes_back_equal_by_us_and_by_plain_psql() {
    let place = Place::with(&AWKWARD.replace('→', "\t"));
    let more = "INSERT INTO measured SELECT '2024-02-01'::timestamptz + i * interval '1 minute', i FROM generate_series(1, 20000) AS i;
        INSERT INTO orders (customer, note) SELECT 1, repeat(md5(i::text), 400) FROM generate_series(1, 400) AS i;
        DELETE FROM measured WHERE v > 15000";
    place.server.sql("shop", more);
    let (dump, report) = place.try_dump(&in_small_pieces(&place, 3)).await.unwrap();
    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &report.inspection), [], "what was read along is what the server says");
    let text = String::from_utf8_lossy(&dump);
    let blocks = |table: &str| text.matches(&format!("\nCOPY {table} (")).count();
    assert!(blocks("\"public\".\"measured_new_0\"") > 10, "{}", blocks("\"public\".\"measured_new_0\""));
    assert!(blocks("\"public\".\"orders\"") > 1, "what lies in TOAST counts as size");
    assert_eq!(
        blocks("public.orders") + blocks("public.secrets"),
        0,
        "pg_dump copies none of them once more"
    );

    let restored = place.restored(&dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &restored), []);
    // By several sessions as well as by one.
    let side_by_side = OpenOptions { restore_jobs: NonZeroU8::new(2), ..OpenOptions::default() };
    let database = place.database_with("shop", side_by_side);
    let restored = place.restored_by(&database, &dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &restored), []);
    place.restore_by_hand(&dump, "plain");
    let plain = place.database("plain").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &plain), []);
    assert_eq!(place.server.sql("plain", "SELECT nextval('orders_id_seq')"), "701");
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

/// `pg_dump` quotes no name that needs it not; we always do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_tables_are_read_by_us_unless_pg_dump_is_asked_for() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 200) AS i",
    );
    let mut found = Vec::new();
    for (dump_jobs, by_us) in [(None, true), (Some(1), true), (Some(0), false)] {
        let database = PostgresDatabase {
            dump_sizes: in_small_pieces(&place, 1).dump_sizes,
            ..place.database_with("shop", OpenOptions { dump_jobs, ..OpenOptions::default() })
        };
        let (dump, report) = place.try_dump(&database).await.unwrap();
        let text = String::from_utf8_lossy(&dump);
        assert_eq!(text.matches("\nCOPY \"public\".\"a\" (").count() > 1, by_us, "{dump_jobs:?}");
        assert_eq!(text.matches("\nCOPY public.a (").count(), usize::from(!by_us), "{dump_jobs:?}");
        found.push(report.inspection.clone());
    }
    assert!(found.iter().all(|one| compare(one, &found[0]).is_empty()), "{found:?}");
}

/// What judges a row may ask a table that comes back before it in the order of `pg_dump`, and would not in ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_whose_rows_are_judged_by_functions_keep_the_order_of_pg_dump() {
    let place = Place::with(
        "CREATE TABLE a_kinds (kind text); INSERT INTO a_kinds VALUES ('known');
         CREATE FUNCTION is_known(text) RETURNS boolean LANGUAGE sql AS
            'SELECT EXISTS (SELECT FROM public.a_kinds WHERE kind = $1)';
         CREATE FUNCTION label(text) RETURNS text IMMUTABLE LANGUAGE sql AS
            'SELECT upper(kind) FROM public.a_kinds WHERE kind = $1';
         CREATE DOMAIN known_kind AS text CHECK (public.is_known(VALUE));
         CREATE TABLE by_check (n integer, kind text CHECK (public.is_known(kind)), pad text);
         CREATE TABLE by_domain (n integer, kind known_kind, pad text);
         CREATE TABLE by_label (n integer, kind text, label text NOT NULL GENERATED ALWAYS AS (public.label(kind)) STORED, pad text);
         CREATE TABLE plain (n integer CHECK (n > 0), pad text);
         INSERT INTO by_check SELECT i, 'known', repeat('x', 500) FROM generate_series(1, 200) AS i;
         INSERT INTO by_domain SELECT * FROM by_check;
         INSERT INTO by_label (n, kind, pad) SELECT * FROM by_check;
         INSERT INTO plain SELECT n, pad FROM by_check",
    );
    let (dump, report) = place.try_dump(&in_small_pieces(&place, 1)).await.unwrap();
    let text = String::from_utf8_lossy(&dump);
    for (table, by_us) in [("by_check", false), ("by_domain", false), ("by_label", false), ("plain", true)] {
        assert_eq!(text.contains(&format!("\nCOPY \"public\".\"{table}\" (")), by_us, "{table}");
    }
    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    let restored = place.restored(&dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &restored), []);
    place.restore_by_hand(&dump, "plain");
    let plain = place.database("plain").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &plain), []);
}

/// Of two connections one holds the snapshot, so that one is left to read what was meant for several; with one, nothing
/// is read, and that is no content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_compared_by_as_many_connections_as_the_server_gives() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); CREATE TABLE b (); INSERT INTO b DEFAULT VALUES;
         INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 2000) AS i;
         CREATE ROLE narrow LOGIN PASSWORD 'n' CONNECTION LIMIT 2; GRANT SELECT ON a, b TO narrow",
    );
    let whole = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(whole.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [2000, 1]);
    let dump_sizes = Sizes { smallest_bytes: 1, piece_bytes: 16 * 1024 };
    let options = OpenOptions { restore_jobs: NonZeroU8::new(5), ..OpenOptions::default() };
    let url = place.server.url_as("narrow", "n", "shop");
    let narrow = PostgresDatabase::parse(&url, options, &place.cx).unwrap();
    let narrow = PostgresDatabase { dump_sizes, ..narrow };
    let pieces = narrow.inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&whole, &pieces), []);
    place.server.sql("shop", "ALTER ROLE narrow CONNECTION LIMIT 1");
    let error = narrow.inspect(&place.cx, Depth::Content).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_see_one_snapshot() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); CREATE TABLE b (n integer, pad text);
         INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 2000) AS i;
         INSERT INTO b SELECT * FROM a",
    );
    let database = in_small_pieces(&place, 2);
    let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
    // Between the snapshot and the first byte that is read.
    place
        .server
        .sql("shop", "BEGIN; DELETE FROM a WHERE n % 2 = 0; INSERT INTO b SELECT n, pad FROM b; COMMIT");
    let mut bytes = Vec::new();
    dump.reader().read_to_end(&mut bytes).await.unwrap();
    let report = dump.finish(&place.cx).await.unwrap();
    assert_eq!(
        report.inspection.table_rows().iter().map(|table| table.rows).collect::<Vec<_>>(),
        [2000, 2000]
    );
}

/// A dump by two connections of which the beginning was read.
async fn in_the_middle() -> (Place, Box<dyn crate::Dump>) {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text);
         INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 60000) AS i",
    );
    let database = in_small_pieces(&place, 2);
    let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
    let mut some = vec![0; 100_000];
    dump.reader().read_exact(&mut some).await.unwrap();
    (place, dump)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_dies_is_an_error_that_says_so() {
    let (place, mut dump) = in_the_middle().await;
    let kill =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%'";
    assert_ne!(place.server.sql("postgres", kill), "0");
    let mut rest = Vec::new();
    dump.reader().read_to_end(&mut rest).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Dump { .. }), "{error:?}");
    // What came is not whole, and its end does not look like one.
    assert!(!rest.ends_with(b"-- PostgreSQL database dump complete\n--\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_leaves_no_connection_behind() {
    let (place, dump) = in_the_middle().await;
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Truncated { .. }), "{error:?}");
    // The server sees it as soon as it writes.
    let ours = "FROM pg_stat_activity WHERE application_name IN ('deploy-kit', 'pg_dump')";
    let wait = format!(
        "DO $$ BEGIN FOR i IN 1..400 LOOP PERFORM pg_stat_clear_snapshot(); EXIT WHEN NOT EXISTS (SELECT {ours});
            PERFORM pg_sleep(0.025); END LOOP; END $$"
    );
    place.server.sql("postgres", &wait);
    assert_eq!(place.server.sql("postgres", &format!("SELECT count(*) {ours}")), "0");
}

/// Else it could be emptied while `pg_dump` waits for its turn and the connection of the snapshot is gone, and nobody would
/// see that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_a_table_later_has_locked_it_from_the_beginning() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); CREATE TABLE b (n integer, pad text);
         INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 60000) AS i;
         INSERT INTO b SELECT * FROM a LIMIT 10",
    );
    // The one piece of `b` is in the middle: what comes before it finds no room, since nobody reads.
    let dump = in_small_pieces(&place, 1).begin_dump(&place.cx, place.folder.path()).await.unwrap();
    let copying =
        "FROM pg_stat_activity WHERE application_name = 'deploy-kit' AND query LIKE 'COPY (SELECT%\"a\"%'";
    let wait = format!(
        "DO $$ BEGIN FOR i IN 1..400 LOOP PERFORM pg_stat_clear_snapshot(); EXIT WHEN EXISTS (SELECT {copying});
            PERFORM pg_sleep(0.025); END LOOP; END $$"
    );
    place.server.sql("shop", &wait);
    let locked = format!(
        "SELECT count(*) FROM pg_locks WHERE relation = 'b'::regclass AND granted AND pid IN (SELECT pid {copying})"
    );
    assert_eq!(place.server.sql("shop", &locked), "1");
    drop(dump);
}

/// Since PostgreSQL 17 there is a limit on them, which `pg_dump` lifts for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_may_take_longer_than_a_transaction_may() {
    let place = Place::on(Server::start_newer());
    place.server.sql("postgres", "CREATE DATABASE shop");
    let made = "CREATE TABLE a (n integer, pad text); INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 2000) AS i";
    place.server.sql("shop", made);
    place.server.sql("postgres", "ALTER DATABASE shop SET transaction_timeout = '1s'");
    let tools = Some(crate::Tools::Folder(Server::newer_programs()));
    let options = OpenOptions { dump_jobs: Some(2), tools, ..OpenOptions::default() };
    let dump_sizes = in_small_pieces(&place, 2).dump_sizes;
    let database = PostgresDatabase { dump_sizes, ..place.database_with("shop", options) };
    let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
    place.cx.clock.sleep(Duration::from_millis(1500)).await;
    dump.reader().read_to_end(&mut Vec::new()).await.unwrap();
    let report = dump.finish(&place.cx).await.unwrap();
    assert_eq!(report.inspection.row_count(), 2000);
}
