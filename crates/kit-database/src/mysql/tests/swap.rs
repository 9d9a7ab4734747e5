use super::{AWKWARD, Place, needs};
use crate::{Database as _, Depth, compare};
use kit_contract::Reason;

const ID: &str = "1763712000-abc1234";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_restored_database_takes_the_place_of_the_live_one_which_is_kept() {
    let place = Place::with(AWKWARD);
    let database = place.database("shop");
    let (dump, report) = place.dump().await;
    place.server.sql(
        "shop",
        "DELETE FROM orders; DROP VIEW `all names`; CREATE TABLE newer (a int); CREATE VIEW newest AS SELECT * FROM newer;
         CREATE TRIGGER newer_one BEFORE INSERT ON newer FOR EACH ROW SET NEW.a = NEW.a + 1;
         CREATE EVENT often ON SCHEDULE EVERY 1 SECOND STARTS '2030-01-01' DO INSERT INTO newer VALUES (1)",
    );
    let gone = database.inspect(&place.cx, Depth::Content).await.unwrap();
    let mut reader = dump.as_slice();
    let beside = database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), ID).await.unwrap();
    assert_eq!(beside.name, format!("shop_restore_{ID}"));
    let mark = format!("{}_unfinished", beside.name);
    assert_eq!(
        place.server.sql("mysql", "SHOW DATABASES LIKE 'shop%'"),
        format!("shop\n{}\n{mark}", beside.name),
        "whoever looks sees that it is unfinished"
    );
    let error = database.swap(&place.cx, &beside).await.unwrap_err();
    assert!(error.to_string().contains(&format!("is unfinished, as {mark} says")), "{error}");
    let status = "SELECT event_name, status FROM information_schema.events WHERE event_schema = ";
    let events = place.server.sql("mysql", &format!("{status}'{}' ORDER BY 1", beside.name));
    assert_eq!(events, "nightly\tSLAVESIDE_DISABLED\nresting\tDISABLED", "nothing runs before it is live");
    let inspected = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &inspected), []);
    let promised = report.inspection.content_digests();
    assert!(promised.is_some() && promised == inspected.content_digests(), "what db-restore compares");
    let live = database.inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&gone, &live), [], "the live one is not touched");
    assert_eq!(database.finish_beside(&place.cx, &beside).await.unwrap(), beside);
    assert_eq!(place.server.sql("mysql", "SHOW DATABASES LIKE 'shop%'"), format!("shop\n{}", beside.name));
    // As if the answer had been lost.
    database.finish_beside(&place.cx, &beside).await.unwrap();

    // Somebody reads on: the tables cannot be had, and everything is as it was.
    let mut reader = place
        .server
        .command("mariadb")
        .args(["shop", "-e", "SELECT a FROM hidden, (SELECT SLEEP(100)) s"])
        .spawn()
        .unwrap();
    wait_for(
        &place,
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT a FROM hidden%'",
        "1",
    );
    let error = database.swap(&place.cx, &beside).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable);
    assert!(error.to_string().contains("nothing was swapped"), "{error}");
    reader.kill().unwrap();
    reader.wait().unwrap();
    place.server.kill("info LIKE 'SELECT a FROM hidden%'");
    let live = database.inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&gone, &live), [], "its code was put back");

    let inspected = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &inspected), [], "and that of the restored one, too");
    let swapped = database.swap(&place.cx, &beside).await.unwrap();
    let kept = format!("shop_before_{ID}");
    assert_eq!((swapped.kept.unwrap(), swapped.warnings), (format!("MariaDB {kept}"), Vec::new()));
    let live = database.inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &live), []);
    assert_eq!(place.server.sql("shop", "SELECT two FROM `all names` ORDER BY 1"), "2\n4\n6");
    assert_eq!(
        place.server.sql("mysql", &format!("{status}'{kept}' ORDER BY 1")),
        "nightly\tDISABLED\noften\tDISABLED\nresting\tDISABLED",
        "what gave way runs no more"
    );
    let mut kept_state = place.database(&kept).inspect(&place.cx, Depth::Content).await.unwrap();
    kept_state.beyond_tables_sha256 = None;
    assert_eq!(compare(&gone, &kept_state), [], "all of it is kept");
    assert_eq!(place.server.sql("mysql", "SHOW DATABASES LIKE 'shop%'"), format!("shop\n{kept}"));

    let mut reader = dump.as_slice();
    let beside = database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), ID).await.unwrap();
    database.finish_beside(&place.cx, &beside).await.unwrap();
    let error = database.swap(&place.cx, &beside).await.unwrap_err();
    assert!(error.to_string().contains("is never replaced"), "{error}");
    // What an earlier run left under the same id is replaced, and unfinished again.
    let mut reader = dump.as_slice();
    database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), ID).await.unwrap();
    database.swap(&place.cx, &beside).await.unwrap_err();
    database.discard(&place.cx, &beside).await.unwrap();
    assert_eq!(place.server.sql("mysql", "SHOW DATABASES LIKE 'shop%'"), format!("shop\n{kept}"));
    assert!(database.swap(&place.cx, &beside).await.unwrap_err().to_string().contains("nothing to swap"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_lost_comes_back_and_what_refers_to_it_elsewhere_stops_a_swap() {
    let place = Place::with(AWKWARD);
    let database = place.database("shop");
    let (dump, report) = place.dump().await;
    place.server.sql(
        "mysql",
        "CREATE DATABASE other; CREATE TABLE other.refers (c int, FOREIGN KEY (c) REFERENCES shop.customers (id))",
    );
    let mut reader = dump.as_slice();
    let beside =
        database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "id-00001").await.unwrap();
    let beside = database.finish_beside(&place.cx, &beside).await.unwrap();
    let error = database.swap(&place.cx, &beside).await.unwrap_err();
    assert!(error.to_string().contains("other.refers"), "{error:?}");
    place.server.sql("mysql", "DROP DATABASE other; DROP DATABASE shop");
    let swapped = database.swap(&place.cx, &beside).await.unwrap();
    assert_eq!((swapped.kept, swapped.warnings), (None, Vec::new()));
    let live = database.inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &live), []);
    assert_eq!(place.server.sql("mysql", "SHOW DATABASES LIKE 'shop%'"), "shop");
}

fn wait_for(place: &Place, sql: &str, expected: &str) {
    for _ in 0..500 {
        if place.server.sql("mysql", sql) == expected {
            return;
        }
    }
    panic!("{sql} never gave {expected}");
}
