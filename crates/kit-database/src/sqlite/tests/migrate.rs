use super::{Place, connect};
use crate::{Database as _, DatabaseError, DriftKind, MigrationOutcome, MigrationSet};
use kit_contract::Reason;
use kit_core::{Cause, StepError};
use sqlx::{Connection as _, Executor as _};
use std::path::PathBuf;
use std::time::Duration;

struct Migrations {
    place: Place,
    folder: PathBuf,
}

impl Migrations {
    async fn with(files: &[(&str, &str)]) -> Self {
        let place = Place::with("").await;
        place.sql("CREATE TABLE log (v INTEGER);").await;
        let folder = place.folder.path().join("migrations");
        kit_core::fs::create_folder(&folder).unwrap();
        let migrations = Self { place, folder };
        for (name, sql) in files {
            migrations.write(name, sql);
        }
        migrations
    }

    fn write(&self, name: &str, sql: &str) {
        kit_core::fs::write_atomic(&self.folder.join(name), sql.as_bytes()).unwrap();
    }

    async fn set(&self) -> MigrationSet {
        MigrationSet::read(&self.folder).await.unwrap()
    }

    async fn status(&self) -> crate::MigrationStatus {
        self.place.database().migration_status(&self.place.cx, &self.set().await).await.unwrap()
    }

    async fn apply(&self, version: i64) -> Result<MigrationOutcome, DatabaseError> {
        self.place.database().apply_migration(&self.place.cx, &self.set().await, version).await
    }

    async fn content(&self) -> crate::Inspection {
        self.place.database().inspect(&self.place.cx, crate::Depth::Content).await.unwrap()
    }
}

const ONE: (&str, &str) = ("0001_first_step.sql", "CREATE TABLE a (x);\nINSERT INTO log VALUES (1);\n");
const TWO: (&str, &str) = ("0002_second.sql", "ALTER TABLE a ADD COLUMN y;\nINSERT INTO log VALUES (2);\n");

#[tokio::test]
async fn pending_ones_are_applied_one_by_one() {
    let m = Migrations::with(&[TWO, ONE, ("0001_first_step.down.sql", "DROP TABLE a;")]).await;
    m.write("README.md", "not a migration");
    // As a folder of sqlx holds them: both halves, or plain files.
    kit_core::fs::rename(&m.folder.join(ONE.0), &m.folder.join("0001_first_step.up.sql")).unwrap();
    let before = m.content().await;
    let status = m.status().await;
    assert_eq!((status.applied.len(), status.pending_versions()), (0, vec!["1".to_owned(), "2".to_owned()]));
    assert_eq!(status.pending[0].description, "first step");
    assert_eq!(m.content().await, before, "asking changes nothing");

    let MigrationOutcome::Applied(first) = m.apply(1).await.unwrap() else { panic!("not applied") };
    assert_eq!((first.version.as_str(), first.description.as_str()), ("1", "first step"));
    assert!(first.duration_ms.is_some());
    assert_eq!(first.checksum, status.pending[0].checksum);
    assert_eq!(first.checksum.len(), 96);
    assert_eq!(m.status().await.pending_versions(), ["2"]);
    assert!(matches!(m.apply(1).await.unwrap(), MigrationOutcome::AppliedElsewhere(_)));
    m.apply(2).await.unwrap();
    let status = m.status().await;
    assert_eq!((status.applied.len(), status.pending.len()), (2, 0));
    assert_eq!(status.applied[0].duration_ms, None);
    status.check("db").unwrap();
    assert_eq!(m.place.number("SELECT group_concat(v, '') = '12' FROM log").await, 1);
    assert_eq!(m.place.number("SELECT min(execution_time) > 0 FROM _sqlx_migrations").await, 1);
    assert_eq!(m.apply(9).await.unwrap_err().reason(), Reason::UsageError);
}

#[tokio::test]
async fn the_books_are_those_of_sqlx() {
    let m = Migrations::with(&[ONE, TWO]).await;
    m.apply(1).await.unwrap();
    let mut connection = connect(&m.place.path).await;
    let migrator = sqlx::migrate::Migrator::new(m.folder.as_path()).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(m.status().await.applied.len(), 2);
}

#[tokio::test]
async fn a_failure_leaves_the_database_as_it_was() {
    // The last column: whether the file tried to end the transaction, which deserves a hint.
    for (sql, expected, hinted) in [
        ("INSERT INTO log VALUES (9); CREATE TABLE log (v);", "table log already exists", false),
        ("INSERT INTO log VALUES (9); SELEC 1;", "syntax error", false),
        ("INSERT INTO log VALUES (9); COMMIT; INSERT INTO nowhere VALUES (1);", "constraint failed", true),
        ("INSERT INTO log VALUES (9); COMMIT;", "constraint failed", true),
        ("ROLLBACK; INSERT INTO log VALUES (9);", "constraint failed", true),
        ("BEGIN; INSERT INTO log VALUES (9); COMMIT;", "within a transaction", false),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY);
             CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (7);",
            "FOREIGN KEY constraint failed",
            false,
        ),
    ] {
        let m = Migrations::with(&[("1_bad.sql", sql)]).await;
        let before = m.content().await;
        let error = m.apply(1).await.unwrap_err();
        assert!(matches!(error, DatabaseError::MigrationFailed { version: 1, .. }), "{sql}: {error:?}");
        assert_eq!(m.content().await, before, "{sql}: not even the bookkeeping table stays");
        assert_eq!(m.status().await.pending_versions(), ["1"]);
        let step = StepError::from(error);
        assert_eq!(step.reason, Reason::MigrationFailed);
        assert!(step.chain().contains(expected), "{}", step.chain());
        assert!(!step.chain().contains('\n'));
        assert_eq!(!step.hints.is_empty(), hinted, "{sql}: {step:?}");
    }
}

#[tokio::test]
async fn outside_a_transaction_a_failure_may_leave_parts() {
    let m = Migrations::with(&[
        ("1_ok.sql", "-- no-transaction\nPRAGMA foreign_keys = OFF; CREATE TABLE b (x); VACUUM;"),
        ("2_bad.sql", "-- no-transaction\nINSERT INTO log VALUES (9); SELEC 1;"),
    ])
    .await;
    assert!(m.set().await.list()[0].no_transaction);
    assert!(matches!(m.apply(1).await.unwrap(), MigrationOutcome::Applied(_)));
    let error = m.apply(2).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LeftChanged, "{error}");
    assert!(error.to_string().ends_with("so parts of it may have stayed"), "{error}");
    assert_eq!(m.place.number("SELECT count(*) FROM log").await, 1, "as the message says");
}

#[tokio::test]
async fn drift_is_found_and_nothing_is_applied_on_top() {
    for (text, kind) in [
        ("CREATE TABLE a (x); -- edited\n".to_owned(), DriftKind::Changed),
        (ONE.1.replace('\n', "\r\n"), DriftKind::LineEnds),
    ] {
        let m = Migrations::with(&[ONE, TWO]).await;
        m.apply(1).await.unwrap();
        m.write(ONE.0, &text);
        let status = m.status().await;
        assert_eq!(status.drifted.iter().map(|drift| drift.kind).collect::<Vec<_>>(), [kind]);
        let error = m.apply(2).await.unwrap_err();
        assert_eq!(error.reason(), Reason::MigrationDrifted);
        assert!(error.to_string().contains("1 first step ("), "{error}");
        let hints = StepError::from(error).hints;
        assert_eq!(hints.iter().any(|hint| hint.contains(".gitattributes")), kind == DriftKind::LineEnds);
        assert_eq!(m.status().await.pending_versions(), ["2"]);
    }
    let m = Migrations::with(&[("1_windows.sql", "SELECT 1;\r\n")]).await;
    m.apply(1).await.unwrap();
    m.write("1_windows.sql", "SELECT 1;\n");
    assert_eq!(m.status().await.drifted[0].kind, DriftKind::LineEnds, "the other way round");

    let m = Migrations::with(&[ONE, TWO]).await;
    m.apply(1).await.unwrap();
    kit_core::fs::remove(&m.folder.join(ONE.0)).unwrap();
    assert_eq!(m.status().await.drifted[0].kind, DriftKind::Missing);
    assert!(m.apply(2).await.unwrap_err().to_string().contains("its file is gone"));
}

#[tokio::test]
async fn a_dirty_row_stops_everything() {
    let m = Migrations::with(&[ONE, TWO]).await;
    m.apply(1).await.unwrap();
    m.place.sql("UPDATE _sqlx_migrations SET success = false").await;
    let status = m.status().await;
    assert_eq!((status.dirty.clone(), status.applied.len()), (vec![1], 0));
    for version in [1, 2] {
        assert_eq!(m.apply(version).await.unwrap_err().reason(), Reason::MigrationDirty);
    }
}

#[tokio::test]
async fn an_unusable_folder_is_an_error() {
    let m = Migrations::with(&[("1_a.sql", "SELECT 1"), ("01_b.sql", "SELECT 2")]).await;
    let error = MigrationSet::read(&m.folder).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError);
    assert!(error.to_string().contains("have the same version"), "{error}");
    let error = MigrationSet::read(&m.folder.join("nowhere")).await.unwrap_err();
    assert!(error.to_string().ends_with("there is no such folder"), "{error}");
    let empty = Migrations::with(&[]).await;
    assert_eq!(empty.set().await.list(), []);
}

#[tokio::test]
async fn a_lock_that_is_held_is_waited_for_with_a_bound() {
    let m = Migrations::with(&[ONE]).await;
    let mut other = connect(&m.place.path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = m.apply(1).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Busy { .. }), "{error:?}");
    assert!(error.to_string().ends_with("so the migration was not applied"), "{error}");
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    m.apply(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_at_once_apply_each_migration_once() {
    let files: Vec<(String, String)> = (1..=20)
        .map(|v| (format!("{v}_step.sql"), format!("CREATE TABLE t{v} (x); INSERT INTO log VALUES ({v});")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, sql)| (name.as_str(), sql.as_str())).collect();
    let m = std::sync::Arc::new(Migrations::with(&files).await);
    let mut runs = Vec::new();
    for _ in 0..2 {
        let m = std::sync::Arc::clone(&m);
        runs.push(tokio::spawn(async move {
            let patient = super::SqliteDatabase { patience: Duration::from_secs(60), ..m.place.database() };
            let set = m.set().await;
            let mut applied = 0;
            for version in 1..=20 {
                let outcome = patient.apply_migration(&m.place.cx, &set, version).await.unwrap();
                applied += usize::from(matches!(outcome, MigrationOutcome::Applied(_)));
            }
            applied
        }));
    }
    let mut applied = 0;
    for run in runs {
        applied += run.await.unwrap();
    }
    assert_eq!(applied, 20);
    assert_eq!(m.place.number("SELECT count(*) * 1000 + count(DISTINCT v) FROM log").await, 20_020);
    assert_eq!(m.status().await.applied.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_long_migration_and_leaves_nothing() {
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        INSERT INTO log SELECT max(i) FROM n;";
    let m = std::sync::Arc::new(Migrations::with(&[("1_endless.sql", endless)]).await);
    let before = m.content().await;
    let running = tokio::spawn({
        let m = std::sync::Arc::clone(&m);
        async move { m.apply(1).await }
    });
    // Until it holds the write lock; then it is running.
    let mut probe = connect(&m.place.path).await;
    probe.execute("PRAGMA busy_timeout = 0").await.unwrap();
    while probe.execute("BEGIN IMMEDIATE").await.is_ok() {
        probe.execute("ROLLBACK").await.unwrap();
        tokio::task::yield_now().await;
    }
    m.place.cx.cancel.cancel(Cause::Terminated);
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::Terminated, "{error}");
    probe.close().await.unwrap();
    let (fresh, _) = kit_core::Context::for_test(kit_core::Env::default());
    let after = m.place.database().inspect(&fresh, crate::Depth::Content).await.unwrap();
    assert_eq!(after, before);
}
