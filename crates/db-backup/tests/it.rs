//! The program as it is run: real SQLite files, a store in a folder, a scrubbed environment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test prepares files, damages them, and kills what it started"
)]

#[path = "it/assertions.rs"]
mod assertions;
#[path = "it/bucket.rs"]
mod bucket;
#[path = "it/bundle.rs"]
mod bundle;
#[path = "it/container.rs"]
mod container;
#[path = "it/encrypted.rs"]
mod encrypted;
#[path = "it/external.rs"]
mod external;
#[path = "it/killed.rs"]
mod killed;
#[path = "it/mariadb.rs"]
mod mariadb;
#[path = "it/postgres.rs"]
mod postgres;
#[path = "it/progress.rs"]
mod progress;
#[path = "it/redis.rs"]
mod redis;

use kit_contract::Sha256;
use kit_contract::body::{Backup, DatabaseBackup, Proof};
use kit_testing::{Ran, Sandbox, Signal};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const ID: &str = "1763712000-abc1234";
const OBJECT: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.sqlite.gz";
const METADATA: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.json";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\n";
const SCHEMA: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, data BLOB);
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    INSERT INTO users (name) VALUES ('ada'), ('grace');";

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

fn orders(count: u32, bytes: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO orders (note, data) SELECT 'order ' || i, randomblob({bytes}) FROM n;"
    )
}

fn deployment(id: &str, reason: &str) -> String {
    json!({
        "schema": "deploy-kit/deployment/v1", "app": "shop", "environment": "production",
        "deployment_id": id, "attempt": 1, "standalone": false, "step": "validate-tag",
        "result": if reason == "release_accepted" { "success" } else { "failure" }, "reason": reason, "message": "",
        "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
        "tool": {"version": "0"}, "run": {},
        "body": {
            "version": "2.0.0", "tag": "v2.0.0", "annotated": true, "kind": "release", "services": [],
            "commit": {"sha": "a".repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
            "git_ref": "refs/tags/v2.0.0", "config_sha256": "a".repeat(64),
        }
    })
    .to_string()
}

/// A deployment of an app with one database.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("deploy.toml", CONFIG)
        .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"))
        .env("MAIN_URL", "sqlite:main.db");
    sql(&sandbox.path().join("main.db"), SCHEMA);
    sql(&sandbox.path().join("main.db"), &orders(100, 200));
    sandbox
}

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("backup");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    no_scratch(sandbox);
    artifact
}

/// Copies of a database must not stay behind on the disk.
#[track_caller]
fn no_scratch(sandbox: &Sandbox) {
    let left: Vec<String> = sandbox.files().into_iter().filter(|file| file.contains("db-backup-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn metadata(sandbox: &Sandbox) -> DatabaseBackup {
    serde_json::from_str(&sandbox.read(METADATA)).unwrap()
}

fn bytes(sandbox: &Sandbox, file: &str) -> Vec<u8> {
    std::fs::read(sandbox.path().join(file)).unwrap()
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_backup_is_a_database_in_gzip_and_its_restore_was_tried() {
    let sandbox = shop().github_actions();
    sandbox.write("deploy.toml", format!("{CONFIG}[store]\npersistent = true\n"));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "verified_full");
    assert_eq!((&artifact["deployment_id"], &artifact["standalone"]), (&json!(ID), &json!(false)));
    let body = sandbox.artifact::<Backup>("backup").body.unwrap();
    let backup = &body.databases[0];
    assert_eq!(*backup, metadata(&sandbox), "what the artifact says is what the store says");
    assert_eq!((backup.proof, backup.adopted), (Proof::Full, false));
    let rows: Vec<(&str, u64)> = backup.tables.iter().map(|t| (t.table.as_str(), t.rows)).collect();
    assert_eq!(rows, [("orders", 100), ("users", 2)]);

    let packed = bytes(&sandbox, OBJECT);
    let plain = gunzip(&packed);
    assert_eq!((&backup.sha256, backup.size_bytes), (&Sha256::of(&packed), packed.len() as u64));
    assert_eq!(backup.uncompressed_bytes, plain.len() as u64);
    sandbox.write("plain.db", plain);
    assert_eq!(number(&sandbox.path().join("plain.db"), "SELECT count(*) FROM orders"), 100);

    let outputs = sandbox.outputs();
    assert_eq!(outputs["proof"], "full");
    assert!(
        outputs["location"].starts_with("file:") && outputs["location"].ends_with(".sqlite.gz"),
        "{outputs:?}"
    );
    assert!(sandbox.summary().contains("| main | 102 |"), "{}", sandbox.summary());
    let printed = ran.printed();
    let mut said = printed.lines().filter(|line| !line.starts_with("::add-mask::"));
    assert!(!said.any(|line| line.contains("sqlite:main.db")), "the URL is a secret");
}

#[test]
fn a_second_run_proves_the_backup_again_and_adopts_it() {
    let sandbox = shop();
    sandbox.run(BINARY, &[]);
    let (first, object) = (metadata(&sandbox), bytes(&sandbox, OBJECT));
    sql(&sandbox.path().join("main.db"), "DELETE FROM orders");
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    let backup = sandbox.artifact::<Backup>("backup").body.unwrap().databases.remove(0);
    assert!(backup.adopted && backup.verified_at > first.verified_at);
    assert_eq!(DatabaseBackup { adopted: false, verified_at: first.verified_at, ..backup }, first);
    assert_eq!(bytes(&sandbox, OBJECT), object, "it is the backup of before, not of now");
    // Also when the database is lost, which is when the backup matters.
    std::fs::remove_file(sandbox.path().join("main.db")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    // It is no backup of what became of the database meanwhile.
    let sandbox = sandbox.env("MAIN_URL", "postgres://shop@127.0.0.1:1/shop");
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 2, "usage_error");
    assert!(ran.stderr.contains("when it was a database of another kind"), "{}", ran.stderr);
}

#[test]
fn several_databases_each_have_their_own_objects() {
    let sandbox = shop().env("USERS_URL", "sqlite:users.db");
    sandbox.write(
        "deploy.toml",
        format!("{CONFIG}[[databases]]\nname = \"users\"\nurl = {{ env = \"USERS_URL\" }}\n"),
    );
    // The second is not there: the first is kept, and the artifact says so.
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 20, "database_unreachable");
    assert_eq!(artifact["body"]["databases"].as_array().unwrap().len(), 1);
    sql(&sandbox.path().join("users.db"), SCHEMA);
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    let body = sandbox.artifact::<Backup>("backup").body.unwrap();
    let found: Vec<_> = body.databases.iter().map(|b| (b.key.as_str(), b.adopted)).collect();
    let key = |name: &str| format!("shop/production/backup-{ID}.{name}.sqlite.gz");
    assert_eq!(found, [(key("main").as_str(), true), (key("users").as_str(), false)]);
}

#[test]
fn what_changed_in_the_store_since_is_found_and_kept_for_whoever_looks_into_it() {
    let sandbox = shop();
    sandbox.run(BINARY, &[]);
    let whole = bytes(&sandbox, OBJECT);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    // A whole backup of another state: gzip and SQLite are content, only the digest is not.
    let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    std::io::Write::write_all(&mut other, &gunzip(&whole)).unwrap();
    let tampered: [(Vec<u8>, &str); 4] = [
        (flipped, "is not what was dumped: its gzip data"),
        (
            whole[..whole.len() - 4000].to_vec(),
            "is not what was dumped: its gzip data ends early or was changed",
        ),
        (Vec::new(), "was changed (0 bytes were read)"),
        (other.finish().unwrap(), "is not what was dumped: the store gave back"),
    ];
    for (content, message) in tampered {
        sandbox.write(OBJECT, &content);
        let ran = sandbox.run(BINARY, &[]);
        ended(&sandbox, &ran, 10, "backup_mismatch");
        assert!(ran.stderr.contains(message), "{message}: {}", ran.stderr);
        assert_eq!(bytes(&sandbox, OBJECT), content);
    }
    std::fs::remove_file(sandbox.path().join(OBJECT)).unwrap();
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 10, "backup_mismatch");
    assert!(ran.stderr.contains("it is gone from the store"), "{}", ran.stderr);
    sandbox.write(METADATA, "{}");
    ended(&sandbox, &sandbox.run(BINARY, &[]), 3, "artifact_invalid");
}

#[test]
fn what_a_dead_run_left_without_metadata_is_made_anew() {
    let sandbox = shop();
    sandbox.write(OBJECT, "half of a backup");
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("a run left it without metadata"), "{}", ran.stderr);
    assert_eq!(metadata(&sandbox).sha256, Sha256::of(&bytes(&sandbox, OBJECT)));
}

/// Two backups, of which one has had its time, and what a run left that died long ago.
#[test]
fn what_has_had_its_time_goes_on_confirmation_and_the_last_good_one_never() {
    const NEWER: &str = "1763799999-abc1234";
    const LEFT: &str = ".deploy-kit/store/shop/production/backup-1600000000-abc1234.sqlite.gz";
    let sandbox = shop();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    sandbox.write(".deploy-kit/artifacts/deployment.json", deployment(NEWER, "release_accepted"));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    sandbox.write(LEFT, "half of a backup");
    let prune = |args: &[&str]| sandbox.run(BINARY, &[&["prune"], args].concat());
    let by_age = prune(&["--keep-days", "0"]);
    assert_eq!(by_age.code, Some(0), "{}", by_age.stderr);
    assert!(by_age.stdout.contains("0 of 2 backups"), "the newest five stay: {}", by_age.stdout);
    let rules = ["--keep-days", "0", "--keep-least", "0"];
    let planned = prune(&rules);
    assert!(planned.stdout.contains(ID) && planned.stdout.contains("1 of 2 backups"), "{}", planned.stdout);
    assert!(planned.stdout.contains("left by a run that died") && !planned.stdout.contains(NEWER));
    assert!(sandbox.has(METADATA) && sandbox.has(OBJECT) && sandbox.has(LEFT), "nothing without consent");
    for expected in ["removed 1 of 2 backups", "nothing of 1 backup has had its time"] {
        let done = prune(&[&rules[..], &["--confirm"]].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(done.stdout.contains(expected), "{}", done.stdout);
        assert!(!sandbox.has(METADATA) && !sandbox.has(OBJECT) && !sandbox.has(LEFT));
        assert!(sandbox.has(&METADATA.replace(ID, NEWER)) && sandbox.has(&OBJECT.replace(ID, NEWER)));
    }
}

#[test]
fn one_database_by_url_needs_no_configuration() {
    let sandbox = Sandbox::new().env("DEPLOY_KIT_DATABASE_URL", "sqlite:ad-hoc.db");
    sql(&sandbox.path().join("ad-hoc.db"), SCHEMA);
    let ran = sandbox.run(BINARY, &["--database-name", "hoc", "--scratch", "scratch/here"]);
    let artifact = ended(&sandbox, &ran, 0, "verified_full");
    assert_eq!(
        (&artifact["standalone"], &artifact["body"]["databases"][0]["database"]),
        (&json!(true), &json!("hoc"))
    );
    assert_eq!(std::fs::read_dir(sandbox.path().join("scratch/here")).unwrap().count(), 0);
}

#[test]
fn nothing_to_back_up_is_green_only_if_the_configuration_says_so() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 2, "usage_error");
    sandbox.write("deploy.toml", "app = \"shop\"");
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "not_configured");
    sandbox.write("deploy.toml", CONFIG);
    ended(&sandbox, &sandbox.run(BINARY, &[]), 2, "secret_missing");
}

/// With `when = "pending_migrations"`: no backup without a migration, and a backup if nobody knows.
#[test]
fn a_backup_only_if_a_migration_waits_or_nobody_knows() {
    const MIGRATION: &str = "migrations/0001_initial.sql";
    let config = format!("{CONFIG}migrations = \"migrations\"\n[backup]\nwhen = \"pending_migrations\"\n");
    let sandbox = shop().file("deploy.toml", &config).file("migrations/README.md", "none yet");
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "backup_not_needed");
    assert_eq!(artifact["result"], "skip");
    assert!(!sandbox.has(OBJECT) && !sandbox.has(METADATA));
    assert!(ran.stderr.contains("main has no backup at all"), "{}", ran.stderr);

    // One that waits for either phase.
    sandbox.write("migrations/0001_drop.contract.sql", "ALTER TABLE orders DROP COLUMN note;");
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("1 migration is pending"), "{}", ran.stderr);
    // It was needed when it was made: a second run adopts it, whatever is pending by now.
    std::fs::remove_file(sandbox.path().join("migrations/0001_drop.contract.sql")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    assert!(sandbox.artifact::<Backup>("backup").body.unwrap().databases[0].adopted);

    // The next deployment needs none, and says what a restore would bring back.
    let next = |id: &str| {
        sandbox.write(".deploy-kit/artifacts/deployment.json", deployment(id, "release_accepted"));
        sandbox.run(BINARY, &[])
    };
    ended(&sandbox, &next("1763712001-abc1234"), 0, "backup_not_needed");
    let instead = sandbox.artifact::<Backup>("backup").body.unwrap().instead;
    assert_eq!((instead.len(), instead[0].snapshot_at), (1, metadata(&sandbox).snapshot_at));

    // Outside a deployment it was asked for as such.
    std::fs::remove_file(sandbox.path().join(".deploy-kit/artifacts/deployment.json")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");

    // Unknown: the folder cannot be read, or the books are not those of the folder.
    sandbox.write("deploy.toml", config.replace("\"migrations\"", "\"elsewhere\""));
    let ran = next("1763712002-abc1234");
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("whether a migration is pending is not known"), "{}", ran.stderr);
    sandbox.write("deploy.toml", config);
    sandbox.write(MIGRATION, "SELECT 1;");
    std::fs::write(sandbox.path().join("main.db"), "no database any more").unwrap();
    let ran = next("1763712003-abc1234");
    assert_ne!(ran.code, Some(0), "it could not be asked, and not be backed up either: {}", ran.stderr);
}

#[test]
fn what_cannot_be_backed_up_leaves_nothing_in_the_store() {
    let sandbox = shop();
    sandbox.write(".deploy-kit/artifacts/deployment.json", deployment(ID, "tag_not_found"));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 3, "artifact_not_go");
    sandbox.write(".deploy-kit/artifacts/deployment.json", deployment(ID, "release_accepted"));
    sandbox.write("main.db", "not a database at all, but long enough to be looked at as one".repeat(100));
    let ran = sandbox.run(BINARY, &[]);
    assert_ne!(ran.code, Some(0));
    no_scratch(&sandbox);
    // Damage inside a database that can still be opened.
    std::fs::remove_file(sandbox.path().join("main.db")).unwrap();
    sql(&sandbox.path().join("main.db"), SCHEMA);
    sql(&sandbox.path().join("main.db"), &orders(400, 900));
    let mut content = bytes(&sandbox, "main.db");
    let at = content.len() / 2;
    content[at..at + 8192].fill(0xff);
    sandbox.write("main.db", content);
    let ran = sandbox.run(BINARY, &[]);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    no_scratch(&sandbox);
    assert!(!sandbox.has(OBJECT) && !sandbox.has(METADATA));
    // The store cannot be written: a file stands where its folder should be.
    sandbox.write("in-the-way", "");
    let healthy = shop().file("in-the-way", "");
    let ran = healthy.run(BINARY, &["--store", "file:in-the-way/store"]);
    ended(&healthy, &ran, 20, "store_unreachable");
    let ran = healthy.run(BINARY, &["--scratch", "in-the-way/scratch"]);
    ended(&healthy, &ran, 2, "usage_error");
    assert!(!healthy.has(OBJECT) && !healthy.has(METADATA));
}

/// Kills it at moments spread by a seed over the time that a whole run takes.
#[test]
fn killed_at_any_moment_it_leaves_a_proved_backup_or_none() {
    let seed = 0x5eed_u64;
    let sandbox = shop();
    sql(&sandbox.path().join("main.db"), &orders(4000, 2000));
    let begun = std::time::Instant::now();
    assert_eq!(sandbox.run(BINARY, &[]).code, Some(0));
    let whole_ms = begun.elapsed().as_millis() as u64;
    let mut random = seed;
    for round in 0..8_u64 {
        let sandbox = shop();
        sql(&sandbox.path().join("main.db"), &orders(4000, 2000));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay_ms = whole_ms * round / 8 + (random >> 33) % (whole_ms / 8).max(1);
        let started = sandbox.start(BINARY, &[]);
        // tidy: allow-sleep the moment of death is the thing under test, and every moment must do
        std::thread::sleep(Duration::from_millis(delay_ms));
        if started_is_alive(&started) {
            started.signal(if round % 2 == 0 { Signal::KILL } else { Signal::TERM });
        }
        let ran = started.wait();
        let context = format!("seed {seed:#x}, round {round}, after {delay_ms} ms: {}", ran.stderr);
        if sandbox.has(METADATA) {
            let promised = metadata(&sandbox);
            assert_eq!(promised.sha256, Sha256::of(&bytes(&sandbox, OBJECT)), "{context}");
        } else {
            assert_ne!(ran.code, Some(0), "{context}");
        }
        let again = sandbox.run(BINARY, &[]);
        assert_eq!(again.code, Some(0), "{context}\nthen {}", again.stderr);
        assert_eq!(metadata(&sandbox).sha256, Sha256::of(&bytes(&sandbox, OBJECT)), "{context}");
    }
}

/// A process that has ended and was not waited for can still be signalled, so this never races.
fn started_is_alive(started: &kit_testing::Started) -> bool {
    Path::new(&format!("/proc/{}", started.pid())).exists() || !cfg!(target_os = "linux")
}
