//! What must not be deployed is refused, and nothing is touched.

use crate::shop::Shop;

/// Nothing was changed: 1.4.0 serves, the schema is as it was, nothing is open.
fn assert_untouched(shop: &Shop) {
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    assert_eq!(shop.applied_migrations(), 1);
}

#[test]
fn a_tag_that_is_not_there_or_not_a_tag() {
    let shop = Shop::open();
    for (tag, code) in [("v9.9.9", 10), ("v2", 2), ("v2.0.0; rm -rf x", 2), ("$(id)", 2)] {
        let ran = shop.run(&["deploy", tag, "--artifacts", "artifacts"]);
        assert_eq!(ran.code, Some(code), "{tag}: {}", ran.stderr);
        assert_untouched(&shop);
    }
}

#[test]
fn a_secret_that_is_missing_stops_the_deploy_at_preflight() {
    let mut shop = Shop::open();
    shop.sandbox = std::mem::take(&mut shop.sandbox).env("DATABASE_URL", "");
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(10), "{}", ran.stderr);
    assert_eq!(shop.reason("preflight"), "checks_failed");
    assert!(ran.stderr.contains("DATABASE_URL"), "the variable is named: {}", ran.stderr);
    assert_eq!(shop.reason("begin"), "missing", "nothing has begun");
    shop.assert_serves("1.4.0");
}

#[test]
fn a_second_deploy_is_refused_while_one_is_open() {
    let shop = Shop::open();
    let first = ["--artifacts", "first"];
    for args in [&["validate-tag", "--tag", "v2.0.0"][..], &["preflight"], &["deploy-record", "begin"]] {
        let ran = shop.run(&args.iter().chain(&first).copied().collect::<Vec<_>>());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    }
    let second = shop.deploy();
    assert_eq!(second.code, Some(10), "{}", second.stderr);
    assert!(second.stderr.contains("lock"), "{}", second.stderr);
    shop.assert_serves("1.4.0");
    assert_eq!(shop.applied_migrations(), 1);
}

#[test]
fn a_broken_configuration_is_refused_with_its_line() {
    let shop = Shop::open();
    let config = shop.sandbox.read("deploy.toml");
    shop.sandbox.write("deploy.toml", format!("{config}\n[env.staging.gate]\nintervall = \"1s\"\n"));
    let line = config.lines().count() + 3;
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&format!("line {line}")) && ran.stderr.contains("\"interval\""),
        "{}",
        ran.stderr
    );
    shop.sandbox.write("deploy.toml", config);
    assert_untouched(&shop);
}

/// `readiness` rests on backup.json: once that is another file, even one that says the same, it is not
/// believed, and the deploy is closed naming it.
#[test]
fn a_tampered_artifact_closes_the_deploy_naming_it() {
    let shop = Shop::open();
    shop.walk_to_the_backup();
    let ready = shop.run(&["preflight", "readiness", "--artifacts", "artifacts"]);
    assert_eq!(ready.code, Some(0), "{}", ready.stderr);
    let backup = shop.sandbox.read("artifacts/backup.json");
    shop.sandbox
        .write("artifacts/backup.json", backup.replace("\"standalone\": false", "\"standalone\":false"));
    let finished = shop.run(&["deploy-record", "finish", "--artifacts", "artifacts"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("not believed"), "{}", finished.stderr);
    assert_eq!(shop.recorded(), "failed");
    shop.assert_closed();
}
