//! `db-restore drill`: restores, measures, and needs nothing of the live database.

use super::{BINARY, CONFIG, NEW, OLD, back_up_of, describe, shop, stored, untouched};
use kit_contract::Sha256;
use kit_contract::body::{DatabaseBackup, Drill};
use kit_testing::{Ran, Sandbox, postgres};
use serde_json::Value;

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("drill");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    let left: Vec<String> =
        sandbox.files().into_iter().filter(|file| file.contains("db-restore-drill-")).collect();
    assert!(left.is_empty(), "{left:?}");
    artifact
}

#[test]
fn it_restores_the_newest_measures_and_leaves_everything_as_it_was() {
    // The URL of the live database is not set at all.
    let sandbox = shop().github_actions().env("MAIN_URL", "");
    sandbox.write("deploy.toml", format!("{CONFIG}[store]\npersistent = true\n"));
    let before = std::fs::read(sandbox.path().join("main.db")).unwrap();
    let ran = sandbox.run(BINARY, &["drill"]);
    let artifact = ended(&sandbox, &ran, 0, "drilled");
    let body = sandbox.artifact::<Drill>("drill").body.unwrap();
    let entry = &body.databases[0];
    assert_eq!((body.subject.as_str(), entry.tables[0].rows), (NEW, 2));
    assert!(entry.restore_ms.is_some() && entry.compare_ms.is_some() && entry.failure.is_none());
    let age_s = jiff::Timestamp::now().as_second() - entry.snapshot_at.as_second();
    assert!((age_s - 60..=age_s).contains(&entry.age_s), "{} of {age_s}", entry.age_s);
    assert_ne!(artifact["deployment_id"], NEW, "it has an id of its own");
    let outputs = sandbox.outputs();
    assert_eq!((outputs["subject"].as_str(), outputs["age-seconds"].clone()), (NEW, entry.age_s.to_string()));
    assert!(outputs["total-seconds"].contains('.'), "{outputs:?}");
    assert!(sandbox.summary().contains("| main |"), "{}", sandbox.summary());
    assert_eq!(std::fs::read(sandbox.path().join("main.db")).unwrap(), before);
    untouched(&sandbox);
    assert!(!sandbox.has(".deploy-kit/store/shop/production/head.json"), "the chain knows nothing of it");

    // Another one by name, and limits that it does not keep; all of it can be asked by deploy.toml, too.
    ended(
        &sandbox,
        &sandbox.run(BINARY, &["drill", "--deployment", OLD, "--max-age", "700h"]),
        10,
        "drill_missed",
    );
    assert_eq!(sandbox.artifact::<Drill>("drill").body.unwrap().subject.as_str(), OLD);
    let limits = "[store]\npersistent = true\n[backup.drill]\nmax_time = \"0s\"\n";
    sandbox.write("deploy.toml", format!("{CONFIG}{limits}"));
    let ran = sandbox.run(BINARY, &["drill"]);
    ended(&sandbox, &ran, 10, "drill_missed");
    assert!(ran.stderr.contains("the restore may take 0s (max_time)"), "{}", ran.stderr);
    ended(&sandbox, &sandbox.run(BINARY, &["drill", "--database", "other"]), 2, "usage_error");
}

#[test]
fn what_does_not_come_back_is_found_before_it_is_needed() {
    let sandbox = shop();
    let object = stored(NEW, ".sqlite.gz");
    let whole = std::fs::read(sandbox.path().join(&object)).unwrap();
    let promised: DatabaseBackup = serde_json::from_str(&sandbox.read(&stored(NEW, ".json"))).unwrap();
    let refused = |code: i32, reason: &str, says: &str| {
        let ran = sandbox.run(BINARY, &["drill"]);
        ended(&sandbox, &ran, code, reason);
        let entry = sandbox.artifact::<Drill>("drill").body.unwrap().databases.remove(0);
        let failure = entry.failure.unwrap_or_default();
        assert!(failure.contains(says) && entry.restore_ms.is_none(), "no {says:?} in {failure:?}");
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    sandbox.write(&object, &flipped);
    refused(10, "restore_mismatch", "its gzip data");
    sandbox.write(&object, &whole[..whole.len() - 1]);
    refused(10, "restore_mismatch", "bytes, not the");
    std::fs::remove_file(sandbox.path().join(&object)).unwrap();
    refused(10, "backup_not_found", "is gone from the store");
    sandbox.write(&object, &whole);
    let mut rows = promised.clone();
    rows.tables[0].rows = 84_310;
    describe(&sandbox, &rows);
    refused(10, "restore_mismatch", "has 2 rows instead of 84310");
    // As many rows, and other ones.
    let mut content = promised.clone();
    content.details.content.as_mut().unwrap().tables.insert("orders".to_owned(), Sha256::of(b"others"));
    describe(&sandbox, &content);
    refused(10, "restore_mismatch", "table \"orders\" has other content");
    describe(&sandbox, &DatabaseBackup { sha256: Sha256::of(b"x"), ..promised });
    refused(10, "restore_mismatch", "its SHA-256 is");
    // No backup at all is no success either.
    std::fs::remove_dir_all(sandbox.path().join(".deploy-kit/store")).unwrap();
    let ran = sandbox.run(BINARY, &["drill"]);
    ended(&sandbox, &ran, 10, "backup_not_found");
    untouched(&sandbox);
}

/// On a throw-away server, while the one that was backed up is gone for good.
#[test]
fn postgres_comes_back_without_the_server_that_it_came_from() {
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG);
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server
        .sql("shop", "CREATE TABLE orders (id bigint PRIMARY KEY); INSERT INTO orders VALUES (1), (2), (3)");
    back_up_of(&sandbox, ("main", &server.url("shop")), NEW, "", "2026-01-02T00:00:00Z");
    drop(server);
    let ran = sandbox.run(BINARY, &["drill", "--scratch", "scratch/drill"]);
    ended(&sandbox, &ran, 0, "drilled");
    let entry = sandbox.artifact::<Drill>("drill").body.unwrap().databases.remove(0);
    assert_eq!((entry.tables[0].table.as_str(), entry.tables[0].rows), ("public.orders", 3));
    assert_eq!(std::fs::read_dir(sandbox.path().join("scratch/drill")).unwrap().count(), 0);
    // Beside the live one, its URL is needed, and said to be.
    sandbox.write("deploy.toml", format!("{CONFIG}scratch = \"beside\"\n"));
    ended(&sandbox, &sandbox.run(BINARY, &["drill"]), 2, "secret_missing");
}
