//! Who reads rows: a thread of ours, or sqlx where the connection is encrypted.

use super::{Place, needs};
use crate::postgres::address::Address;
use crate::postgres::connect::{self, Doing, Session};
use crate::postgres::copy_out::{CopyOut, Heard};
use crate::postgres::inspect;
use crate::postgres::parallel::{self, Snapshot};
use crate::{Database as _, Depth, OpenOptions, compare};
use sqlx::postgres::PgConnection;
use std::num::NonZeroU8;
use std::time::Duration;

const DOING: Doing<'_> = Doing { action: "read", database: "shop", unfinished: "it was read" };

/// Settings of a database that would change what its values look like.
pub(super) const OTHER_LOOKS: &str = "ALTER DATABASE shop SET extra_float_digits = 0;
    ALTER DATABASE shop SET bytea_output = 'escape'; ALTER DATABASE shop SET DateStyle = 'SQL, DMY';
    ALTER DATABASE shop SET IntervalStyle = 'sql_standard'; ALTER DATABASE shop SET TimeZone = 'Asia/Tokyo'";

/// Values whose looks they would change.
pub(super) const VALUES: &str = r"CREATE TABLE t (n integer, a text, f double precision, r real, b bytea, d date,
        i interval, z timestamptz);
    INSERT INTO t SELECT i, repeat('ä', i), 0.1::float8 + i / 5.0::float8, 1.1::float4 * i, '\x00ff41', '2026-02-01',
        '-1 day 02:03', '2026-02-01' FROM generate_series(0, 3000) AS i";

/// Lets the server encrypt, with a certificate of its own.
fn encrypt(place: &Place) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (file, text) in [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())] {
        let lines = format!("SELECT line FROM regexp_split_to_table('{text}', '\n') AS line");
        let sql = format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {file}'");
        place.server.sql("postgres", &sql);
    }
    place.server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    place.server.sql("postgres", "SELECT pg_reload_conf()");
    let wait = "DO $$ BEGIN FOR i IN 1..400 LOOP EXIT WHEN current_setting('ssl')::bool; PERFORM pg_sleep(0.025); END LOOP; END $$";
    place.server.sql("postgres", wait);
    assert_eq!(place.server.sql("postgres", "SHOW ssl"), "on");
}

fn address(url: &str) -> Address {
    Address::parse(url).unwrap()
}

/// A connection that holds a snapshot.
async fn hold(place: &Place, url: &str) -> (PgConnection, Snapshot) {
    let address = address(url);
    let mut holder = connect::open(&address, Session::Reading, &place.cx, DOING).await.unwrap();
    inspect::begin_snapshot(&mut holder).await.unwrap();
    let snapshot = parallel::export(&mut holder).await.unwrap();
    (holder, snapshot)
}

async fn all(connection: &mut CopyOut, sql: &str) -> String {
    let counts = connection.counts();
    let mut rows = connection.rows(sql).await.unwrap();
    let mut all = Vec::new();
    let told = loop {
        match rows.next().await.unwrap() {
            Heard::Portion(portion) => all.extend_from_slice(&portion),
            Heard::End(told) => break told,
        }
    };
    let all = String::from_utf8(all).unwrap();
    let counted = counts.then_some(all.lines().count() as u64);
    assert_eq!(told, counted, "{sql}");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_encrypted_is_and_everybody_reads_the_same() {
    let place = Place::with(VALUES);
    place.server.sql("postgres", OTHER_LOOKS);
    encrypt(&place);
    let (_holder, encrypted) = hold(&place, &place.server.url("shop")).await;
    assert!(encrypted.is_encrypted);
    // Somebody in between may be the one who is not.
    let open = Snapshot { name: encrypted.name.clone(), is_encrypted: false };
    place.server.sql("shop", "DELETE FROM t");

    let url = |parameters: &str| format!("{}?{parameters}", place.server.url("shop"));
    let mut read = Vec::new();
    for (url, snapshot, is_plain) in [
        (url(""), &encrypted, false),
        (url(""), &open, false),
        (url("sslmode=require"), &open, false),
        (url("sslmode=disable"), &open, true),
        (place.server.socket_url("shop"), &open, true),
    ] {
        let mut connection = CopyOut::open(&address(&url), (snapshot, &[]), &place.cx, DOING).await.unwrap();
        assert_eq!(matches!(connection, CopyOut::Plain(_)), is_plain, "{url}");
        let is_encrypted = "COPY (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) TO STDOUT";
        let expected = if is_plain { "f\n" } else { "t\n" };
        assert_eq!(all(&mut connection, is_encrypted).await, expected, "{url}");
        let noticing = "COPY (SELECT current_setting('client_connection_check_interval')) TO STDOUT";
        assert_eq!(all(&mut connection, noticing).await, "2s\n", "{url}");
        // The portions of a statement end with it, and one without rows has none.
        assert_eq!(all(&mut connection, "COPY (SELECT 1 WHERE false) TO STDOUT").await, "");
        read.push(all(&mut connection, "COPY public.t TO STDOUT").await);
        // A thread of ours says it with the first rows, sqlx at once.
        let refused = match connection.rows("COPY public.nowhere TO STDOUT").await {
            Ok(mut rows) => rows.next().await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(refused.unwrap_err().code.as_deref(), Some("42P01"), "{url}");
        connection.close().await;
    }
    assert!(read[0].len() > 9_000_000, "the snapshot's rows");
    let row = "\t0.30000000000000004\t1.1\t\\\\x00ff41\t2026-02-01\t-1 days +02:03:00\t";
    assert!(read[0].contains(row), "{:?}", read[0].lines().nth(1));
    assert!(read.iter().all(|rows| *rows == read[0]));
}

/// There the server's count does not come with the rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_dump_is_counted_and_comes_back_equal_over_encrypted_sessions() {
    let place = Place::with(&format!("{VALUES}; CREATE TABLE other AS TABLE t"));
    encrypt(&place);
    let database = super::parallel::in_small_pieces(&place, 2);
    let (dump, report) = place.try_dump(&database).await.unwrap();
    let mixed = "COPY \"public\".\"other\" (";
    let text = String::from_utf8_lossy(&dump);
    assert!(text.find(mixed) < text.rfind("COPY \"public\".\"t\" (") && text.matches(mixed).count() > 2);
    assert_eq!(database.options.rows.total(), Some((6002, false)));
    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &report.inspection), []);
    let side_by_side = OpenOptions { restore_jobs: NonZeroU8::new(2), ..OpenOptions::default() };
    let to = place.database_with("shop", side_by_side);
    let (mut reader, needs) = (dump.as_slice(), Some(needs(&report)));
    let beside = to.restore_beside(&place.cx, &mut reader, needs, "r1").await.unwrap();
    let restored = to.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &restored), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_ends_whatever_it_was_doing() {
    let place = Place::with("SELECT");
    let (_holder, snapshot) = hold(&place, &place.server.url("shop")).await;
    assert!(!snapshot.is_encrypted);
    let address = address(&place.server.url("shop"));
    // One waits for a server that says nothing, one for somebody who takes what it has.
    for sql in ["SELECT pg_sleep(600)", "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"] {
        let mut connection = CopyOut::open(&address, (&snapshot, &[]), &place.cx, DOING).await.unwrap();
        assert!(matches!(connection, CopyOut::Plain(_)));
        let mut rows = connection.rows(&format!("COPY ({sql}) TO STDOUT")).await.unwrap();
        let first = place.cx.clock.timeout(Duration::from_millis(300), rows.next()).await;
        assert_eq!(first.is_ok(), !sql.contains("sleep"), "{sql}");
        drop(rows);
        drop(connection);
        let left = "FROM pg_stat_activity WHERE query LIKE 'COPY (%'";
        let wait = format!(
            "DO $$ BEGIN FOR i IN 1..400 LOOP PERFORM pg_stat_clear_snapshot(); EXIT WHEN NOT EXISTS (SELECT {left});
                PERFORM pg_sleep(0.025); END LOOP; END $$"
        );
        place.server.sql("postgres", &wait);
        assert_eq!(place.server.sql("postgres", &format!("SELECT count(*) {left}")), "0", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_is_told_so_without_his_password() {
    let place = Place::with("CREATE ROLE ada LOGIN PASSWORD 'right'");
    let nowhere = Snapshot { name: "00000003-1".to_owned(), is_encrypted: false };
    let url = place.server.url_as("ada", "hunter2", "shop");
    let error = CopyOut::open(&address(&url), (&nowhere, &[]), &place.cx, DOING).await.map(drop).unwrap_err();
    let said = format!("{error:?} {error}");
    assert!(said.contains("28P01") && !said.contains("hunter2"), "{said}");
    // A snapshot that is no more.
    let url = place.server.url("shop");
    let error = CopyOut::open(&address(&url), (&nowhere, &[]), &place.cx, DOING).await.map(drop).unwrap_err();
    assert!(format!("{error:?}").contains("snapshot"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_see_whether_it_is_encrypted_reads_all_the_same() {
    let place = Place::with(
        "CREATE TABLE t (a integer); INSERT INTO t VALUES (7); CREATE ROLE ada LOGIN PASSWORD 'a';
         GRANT SELECT ON t TO ada; REVOKE SELECT ON pg_stat_ssl FROM PUBLIC",
    );
    let url = place.server.url_as("ada", "a", "shop");
    let (_holder, snapshot) = hold(&place, &url).await;
    assert!(snapshot.is_encrypted);
    let mut connection = CopyOut::open(&address(&url), (&snapshot, &[]), &place.cx, DOING).await.unwrap();
    assert_eq!(all(&mut connection, "COPY public.t TO STDOUT").await, "7\n");
}
