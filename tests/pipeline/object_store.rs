//! The memory between deploys in an object store, on machines that keep nothing.

use crate::shop::Shop;
use kit_testing::Sandbox;
use kit_testing::s3::Server;

const BUCKET: &str = "acme-deploys";

/// A shop whose store is in a bucket. Credentials come as in GitHub Actions: a token of the job is
/// exchanged for those of a role.
fn shop(server: &Server) -> Shop {
    let sandbox = Sandbox::new();
    sandbox.write("token", "header.payload.signature");
    let token = sandbox.path().join("token").display().to_string();
    let sandbox = sandbox
        .env("CI", "true")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/deploy")
        .env("AWS_ROLE_SESSION_NAME", "deploy-kit")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token);
    let in_bucket = |config: String| {
        config.replace("url = \"file:store\"", &format!("url = \"s3://{BUCKET}/deploys\"\npath_style = true"))
    };
    Shop::in_sandbox(sandbox, in_bucket, "0")
}

#[test]
fn a_release_and_its_rollback_live_in_a_bucket() {
    let server = Server::start();
    server.make_bucket(BUCKET);
    let shop = shop(&server);
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    shop.assert_serves("2.0.0");
    shop.assert_closed();
    assert_eq!(shop.reason("backup"), "verified_full");
    let record = shop.artifact("record").unwrap().body.unwrap();
    assert_eq!(record["rollback_available"], true);

    let restored = shop.run(&["db-restore", "--deployment", "latest", "--artifacts", "restore"]);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(restored.stderr.contains(&format!("s3://{BUCKET}/deploys/")), "{}", restored.stderr);
    let undone = shop.run(&["rollback", "--artifacts", "later", "--reason", "checkout is slow"]);
    assert_eq!(undone.code, Some(0), "{}", undone.stderr);
    shop.assert_serves("1.4.0");
    shop.assert_closed();

    let listing = server.ask("GET", &format!("/{BUCKET}?list-type=2"), &[], "");
    for part in ["/backup-", "/chain/00000001.json", "/head.json", "/record.json", "/journal-migrate/"] {
        assert!(listing.contains(part), "{part}: {listing}");
    }
    for part in ["lock.json", "scratch-"] {
        assert!(!listing.contains(part), "{part}: {listing}");
    }
    assert_eq!(server.unfinished_uploads(BUCKET), 0);
    assert!(!shop.sandbox.has("store"), "nothing of it lies on this machine");
}

#[test]
fn a_bucket_that_is_not_there_is_named_before_anything_is_touched() {
    let server = Server::start();
    server.make_bucket(BUCKET);
    let shop = shop(&server);
    let ran = shop.run(&[
        "deploy",
        "v2.0.0",
        "--artifacts",
        "artifacts",
        "--store",
        &format!("s3://{BUCKET}-typo/deploys"),
    ]);
    assert_eq!(ran.code, Some(11), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("there is no such bucket"), "{}", ran.stderr);
    shop.assert_serves("1.4.0");
    assert_eq!(shop.reason("backup"), "missing");
}
