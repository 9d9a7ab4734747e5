//! The machine dies in the middle of a step; what is left is enough to put it right.

use crate::shop::Shop;
use std::time::{Duration, Instant};

/// Deploys until `artifact` is there, kills everything, rolls back.
fn crash_at(artifact: &str) {
    let shop = Shop::open();
    let deploy = shop.start_kit(&["deploy", "v2.0.0", "--artifacts", "artifacts"]);
    let since = Instant::now();
    let file = format!("artifacts/{artifact}.json");
    while !shop.sandbox.has(&file) {
        assert!(since.elapsed() < Duration::from_secs(60), "the deploy never came to {artifact}");
        std::thread::yield_now();
    }
    let ended = deploy.kill_tree();
    assert!(ended.signal.is_some() || ended.code == Some(0), "{}", ended.stderr);
    let finished = shop.status()["state"]["good"].as_array().expect("good versions").len() == 2;
    if finished {
        // It was recorded before the machine died: there is nothing to put right.
        shop.assert_serves("2.0.0");
        shop.assert_closed();
        return;
    }
    let undone = shop.run(&["rollback", "--artifacts", "artifacts", "--reason", "the machine died"]);
    assert_eq!(undone.code, Some(0), "{artifact}: {}", undone.stderr);
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    assert_eq!(
        shop.status()["state"]["bad_versions"],
        serde_json::json!({}),
        "a dead machine proves nothing"
    );
    // And the same release can be deployed afterwards, once it stands beside the old one again.
    if shop.canary_version().is_none() {
        shop.start("2.0.0", "0");
    }
    let again = shop.run(&["deploy", "v2.0.0", "--artifacts", "again"]);
    assert_eq!(again.code, Some(0), "{artifact}: {}\n{}", again.stdout, again.stderr);
    shop.assert_serves("2.0.0");
    shop.assert_closed();
}

macro_rules! crashes {
    ($($name:ident $artifact:literal)+) => {
        $(#[test]
        fn $name() {
            crash_at($artifact);
        })+
    };
}

crashes! {
    at_validate "deployment"
    at_preflight "preflight"
    at_begin "begin"
    at_backup "backup"
    at_readiness "readiness"
    at_migrate "migration"
    at_the_first_rollout "rollout-canary"
    at_the_first_gate "gate-canary"
    at_the_last_rollout "rollout-full"
    at_the_last_gate "gate-full"
    at_smoke "smoke"
    at_promote "rollout-promote"
    at_finish "record"
    at_notify "notice"
}
