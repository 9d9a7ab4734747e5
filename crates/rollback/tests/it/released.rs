//! A release that serves.

use crate::{actions, serving, shop};
use kit_contract::Reason;
use kit_contract::body::UndoOutcome::{Done, NotNeeded};
use kit_contract::chain::ChainEvent;
use kit_testing::artifact;
use serde_json::{Value, json};

/// 1.0.0 was released, then 2.0.0, which serves and may be rolled back for this many minutes.
fn released(settle: &str, window_min: i64) -> crate::Shop {
    let shop = shop(settle);
    shop.released("deploy-0001", "1.0.0", window_min);
    shop.released("deploy-0002", "2.0.0", window_min);
    shop.promoted();
    shop
}

#[test]
fn a_release_is_switched_back_and_marked_bad() {
    let shop = released("20s", 60);
    let artifact = shop.run(&[], Reason::RolledBack);
    assert_eq!(
        actions(&artifact),
        [("switch_back", Done), ("close_chain", Done), ("release_lock", NotNeeded)]
    );
    let body = artifact.body.as_ref().unwrap();
    assert_eq!(body.target.as_ref().unwrap().as_str(), "deploy-0001");
    assert_eq!((body.why.as_str(), body.forced), ("checkout is slow", false));
    assert_eq!(serving(&artifact), [Some("1.0.0".into()), Some("1.0.0".into())]);
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
    let state = shop.state();
    assert_eq!(state.current().unwrap().version, "1.0.0");
    assert_eq!(state.bad_versions["2.0.0"], "checkout is slow");

    // The release before stays, although its window is open as well.
    shop.run(&[], Reason::NothingToUndo);
    assert_eq!(shop.router.changes(), ["switch"]);
}

#[test]
fn when_the_window_has_passed_it_takes_force() {
    let shop = released("20s", -1);
    let refused = shop.run(&[], Reason::WindowExpired);
    assert_eq!(refused.body.unwrap().subject.as_str(), "deploy-0002");
    assert_eq!(shop.router.changes(), Vec::<String>::new());
    assert_eq!(shop.events().len(), 4);
    let forced = shop.run(&["--force"], Reason::RolledBack);
    assert!(forced.body.unwrap().forced);
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
}

#[test]
fn the_first_deployment_has_no_target_and_its_canary_is_withdrawn_all_the_same() {
    let shop = shop("20s");
    shop.released("deploy-0002", "2.0.0", 60);
    shop.promoted();
    shop.run(&[], Reason::NoTarget);
    assert_eq!(shop.router.changes(), Vec::<String>::new());

    shop.router.set("web", "percent", json!(5.0));
    let refused = shop.run(&["--deployment", "deploy-0002"], Reason::NoTarget);
    assert!(refused.message.starts_with("the canary was withdrawn, 0 % observed"), "{}", refused.message);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert_eq!(shop.state().current().unwrap().version, "2.0.0", "it still serves");
}

#[test]
fn what_was_adopted_is_a_target() {
    let shop = shop("20s");
    shop.append("adopt-0001", ChainEvent::Adopted { version: "1.0.0".into(), services: Vec::new() });
    shop.released("deploy-0002", "2.0.0", 60);
    shop.promoted();
    shop.run(&[], Reason::RolledBack);
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
}

#[test]
fn a_canary_beside_a_release_goes_and_the_release_stays() {
    let shop = released("20s", 60);
    shop.router.set("api", "canary", json!("3.0.0"));
    shop.router.set("api", "percent", json!(5.0));
    let dry = shop.run(&["--dry-run"], Reason::Planned);
    assert!(
        dry.message.starts_with("would only withdraw the canary; nothing was changed"),
        "{}",
        dry.message
    );
    assert_eq!(shop.router.changes(), Vec::<String>::new());
    let artifact = shop.run(&[], Reason::Withdrawn);
    assert!(artifact.message.ends_with("to undo it, give --deployment deploy-0002"), "{}", artifact.message);
    assert_eq!(actions(&artifact), [("withdraw_canary", Done)]);
    assert_eq!(shop.router.stable(), ["2.0.0", "2.0.0"]);
    assert_eq!(shop.events().len(), 4);
}

#[test]
fn another_deploy_that_runs_is_left_alone_unless_forced() {
    let shop = released("20s", 60);
    shop.begun("deploy-0003", "3.0.0");
    shop.lock("deploy-0003");
    shop.router.set("api", "canary", json!("3.0.0"));
    shop.router.set("api", "percent", json!(5.0));
    let refused = shop.run(&["--deployment", "deploy-0002"], Reason::LockHeld);
    assert_eq!(refused.message, "deployment deploy-0003 holds the lock");
    assert_eq!(shop.router.changes(), Vec::<String>::new(), "the canary is not that of deploy-0002");
    assert!(!shop.is_asked_to_stop("deploy-0003"));

    shop.run(&["--deployment", "deploy-0002", "--force"], Reason::RolledBack);
    assert!(shop.is_asked_to_stop("deploy-0003"));
    assert_eq!(shop.router.stable(), ["1.0.0", "1.0.0"]);
    assert_eq!(shop.router.shares(), [0.0, 0.0]);
    assert!(shop.is_locked(), "it is handed back by the one that holds it");
}

#[test]
fn a_lock_that_cannot_be_understood_is_held() {
    let shop = released("20s", 60);
    shop.sandbox.write(&format!("{}/lock.json", crate::SHOP), "{ \"schema\": \"deploy-kit/lock/v9\" }");
    let refused = shop.run(&[], Reason::LockHeld);
    assert!(refused.message.contains("cannot be made out"), "{}", refused.message);
    assert_eq!(shop.router.changes(), Vec::<String>::new());
}

/// The same with a database that has migrations.
fn with_migrations() -> crate::Shop {
    let shop = released("20s", 60);
    let database = "[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\nmigrations = \"migrations\"\n";
    let config = format!("{}\n{database}", shop.sandbox.read("deploy.toml"));
    shop.sandbox.write("deploy.toml", config);
    shop
}

#[test]
fn the_schema_must_fit_or_be_accepted() {
    let migration = |reason, phase: &str, applied: bool| {
        let done = json!({ "version": "2", "description": "drop", "checksum": "00" });
        let applied = if applied { vec![done] } else { Vec::new() };
        let body = json!({ "phase": phase, "dry_run": false, "databases": [
            { "database": "main", "before": [], "applied": applied, "pending": [] }
        ]});
        artifact("migration", "deploy-0002", reason, 5, body).to_string()
    };
    let unfinished = artifact("migration", "deploy-0002", Reason::Unfinished, 5, Value::Null).to_string();
    for (content, fits) in [
        (migration(Reason::Migrated, "pre", true), true),
        (migration(Reason::NothingPending, "post", false), true),
        (migration(Reason::Migrated, "post", true), false),
        (unfinished, false),
        ("{ truncated".to_owned(), false),
    ] {
        let shop = with_migrations();
        shop.sandbox.write(".deploy-kit/artifacts/migration.json", &content);
        if fits {
            shop.run(&[], Reason::RolledBack);
            continue;
        }
        shop.run(&["--force"], Reason::SchemaAhead);
        assert_eq!(shop.router.changes(), Vec::<String>::new(), "{content}");
        shop.run(&["--accept-schema-ahead"], Reason::RolledBack);
    }
}

#[test]
fn what_nobody_knows_is_not_undone() {
    let shop = released("20s", 60);
    let refused = shop.run(&["--deployment", "deploy-0099"], Reason::UsageError);
    assert_eq!(refused.message, "nobody knows a deployment deploy-0099");
    let ran = shop.sandbox.run(crate::PROGRAM, &["--reason", " "]);
    shop.check(&ran, Reason::UsageError);
    assert_eq!(shop.router.actions(), Vec::<String>::new());

    let empty = crate::shop("20s");
    std::fs::create_dir(empty.sandbox.path().join("store")).unwrap();
    empty.run(&[], Reason::NothingToUndo);
    empty.router.set("api", "percent", json!(5.0));
    empty.run(&[], Reason::Withdrawn);
    assert_eq!(empty.router.shares(), [0.0, 0.0]);
}

#[test]
fn a_release_without_a_driver_cannot_be_called_rolled_back() {
    let shop = released("20s", 60);
    shop.sandbox.write(
        "deploy.toml",
        "app = \"shop\"\n[store]\nurl = \"file:store\"\n[[services]]\nname = \"api\"\n",
    );
    shop.run(&[], Reason::ConfigInvalid);
    assert_eq!(shop.events().len(), 4);
}
