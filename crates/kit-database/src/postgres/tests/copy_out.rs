//! Who reads rows: a thread of ours, or sqlx where the connection is encrypted.

use super::Place;
use crate::OpenOptions;
use crate::postgres::PostgresDatabase;
use crate::postgres::connect::{self, Doing, Session};
use crate::postgres::copy_out::CopyOut;
use crate::postgres::{inspect, parallel};

const DOING: Doing<'_> = Doing { action: "read", database: "shop", unfinished: "it was read" };

/// Lets the server encrypt, with a certificate of its own.
fn encrypt(place: &Place) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (file, text) in [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())] {
        let sql = format!(
            "COPY (SELECT line FROM regexp_split_to_table('{text}', '\n') AS line) TO PROGRAM 'umask 077; cat > {file}'"
        );
        place.server.sql("postgres", &sql);
    }
    place.server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    place.server.sql("postgres", "SELECT pg_reload_conf()");
    let wait = "DO $$ BEGIN FOR i IN 1..400 LOOP EXIT WHEN current_setting('ssl')::bool; PERFORM pg_sleep(0.025); END LOOP; END $$";
    place.server.sql("postgres", wait);
    // A session does not see it before its next statement.
    assert_eq!(place.server.sql("postgres", "SHOW ssl"), "on");
}

async fn all(connection: &mut CopyOut, sql: &str) -> String {
    let mut rows = connection.rows(sql).await.unwrap();
    let mut all = Vec::new();
    while let Some(portion) = rows.next().await.unwrap() {
        all.extend(portion);
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_encrypted_is_and_everybody_reads_the_same() {
    let place = Place::with(
        "CREATE TABLE t (n integer, a text); INSERT INTO t SELECT i, repeat('ä', i) FROM generate_series(0, 3000) AS i",
    );
    encrypt(&place);
    let address =
        |url: &str| PostgresDatabase::parse(url, OpenOptions::default(), &place.cx).unwrap().address;
    let url = place.server.url("shop");
    let holder = address(&url);
    let mut holder = connect::open(&holder, Session::Reading, &place.cx, DOING).await.unwrap();
    inspect::begin_snapshot(&mut holder).await.unwrap();
    let snapshot = parallel::export(&mut holder).await.unwrap();
    place.server.sql("shop", "DELETE FROM t");

    let of_url = |parameters: &str| format!("{url}?{parameters}");
    let mut read = Vec::new();
    for (url, is_plain) in [
        (of_url(""), false),
        (of_url("sslmode=require"), false),
        (of_url("sslmode=disable"), true),
        (place.server.socket_url("shop"), true),
    ] {
        let mut connection = CopyOut::open(&address(&url), &snapshot, &place.cx, DOING).await.unwrap();
        assert_eq!(matches!(connection, CopyOut::Plain(_)), is_plain, "{url}");
        let is_encrypted =
            all(&mut connection, "COPY (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) TO STDOUT")
                .await;
        assert_eq!(is_encrypted, if is_plain { "f\n" } else { "t\n" }, "{url}");
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
    assert!(read[0].len() > 9_000_000 && read.iter().all(|rows| *rows == read[0]), "the snapshot's rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_is_told_so_without_his_password() {
    let place = Place::with("CREATE ROLE ada LOGIN PASSWORD 'right'");
    let url = place.server.url_as("ada", "hunter2", "shop");
    let address = PostgresDatabase::parse(&url, OpenOptions::default(), &place.cx).unwrap().address;
    let error = CopyOut::open(&address, "00000003-1", &place.cx, DOING).await.map(drop).unwrap_err();
    let said = format!("{error:?} {error}");
    assert!(said.contains("28P01") && !said.contains("hunter2"), "{said}");
    // A snapshot that is no more.
    let address = PostgresDatabase::parse(&place.server.url("shop"), OpenOptions::default(), &place.cx)
        .unwrap()
        .address;
    let error = CopyOut::open(&address, "00000003-1", &place.cx, DOING).await.map(drop).unwrap_err();
    assert!(format!("{error:?}").contains("snapshot"), "{error:?}");
}
