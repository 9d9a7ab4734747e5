//! The program as it is run: with a real store, a real database and real servers, in a scrubbed environment.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

mod hosted;

use jiff::{SignedDuration, Timestamp};
use kit_contract::chain::ChainEvent;
use kit_contract::{DeploymentId, Sha256};
use kit_store::{Chain, FileStore, Layout, Lock, LockOwner, Stop, StopRequest, StopSubject, Store};
use kit_testing::http::{Reply, Server};
use kit_testing::{Ran, Sandbox};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;

const BINARY: &str = env!("CARGO_BIN_EXE_preflight");
const ID: &str = "1763712000-abc1234";
const OTHER: &str = "1763000000-fffffff";
const WEBHOOK: &str = "https://hooks.example/services/hunter2hunter2";

const CONFIG: &str = r#"
app = "shop"
[[databases]]
name = "main"
url = { env = "DATABASE_URL" }
migrations = "migrations"
[[channels]]
name = "team"
kind = "slack"
url = { env = "TEAM_URL" }
[[services]]
name = "api"
probe.canary.url = "http://127.0.0.1:9/health"
"#;

/// Everything is as it must be.
fn good() -> Sandbox {
    // An empty file is an empty SQLite database.
    Sandbox::new()
        .file("deploy.toml", CONFIG)
        .file("shop.db", "")
        .file("migrations/0001_orders.sql", "create table orders (id integer primary key);")
        .env("DATABASE_URL", "sqlite:shop.db")
        .env("TEAM_URL", WEBHOOK)
}

fn artifact(kind: &str, reason: &str, body: &Value) -> String {
    json!({
        "schema": format!("deploy-kit/{kind}/v1"), "app": "shop", "environment": "production",
        "deployment_id": ID, "attempt": 1, "standalone": false, "step": kind, "result": "success",
        "reason": reason, "message": "m", "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:10:00Z", "tool": {"version": "0"}, "run": {}, "body": body
    })
    .to_string()
}

/// The same inside a deployment.
fn in_deployment(sandbox: Sandbox) -> Sandbox {
    let body = json!({
        "version": "2.0.0", "tag": "v2.0.0", "annotated": true, "kind": "release", "services": [],
        "commit": {"sha": "a".repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
        "git_ref": "refs/tags/v2.0.0", "config_sha256": "a".repeat(64)
    });
    sandbox.file(".deploy-kit/artifacts/deployment.json", &artifact("deployment", "release_accepted", &body))
}

/// Does something to the store of the sandbox.
fn in_store<F: Future<Output = ()>>(sandbox: &Sandbox, work: impl FnOnce(Arc<dyn Store>, Layout) -> F) {
    let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        work(Arc::new(FileStore::new(sandbox.path().join(".deploy-kit/store"))), layout).await;
    });
}

fn id(text: &str) -> DeploymentId {
    text.parse().unwrap()
}

/// Another run of this deployment's lock, taken some time ago.
fn lock(sandbox: &Sandbox, owner: &str, minutes_ago: i64) {
    let owner = LockOwner { deployment_id: id(owner), run_id: None, attempt: 1, actor: Some("grace".into()) };
    let at = Timestamp::now() - SignedDuration::from_mins(minutes_ago);
    in_store(sandbox, async |store, layout| {
        Lock::new(store, layout).acquire(&owner, at).await.unwrap();
    });
}

/// A chain in which `OTHER` deployed 1.0.0, and then this happened.
fn chain(sandbox: &Sandbox, then: Vec<ChainEvent>) {
    let mut events = vec![
        ChainEvent::Begun {
            version: "1.0.0".into(),
            sha: "a".repeat(40),
            kind: kit_contract::body::DeploymentKind::Release,
            services: Vec::new(),
            config_sha256: Sha256::of(b""),
        },
        ChainEvent::Deployed { record_sha256: Sha256::of(b""), rollback_deadline: Timestamp::UNIX_EPOCH },
    ];
    events.extend(then);
    in_store(sandbox, async |store, layout| {
        let chain = Chain::new(store, layout);
        for (second, event) in events.into_iter().enumerate() {
            let at = Timestamp::from_second(1_763_000_000 + second as i64).unwrap();
            chain.append(event, id(OTHER), at, None).await.unwrap();
        }
    });
}

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("preflight");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    assert!(!format!("{artifact}{}", ran.printed()).contains("hunter2"), "a secret is shown: {}", ran.stderr);
    artifact
}

/// Outcome and message of one check.
#[track_caller]
fn check(artifact: &Value, id: &str) -> (String, String) {
    let checks = artifact["body"]["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}: {artifact}"));
    (check["outcome"].as_str().unwrap().to_owned(), check["message"].as_str().unwrap().to_owned())
}

#[test]
fn all_good() {
    let server = Server::start()
        .expect("GET", "/any", Reply::new(404, ""))
        .expect("GET", "/broken?token=hunter2", Reply::new(503, ""))
        .expect("GET", "/", Reply::new(200, "hello"));
    let config = format!(
        "{CONFIG}url = {:?}\n[preflight]\nendpoints = [{:?}, {:?}]\nsecrets = [{{ env = \
         \"EXTRA\" }}]\n",
        server.url("/"),
        server.url("/any"),
        server.url("/broken?token=hunter2")
    );
    let sandbox = in_deployment(good()).file("deploy.toml", &config).env("EXTRA", "x\n");
    chain(&sandbox, Vec::new());
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "checks_passed");
    let seen: Vec<(&str, &str)> = artifact["body"]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["id"].as_str().unwrap(), check["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("secret_present:DATABASE_URL", "pass"),
            ("secret_present:TEAM_URL", "pass"),
            ("secret_present:EXTRA", "warn"),
            ("endpoint_reachable:1", "pass"),
            ("endpoint_reachable:2", "warn"),
            ("endpoint_reachable:api", "pass"),
            ("services_watched", "pass"),
            ("router_answers", "pass"),
            ("database_reachable:main", "pass"),
            ("backup_possible:main", "pass"),
            ("store_usable", "pass"),
            ("lock_free", "pass"),
            ("chain_valid", "pass"),
            ("version_not_bad", "pass"),
            ("no_stop_request", "pass"),
        ]
    );
    assert!(check(&artifact, "chain_valid").1.contains("all 2 entries"));
    assert!(
        artifact["message"]
            .as_str()
            .unwrap()
            .starts_with("all 15 checks passed; warning: secret_present:EXTRA")
    );
    assert_eq!(artifact["evidence"][0]["artifact"], "deployment");
    let scratch = sandbox.files().into_iter().filter(|file| file.contains("scratch-")).count();
    assert_eq!(scratch, 0, "the proof of the store leaves nothing behind");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "{CONFIG}[preflight]\nendpoints = [\"http://{closed}/\"]\nsecrets = [{{ env = \"GONE\" }}]\n"
    );
    let sandbox = in_deployment(good())
        .github_actions()
        .file("deploy.toml", &format!("{config}[store]\nurl = \"file:.deploy-kit/store\"\n"))
        .env("DATABASE_URL", "sqlite:gone.db")
        .env("TEAM_URL", "***");
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 10, "checks_failed");
    for (id, outcome, text) in [
        ("secret_present:GONE", "fail", "the environment variable GONE is not set or empty"),
        ("secret_present:TEAM_URL", "fail", "TEAM_URL holds \"***\", which is a masked value"),
        ("endpoint_reachable:1", "fail", "refused"),
        ("database_reachable:main", "fail", "no such database file: "),
        ("backup_possible:main", "unavailable", "no such database file: "),
        ("store_usable", "fail", "would not outlive this CI job"),
        ("lock_free", "unavailable", "see store_usable"),
        ("chain_valid", "unavailable", "see store_usable"),
        ("version_not_bad", "unavailable", "see store_usable"),
        ("no_stop_request", "unavailable", "see store_usable"),
        ("no_reviewers", "warn", "it is not known"),
    ] {
        let (seen, message) = check(&artifact, id);
        assert_eq!(seen, outcome, "{id}: {message}");
        assert!(message.contains(text), "{id}: {message}");
    }
    assert!(artifact["message"].as_str().unwrap().starts_with("5 of 14 checks failed: "), "{artifact}");
    let hints = artifact["hints"].to_string();
    assert!(hints.contains("set store.persistent = true"), "{hints}");
    assert!(hints.contains("secrets of an environment arrive only if they are passed on"), "{hints}");
    let outputs = sandbox.outputs();
    assert_eq!(outputs["passed"], "4");
    assert!(outputs["failed"].starts_with("secret_present:TEAM_URL,secret_present:GONE,"), "{outputs:?}");
    assert!(sandbox.summary().contains("| store\\_usable | fail |"), "{}", sandbox.summary());
}

#[test]
fn somebody_else_deploys() {
    let sandbox = in_deployment(good());
    lock(&sandbox, OTHER, 5);
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 10, "checks_failed");
    let (outcome, message) = check(&artifact, "lock_free");
    assert_eq!(outcome, "fail");
    assert!(message.starts_with(&format!("the lock is held by {OTHER} of grace, since 20")), "{message}");
    // It cannot be overridden, whatever the reason.
    let ran = sandbox.run(BINARY, &["--override", "lock_free", "--override-reason", "I know better"]);
    let artifact = ended(&sandbox, &ran, 2, "usage_error");
    assert!(artifact["message"].as_str().unwrap().contains("two deploys at once"), "{artifact}");
    // A dead one is taken over, and that is said.
    let sandbox = in_deployment(good());
    lock(&sandbox, OTHER, 61);
    let ran = sandbox.run(BINARY, &[]);
    assert_eq!(check(&ended(&sandbox, &ran, 0, "checks_passed"), "lock_free").0, "warn");
    // A second run of this deployment finds its own.
    let sandbox = in_deployment(good());
    lock(&sandbox, ID, 5);
    let ran = sandbox.run(BINARY, &[]);
    assert_eq!(check(&ended(&sandbox, &ran, 0, "checks_passed"), "lock_free").0, "pass");
}

#[test]
fn a_bad_version_and_its_override() {
    let sandbox = in_deployment(good()).env("USER", "ada");
    chain(&sandbox, vec![ChainEvent::MarkedBad { version: "2.0.0".into(), why: "checkout was slow".into() }]);
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 10, "checks_failed");
    assert_eq!(check(&artifact, "version_not_bad").1, "2.0.0 is marked bad: checkout was slow");
    let ran = sandbox.run(BINARY, &["--override", "version_not_bad"]);
    let artifact = ended(&sandbox, &ran, 2, "usage_error");
    assert_eq!(artifact["message"], "--override needs a reason");
    let ran =
        sandbox.run(BINARY, &["--override", "version_notbad", "--override-reason", "the data was the cause"]);
    let artifact = ended(&sandbox, &ran, 2, "usage_error");
    assert_eq!(artifact["hints"][0], "did you mean \"version_not_bad\"?");
    let reason = ["--override-reason", "the data was the cause"];
    let asked = ["--override", "version_not_bad", "--override", "chain_valid"];
    let ran = sandbox.run(BINARY, &[&asked[..], &reason].concat());
    let artifact = ended(&sandbox, &ran, 0, "checks_overridden");
    assert_eq!(
        artifact["body"]["overrides"],
        json!([{"id": "version_not_bad", "reason": "the data was the cause", "by": "ada"}])
    );
    assert_eq!(artifact["hints"][0], "the override of chain_valid was not needed");
    assert_eq!(check(&artifact, "version_not_bad").0, "fail", "overriding does not change what was seen");
}

#[test]
fn a_chain_that_was_changed_and_a_stop_request() {
    let sandbox = in_deployment(good());
    chain(&sandbox, Vec::new());
    in_store(&sandbox, async |store, layout| {
        let request = StopRequest {
            subject: StopSubject::Current,
            requested_by: Some("grace".into()),
            why: "orders fail".into(),
            at: Timestamp::UNIX_EPOCH,
            by_deployment: None,
        };
        Stop::new(store, layout).request(request).await.unwrap();
    });
    let entry = sandbox.files().into_iter().find(|file| file.ends_with("chain/00000001.json")).unwrap();
    sandbox.write(&entry, sandbox.read(&entry).replace("1.0.0", "1.0.1"));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 10, "checks_failed");
    let (outcome, message) = check(&artifact, "chain_valid");
    assert_eq!(outcome, "fail");
    assert!(message.contains("is broken"), "{message}");
    let (outcome, message) = check(&artifact, "no_stop_request");
    assert_eq!(outcome, "fail");
    assert!(message.starts_with("grace asked this deploy to stop at 1970"), "{message}");
}

#[test]
fn what_cannot_be_asked_is_no_verdict() {
    // A file where the store's folder should be: it can be neither read nor written.
    let sandbox = in_deployment(good())
        .file("in-the-way", "")
        .file("deploy.toml", &format!("{CONFIG}[store]\nurl = \"file:in-the-way/store\"\n"));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 11, "checks_unavailable");
    assert_eq!(check(&artifact, "store_usable").0, "unavailable");
    // A link to itself where the lock should be: whether anybody holds it is not known.
    let sandbox = in_deployment(good()).file(".deploy-kit/store/shop/production/x", "");
    let lock = sandbox.path().join(".deploy-kit/store/shop/production/lock.json");
    std::os::unix::fs::symlink("lock.json", lock).unwrap();
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 11, "checks_unavailable");
    assert_eq!(check(&artifact, "store_usable").0, "pass");
    assert_eq!(check(&artifact, "lock_free").0, "unavailable");
    let message = artifact["message"].as_str().unwrap();
    assert!(message.starts_with("1 of 11 checks could not be asked: lock_free: "), "{message}");
}

#[test]
fn a_service_that_is_down_matters_once_something_was_deployed() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sandbox = good().file("deploy.toml", &format!("{CONFIG}url = \"http://{closed}/\"\n"));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "checks_passed");
    assert_eq!(check(&artifact, "endpoint_reachable:api").0, "warn");
    assert_eq!(artifact["standalone"], true);
    chain(&sandbox, Vec::new());
    let ran = sandbox.run(BINARY, &[]);
    assert_eq!(check(&ended(&sandbox, &ran, 10, "checks_failed"), "endpoint_reachable:api").0, "fail");
}

/// A deployment that has begun and made its backup.
fn ready() -> Sandbox {
    let backup = json!({"databases": [{
        "database": "main", "engine": "sqlite", "engine_version": "3", "location": "file:x", "key": "k",
        "metadata_key": "m", "sha256": "a".repeat(64), "size_bytes": 1, "uncompressed_bytes": 1,
        "tables": [], "schema_sha256": "a".repeat(64), "proof": "full",
        "snapshot_at": "2026-01-01T00:00:00Z", "verified_at": "2026-01-01T00:00:00Z"
    }]});
    let begin = json!({
        "sequence": 3, "entry_sha256": "a".repeat(64), "lock_expires_at": "2026-01-01T00:00:00Z",
        "rollback_target": OTHER, "first_deployment": false
    });
    let answer = json!({"schema": "deploy-kit/traffic/v1", "services": [
        {"name": "api", "canary_percent": 0.0, "stable_version": "1.0.0", "stable_healthy": true}
    ]});
    let sandbox = in_deployment(good())
        .file(
            "deploy.toml",
            &format!(
                "{CONFIG}[traffic]\ndriver = \"command\"\ncommand = [\"cat\", \
                 \"answer.json\"]\n"
            ),
        )
        .file("answer.json", &answer.to_string())
        .file(".deploy-kit/artifacts/begin.json", &artifact("begin", "begun", &begin))
        .file(".deploy-kit/artifacts/backup.json", &artifact("backup", "verified_full", &backup));
    chain(&sandbox, Vec::new());
    lock(&sandbox, ID, 5);
    sandbox
}

#[track_caller]
fn readiness(sandbox: &Sandbox, code: i32, reason: &str) -> Value {
    let ran = sandbox.run(BINARY, &["readiness"]);
    let artifact = sandbox.artifact_json("readiness");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    artifact
}

#[test]
fn ready_to_be_undone() {
    let sandbox = ready();
    let artifact = readiness(&sandbox, 0, "checks_passed");
    assert_eq!(artifact["body"]["rollback_target"], OTHER);
    assert_eq!(artifact["message"], "all 6 checks passed", "{artifact}");
    assert_eq!(check(&artifact, "router_answers").1, "the router answers; stable: api 1.0.0");
    assert_eq!(check(&artifact, "migration_plan:main").1, "0 applied, pending: 1");
    assert_eq!(check(&artifact, "backup_finished").1, "1 backup verified to level schema or better");
}

fn backup_artifact(reason: &str, result: &str, body: &Value) -> String {
    artifact("backup", reason, body).replace("\"success\"", &format!("{result:?}"))
}

#[test]
fn not_ready_for_every_reason_at_once() {
    let sandbox = ready();
    let backup = sandbox.read(".deploy-kit/artifacts/backup.json").replace("\"full\"", "\"stream\"");
    sandbox.write(".deploy-kit/artifacts/backup.json", backup);
    sandbox.write("answer.json", "no answer");
    sandbox.write("migrations/orders.sql", "select 1;");
    let lock_file = sandbox.files().into_iter().find(|file| file.ends_with("lock.json")).unwrap();
    sandbox.write(&lock_file, sandbox.read(&lock_file).replace(ID, OTHER));
    let artifact = readiness(&sandbox, 10, "checks_failed");
    for (id, text) in [
        ("backup_finished", "verified to level stream, and schema is required"),
        ("lock_ours", "held by 1763000000-fffffff"),
        ("router_answers", "the router does not answer"),
        ("migration_plan:main", "is not named <version>_<description>.sql"),
    ] {
        let (outcome, message) = check(&artifact, id);
        assert_eq!(outcome, "fail", "{id}: {message}");
        assert!(message.contains(text), "{id}: {message}");
    }
    // Another tool made it, which nobody allowed here.
    let sandbox = ready();
    let made = json!({"databases": [], "external": [{
        "kind": "external", "database": "main", "deployment_id": ID, "id": "one",
        "content_at": "2026-01-01T00:00:00Z", "location": "elsewhere", "claim": "created", "restore": "tool",
        "command": ["tool"], "metadata_key": "m", "recorded_at": "2026-01-01T00:00:00Z"
    }]});
    sandbox.write(".deploy-kit/artifacts/backup.json", backup_artifact("external_backup", "success", &made));
    let found = readiness(&sandbox, 10, "checks_failed");
    assert!(check(&found, "backup_finished").1.contains("which deploy.toml does not allow"));
    // None was made, which is fine only as long as deploy.toml still says so.
    let sandbox = ready();
    let none = backup_artifact("backup_not_needed", "skip", &json!({ "databases": [] }));
    sandbox.write(".deploy-kit/artifacts/backup.json", none);
    let artifact = readiness(&sandbox, 10, "checks_failed");
    assert!(check(&artifact, "backup_finished").1.contains("which it does no more"));
    let config = sandbox.read("deploy.toml");
    sandbox.write("deploy.toml", format!("{config}[backup]\nwhen = \"pending_migrations\"\n"));
    let artifact = readiness(&sandbox, 0, "checks_passed");
    assert!(check(&artifact, "backup_finished").1.contains("no migration was pending"));
    // Nothing but the backup is missing now.
    let sandbox = ready();
    std::fs::remove_file(sandbox.path().join(".deploy-kit/artifacts/backup.json")).unwrap();
    let artifact = readiness(&sandbox, 10, "checks_failed");
    assert_eq!(check(&artifact, "backup_finished").1, "there is no backup.json");
}

#[test]
fn readiness_belongs_to_a_deployment_that_has_begun() {
    let sandbox = in_deployment(good());
    readiness(&sandbox, 3, "artifact_missing");
    readiness(&good(), 3, "artifact_missing");
}

#[test]
fn the_first_deployment_has_nothing_to_return_to() {
    let sandbox = ready();
    std::fs::remove_dir_all(sandbox.path().join(".deploy-kit/store")).unwrap();
    lock(&sandbox, ID, 5);
    let artifact = readiness(&sandbox, 0, "checks_passed");
    assert_eq!(
        check(&artifact, "rollback_target"),
        ("warn".into(), "first deployment: nothing to return to".into())
    );
    assert_eq!(artifact["body"]["rollback_target"], Value::Null);
}
