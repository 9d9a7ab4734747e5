use super::Place;
use crate::{Database as _, DatabaseError, MigrationOutcome, MigrationSet};
use kit_contract::Reason;
use kit_core::StepError;

async fn set(place: &Place, files: &[(&str, &str)]) -> MigrationSet {
    let folder = place.folder.path().join("migrations");
    kit_core::fs::create_folder(&folder).unwrap();
    for (name, sql) in files {
        kit_core::fs::write_atomic(&folder.join(name), sql.as_bytes()).unwrap();
    }
    MigrationSet::read(&folder).await.unwrap()
}

async fn apply(place: &Place, set: &MigrationSet, version: i64) -> Result<MigrationOutcome, DatabaseError> {
    place.database("shop").apply_migration(&place.cx, set, version).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_is_in_the_books_and_what_fails_leaves_nothing() {
    let place = Place::with("CREATE TABLE t (a integer); INSERT INTO t VALUES (1), (1)");
    let set = set(
        &place,
        &[
            ("1_good.sql", "CREATE TABLE u (b integer); INSERT INTO u VALUES (1);"),
            ("2_bad.sql", "ALTER TABLE t ADD c integer; SELECT 1 / 0;"),
            (
                "3_commits.sql",
                "ALTER TABLE t ADD d integer; COMMIT; ALTER TABLE t ADD e integer; SELECT 1 / 0;",
            ),
            ("4_bare.sql", "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (a);"),
            ("5_index.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY good ON t (a);"),
        ],
    )
    .await;
    let database = place.database("shop");
    let status = database.migration_status(&place.cx, &set).await.unwrap();
    assert_eq!((status.applied.len(), status.pending.len()), (0, 5));
    let outcome = apply(&place, &set, 1).await.unwrap();
    assert!(matches!(&outcome, MigrationOutcome::Applied(done) if done.duration_ms.is_some()), "{outcome:?}");
    assert!(matches!(apply(&place, &set, 1).await.unwrap(), MigrationOutcome::AppliedElsewhere(_)));

    let error = apply(&place, &set, 2).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MigrationFailed);
    assert!(StepError::from(error).chain().ends_with("division by zero"));
    let columns =
        "SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(place.server.sql("shop", columns), "a");

    let error = apply(&place, &set, 3).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LeftChanged, "its first half was committed");
    assert!(error.to_string().contains("ended its transaction by itself"), "{error}");
    assert_eq!(place.server.sql("shop", columns), "a d");

    let error = apply(&place, &set, 4).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LeftChanged);
    assert!(error.to_string().contains("outside a transaction"), "{error}");
    place.server.sql("shop", "DROP INDEX i");
    assert!(matches!(apply(&place, &set, 5).await.unwrap(), MigrationOutcome::Applied(_)));
    let status = database.migration_status(&place.cx, &set).await.unwrap();
    assert_eq!(status.pending_versions(), ["2", "3", "4"]);
}

/// Two runs at once: one applies, the other sees it; and an index made without a transaction does not wait
/// for whoever waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_apply_each_migration_once() {
    let place = Place::with("CREATE TABLE t (a integer); INSERT INTO t SELECT generate_series(1, 200000)");
    let set =
        set(&place, &[("1_index.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);")]).await;
    let (one, two) = tokio::join!(apply(&place, &set, 1), apply(&place, &set, 1));
    let applied = |outcome: &Result<MigrationOutcome, DatabaseError>| {
        matches!(outcome, Ok(MigrationOutcome::Applied(_)))
    };
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert!(applied(&one) != applied(&two), "{one:?} {two:?}");
}

/// A reader that takes its time: the migration waits briefly, lets those behind it through, and comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_behind_a_reader_does_not_stop_other_readers() {
    let place = Place::with("CREATE TABLE t (a integer)");
    let set = set(&place, &[("1_add.sql", "ALTER TABLE t ADD b integer;")]).await;
    let mut reader = place.server.command("psql", "shop");
    reader.args(["-X", "-q", "-c", "BEGIN; SELECT * FROM t; SELECT pg_sleep(3); COMMIT"]);
    let mut reader = reader.stdout(std::process::Stdio::null()).spawn().unwrap();
    let began = place.cx.clock.elapsed();
    let probes = async {
        let mut worst_ms = 0;
        while place.cx.clock.elapsed().saturating_sub(began).as_secs() < 2 {
            let asked = place.cx.clock.elapsed();
            place.database("shop").inventory(&place.cx).await.unwrap();
            worst_ms = worst_ms.max(place.cx.clock.elapsed().saturating_sub(asked).as_millis());
        }
        worst_ms
    };
    // Begun once the reader has its lock: the first probe shows that it has connected by then.
    while place.server.sql("shop", "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass") == "0" {}
    let (applied, worst_ms) = tokio::join!(apply(&place, &set, 1), probes);
    assert!(matches!(applied.unwrap(), MigrationOutcome::Applied(_)));
    assert!(reader.wait().unwrap().success());
    assert!(worst_ms < 1500, "a reader waited {worst_ms} ms behind a lock that is waited for 500 ms");
}
