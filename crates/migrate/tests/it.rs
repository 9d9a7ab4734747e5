//! The program as it is run: real SQLite files, a store in a folder, a scrubbed environment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test prepares files and changes them behind the program's back"
)]

use kit_contract::Sha256;
use kit_contract::body::{DatabaseBackup, Engine, Migration, Proof};
use kit_testing::{Ran, Sandbox, Signal};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::path::Path;

const BINARY: &str = env!("CARGO_BIN_EXE_migrate");
const ID: &str = "1763712000-abc1234";
const STEM: &str = "shop/production/backup-1763712000-abc1234";
const BACKUP: &str = ".deploy-kit/artifacts/backup.json";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\nmigrations = \"migrations\"\n";
/// SIGTERM, and a step that ended because of it.
const TERMINATED: i32 = 143;

#[tokio::main(flavor = "current_thread")]
async fn sql(path: &Path, text: &str) {
    let mut connection =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    connection.execute(AssertSqlSafe(text.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn number(path: &Path, text: &str) -> i64 {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let number = sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}

fn artifact(kind: &str, id: &str, reason: &str, body: Value) -> String {
    json!({
        "schema": format!("deploy-kit/{kind}/v1"), "app": "shop", "environment": "production",
        "deployment_id": id, "attempt": 1, "standalone": false, "step": kind,
        "result": kit_contract::Reason::from_code(reason).unwrap().result().as_str(), "reason": reason,
        "message": "", "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
        "tool": {"version": "0"}, "run": {}, "body": body
    })
    .to_string()
}

fn deployment() -> String {
    let body = json!({
        "version": "2.0.0", "tag": "v2.0.0", "annotated": true, "kind": "release", "services": [],
        "commit": {"sha": "a".repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
        "git_ref": "refs/tags/v2.0.0", "config_sha256": "a".repeat(64),
    });
    artifact("deployment", ID, "release_accepted", body)
}

fn proved(database: &str) -> DatabaseBackup {
    DatabaseBackup {
        database: database.parse().unwrap(),
        engine: Engine::Sqlite,
        engine_version: "3".to_owned(),
        location: format!("file:.deploy-kit/store/{STEM}.sqlite.gz"),
        key: format!("{STEM}.sqlite.gz"),
        metadata_key: format!("{STEM}.json"),
        sha256: Sha256::of(b"packed"),
        size_bytes: 6,
        uncompressed_bytes: 8,
        tables: Vec::new(),
        schema_sha256: Sha256::of(b"schema"),
        proof: Proof::Full,
        snapshot_at: jiff::Timestamp::now(),
        verified_at: jiff::Timestamp::now(),
        adopted: false,
        details: Default::default(),
    }
}

/// What db-backup leaves: artifact, object, metadata.
fn back_up(sandbox: &Sandbox, backup: &DatabaseBackup) {
    claim(sandbox, backup);
    sandbox.write(&format!(".deploy-kit/store/{}", backup.key), "packed");
    let metadata = format!(".deploy-kit/store/{}", backup.metadata_key);
    sandbox.write(&metadata, serde_json::to_vec_pretty(backup).unwrap());
}

fn claim(sandbox: &Sandbox, backup: &DatabaseBackup) {
    sandbox.write(BACKUP, artifact("backup", ID, "verified_full", json!({ "databases": [backup] })));
}

/// A deployment with two migrations, the first of them applied, and a backup.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("deploy.toml", CONFIG)
        .file(".deploy-kit/artifacts/deployment.json", &deployment())
        .file("migrations/0001_initial.sql", "CREATE TABLE orders (id INTEGER PRIMARY KEY);")
        .env("MAIN_URL", "sqlite:main.db");
    sql(&sandbox.path().join("main.db"), "PRAGMA user_version = 1");
    back_up(&sandbox, &proved("main"));
    assert_eq!(sandbox.run(BINARY, &[]).code, Some(0));
    sandbox.write("migrations/0002_notes.sql", "ALTER TABLE orders ADD COLUMN note TEXT;");
    sandbox
}

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("migration");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    artifact
}

fn has_notes(sandbox: &Sandbox) -> bool {
    let text = "SELECT count(*) FROM pragma_table_info('orders') WHERE name = 'note'";
    number(&sandbox.path().join("main.db"), text) == 1
}

#[test]
fn pending_migrations_are_applied_once_after_a_proved_backup() {
    let sandbox = shop().github_actions();
    sandbox.write("deploy.toml", format!("{CONFIG}[store]\npersistent = true\n"));
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "migrated");
    assert!(has_notes(&sandbox));
    let body = sandbox.artifact::<Migration>("migration").body.unwrap();
    let database = &body.databases[0];
    let versions = |list: &[kit_contract::body::AppliedMigration]| -> Vec<String> {
        list.iter().map(|migration| migration.version.clone()).collect()
    };
    assert_eq!(
        (versions(&database.before), versions(&database.applied)),
        (vec!["1".into()], vec!["2".into()])
    );
    assert!(database.applied[0].duration_ms.is_some() && database.pending.is_empty());
    assert_eq!(sandbox.outputs()["applied-count"], "1");
    let evidence = sandbox.artifact_json("migration")["evidence"].clone();
    assert!(evidence.as_array().unwrap().iter().any(|entry| entry["artifact"] == "backup"), "{evidence}");

    let journal = |n: u32| {
        let key = format!(".deploy-kit/store/shop/production/deployments/{ID}/2/journal-migrate/{n:06}.json");
        serde_json::from_str::<Value>(&sandbox.read(&key)).unwrap()
    };
    assert_eq!((&journal(1)["phase"], &journal(1)["data"]["version"]), (&json!("intent"), &json!(2)));
    assert!(journal(2)["text"].as_str().unwrap().contains("applied in"), "{}", journal(2));

    // A second run needs no backup any more, because it changes nothing.
    std::fs::remove_file(sandbox.path().join(BACKUP)).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "nothing_pending");
}

#[test]
fn without_a_backup_that_does_nothing_is_migrated() {
    let sandbox = shop();
    let remove = |path: &str| std::fs::remove_file(sandbox.path().join(path)).unwrap();
    let refused = |code: i32, reason: &str, says: &str| {
        let ran = sandbox.run(BINARY, &[]);
        ended(&sandbox, &ran, code, reason);
        assert!(ran.stderr.contains(says), "no {says:?} in {}", ran.stderr);
        assert!(!has_notes(&sandbox), "{reason}: it was applied all the same");
    };
    let good = proved("main");
    let ago = |minutes: i64| jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);

    remove(BACKUP);
    refused(10, "backup_required", "run db-backup first");
    sandbox.write(BACKUP, artifact("backup", ID, "not_configured", json!({ "databases": [] })));
    refused(10, "backup_required", "main has pending migrations");
    sandbox.write(BACKUP, artifact("backup", ID, "backup_not_needed", json!({ "databases": [] })));
    refused(10, "backup_required", "it looks again whether one is needed");
    sandbox.write(BACKUP, artifact("backup", ID, "unfinished", Value::Null));
    refused(3, "artifact_not_go", "unfinished");
    back_up(&sandbox, &proved("users"));
    refused(10, "backup_required", "main has pending migrations");
    back_up(&sandbox, &DatabaseBackup { proof: Proof::Remote, ..good.clone() });
    refused(10, "backup_too_weak", "schema is required");
    back_up(&sandbox, &DatabaseBackup { snapshot_at: ago(61), ..good.clone() });
    refused(10, "backup_too_old", "and 1h is allowed");
    back_up(&sandbox, &DatabaseBackup { snapshot_at: ago(-60), ..good.clone() });
    refused(10, "backup_too_old", "dated in the future");
    sandbox.write(
        BACKUP,
        artifact("backup", "1763712001-fffffff", "verified_full", json!({ "databases": [good] })),
    );
    refused(3, "artifact_foreign", "1763712001-fffffff");

    // The artifact is fine by itself; the store knows better.
    back_up(&sandbox, &DatabaseBackup { proof: Proof::Stream, ..good.clone() });
    claim(&sandbox, &good);
    refused(3, "artifact_tampered", "do not agree about main: proof");
    back_up(&sandbox, &DatabaseBackup { snapshot_at: ago(600), ..good.clone() });
    claim(&sandbox, &good);
    refused(3, "artifact_tampered", "do not agree about main: snapshot_at");
    let stem = "shop/production/backup-1763712000-0000000";
    let foreign = DatabaseBackup {
        metadata_key: format!("{stem}.json"),
        key: format!("{stem}.sqlite.gz"),
        ..good.clone()
    };
    back_up(&sandbox, &foreign);
    refused(3, "artifact_tampered", "which is not of this deployment");
    back_up(&sandbox, &good);
    sandbox.write(&format!(".deploy-kit/store/{STEM}.sqlite.gz"), "pack");
    refused(10, "backup_mismatch", "has 4 bytes, not the 6 that were proved");
    sandbox.write(&format!(".deploy-kit/store/{STEM}.sqlite.gz"), "pAcked");
    refused(10, "backup_mismatch", "is not the one that was proved: its bytes have changed");
    remove(&format!(".deploy-kit/store/{STEM}.sqlite.gz"));
    refused(10, "backup_required", "is gone from the store");
    remove(&format!(".deploy-kit/store/{STEM}.json"));
    refused(10, "backup_required", "so the backup of main is none");
    sandbox.write(&format!(".deploy-kit/store/{STEM}.json"), "{ \"half\":");
    refused(3, "artifact_tampered", "cannot be read");

    // Could not ask is not the same as fine.
    back_up(&sandbox, &good);
    sandbox.write("in-the-way", "");
    let ran = sandbox.run(BINARY, &["--store", "file:in-the-way/store"]);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!has_notes(&sandbox));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "migrated");
}

#[test]
fn drift_and_half_applied_migrations_are_refused_before_anything_is_applied() {
    let sandbox = shop();
    let initial = sandbox.read("migrations/0001_initial.sql");
    sandbox.write("migrations/0001_initial.sql", format!("{initial} -- edited"));
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 10, "migration_drifted");
    assert!(ran.stderr.contains("1 initial (its text was changed)"), "{}", ran.stderr);
    std::fs::remove_file(sandbox.path().join("migrations/0001_initial.sql")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 10, "migration_drifted");
    let plan = sandbox.run(BINARY, &["plan"]);
    assert_eq!(plan.code, Some(10));
    assert!(plan.stdout.contains("drifted  1 initial (its file is gone)"), "{}", plan.stdout);
    sandbox.write("migrations/0001_initial.sql", initial);
    sql(&sandbox.path().join("main.db"), "UPDATE _sqlx_migrations SET success = 0");
    ended(&sandbox, &sandbox.run(BINARY, &[]), 10, "migration_dirty");
    assert!(!has_notes(&sandbox));
    sandbox.write("migrations/nonsense.sql", "");
    ended(&sandbox, &sandbox.run(BINARY, &[]), 2, "usage_error");
}

#[test]
fn a_failing_migration_leaves_what_was_before_it() {
    let sandbox = shop();
    sandbox
        .write("migrations/0003_bad.sql", "CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1);");
    sandbox.write("migrations/0004_never.sql", "CREATE TABLE never (id INTEGER);");
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 10, "migration_failed");
    assert!(ran.stderr.contains("is as it was before it: no such table: nowhere"), "{}", ran.stderr);
    assert!(ran.stderr.contains("this run applied 2 to main before, which stays"), "{}", ran.stderr);
    let database = sandbox.artifact::<Migration>("migration").body.unwrap().databases.remove(0);
    assert_eq!((database.applied.len(), database.failed.as_deref()), (1, Some("3")));
    assert_eq!(database.pending, ["3", "4"]);
    assert!(has_notes(&sandbox));
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('half', 'never')";
    assert_eq!(number(&sandbox.path().join("main.db"), tables), 0);
    // Corrected, the rest is applied.
    sandbox.write("migrations/0003_bad.sql", "CREATE TABLE half (id INTEGER);");
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "migrated");
    assert_eq!(number(&sandbox.path().join("main.db"), tables), 2);
}

#[test]
fn outside_a_transaction_a_failure_calls_for_a_human() {
    let sandbox = shop();
    sandbox.write(
        "migrations/0003_bare.sql",
        "-- no-transaction\nCREATE TABLE half (id INTEGER);\nINSERT INTO nowhere VALUES (1);",
    );
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 30, "left_changed");
    assert_eq!(artifact["result"], "stuck");
    assert!(ran.stderr.contains("compare the schema with the migration by hand"), "{}", ran.stderr);
}

#[test]
fn what_only_the_new_version_can_live_with_waits_for_its_phase() {
    let sandbox = shop();
    sandbox.write("migrations/0003_drop.contract.sql", "DROP TABLE orders;");
    let plan = sandbox.run(BINARY, &["plan"]);
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    for line in [
        "  applied  1  initial",
        "  pending  2  notes  (--phase pre)",
        "  pending  3  drop.contract  (--phase post)",
    ] {
        assert!(plan.stdout.lines().any(|found| found == line), "no {line:?} in {}", plan.stdout);
    }
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "migrated");
    assert_eq!(artifact["message"], "applied 1 migration (main: 2 notes); 1 more in --phase post");
    assert_eq!(artifact["body"]["databases"][0]["pending"], json!(["3"]));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "nothing_pending");
    let artifact = ended(&sandbox, &sandbox.run(BINARY, &["--phase", "post"]), 0, "migrated");
    assert_eq!(artifact["body"]["phase"], "post");
}

#[test]
fn alone_it_wants_to_be_told_that_there_is_no_backup() {
    let sandbox = shop();
    ended(&sandbox, &sandbox.run(BINARY, &["--without-backup", "because"]), 2, "usage_error");
    ended(&sandbox, &sandbox.run(BINARY, &["--dry-run"]), 2, "usage_error");
    let alone = |args: &[&str]| {
        let _ = std::fs::remove_dir_all(sandbox.path().join(".deploy-kit/artifacts"));
        sandbox.run(BINARY, args)
    };
    let ran = alone(&["--dry-run"]);
    let artifact = ended(&sandbox, &ran, 0, "planned");
    assert_eq!(artifact["message"], "would apply 1 migration (main: 2 notes); nothing was changed");
    assert_eq!((&artifact["standalone"], &artifact["body"]["dry_run"]), (&json!(true), &json!(true)));
    ended(&sandbox, &alone(&[]), 10, "backup_required");
    ended(&sandbox, &alone(&["--without-backup", ""]), 2, "usage_error");
    assert!(!has_notes(&sandbox));
    let artifact = ended(&sandbox, &alone(&["--without-backup", "throw-away data"]), 0, "migrated");
    assert!(artifact["message"].as_str().unwrap().ends_with("; without a backup, because: throw-away data"));
    sandbox.write("deploy.toml", "app = \"shop\"");
    ended(&sandbox, &alone(&[]), 0, "not_configured");
}

#[test]
fn stopped_in_the_middle_it_says_what_was_applied() {
    let sandbox = shop();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000000000)";
    sandbox.write(
        "migrations/0003_long.sql",
        format!("CREATE TABLE long AS {endless} SELECT count(*) AS i FROM n;"),
    );
    let started = sandbox.start(BINARY, &[]);
    started.wait_for_line("applying migration 3");
    started.signal(Signal::TERM);
    let ran = started.wait();
    ended(&sandbox, &ran, TERMINATED, "terminated");
    let database = sandbox.artifact::<Migration>("migration").body.unwrap().databases.remove(0);
    assert_eq!((database.applied.len(), database.failed), (1, None));
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'long'";
    assert_eq!(number(&sandbox.path().join("main.db"), tables), 0);
    sandbox.write("migrations/0003_long.sql", "CREATE TABLE long (i INTEGER);");
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "migrated");
}

/// What another tool says of its backup is enough only if it is allowed, young, and what was written down.
#[test]
fn another_tools_word_is_judged_again() {
    let sandbox = shop();
    let config = format!(
        "{CONFIG}backup = {{ command = [\"tool\"], least_claim = \"created\" }}\n[backup]\nallow_external = true\n"
    );
    sandbox.write("deploy.toml", &config);
    let external = |minutes: i64, id: &str| {
        json!({
            "kind": "external", "database": "main", "deployment_id": ID, "id": id,
            "content_at": jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes), "location": "elsewhere",
            "claim": "created", "restore": "tool --restore", "command": ["tool"],
            "metadata_key": format!("{STEM}.json"), "recorded_at": "2026-01-01T00:00:00Z", "adopted": false,
        })
    };
    let (claimed, stored) = (format!(".deploy-kit/store/{STEM}.json"), BACKUP);
    let write = |in_artifact: &Value, in_store: &Value| {
        sandbox.write(&claimed, in_store.to_string());
        let body = json!({ "databases": [], "external": [in_artifact] });
        sandbox.write(stored, artifact("backup", ID, "external_backup", body));
    };
    let refused = |code: i32, reason: &str, says: &str| {
        let ran = sandbox.run(BINARY, &[]);
        ended(&sandbox, &ran, code, reason);
        assert!(ran.stderr.contains(says), "no {says:?} in {}", ran.stderr);
        assert!(!has_notes(&sandbox), "{reason}: it was applied all the same");
    };
    let good = external(1, "one");
    write(&external(61, "one"), &external(61, "one"));
    refused(10, "backup_too_old", "and 1h is allowed");
    write(&good, &external(1, "two"));
    refused(3, "artifact_tampered", "do not agree about main");
    write(&good, &good);
    std::fs::remove_file(sandbox.path().join(&claimed)).unwrap();
    refused(10, "backup_required", "the store does not know");
    write(&good, &good);
    sandbox.write("deploy.toml", config.replace("created", "restored"));
    refused(10, "backup_too_weak", "restored is asked for");
    sandbox.write("deploy.toml", CONFIG);
    refused(10, "backup_too_weak", "does not allow");
    sandbox.write("deploy.toml", &config);
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "migrated");
    assert!(has_notes(&sandbox));
}
