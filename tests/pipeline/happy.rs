//! A good release, and what follows it.

use crate::shop::Shop;

#[test]
fn a_good_release_goes_through_every_step() {
    let shop = Shop::open();
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    shop.assert_serves("2.0.0");
    shop.assert_closed();
    assert_eq!(shop.recorded(), "success");
    for (artifact, reason) in [
        ("deployment", "release_accepted"),
        ("preflight", "checks_passed"),
        ("begin", "begun"),
        ("backup", "verified_full"),
        ("readiness", "checks_passed"),
        ("gate-before-migration", "baseline_measured"),
        ("migration", "migrated"),
        ("gate-after-migration", "baseline_kept"),
        ("rollout-canary", "shifted"),
        ("gate-canary", "promoted"),
        ("rollout-full", "shifted"),
        ("gate-full", "promoted"),
        ("smoke", "smoke_passed"),
        ("rollout-promote", "promoted_stable"),
        ("record", "recorded"),
    ] {
        assert_eq!(shop.reason(artifact), reason, "{artifact}");
    }
    let record = shop.artifact("record").unwrap();
    let body = record.body.unwrap();
    assert_eq!(body["rollback_available"], true, "1.4.0 was adopted, so there is a way back");
    assert_eq!(body["migrations_applied"], 1);
    assert!(shop.artifact("migration").is_some_and(|artifact| !artifact.unanchored), "digests are passed on");
    assert!(shop.sandbox.read("artifacts/rollback.md").contains("Rolling back storefront 2.0.0"));
}

#[test]
fn a_release_is_rolled_back_later_and_its_version_refused_from_then_on() {
    let shop = Shop::open();
    assert_eq!(shop.deploy().code, Some(0));
    let undone = shop.run(&["rollback", "--artifacts", "later", "--reason", "checkout is slow"]);
    assert_eq!(undone.code, Some(0), "{}", undone.stderr);
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    assert_eq!(shop.status()["state"]["bad_versions"]["2.0.0"], "checkout is slow");
    let again = shop.run(&["deploy", "v2.0.0", "--artifacts", "again"]);
    assert_eq!(again.code, Some(10), "a bad version is refused: {}", again.stderr);
    shop.assert_serves("1.4.0");
    shop.assert_closed();
}

#[test]
fn what_the_old_version_cannot_live_with_is_known_on_every_machine() {
    let shop = Shop::open();
    assert_eq!(shop.deploy().code, Some(0));
    shop.sandbox
        .write("migrations/0009_drop_discounts.contract.sql", "CREATE TABLE contracted (id INTEGER);");
    let migrated = shop.run(&["migrate", "--phase", "post", "--artifacts", "artifacts"]);
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let undo = &["rollback", "--artifacts", "elsewhere", "--reason", "checkout is slow"][..];
    let refused = shop.run(undo);
    assert!(refused.stderr.contains("schema_ahead"), "{}", refused.stderr);
    shop.assert_serves("2.0.0");
    let accepted = shop.run(&[undo, &["--accept-schema-ahead"]].concat());
    assert_eq!(accepted.code, Some(0), "{}", accepted.stderr);
    shop.assert_serves("1.4.0");
}

#[test]
fn every_step_can_be_run_again_after_a_good_release() {
    let shop = Shop::open();
    assert_eq!(shop.deploy().code, Some(0));
    let before = shop.status()["state"]["sequence"].clone();
    for (args, reason) in [
        (&["validate-tag", "--tag", "v2.0.0"][..], "release_accepted"),
        (&["db-backup"], "verified_full"),
        (&["migrate"], "nothing_pending"),
        (&["smoke-test"], "smoke_passed"),
        (&["rollout", "promote"], ""),
        (&["deploy-record", "finish"], "recorded"),
    ] {
        let all: Vec<&str> = args.iter().copied().chain(["--artifacts", "artifacts"]).collect();
        let ran = shop.run(&all);
        if !reason.is_empty() {
            assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(reason), "{args:?}: {}", ran.stderr);
        }
    }
    assert_eq!(shop.status()["state"]["sequence"], before, "nothing is written into the chain twice");
    shop.assert_serves("2.0.0");
}

#[test]
fn the_first_deployment_has_nothing_to_return_to_and_says_so() {
    let shop = Shop::open();
    // A store of its own: nobody adopted anything there.
    let ran = shop.run(&["deploy", "v2.0.0", "--artifacts", "artifacts", "--store", "file:fresh"]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let record = shop.artifact("record").unwrap().body.unwrap();
    assert_eq!(record["rollback_available"], false);
    let undo = shop.run(&["rollback", "--artifacts", "later", "--reason", "drill", "--store", "file:fresh"]);
    assert_eq!(undo.code, Some(10), "{}", undo.stderr);
    assert!(undo.stderr.contains("no_target"), "{}", undo.stderr);
    shop.assert_serves("2.0.0");
}

#[test]
fn the_version_that_serves_can_be_deployed_again() {
    let shop = Shop::open();
    assert_eq!(shop.deploy().code, Some(0));
    // The same version in new processes, beside those that serve.
    shop.start("2.0.0", "0");
    let again = shop.run(&["deploy", "v2.0.0", "--artifacts", "again", "--kind", "redeploy"]);
    assert_eq!(again.code, Some(0), "{}\n{}", again.stdout, again.stderr);
    shop.assert_serves("2.0.0");
    shop.assert_closed();
    assert_eq!(shop.status()["state"]["good"].as_array().unwrap().len(), 3);
}
