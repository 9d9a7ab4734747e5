use super::{EVERYTHING, Place, needs};
use crate::{Beside, Database as _, DatabaseError, Depth, compare};
use kit_contract::Reason;
use kit_core::StepError;
use kit_testing::redis::Server;

async fn beside(place: &Place, id: &str) -> Beside {
    let (dump, report) = place.dump().await;
    let database = place.database(0);
    let beside = database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), id).await.unwrap();
    let early = database.swap(&place.cx, &beside).await.unwrap_err();
    assert!(early.to_string().contains("is unfinished"), "{early}");
    database.finish_beside(&place.cx, &beside).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_restored_database_takes_the_place_of_the_live_one_which_is_kept() {
    let place = Place::with(EVERYTHING);
    place.server.run(15, "SET somebody else");
    place.server.run(1, "SET somebody else");
    let (dump, report) = place.dump().await;
    place.server.run(0, "DEL hash stream\nSET new 1\nFUNCTION FLUSH");
    let database = place.database(0);
    let restored =
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await.unwrap();
    assert_eq!(restored.name, "db14", "the last that is empty");
    let found = database.inspect_beside(&place.cx, &restored, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &found), []);
    assert_eq!(report.inspection.content_digests(), found.content_digests(), "what db-restore compares");
    assert_eq!(place.server.run(14, "GET deploy-kit:restore"), "r1 unfinished");
    let restored = database.finish_beside(&place.cx, &restored).await.unwrap();
    assert_eq!(place.server.run(14, "GET deploy-kit:restore"), "r1");
    let swapped = database.swap(&place.cx, &restored).await.unwrap();
    assert_eq!(swapped.kept.unwrap(), format!("Redis db14 at 127.0.0.1:{}", place.server.port()));
    let [warning] = swapped.warnings.as_slice() else { panic!("{:?}", swapped.warnings) };
    assert!(warning.contains("functions"), "{warning}");
    assert_eq!(place.server.run(0, "EXISTS hash stream new deploy-kit:restore"), "2");
    assert_eq!(place.server.run(14, "EXISTS hash stream new deploy-kit:restore"), "1");
    let live = database.inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &live), []);

    // What is kept is nobody's to remove, and nothing there to swap.
    database.discard(&place.cx, &restored).await.unwrap();
    assert_eq!(place.server.run(14, "EXISTS new"), "1");
    let again = database.swap(&place.cx, &restored).await.unwrap_err();
    assert!(again.to_string().contains("nothing to swap"), "{again}");
    // One that lost everything comes back, and leaves nothing behind.
    place.server.run(0, "FLUSHDB");
    let restored =
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r2").await.unwrap();
    let restored = database.finish_beside(&place.cx, &restored).await.unwrap();
    assert_eq!(database.swap(&place.cx, &restored).await.unwrap().kept, None);
    let error = database.finish_beside(&place.cx, &restored).await.unwrap_err();
    assert!(StepError::from(error).chain().contains("not what was restored any more"));
    assert_eq!(place.server.run(13, "DBSIZE"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_run_left_unfinished_is_said() {
    let place = Place::with("SET a 1");
    let (dump, report) = place.dump().await;
    place.server.run(12, "SET deploy-kit:restore \"other unfinished\"");
    place.server.run(11, "SET deploy-kit:restore other");
    let (cx, captured) = kit_core::Context::for_test(place.cx.env.clone());
    let cx = kit_core::Context { clock: place.cx.clock, ..cx };
    place.database(0).restore_beside(&cx, &mut &dump[..], Some(needs(&report)), "r1").await.unwrap();
    let said = captured.stderr();
    assert!(said.contains("warning: database 12 holds a part of a backup at most"), "{said}");
    assert!(!said.contains("database 11"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_run_left_is_replaced_and_what_is_not_ours_is_not_touched() {
    let place = Place::with("SET a 1");
    let first = beside(&place, "r1").await;
    place.server.run(15, "SET half 1\nSET deploy-kit:restore \"r1 unfinished\"");
    assert_eq!(beside(&place, "r1").await, first, "under the same id");
    assert_eq!(place.server.run(15, "DBSIZE"), "2", "one key, and our mark");
    assert_eq!(beside(&place, "r2").await.name, "db14");
    place.database(0).discard(&place.cx, &first).await.unwrap();
    place.database(0).discard(&place.cx, &first).await.unwrap();
    assert_eq!(place.server.run(15, "DBSIZE"), "0");
    place.server.run(15, "SET somebody else");
    place.database(0).discard(&place.cx, &first).await.unwrap();
    assert_eq!(place.server.run(15, "DBSIZE"), "1");
}

/// Those of docs/databases.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_asked_for_are_enough() {
    let place = Place::with("SET a 1");
    let backup = "ACL SETUSER one on >r ~* -@all +info +psync +replconf";
    place.server.run(0, backup);
    let one = place.database_at(&place.server.url_as("one", "r", 0), crate::OpenOptions::default());
    let (dump, report) = place.try_dump(&one).await.unwrap();
    let restore = async || one.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await;
    let error = restore().await.unwrap_err();
    assert!(StepError::from(error).chain().contains("NOPERM"));
    place.server.run(
        0,
        "ACL SETUSER one +select +dbsize +get +set +del +restore +flushdb +watch +multi +exec +swapdb",
    );
    let restored = restore().await.unwrap();
    one.discard(&place.cx, &restored).await.unwrap();
    let restored = restore().await.unwrap();
    let found = one.inspect_beside(&place.cx, &restored, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &found), []);
    let restored = one.finish_beside(&place.cx, &restored).await.unwrap();
    assert!(one.swap(&place.cx, &restored).await.unwrap().kept.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_a_second_one_nothing_is_begun() {
    let place = Place::on(Server::with(&["--databases", "2"]));
    place.server.run(0, "SET a 1");
    place.server.run(1, "SET b 1");
    let (dump, report) = place.dump().await;
    let restore = || async {
        let database = place.database(0);
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await
    };
    let error = restore().await.unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError);
    assert!(error.to_string().contains("has 2 databases, and none is empty"), "{error}");
    // A server that would remove keys of the live one to make room.
    let used = place.server.run(1, "FLUSHDB\nINFO memory");
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim();
    let limit = used.parse::<u64>().unwrap() + (1 << 20);
    place.server.run(1, &format!("CONFIG SET maxmemory-policy allkeys-lru\nCONFIG SET maxmemory {limit}"));
    let error = restore().await.unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable);
    assert!(StepError::from(error).chain().contains("raise maxmemory"));
    place.server.run(0, "CONFIG SET maxmemory 0");
    assert_eq!(place.server.run(0, "GET a"), "1");
    assert_eq!(place.server.run(1, "DBSIZE"), "0");
    restore().await.unwrap();
}

/// The connection breaks just when the exchange was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_whose_answer_never_came_is_looked_for() {
    for done in [true, false] {
        let place = Place::with("SET a 1");
        let restored = beside(&place, "r1").await;
        place.server.run(0, "SET a 2\nSET b 2");
        let proxy = super::faults::Proxy::start(&place.server, done).await;
        let url = place.server.url(0).replace(&place.server.port().to_string(), &proxy.port().to_string());
        let swapped = place.database_at(&url, crate::OpenOptions::default()).swap(&place.cx, &restored).await;
        match (done, swapped) {
            (true, Ok(swapped)) => assert!(swapped.kept.is_some()),
            (false, Err(DatabaseError::Unreachable { .. })) => {}
            (_, other) => panic!("{done}: {other:?}"),
        }
        assert_eq!(place.server.run(0, "GET a"), if done { "1" } else { "2" });
    }
}
