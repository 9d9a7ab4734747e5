//! What fails on the way: the right continuation, and a record that says what happened.

use crate::shop::Shop;

#[test]
fn a_bad_canary_is_withdrawn_and_its_version_marked() {
    let shop = Shop::with(|config| config, "30");
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(10), "{}\n{}", ran.stdout, ran.stderr);
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    assert_eq!(shop.recorded(), "rolled_back");
    assert!(
        shop.reason("gate-canary").ends_with("_exceeded") || shop.reason("gate-canary") == "total_outage"
    );
    assert_eq!(shop.reason("rollout-abort"), "withdrawn");
    assert_eq!(shop.reason("rollout-progressive"), "missing", "no second stage after a bad verdict");
    assert!(shop.status()["state"]["bad_versions"]["2.0.0"].is_string());
    assert_eq!(shop.applied_migrations(), 2, "an expanding migration stays");
}

#[test]
fn a_gate_that_sees_nothing_withdraws_without_calling_the_version_bad() {
    // Nobody listens there, for either arm.
    let shop = Shop::open();
    let config = shop.sandbox.read("deploy.toml");
    let nowhere = |line: &str| {
        if line.starts_with("url = ") && (line.contains("/products") || line.contains("/summary")) {
            "url = \"http://127.0.0.1:9/nowhere\"".to_owned()
        } else {
            line.to_owned()
        }
    };
    shop.sandbox.write("deploy.toml", config.lines().map(nowhere).collect::<Vec<_>>().join("\n"));
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(11), "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(shop.reason("gate-canary"), "no_data");
    assert_eq!(shop.recorded(), "inconclusive");
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    assert_eq!(shop.status()["state"]["bad_versions"], serde_json::json!({}), "unknown is not bad");
}

#[test]
fn a_failing_migration_stops_before_any_traffic() {
    let shop = Shop::open();
    shop.sandbox
        .write("migrations/20260301000000_broken.sql", "CREATE TABLE half (id INTEGER);\nSELECT no_such;\n");
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(10), "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(shop.reason("migration"), "migration_failed");
    assert_eq!(shop.reason("rollout-canary"), "missing");
    assert_eq!(shop.recorded(), "failed");
    assert_eq!(shop.applied_migrations(), 2, "the one before it stays, the broken one left nothing");
    shop.assert_serves("1.4.0");
    shop.assert_closed();
}

#[test]
fn a_failing_smoke_test_takes_the_release_back_at_100_percent() {
    let shop = Shop::with(
        |config| {
            config
                .replace("\"$.status\" = \"healthy\"", "\"$.status\" = \"splendid\"")
                .replace("deadline = \"20s\"", "deadline = \"1s\"")
        },
        "0",
    );
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(10), "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(shop.reason("gate-full"), "promoted");
    assert_eq!(shop.reason("smoke"), "smoke_failed");
    assert_eq!(shop.recorded(), "rolled_back");
    assert_eq!(shop.reason("rollout-promote"), "missing");
    shop.assert_serves("1.4.0");
    shop.assert_closed();
}

#[test]
fn a_stop_request_is_obeyed_in_the_middle_of_a_stage() {
    let shop = Shop::with(|config| config.replace("duration = \"800ms\"", "duration = \"60s\""), "0");
    let deploy = shop.start_kit(&["deploy", "v2.0.0", "--artifacts", "artifacts"]);
    deploy.wait_for_line("--stop-file");
    let asked = shop.run(&["stop", "--reason", "wrong version"]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    let ran = deploy.wait();
    assert_eq!(ran.code, Some(10), "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(shop.reason("gate-canary"), "stop_requested");
    assert_eq!(shop.recorded(), "rolled_back");
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    assert_eq!(
        shop.status()["stop_requests"],
        serde_json::json!([]),
        "a request does not outlive its deploy"
    );
}

#[test]
fn an_interrupted_deploy_withdraws_closes_and_ends() {
    let shop = Shop::with(|config| config.replace("duration = \"800ms\"", "duration = \"60s\""), "0");
    let deploy = shop.start_kit(&["deploy", "v2.0.0", "--artifacts", "artifacts"]);
    deploy.wait_for_line("--stop-file");
    deploy.signal(kit_testing::Signal::INT);
    let ran = deploy.wait();
    assert_eq!(ran.code, Some(130), "{}\n{}", ran.stdout, ran.stderr);
    shop.assert_serves("1.4.0");
    shop.assert_closed();
}

#[test]
fn a_tampered_backup_stops_the_migration() {
    let shop = Shop::open();
    shop.walk_to_the_backup();
    let backup = shop.sandbox.read("artifacts/backup.json");
    for (damage, code) in [
        (backup.replace("\"proof\": \"full\"", "\"proof\": \"stream\""), Some(10)),
        (backup[..backup.len() / 2].to_owned(), Some(3)),
        (backup.replace("\"app\": \"storefront\"", "\"app\": \"blog\""), Some(3)),
    ] {
        shop.sandbox.write("artifacts/backup.json", damage);
        let ran = shop.run(&["migrate", "--artifacts", "artifacts"]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert_eq!(shop.applied_migrations(), 1);
    }
}

/// Whatever keeps a step from running or its artifact from being read, a canary is never left behind.
#[test]
fn an_artifact_that_cannot_be_read_or_written_ends_in_a_withdrawal() {
    for blocked in ["gate-canary", "gate-progressive", "smoke"] {
        let shop = Shop::open();
        // Nothing can be moved over a folder that is not empty, not even by root.
        shop.sandbox.write(&format!("artifacts/{blocked}.json/in-the-way"), "");
        let ran = shop.deploy();
        assert_eq!(ran.code, Some(3), "{blocked}: {}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("withdrawn, and that was observed"), "{blocked}: {}", ran.stdout);
        shop.assert_serves("1.4.0");
        shop.assert_closed();
        assert_eq!(shop.recorded(), "rolled_back", "{blocked}");
        assert_eq!(shop.status()["state"]["bad_versions"], serde_json::json!({}), "unknown is not bad");
    }
}

/// The withdrawal acts, and cannot write down that it did: `deploy` looks for itself.
#[test]
fn a_withdrawal_that_cannot_be_recorded_is_observed_all_the_same() {
    let shop = Shop::with(|config| config, "30");
    shop.sandbox.write("artifacts/rollout-abort.json/in-the-way", "");
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(10), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("withdrawn, and that was observed"), "{}", ran.stdout);
    shop.assert_serves("1.4.0");
    // The record rests on artifacts alone, and the one that says so is missing: a human has to close it.
    assert_eq!(shop.recorded(), "stuck");
    let closed = shop.run(&["rollback", "--reason", "put it right", "--artifacts", "elsewhere"]);
    assert_eq!(closed.code, Some(0), "{}", closed.stderr);
    shop.assert_closed();
}

#[test]
fn a_deploy_that_runs_out_of_time_says_so_and_withdraws() {
    let shop = Shop::with(|config| config.replace("duration = \"800ms\"", "duration = \"60s\""), "0");
    let ran = shop.run(&["deploy", "v2.0.0", "--artifacts", "artifacts", "--deadline", "6s"]);
    assert_eq!(ran.code, Some(21), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("deadline_exceeded"), "{}", ran.stdout);
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    let never = shop.run(&["deploy", "v2.0.0", "--deadline", "0s"]);
    assert_eq!(never.code, Some(2), "{}", never.stderr);
    assert!(never.stderr.contains("it must be longer than 0"), "{}", never.stderr);
}

#[test]
fn two_deploys_do_not_share_a_folder() {
    let shop = Shop::with(|config| config.replace("duration = \"800ms\"", "duration = \"60s\""), "0");
    let first = shop.start_kit(&["deploy", "v2.0.0", "--artifacts", "artifacts"]);
    first.wait_for_line("--stop-file");
    let second = shop.deploy();
    assert_eq!(second.code, Some(2), "{}\n{}", second.stdout, second.stderr);
    assert!(second.stderr.contains("a deploy is running in this folder"), "{}", second.stderr);
    assert!(shop.status()["lock"].is_object(), "the lock of the first is not released");
    first.signal(kit_testing::Signal::INT);
    assert_eq!(first.wait().code, Some(130));
    shop.assert_serves("1.4.0");
    shop.assert_closed();
}

/// The disk of the artifacts fills up while the canary has traffic. The namespace is what only a real file
/// system can prove; a machine that does not permit mounting fails the test.
#[test]
fn a_disk_that_fills_up_leaves_no_canary() {
    let shop = Shop::with(|config| config.replace("duration = \"800ms\"", "duration = \"60s\""), "0");
    shop.sandbox.write("artifacts/.keep", "");
    let program = crate::shop::programs().join("deploy-kit").display().to_string();
    let script = "mount -t tmpfs -o size=192k tmpfs artifacts || exit 99; exec \"$@\"";
    let root = shop.sandbox.run("id", &["-u"]).stdout.trim() == "0";
    let namespace: &[&str] = if root { &["--mount"] } else { &["--map-root-user", "--user", "--mount"] };
    let deploy = [program.as_str(), "deploy", "v2.0.0", "--artifacts", "artifacts"];
    let ran = shop.sandbox.run("unshare", &[namespace, &["sh", "-c", script, "sh"], &deploy].concat());
    assert_ne!(ran.code, Some(99), "this machine does not permit mounting: {}", ran.stderr);
    assert_eq!(ran.code, Some(3), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("gate-canary (artifact_unwritable)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("withdrawn, and that was observed"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("way back"), "what is not there is not named: {}", ran.stdout);
    shop.assert_serves("1.4.0");
    // The deploy is open, and the store has another disk: a rollback puts the books right.
    let closed = shop.run(&["rollback", "--reason", "the disk was full"]);
    assert_eq!(closed.code, Some(0), "{}", closed.stderr);
    shop.assert_closed();
}
