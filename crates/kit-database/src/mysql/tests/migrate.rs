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

const BOOKS: &str = "SELECT version, success FROM _sqlx_migrations ORDER BY 1";
const COLUMNS: &str = "SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 't'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stayed_of_a_failed_migration_is_said() {
    let place = Place::with("CREATE TABLE t (a integer); INSERT INTO t VALUES (1), (1)");
    let files = [
        ("1_good.sql", "CREATE TABLE u (b integer); INSERT INTO u VALUES (1);"),
        ("2_rows.sql", "UPDATE t SET a = 2; INSERT INTO nowhere VALUES (1);"),
        ("3_alone.sql", "-- one statement\nALTER TABLE t ADD UNIQUE (a);"),
        ("4_half.sql", "ALTER TABLE t ADD d integer; ALTER TABLE t ADD UNIQUE (a);"),
    ];
    let set = set(&place, &files).await;
    let database = place.database("shop");
    let status = database.migration_status(&place.cx, &set).await.unwrap();
    assert_eq!((status.applied.len(), status.pending.len()), (0, 4));
    let outcome = apply(&place, &set, 1).await.unwrap();
    assert!(matches!(&outcome, MigrationOutcome::Applied(done) if done.duration_ms.is_some()), "{outcome:?}");
    assert!(matches!(apply(&place, &set, 1).await.unwrap(), MigrationOutcome::AppliedElsewhere(_)));

    // Rows alone are rolled back, with the row in the books.
    let error = apply(&place, &set, 2).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MigrationFailed);
    assert!(StepError::from(error).chain().contains("nowhere"));
    assert_eq!(place.server.sql("shop", "SELECT DISTINCT a FROM t"), "1");
    // The only statement failed: the books are put right.
    let error = apply(&place, &set, 3).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MigrationFailed, "{error}");
    assert_eq!(place.server.sql("shop", BOOKS), "1\t1");
    // What stood before it has stayed, and every later run is stopped until somebody looked.
    let error = apply(&place, &set, 4).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LeftChanged);
    assert!(error.to_string().contains("takes no DDL back"), "{error}");
    assert_eq!(place.server.sql("shop", COLUMNS), "a,d");
    assert_eq!(place.server.sql("shop", BOOKS), "1\t1\n4\t0");
    assert_eq!(apply(&place, &set, 2).await.unwrap_err().reason(), Reason::MigrationDirty);
    assert_eq!(database.migration_status(&place.cx, &set).await.unwrap().dirty, [4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_apply_each_migration_once() {
    let place = Place::with("CREATE TABLE t (a integer); INSERT INTO t SELECT seq FROM seq_1_to_100000");
    let set = set(&place, &[("1_index.sql", "ALTER TABLE t ADD INDEX (a);")]).await;
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
    let mut reader = place.server.command("mariadb");
    reader.args(["shop", "-e", "BEGIN; SELECT * FROM t; DO SLEEP(3); COMMIT"]);
    let mut reader = reader.stdout(std::process::Stdio::null()).spawn().unwrap();
    let sleeping = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'";
    while place.server.sql("shop", sleeping) == "0" {}
    let began = place.cx.clock.elapsed();
    let probes = async {
        let mut worst_ms = 0;
        while place.cx.clock.elapsed().saturating_sub(began).as_secs() < 2 {
            let asked = place.cx.clock.elapsed();
            // A snapshot from before the change cannot read the table after it. That is told at once, too.
            if let Err(error) = place.database("shop").inventory(&place.cx).await {
                assert!(StepError::from(error).chain().contains("Table definition has changed"));
            }
            worst_ms = worst_ms.max(place.cx.clock.elapsed().saturating_sub(asked).as_millis());
        }
        worst_ms
    };
    let (applied, worst_ms) = tokio::join!(apply(&place, &set, 1), probes);
    assert!(matches!(applied.unwrap(), MigrationOutcome::Applied(_)));
    assert!(reader.wait().unwrap().success());
    assert!(worst_ms < 2000, "a reader waited {worst_ms} ms behind a lock that is waited for 1000 ms");
}
