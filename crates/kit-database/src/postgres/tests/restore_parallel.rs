//! Restores by several sessions.

use super::super::PostgresDatabase;
use super::super::parallel::Sizes;
use super::content::AWKWARD;
use super::parallel::in_small_pieces;
use super::{Place, needs};
use crate::{Database as _, DatabaseError, Depth, OpenOptions, compare};
use kit_core::Cause;
use std::num::NonZeroU8;
use tokio::io::AsyncWriteExt as _;

fn side_by_side() -> OpenOptions {
    OpenOptions { restore_jobs: NonZeroU8::new(3), ..OpenOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_awkward_schema_comes_back_equal_and_beside_the_live_one_too() {
    let place = Place::with(&AWKWARD.replace('→', "\t"));
    let more = "INSERT INTO measured SELECT '2024-02-01'::timestamptz + i * interval '1 minute', i FROM generate_series(1, 30000) AS i;
        INSERT INTO orders (customer, note) SELECT 1, repeat(md5(i::text), 400) FROM generate_series(1, 200) AS i";
    place.server.sql("shop", more);
    let (dump, report) = place.dump().await;
    let database = place.database_with("shop", side_by_side());
    let restored = place.restored_by(&database, &dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    assert_eq!(database.options.rows.so_far(), report.inspection.row_count());
    let one = OpenOptions { restore_jobs: NonZeroU8::new(1), ..OpenOptions::default() };
    for database in [database, place.database_with("shop", one)] {
        let mut reader = dump.as_slice();
        let beside =
            database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "r1").await.unwrap();
        let found = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
        assert_eq!(compare(&report.inspection, &found), []);
        assert_eq!(place.server.sql(&beside.name, "SELECT nextval('orders_id_seq')"), "501");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_or_cut_is_found_by_whichever_session_and_nothing_stays() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 5000) AS i;
         CREATE TABLE b (n integer PRIMARY KEY); INSERT INTO b SELECT generate_series(1, 1000)",
    );
    let (dump, report) = place.dump().await;
    let database = place.database_with("shop", side_by_side());
    let text = String::from_utf8(dump).unwrap();
    for (what, broken) in [
        ("rows", text.replace("\n4000\t", "\nfour thousand\t")),
        ("after", text.replace("ADD CONSTRAINT b_pkey PRIMARY KEY", "ADD CONSTRAINT b_pkey PRIMARY KEI")),
    ] {
        assert_ne!(broken, text, "{what}");
        let restored = place.restored_by(&database, broken.as_bytes(), needs(&report), Depth::Rows).await;
        assert!(matches!(restored, Err(DatabaseError::Damaged { .. })), "{what}: {restored:?}");
    }
    for cut in [text.find("\n4000\t").unwrap(), text.len() - 60] {
        let restored =
            place.restored_by(&database, &text.as_bytes()[..cut], needs(&report), Depth::Rows).await;
        assert!(matches!(restored, Err(DatabaseError::Truncated { .. })), "cut at {cut}: {restored:?}");
    }
    assert_eq!(place.left(), [""; 0]);
    // A session that dies: nobody knows anything of the dump.
    let kill = "DO $$ BEGIN FOR i IN 1..600 LOOP PERFORM pg_stat_clear_snapshot(); PERFORM pg_terminate_backend(pid) FROM
        pg_stat_progress_copy; EXIT WHEN FOUND; PERFORM pg_sleep(0.01); END LOOP; END $$";
    let mut psql = place.server.command("psql", "postgres");
    let mut killer = psql.args(["-X", "-q", "-c", kill]).spawn().unwrap();
    let mut many = text.replacen("\n1\tx", &format!("\n1\tx{}", "\n2\tx".repeat(1_000_000)), 1).into_bytes();
    let mut reader = many.as_mut_slice() as &[u8];
    let restored = database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "r1").await;
    assert!(killer.wait().unwrap().success());
    let error = restored.unwrap_err();
    assert!(
        !matches!(error, DatabaseError::Damaged { .. } | DatabaseError::Truncated { .. }),
        "that of the server, not of the dump: {error:?}"
    );
    let beside = "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop_%'";
    assert_eq!(place.server.sql("postgres", beside), "0");
}

#[test]
fn a_given_number_of_sessions_wins_and_else_the_cores_say_it() {
    let cx = kit_core::Context::for_test(kit_core::Env::default()).0;
    let database = |restore_jobs| {
        let options = OpenOptions { restore_jobs, ..OpenOptions::default() };
        super::PostgresDatabase::parse("postgres://a@127.0.0.1/shop", options, &cx).unwrap()
    };
    for given in [1, 2, 64] {
        assert_eq!(database(NonZeroU8::new(given)).restore_jobs().get(), given);
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(usize::from(database(None).restore_jobs().get()), cores.min(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_functions_judge_are_filled_when_all_before_them_are_and_none_after_them() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 5000) AS i;
         CREATE FUNCTION knows(wanted bigint) RETURNS boolean LANGUAGE sql AS 'SELECT count(*) = wanted FROM public.a';
         CREATE TABLE b (n integer CHECK (knows(5000))); INSERT INTO b SELECT generate_series(1, 1000);
         CREATE FUNCTION has(wanted bigint) RETURNS boolean LANGUAGE sql AS 'SELECT count(*) = wanted FROM public.b';
         CREATE TABLE d (n integer, pad text);
         CREATE FUNCTION alone() RETURNS boolean LANGUAGE sql AS 'SELECT public.knows(5000) AND NOT EXISTS (SELECT FROM public.d)';
         CREATE TABLE c (n integer CHECK (has(1000) AND alone()), pad text);
         INSERT INTO c SELECT i, repeat('x', 500) FROM generate_series(1, 3000) AS i; INSERT INTO d SELECT * FROM a",
    );
    let (dump, report) = place.dump().await;
    let database = place.database_with("shop", side_by_side());
    // b is small, the others are large.
    let restored = place.restored_by(&database, &dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    // A name in letters that nobody knows the meaning of.
    let unknown: &[u8] = b"COPY public.gr\xfcn (n) FROM stdin;\n";
    let text = String::from_utf8(dump).unwrap();
    let (head, tail) = text.split_once("COPY public.b (n) FROM stdin;\n").unwrap();
    let broken = [head.as_bytes(), unknown, tail.as_bytes()].concat();
    let restored = place.restored_by(&database, &broken, needs(&report), Depth::Rows).await;
    assert!(matches!(restored, Err(DatabaseError::Truncated { .. })), "{restored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_mixed_tables_are_loaded_side_by_side_and_no_psql_is_started_between_them() {
    let rows = "SELECT i, repeat('x', 500) FROM generate_series(1, 20000) AS i";
    let place = Place::with(&format!(
        "CREATE TABLE a (n integer, pad text); INSERT INTO a {rows}; CREATE TABLE b (n integer, pad text);
         INSERT INTO b {rows}; CREATE TABLE c (n integer, pad text); INSERT INTO c {rows};
         CREATE FUNCTION is_odd(integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 % 2 = 1';
         CREATE TABLE judged (n integer CHECK (is_odd(n))); INSERT INTO judged VALUES (1)"
    ));
    let in_pieces = in_small_pieces(&place, 1);
    let dump_sizes = Sizes { piece_bytes: 2 << 20, ..in_pieces.dump_sizes };
    let (dump, report) = place.try_dump(&PostgresDatabase { dump_sizes, ..in_pieces }).await.unwrap();
    let text = String::from_utf8_lossy(&dump);
    let copied: Vec<&str> = text.lines().filter(|line| line.starts_with("COPY ")).collect();
    let changes = copied.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 12, "{copied:?}");
    let database = place.database_with("shop", side_by_side());
    let mut reader = dump.as_slice();
    let beside = database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "r1").await.unwrap();
    let asked = format!("SELECT sessions FROM pg_stat_database WHERE datname = '{}'", beside.name);
    let sessions: usize = place.server.sql("postgres", &asked).parse().unwrap();
    assert!((4..=changes).contains(&sessions), "{sessions} sessions for {changes} changes of the table");
    let found = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &found), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_among_the_rows_leaves_nothing() {
    let place = Place::with(
        "CREATE TABLE a (n integer, pad text); INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 5000) AS i",
    );
    let (dump, report) = place.dump().await;
    let database = place.database_with("shop", side_by_side());
    let (mut writer, mut reader) = tokio::io::duplex(64 << 10);
    let stop = async {
        writer.write_all(&dump[..dump.len() / 2]).await.unwrap();
        place.cx.cancel.cancel(Cause::Terminated);
    };
    let restore = database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "r1");
    let (restored, ()) = tokio::join!(restore, stop);
    assert!(matches!(restored, Err(DatabaseError::Cancelled { .. })), "{restored:?}");
    let beside = "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop_%'";
    assert_eq!(place.server.sql("postgres", beside), "0");
}

/// Whoever makes an index would wait a second for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autovacuum_is_kept_away_from_what_is_being_filled() {
    let place = Place::with(
        "CREATE TABLE a (n integer PRIMARY KEY, pad text); INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 9000) AS i",
    );
    let (dump, report) = place.dump().await;
    let database = place.database_with("shop", side_by_side());
    let (mut writer, mut reader) = tokio::io::duplex(64 << 10);
    let watch = async {
        writer.write_all(&dump[..dump.len() / 2]).await.unwrap();
        // Autovacuum would ask for the same lock, which only one can have.
        let locked = "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE granted AND mode = 'ShareUpdateExclusiveLock' AND application_name = 'deploy-kit'; IF FOUND THEN RETURN; END IF; PERFORM pg_sleep(0.01); END LOOP;
            RAISE 'nobody keeps it away'; END $$";
        place.server.sql("postgres", locked);
        writer.write_all(&dump[dump.len() / 2..]).await.unwrap();
        drop(writer);
    };
    let restore = database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "r1");
    let (restored, ()) = tokio::join!(restore, watch);
    let beside = restored.unwrap();
    let found = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &found), []);
    // Autovacuum itself may have come by now.
    let kept = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE mode = 'ShareUpdateExclusiveLock' AND application_name = 'deploy-kit'";
    assert_eq!(place.server.sql("postgres", kept), "0");
}
