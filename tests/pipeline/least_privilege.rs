//! Every step does its work with the permissions that `docs/iam` publishes for it, on a server that
//! checks signatures and policies; and no step of a deploy can remove a backup.

use crate::shop::{Shop, programs};
use kit_testing::Sandbox;
use kit_testing::s3::Server;
use std::collections::BTreeMap;
use std::path::Path;

const BUCKET: &str = "acme-deploys";
const STEPS: [&str; 7] =
    ["preflight", "db-backup", "migrate", "rollout", "deploy-record", "rollback", "db-restore"];

/// The key of a user, and its secret.
type Keys = (String, String);

fn ask_iam(server: &Server, parameters: &str) -> String {
    let headers = [
        // Says which service is asked; nothing is checked yet.
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x",
        ),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    server.ask("POST", "/", &headers, &format!("{parameters}&Version=2010-05-08"))
}

/// A user for each step, with its published policy; from then on everybody is checked.
fn users(server: &Server) -> BTreeMap<&'static str, Keys> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/iam");
    let mut users = BTreeMap::new();
    for step in STEPS {
        let policy = std::fs::read_to_string(folder.join(format!("{step}.json"))).expect("a policy");
        let policy: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
        ask_iam(server, &format!("Action=CreateUser&UserName={step}"));
        ask_iam(
            server,
            &format!("Action=PutUserPolicy&UserName={step}&PolicyName=p&PolicyDocument={policy}"),
        );
        let made = ask_iam(server, &format!("Action=CreateAccessKey&UserName={step}"));
        users.insert(step, (text(&made, "AccessKeyId"), text(&made, "SecretAccessKey")));
    }
    server.ask("POST", "/moto-api/reset-auth", &[], "0");
    users
}

/// The text of an element.
fn text(xml: &str, element: &str) -> String {
    let rest = xml.split_once(&format!("<{element}>")).expect("the element").1;
    rest.split('<').next().unwrap_or_default().to_owned()
}

#[test]
fn every_step_does_its_work_with_what_is_published_for_it() {
    let server = Server::with_env(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1000000")]);
    server.make_bucket(BUCKET);
    let users = users(&server);
    let sandbox = Sandbox::new()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_ACCESS_KEY_ID", &users["deploy-record"].0)
        .env("AWS_SECRET_ACCESS_KEY", &users["deploy-record"].1);
    let in_bucket =
        |config: String| config.replace("url = \"file:store\"", &format!("url = \"s3://{BUCKET}/deploys\""));
    let shop = Shop::in_sandbox(sandbox, in_bucket, "0");
    let run = |user: &str, args: &[&str]| {
        let (key, secret) = &users[user];
        let output = shop
            .sandbox
            .command(programs().join("deploy-kit"))
            .args(args)
            .args(if args.contains(&"--artifacts") { &[][..] } else { &["--artifacts", "artifacts"] })
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .output()
            .expect("deploy-kit runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let works = |args: &[&str]| {
        // Steps that never talk to the store have no user; any will do.
        let user = if users.contains_key(args[0]) { args[0] } else { "preflight" };
        let (code, printed) = run(user, args);
        assert_eq!(code, Some(0), "{args:?}: {printed}");
        // What a step may do without, it says.
        for denied in
            ["access denied", "could not be found out", "may not be seen", "going on without", "does not say"]
        {
            assert!(!printed.contains(denied), "{args:?}: {printed}");
        }
    };
    for args in [
        &["validate-tag", "--tag", "v2.0.0"][..],
        &["preflight"],
        &["deploy-record", "begin"],
        &["db-backup"],
        &["preflight", "readiness"],
        &["migrate"],
        &["rollout", "--stage", "canary"],
        &["canary-gate", "--stage", "canary"],
        &["rollout", "--stage", "progressive"],
        &["canary-gate", "--stage", "progressive"],
        &["rollout", "--stage", "full"],
        &["canary-gate", "--stage", "full"],
        &["smoke-test"],
        &["rollout", "promote"],
        &["deploy-record", "finish"],
        &["rollback", "--artifacts", "later", "--reason", "drill"],
    ] {
        works(args);
    }
    shop.assert_serves("1.4.0");
    shop.assert_closed();
    // Nobody may use the database while it is put in its place.
    shop.sandbox.run(programs().join("storefront-ctl"), &["stop", "--all", "--processes", "processes.json"]);
    works(&["db-restore", "--deployment", "latest", "--confirm", "shop", "--artifacts", "restore"]);
    // What one step may, another may not.
    let (code, printed) = run("db-backup", &["deploy-record", "adopt", "--running-version", "1.4.0"]);
    assert_eq!(code, Some(20), "{printed}");
    assert!(printed.contains("access denied") && printed.contains("docs/s3.md"), "{printed}");
}

#[test]
fn no_step_of_a_deploy_may_remove_a_backup_or_evidence() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/iam");
    for step in STEPS {
        let text = std::fs::read_to_string(folder.join(format!("{step}.json"))).expect("a policy");
        let policy: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for statement in policy["Statement"].as_array().expect("statements") {
            assert_eq!(statement["Effect"], "Allow");
            let actions = statement["Action"].to_string();
            assert!(!actions.contains('*'), "{step}: no wildcard in {actions}");
            assert!(
                !actions.contains("Version") || actions.contains("GetBucketVersioning"),
                "{step}: {actions}"
            );
            if !actions.contains("Delete") {
                continue;
            }
            for resource in statement["Resource"].as_array().expect("resources") {
                let key = resource.as_str().and_then(|arn| arn.rsplit('/').next()).expect("an object");
                assert!(["lock.json", "stop.json", "scratch-*"].contains(&key), "{step} may remove {key}");
            }
        }
    }
}
