use super::{Place, needs};
use crate::{Beside, Database as _, Depth, compare};
use kit_contract::Reason;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SHOP: &str = "CREATE TABLE orders (id serial PRIMARY KEY, note text);
    INSERT INTO orders (note) VALUES ('one'), ('two');
    CREATE ROLE reader LOGIN PASSWORD 'r'; REVOKE CONNECT ON DATABASE shop FROM public;
    GRANT CONNECT ON DATABASE shop TO reader; ALTER DATABASE shop SET work_mem = '7MB';
    ALTER DATABASE shop SET \"my.setting\" = 'it''s'; ALTER ROLE reader IN DATABASE shop SET search_path = \"a, b\";
    ALTER DATABASE shop CONNECTION LIMIT 30;";

async fn beside(place: &Place, id: &str) -> Beside {
    let (dump, report) = place.dump().await;
    let mut reader = dump.as_slice();
    let database = place.database("shop");
    let beside =
        database.restore_beside(&place.cx, &mut reader, report.details.needs.as_ref(), id).await.unwrap();
    let found = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &found), []);
    let promised = report.inspection.content_digests();
    assert!(promised.is_some() && promised == found.content_digests(), "what db-restore compares");
    let early = database.swap(&place.cx, &beside).await.unwrap_err();
    assert!(early.to_string().contains("is unfinished"), "{early}");
    database.finish_beside(&place.cx, &beside).await.unwrap()
}

/// An application that keeps coming back does not keep the swap from happening, and never finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_restored_database_takes_the_place_of_the_live_one_which_is_kept() {
    let place = Place::with(SHOP);
    let restored = beside(&place, "r1").await;
    assert_eq!(restored.name, "shop_restore_r1");
    place.server.sql("shop", "DELETE FROM orders");
    let stop = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..3)
        .map(|_| {
            let (stop, mut psql) = (Arc::clone(&stop), place.server.command("psql", "shop"));
            std::thread::spawn(move || {
                psql.args(["-X", "-q", "-A", "-t", "-c", "SELECT count(*) FROM orders, pg_sleep(0.05)"]);
                while !stop.load(Ordering::SeqCst) {
                    let output = psql.output().unwrap();
                    let said = String::from_utf8_lossy(&output.stderr);
                    // Who was about to come in at that very moment is told so by the server, and comes again.
                    assert!(!said.contains("does not exist") || said.contains("renamed"), "{said}");
                }
            })
        })
        .collect();
    let swapped = place.database("shop").swap(&place.cx, &restored).await;
    stop.store(true, Ordering::SeqCst);
    users.into_iter().for_each(|user| user.join().unwrap());
    let swapped = swapped.unwrap();
    assert_eq!(swapped.kept.as_deref(), Some("PostgreSQL shop_before_r1"));
    assert_eq!(place.server.sql("shop", "SELECT count(*) FROM orders"), "2");
    assert_eq!(place.server.sql("shop_before_r1", "SELECT count(*) FROM orders"), "0");
    let settings = "SELECT string_agg(setting, ' ' ORDER BY setting) FROM (
        SELECT unnest(setconfig) AS setting FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = 'shop') AS x";
    assert_eq!(place.server.sql("postgres", settings), "my.setting=it's search_path=\"a, b\" work_mem=7MB");
    let rights = "SELECT has_database_privilege('reader', 'shop', 'CONNECT'), datconnlimit,
        has_database_privilege('public', 'shop', 'CONNECT'), has_database_privilege('public', 'shop', 'TEMP') FROM pg_database WHERE datname = 'shop'";
    assert_eq!(place.server.sql("postgres", rights), "t|30|f|t");

    let again = place.database("shop").swap(&place.cx, &restored).await.unwrap_err();
    assert!(again.to_string().contains("no database shop_restore_r1"), "{again}");
    place.server.sql("postgres", "CREATE DATABASE shop_restore_r1");
    let again = place.database("shop").swap(&place.cx, &restored).await.unwrap_err();
    assert!(again.to_string().contains("shop_before_r1 exists"), "{again}");
    place.database("shop").discard(&place.cx, &restored).await.unwrap();
    place.database("shop").discard(&place.cx, &restored).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_says_whether_it_was_compared_and_the_next_run_replaces_either() {
    let place = Place::with(SHOP);
    let database = place.database("shop");
    let (dump, report) = place.dump().await;
    let names = || {
        let sql =
            "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'shop%'";
        place.server.sql("postgres", sql)
    };
    let restore = async || {
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await.unwrap()
    };
    let restored = restore().await;
    assert_eq!((names().as_str(), restored.name.as_str()), ("shop shop_unfinished_r1", "shop_unfinished_r1"));
    // Somebody looks into it, who would keep it from being renamed.
    let mut looking = place.server.command("psql", "shop_unfinished_r1");
    let mut looking = looking.args(["-X", "-q", "-c", "SELECT pg_sleep(60)"]).spawn().unwrap();
    while place.server.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(60)'")
        == "0"
    {}
    let finished = database.finish_beside(&place.cx, &restored).await.unwrap();
    assert!(!looking.wait().unwrap().success());
    assert_eq!((names().as_str(), finished.name.as_str()), ("shop shop_restore_r1", "shop_restore_r1"));
    // As if the answer had been lost.
    assert_eq!(database.finish_beside(&place.cx, &restored).await.unwrap(), finished);
    // A run whose end was not heard left both.
    place.server.sql("postgres", "CREATE DATABASE shop_unfinished_r1");
    let restored = restore().await;
    assert_eq!(names(), "shop shop_unfinished_r1");
    // Nothing to rename; and somebody else's in the way.
    for (changed, back) in [
        ("ALTER DATABASE shop_unfinished_r1 RENAME TO x", "ALTER DATABASE x RENAME TO shop_unfinished_r1"),
        ("CREATE DATABASE shop_restore_r1", "DROP DATABASE shop_restore_r1"),
    ] {
        place.server.sql("postgres", changed);
        let error = database.finish_beside(&place.cx, &restored).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DatabaseUnreachable);
        place.server.sql("postgres", back);
    }
    let finished = database.finish_beside(&place.cx, &restored).await.unwrap();
    place.server.sql("postgres", "CREATE DATABASE shop_unfinished_r1");
    database.discard(&place.cx, &finished).await.unwrap();
    assert_eq!(names(), "shop", "whatever it is called");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_comes_back_and_one_in_use_by_a_prepared_transaction_stays() {
    let place = Place::with(SHOP);
    let restored = beside(&place, "r1").await;
    place.server.sql("postgres", "DROP DATABASE shop");
    let swapped = place.database("shop").swap(&place.cx, &restored).await.unwrap();
    assert_eq!(swapped.kept, None);
    assert_eq!(place.server.sql("shop", "SELECT count(*) FROM orders"), "2");
    // What cannot be restored leaves nothing beside the live one.
    let (dump, report) = place.dump().await;
    let mut cut = &dump[..dump.len() / 2];
    let error = place
        .database("shop")
        .restore_beside(&place.cx, &mut cut, Some(needs(&report)), "r2")
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::BackupTruncated);
    assert_eq!(
        place.server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop_%'"),
        "0"
    );
}
