//! What the user knows of his data decides whether a backup counts.

use super::{CONFIG, ID, METADATA, OBJECT, SCHEMA, deployment, ended, metadata, orders, sql};
use kit_contract::body::{AssertionOutcome, Backup};
use kit_testing::Sandbox;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");

fn shop(assertions: &[(&str, &str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new()
        .github_actions()
        .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"))
        .env("MAIN_URL", "sqlite:main.db");
    expect(&sandbox, assertions);
    sql(&sandbox.path().join("main.db"), SCHEMA);
    sql(&sandbox.path().join("main.db"), &orders(100, 200));
    sandbox
}

fn expect(sandbox: &Sandbox, assertions: &[(&str, &str, &str)]) {
    let mut config = CONFIG.to_owned();
    for (name, sql, expect) in assertions {
        config.push_str(&format!(
            "[[databases.assertions]]\nname = \"{name}\"\nsql = \"{sql}\"\nexpect = {expect}\n"
        ));
    }
    config.push_str("[store]\npersistent = true\n");
    sandbox.write("deploy.toml", config);
}

#[test]
fn a_backup_counts_if_they_hold_of_what_was_restored() {
    let known = ("all-orders", "SELECT count(*) FROM orders", "100");
    let sandbox = shop(&[known, ("ada", "SELECT name FROM users WHERE id = 1", "'ada'")]);
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("assertions: all 2 hold"), "{}", ran.stderr);
    let told = serde_json::to_value(&metadata(&sandbox).details.assertions).unwrap();
    let expected =
        json!([{ "name": "all-orders", "outcome": "passed" }, { "name": "ada", "outcome": "passed" }]);
    assert_eq!(told, expected, "names and outcomes, no data");
    let summary = sandbox.summary();
    assert!(summary.contains("| assertion on main | outcome |"), "{summary}");
    assert!(summary.contains("| all-orders | passed |"), "{summary}");

    // They are asked again of a backup that is proved again. It stays: the data was always like that.
    expect(&sandbox, &[("all-orders", "SELECT count(*) FROM orders", "99")]);
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 10, "assertion_failed");
    assert!(sandbox.has(METADATA) && sandbox.has(OBJECT), "{}", ran.stderr);
}

#[test]
fn one_that_does_not_hold_is_no_backup_and_one_that_cannot_be_asked_is_no_proof() {
    let sandbox = shop(&[
        ("no-ada", "SELECT name FROM users WHERE id = 1", "'grace'"),
        ("typo", "SELECT count(*) FROM ordres", "100"),
    ]);
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 10, "assertion_failed");
    let said = "came back as it was dumped; assertions that do not hold: no-ada (it gave another value than \"grace\")";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(!ran.stderr.contains("than \"grace\"), typo"), "{}", ran.stderr);
    assert!(!sandbox.has(METADATA) && !sandbox.has(OBJECT), "{:?}", sandbox.files());

    expect(&sandbox, &[("typo", "SELECT count(*) FROM ordres", "100")]);
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 20, "proof_unavailable");
    let said = "assertions that could not be asked: typo (no such table: ordres)";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(!sandbox.has(METADATA));

    // Who is content with less sees that it was not asked.
    let config = sandbox.read("deploy.toml");
    sandbox.write("deploy.toml", format!("{config}[backup]\nrequired_proof = \"remote\"\n"));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_remote");
    let told = &sandbox.artifact::<Backup>("backup").body.unwrap().databases[0].details;
    assert_eq!(told.assertions[0].outcome, AssertionOutcome::Unavailable);
    assert!(told.proof_limit.as_ref().unwrap().contains("typo"), "{told:?}");
}
