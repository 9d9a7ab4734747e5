//! The program as it is run: real SQLite files, a store in a folder, a scrubbed environment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test prepares files and changes them behind the program's back"
)]

#[path = "it/bundle.rs"]
mod bundle;
#[path = "it/drill.rs"]
mod drill;
#[path = "it/encrypted.rs"]
mod encrypted;
#[path = "it/hooks.rs"]
mod hooks;
#[path = "it/in_place.rs"]
mod in_place;
#[path = "it/killed.rs"]
mod killed;
#[path = "it/redis.rs"]
mod redis;
#[path = "it/shown.rs"]
mod shown;

use kit_contract::Sha256;
use kit_contract::body::{BackupDetails, DatabaseBackup, Proof, Restore};
use kit_core::{Context, Env, Secret};
use kit_testing::{Ran, Sandbox};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::io::{Read as _, Write as _};
use std::path::Path;
use tokio::io::AsyncReadExt as _;

const BINARY: &str = env!("CARGO_BIN_EXE_db-restore");
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\n";
const USERS: &str = "[[databases]]\nname = \"users\"\nurl = { env = \"USERS_URL\" }\n";
const OLD: &str = "1763712000-0000001";
const NEW: &str = "1763712000-0000002";

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn sql(path: &Path, text: &str) {
    let mut connection = connect(path).await;
    connection.execute(AssertSqlSafe(text.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn orders(path: &Path) -> i64 {
    let mut connection = connect(path).await;
    let number = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}

/// The place of a backup in the store, relative to the sandbox.
fn stored(id: &str, rest: &str) -> String {
    format!(".deploy-kit/store/shop/production/backup-{id}{rest}")
}

/// What db-backup leaves in the store, as it would be at `snapshot_at`.
fn back_up(sandbox: &Sandbox, database: &str, id: &str, part: &str, snapshot_at: &str) -> DatabaseBackup {
    let url = format!("sqlite:{}", sandbox.path().join(format!("{database}.db")).display());
    back_up_of(sandbox, (database, &url), id, part, snapshot_at)
}

#[tokio::main]
async fn back_up_of(
    sandbox: &Sandbox,
    (database, url): (&str, &str),
    id: &str,
    part: &str,
    snapshot_at: &str,
) -> DatabaseBackup {
    let cx = Context::for_test(Env::capture()).0;
    let url = Secret::new(url);
    let opened = kit_database::open(&url, "test", kit_database::OpenOptions::default(), &cx).await.unwrap();
    let mut dump = opened.begin_dump(&cx, &sandbox.path().join("scratch")).await.unwrap();
    let mut plain = Vec::new();
    dump.reader().read_to_end(&mut plain).await.unwrap();
    let report = dump.finish(&cx).await.unwrap();
    let found = report.inspection;
    let content = found.content_digests();
    let extension = format!("{}.gz", opened.extension());
    let packed = pack(&plain, 3);
    let key = |rest: &str| format!("shop/production/backup-{id}{part}.{rest}");
    let backup = DatabaseBackup {
        database: database.parse().unwrap(),
        engine: opened.engine(),
        engine_version: "3".to_owned(),
        location: format!("file:store/{}", key(&extension)),
        key: key(&extension),
        metadata_key: key("json"),
        sha256: Sha256::of(&packed),
        size_bytes: packed.len() as u64,
        uncompressed_bytes: plain.len() as u64,
        tables: found.table_rows(),
        schema_sha256: found.schema_sha256,
        proof: Proof::Full,
        snapshot_at: snapshot_at.parse().unwrap(),
        verified_at: snapshot_at.parse().unwrap(),
        adopted: false,
        details: BackupDetails { content, ..report.details },
    };
    sandbox.write(&stored(id, &format!("{part}.{extension}")), packed);
    describe(sandbox, &backup);
    backup
}

fn describe(sandbox: &Sandbox, backup: &DatabaseBackup) {
    sandbox.write(&format!(".deploy-kit/store/{}", backup.metadata_key), serde_json::to_vec(backup).unwrap());
}

fn pack(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// One order when OLD was backed up, two when NEW was, three now.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("deploy.toml", CONFIG)
        .env("MAIN_URL", "sqlite:main.db")
        .env("USERS_URL", "sqlite:users.db");
    let main = sandbox.path().join("main.db");
    sql(
        &main,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO orders (note) VALUES ('a')",
    );
    back_up(&sandbox, "main", OLD, "", "2026-01-01T00:00:00Z");
    sql(&main, "INSERT INTO orders (note) VALUES ('b')");
    back_up(&sandbox, "main", NEW, "", "2026-01-02T00:00:00Z");
    sql(&main, "INSERT INTO orders (note) VALUES ('c')");
    sandbox
}

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("restore");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    artifact
}

/// What lies beside the live databases.
fn beside(sandbox: &Sandbox, what: &str) -> Vec<String> {
    sandbox.files().into_iter().filter(|file| file.contains(&format!(".db.{what}-"))).collect()
}

#[track_caller]
fn untouched(sandbox: &Sandbox) {
    assert_eq!(orders(&sandbox.path().join("main.db")), 3);
    for what in ["unfinished", "restore", "before"] {
        assert_eq!(beside(sandbox, what), [""; 0]);
    }
}

#[test]
fn without_consent_it_says_what_it_would_do_and_changes_nothing() {
    let sandbox = shop();
    let ran = sandbox.run(BINARY, &["--deployment", "latest"]);
    let artifact = ended(&sandbox, &ran, 0, "restore_planned");
    assert_eq!(artifact["body"]["subject"], NEW);
    assert_eq!(artifact["body"]["dry_run"], true);
    assert_eq!(artifact["body"]["databases"][0]["restore_ms"], Value::Null, "nothing was restored");
    assert!(ran.stderr.contains("as it was at 2026-01-02T00:00:00Z (2 rows in 1 table)"), "{}", ran.stderr);
    let command = format!("db-restore --deployment {NEW} --database main --confirm main");
    assert!(ran.stderr.contains(&command), "{}", ran.stderr);
    untouched(&sandbox);
    // What the hint says works as it stands.
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    ended(&sandbox, &sandbox.run(BINARY, &words), 0, "restored");
}

#[test]
fn a_restore_brings_back_the_content_and_keeps_what_was_live() {
    let sandbox = shop().github_actions();
    sandbox.write("deploy.toml", format!("{CONFIG}[store]\npersistent = true\n"));
    let ran = sandbox.run(BINARY, &["--deployment", OLD, "--confirm", "main"]);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!(orders(&sandbox.path().join("main.db")), 1);
    let body = sandbox.artifact::<Restore>("restore").body.unwrap();
    let entry = &body.databases[0];
    assert!(!body.dry_run && entry.swapped);
    assert!(entry.restore_ms.is_some() && entry.compare_ms.is_some());
    assert!(
        ran.stderr.contains("main: restored in ") && ran.stderr.contains(", compared in "),
        "{}",
        ran.stderr
    );
    let kept = entry.kept.clone().unwrap();
    assert_eq!(orders(Path::new(&kept)), 3, "the database that gave way is whole");
    assert_eq!(beside(&sandbox, "restore"), [""; 0]);
    assert_eq!(sandbox.outputs()["kept"], kept);
    assert_eq!(artifact["standalone"], false);
    assert_ne!(artifact["deployment_id"], OLD, "it has an id of its own");
    let entry: Value =
        serde_json::from_str(&sandbox.read(".deploy-kit/store/shop/production/chain/00000001.json")).unwrap();
    assert_eq!(entry["event"], json!({ "type": "restored", "subject": OLD, "databases": ["main"] }));
    assert_eq!(entry["deployment_id"], artifact["deployment_id"]);
    // And again, from the other one: nothing that was kept is lost.
    ended(&sandbox, &sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]), 0, "restored");
    assert_eq!(orders(&sandbox.path().join("main.db")), 2);
    assert_eq!(beside(&sandbox, "before").len(), 2);
}

#[test]
fn a_backup_that_is_not_the_one_that_was_proved_is_refused() {
    let sandbox = shop();
    let whole = std::fs::read(sandbox.path().join(stored(NEW, ".sqlite.gz"))).unwrap();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(whole.as_slice()).read_to_end(&mut plain).unwrap();
    let refused = |content: &[u8], says: &str| {
        sandbox.write(&stored(NEW, ".sqlite.gz"), content);
        let ran = sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]);
        ended(&sandbox, &ran, 10, "restore_mismatch");
        assert!(ran.stderr.contains(says), "no {says:?} in {}", ran.stderr);
        untouched(&sandbox);
    };
    let flipped = |at: usize| {
        let mut content = whole.clone();
        content[at] ^= 1;
        content
    };
    refused(&flipped(whole.len() / 2), "its gzip data");
    // The header of gzip holds a time that no decompressor looks at: only the digest sees it.
    refused(&flipped(5), "its SHA-256 is");
    refused(&whole[..whole.len() - 1], "bytes, not the");
    std::fs::remove_file(sandbox.path().join(stored(NEW, ".sqlite.gz"))).unwrap();
    let ran = sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]);
    ended(&sandbox, &ran, 10, "backup_not_found");

    // Metadata that vouches for another content than came out.
    let promised: DatabaseBackup = serde_json::from_str(&sandbox.read(&stored(NEW, ".json"))).unwrap();
    sandbox.write(&stored(NEW, ".sqlite.gz"), &whole);
    let mut rows = promised.clone();
    rows.tables[0].rows = 84_310;
    describe(&sandbox, &rows);
    refused(&whole, "table \"orders\" has 2 rows instead of 84310");
    describe(&sandbox, &DatabaseBackup { schema_sha256: Sha256::of(b"x"), ..promised.clone() });
    refused(&whole, "its schema is another one");
    // As many rows, and other ones.
    let mut content = promised.clone();
    content.details.content.as_mut().unwrap().tables.insert("orders".to_owned(), Sha256::of(b"others"));
    describe(&sandbox, &content);
    refused(&whole, "table \"orders\" has other content");
    describe(&sandbox, &promised);
    let ran = sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!(artifact["body"]["databases"][0]["content_compared"], true);
    assert!(!ran.stderr.contains("only schema and numbers"), "{}", ran.stderr);
}

#[test]
fn where_the_content_cannot_be_compared_that_is_said() {
    let sandbox = shop();
    let promised: DatabaseBackup = serde_json::from_str(&sandbox.read(&stored(NEW, ".json"))).unwrap();
    describe(&sandbox, &DatabaseBackup { details: BackupDetails::default(), ..promised });
    let ran = sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!(artifact["body"]["databases"][0]["content_compared"], false);
    let said =
        "of main only schema and numbers of rows were compared: the backup has no digests of its content";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}

#[test]
fn only_finished_and_proved_backups_are_offered() {
    let sandbox = shop();
    let subject = |args: &[&str]| {
        let ran = sandbox.run(BINARY, args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (sandbox.artifact_json("restore")["body"]["subject"].as_str().unwrap().to_owned(), ran.stderr)
    };
    let newest: DatabaseBackup = serde_json::from_str(&sandbox.read(&stored(NEW, ".json"))).unwrap();
    describe(&sandbox, &DatabaseBackup { proof: Proof::None, ..newest });
    let (found, said) = subject(&["--deployment", "latest"]);
    assert_eq!(found, OLD);
    assert!(said.contains("was never proved"), "{said}");
    std::fs::remove_file(sandbox.path().join(stored(NEW, ".json"))).unwrap();
    assert_eq!(subject(&["--deployment", "latest"]).0, OLD);
    ended(&sandbox, &sandbox.run(BINARY, &["--deployment", NEW]), 10, "backup_not_found");
    sandbox.write(&stored(NEW, ".json"), "{ \"half\":");
    let ran = sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]);
    ended(&sandbox, &ran, 10, "backup_not_found");
    assert!(ran.stderr.contains("cannot be read"), "{}", ran.stderr);
    untouched(&sandbox);
}

#[test]
fn what_does_not_hold_of_what_came_back_is_not_put_in_place() {
    let sandbox = shop();
    let known = |sql: &str| {
        let one = format!("[[databases.assertions]]\nname = \"two-orders\"\nsql = \"{sql}\"\nexpect = 2\n");
        sandbox.write("deploy.toml", format!("{CONFIG}{one}"));
    };
    let both = |id: &str, code: i32, reason: &str, says: &str| {
        for args in [&["drill", "--deployment", id][..], &["--deployment", id, "--confirm", "main"]] {
            let ran = sandbox.run(BINARY, args);
            let artifact = sandbox.artifact_json(if args[0] == "drill" { "drill" } else { "restore" });
            assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
            assert!(ran.stderr.contains(says), "no {says:?} in {}", ran.stderr);
            untouched(&sandbox);
        }
    };
    known("SELECT count(*) FROM orders");
    both(
        OLD,
        10,
        "assertion_failed",
        "assertions that do not hold: two-orders (it gave another value than 2)",
    );
    let drilled = sandbox.artifact_json("drill")["body"]["databases"][0].clone();
    assert_eq!(drilled["assertions"][0]["outcome"], "failed");
    assert!(drilled["failure"].as_str().unwrap().contains("two-orders"), "{drilled}");
    known("SELECT count(*) FROM ordres");
    both(
        NEW,
        20,
        "proof_unavailable",
        "assertions that could not be asked: two-orders (no such table: ordres)",
    );
    known("SELECT count(*) FROM orders");
    let ran = sandbox.run(BINARY, &["--deployment", NEW, "--confirm", "main"]);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!(artifact["body"]["databases"][0]["assertions"][0]["outcome"], "passed");
}

#[test]
fn usage() {
    let sandbox = shop();
    for (args, reason) in [
        (&["--confirm", "main"][..], "usage_error"),
        (&["--deployment", "NO"], "usage_error"),
        (&["--deployment", OLD, "--database", "other"], "usage_error"),
        (&["--deployment", OLD, "--confirm", "shop"], "consent_required"),
        (&["--deployment", OLD, "--confirm", "main", "--confirm", "users"], "consent_required"),
    ] {
        ended(&sandbox, &sandbox.run(BINARY, args), 2, reason);
    }
    untouched(&sandbox);
    std::fs::remove_file(sandbox.path().join("deploy.toml")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &["--deployment", OLD]), 2, "usage_error");
}

#[test]
fn no_swap_leaves_it_beside() {
    let sandbox = shop();
    let ran = sandbox.run(BINARY, &["--deployment", OLD, "--confirm", "main", "--no-swap"]);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!(orders(&sandbox.path().join("main.db")), 3);
    let place = artifact["body"]["databases"][0]["restored_to"].as_str().unwrap();
    assert_eq!(orders(Path::new(place)), 1);
    assert_eq!(artifact["body"]["databases"][0]["swapped"], false);
    assert!(!sandbox.has(".deploy-kit/store/shop/production/head.json"), "nothing was restored yet");
}

#[test]
fn a_lost_or_damaged_database_is_what_it_is_for() {
    let sandbox = shop().env("DEPLOY_KIT_DATABASE_URL", "sqlite:main.db");
    let main = sandbox.path().join("main.db");
    std::fs::remove_file(&main).unwrap();
    // By URL alone, as it was backed up.
    let ran = sandbox.run(BINARY, &["--deployment", "latest", "--confirm", "main"]);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!((orders(&main), &artifact["body"]["databases"][0]["kept"]), (2, &Value::Null));
    std::fs::write(&main, "not a database any more").unwrap();
    let ran = sandbox.run(BINARY, &["--deployment", "latest", "--confirm", "main"]);
    ended(&sandbox, &ran, 0, "restored");
    assert_eq!(orders(&main), 2);
    assert!(ran.stderr.contains("too damaged to be locked"), "{}", ran.stderr);
}

#[test]
fn a_history_that_cannot_be_written_does_not_undo_a_restore() {
    let sandbox = shop().file(".deploy-kit/store/shop/production/chain/00000001.json", "tampered");
    let ran = sandbox.run(BINARY, &["--deployment", OLD, "--confirm", "main"]);
    ended(&sandbox, &ran, 0, "restored");
    assert!(ran.stderr.contains("warning: the chain does not say that this was restored"), "{}", ran.stderr);
    assert_eq!(orders(&sandbox.path().join("main.db")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_is_not_swapped() {
    let sandbox = tokio::task::spawn_blocking(shop).await.unwrap();
    let mut other = connect(&sandbox.path().join("main.db")).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let (sandbox, ran) = tokio::task::spawn_blocking(move || {
        let ran = sandbox.run(BINARY, &["--deployment", OLD, "--confirm", "main"]);
        (sandbox, ran)
    })
    .await
    .unwrap();
    other.close().await.unwrap();
    ended(&sandbox, &ran, 20, "database_unreachable");
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    tokio::task::spawn_blocking(move || untouched(&sandbox)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_different_times_call_for_a_human() {
    let sandbox = tokio::task::spawn_blocking(|| {
        let sandbox = shop().file("deploy.toml", &format!("{CONFIG}{USERS}"));
        sql(&sandbox.path().join("users.db"), "CREATE TABLE orders (id INTEGER PRIMARY KEY)");
        for (database, part) in [("main", ".main"), ("users", ".users")] {
            back_up(&sandbox, database, "1763712000-0000003", part, "2026-01-03T00:00:00Z");
        }
        sql(&sandbox.path().join("main.db"), "INSERT INTO orders (note) VALUES ('d')");
        sandbox
    })
    .await
    .unwrap();
    let mut other = connect(&sandbox.path().join("users.db")).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let run = move |sandbox: Sandbox, args: &'static [&'static str]| {
        tokio::task::spawn_blocking(move || {
            let ran = sandbox.run(BINARY, args);
            (sandbox, ran)
        })
    };
    let all = &["--deployment", "latest", "--confirm", "main", "--confirm", "users"];
    let (sandbox, ran) = run(sandbox, all).await.unwrap();
    other.close().await.unwrap();
    let artifact = ended(&sandbox, &ran, 30, "left_changed");
    let swapped: Vec<bool> =
        sandbox.artifact::<Restore>("restore").body.unwrap().databases.iter().map(|d| d.swapped).collect();
    assert_eq!(swapped, [true, false]);
    assert!(artifact["message"].as_str().unwrap().starts_with("main was restored, users was not"));
    assert!(ran.stderr.contains("--database users --confirm users"), "{}", ran.stderr);
    assert_eq!(beside(&sandbox, "restore"), [""; 0]);
    let rest = &["--deployment", "latest", "--database", "users", "--confirm", "users"];
    let (sandbox, ran) = run(sandbox, rest).await.unwrap();
    ended(&sandbox, &ran, 0, "restored");
}

/// A backup of another tool is said, with what to do; one of ours is restored although theirs is newer.
#[test]
fn what_another_tool_made_only_that_tool_restores() {
    let sandbox = shop();
    let external = "1763712000-0000009";
    let key = format!("shop/production/backup-{external}.json");
    let made = json!({
        "kind": "external", "database": "main", "deployment_id": external, "id": "20261126F",
        "content_at": "2026-01-05T00:00:00Z", "location": "elsewhere", "claim": "created",
        "restore": "pgbackrest --set=20261126F restore", "command": ["ops/tool"], "metadata_key": key,
        "recorded_at": "2026-01-05T00:00:00Z", "adopted": false,
    });
    sandbox.write(&format!(".deploy-kit/store/{key}"), made.to_string());
    let ran = sandbox.run(BINARY, &["--deployment", external, "--confirm", "main"]);
    ended(&sandbox, &ran, 10, "restore_external");
    assert!(ran.stderr.contains("pgbackrest --set=20261126F restore"), "{}", ran.stderr);
    untouched(&sandbox);
    let ran = sandbox.run(BINARY, &["--deployment", "latest"]);
    assert_eq!(ended(&sandbox, &ran, 0, "restore_planned")["body"]["subject"], NEW);
    assert!(
        ran.stderr.contains("newer: main as it was at 2026-01-05T00:00:00Z is 20261126F"),
        "{}",
        ran.stderr
    );
}
