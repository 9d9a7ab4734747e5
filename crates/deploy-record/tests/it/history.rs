//! `deploy-record verify`, `list` and `show`.

use crate::{ID, PROGRAM, SHOP, break_store, deploy, ready};
use kit_contract::Reason;
use kit_testing::Sandbox;

fn history() -> Sandbox {
    let sandbox = ready("deploy-0001", "1.0.0");
    deploy(&sandbox, "deploy-0001", "1.0.0");
    deploy(&sandbox, ID, "2.0.0");
    sandbox
}

fn verify(sandbox: &Sandbox, reason: Reason) -> String {
    let ran = sandbox.run(PROGRAM, &["verify"]);
    assert_eq!(ran.code, Some(i32::from(reason.exit_code())), "{}", ran.printed());
    ran.stdout
}

/// Changes one letter, so that it stays what it is otherwise.
fn change(sandbox: &Sandbox, file: &str, from: &str, to: &str) {
    let path = format!("{SHOP}/{file}");
    let text = sandbox.read(&path);
    assert!(text.contains(from), "{text}");
    sandbox.write(&path, text.replacen(from, to, 1));
}

#[test]
fn a_whole_history_is_whole() {
    let whole = |sandbox: &Sandbox, found: &str| {
        let text = verify(sandbox, Reason::ChainValid);
        assert!(text.starts_with(&format!("the chain is whole: {found}; read from file:")), "{text}");
    };
    whole(&history(), "4 entries, 2 records");
    let empty = ready(ID, "2.0.0");
    std::fs::create_dir(empty.path().join("store")).unwrap();
    whole(&empty, "0 entries, 0 records");
}

/// A history that cannot be found is not an empty one.
#[test]
fn a_store_that_is_not_there_has_no_history() {
    for args in [&["verify"][..], &["list"], &["show", "deploy-0001"], &["finish"]] {
        let sandbox = ready(ID, "2.0.0");
        let ran = sandbox.run(PROGRAM, args);
        assert_eq!(ran.code, Some(20), "{args:?}: {}", ran.printed());
        assert!(ran.printed().contains("there is no store at file:"), "{args:?}: {}", ran.printed());
        assert!(!sandbox.has("store"), "looking makes no store");
    }
    let bare = Sandbox::new().run(PROGRAM, &["verify"]);
    assert_eq!(bare.code, Some(2), "{}", bare.printed());
    assert!(bare.stderr.contains("there is no deploy.toml here"), "{}", bare.printed());
}

#[test]
fn every_change_of_the_history_is_found() {
    for (file, from, to, expected) in [
        ("chain/00000002.json", "record_sha256", "record_sha512", "entry 2 cannot be read"),
        ("chain/00000001.json", "1.0.0", "1.0.1", "entry 2 does not fit the entry before it"),
        ("chain/00000004.json", "deploy-0002", "deploy-0003", "entry 4 is not the one that the head names"),
        ("deployments/deploy-0001/1/record.json", "success", "failure", "entry 2: the record of deploy-0001"),
        (
            "deployments/deploy-0002/1/gate-canary.json",
            "says",
            "said",
            "entry 4: shop/production/deployments",
        ),
    ] {
        let sandbox = history();
        change(&sandbox, file, from, to);
        let text = verify(&sandbox, Reason::ChainBroken);
        assert!(text.contains(expected), "{file}: {text}");
    }
    for file in [
        "deployments/deploy-0001/1/record.json",
        "chain/00000004.json",
        "deployments/deploy-0001/1/smoke.json",
    ] {
        let sandbox = history();
        std::fs::remove_file(sandbox.path().join(SHOP).join(file)).unwrap();
        verify(&sandbox, Reason::ChainBroken);
    }
}

#[test]
fn a_store_that_cannot_be_asked_is_not_whole() {
    let sandbox = history();
    break_store(&sandbox);
    for args in [["verify"].as_slice(), &["list"], &["show", ID]] {
        let ran = sandbox.run(PROGRAM, args);
        assert_eq!(ran.code, Some(20), "{args:?}: {}", ran.printed());
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn list_and_show_say_what_happened() {
    let sandbox = history();
    let ran = sandbox.run(PROGRAM, &["list", "--limit", "2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stdout);
    assert!(lines[0].contains("deploy-0002  begun 2.0.0"), "{}", lines[0]);
    assert_eq!(lines[2], "serves now: 2.0.0 (deployment deploy-0002)");

    // The tenth attempt is newer than the ninth.
    sandbox.write(&format!("{SHOP}/deployments/{ID}/9/record.json"), "{\"attempt\": 9}");
    sandbox.write(&format!("{SHOP}/deployments/{ID}/10/record.json"), "{\"attempt\": 10}");
    let ran = sandbox.run(PROGRAM, &["show", ID]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("\"attempt\": 10"), "{}", ran.stdout);
    let ran = sandbox.run(PROGRAM, &["show", "deploy-0009"]);
    assert_eq!(ran.code, Some(3), "{}", ran.printed());
}
