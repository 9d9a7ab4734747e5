//! The program as it is run: against real servers, in a scrubbed environment.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kit_testing::http::{Reply, Request, Server};
use kit_testing::{Ran, Sandbox, Signal};
use serde_json::{Value, json};
use std::io::Read as _;
use std::net::TcpListener;

const BINARY: &str = env!("CARGO_BIN_EXE_notify");
/// As Slack's: whoever has it can post.
const PATH: &str = "/services/T00000000/B00000000/hunter2hunter2hunter2xx";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// `[[channels]]` of this kind, whose address is in `URL_<NAME>`.
fn channel(name: &str, kind: &str, more: &str) -> String {
    format!("[[channels]]\nname = {name:?}\nkind = {kind:?}\nurl = {{ env = \"URL_{name}\" }}\n{more}\n")
}

fn sandbox(channels: &str) -> Sandbox {
    Sandbox::new().file("deploy.toml", &format!("app = \"shop\"\n{channels}"))
}

fn artifact(kind: &str, id: &str, reason: &str, result: &str, body: &Value) -> String {
    json!({
        "schema": format!("deploy-kit/{kind}/v1"), "app": "shop", "environment": "production",
        "deployment_id": id, "attempt": 1, "standalone": false, "step": kind, "result": result,
        "reason": reason, "message": format!("{kind} ended"), "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:10:00Z", "tool": {"version": "0"},
        "run": {"actor": "ada", "url": "https://github.example/octo/shop/actions/runs/4711"}, "body": body
    })
    .to_string()
}

fn deployment() -> Value {
    json!({
        "version": "2.0.0", "tag": "v2.0.0", "annotated": true, "kind": "release", "services": [],
        "commit": {"sha": "a".repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
        "git_ref": "refs/tags/v2.0.0", "config_sha256": "a".repeat(64)
    })
}

const ID: &str = "1763712000-abc1234";

fn with_record(sandbox: Sandbox, status: &str, gate_says: &str) -> Sandbox {
    let success = status == "success";
    let step = json!({
        "artifact": "gate-canary", "sha256": "a".repeat(64),
        "result": if success { "success" } else { "failure" },
        "reason": if success { "promoted" } else { "error_rate_exceeded" }, "message": gate_says,
        "started_at": null, "finished_at": null, "attempt": 1
    });
    let body = json!({
        "status": status, "deployment": deployment(), "previous": "1763000000-abc1234", "steps": [step],
        "stages": [], "backup": null, "migrations_applied": 0, "migration_phase": null, "smoke": null,
        "rollback": null, "overrides": [], "rollback_available": success, "rollback_window_ms": 3_600_000,
        "rollback_deadline": success.then_some("2026-01-01T01:10:00Z"), "config": "", "sequence": 3
    });
    let deployment = artifact("deployment", ID, "release_accepted", "success", &deployment());
    sandbox
        .file(".deploy-kit/artifacts/deployment.json", &deployment)
        .file(".deploy-kit/artifacts/record.json", &artifact("record", ID, "recorded", "success", &body))
}

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("notice");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    artifact
}

#[track_caller]
fn outcome(artifact: &Value, index: usize, outcome: &str, attempts: u32) {
    let channel = &artifact["body"]["channels"][index];
    let seen = (channel["outcome"].as_str(), channel["attempts"].as_u64());
    assert_eq!(seen, (Some(outcome), Some(u64::from(attempts))), "{channel}");
}

/// Fails on whatever Slack would refuse, and on what would mention somebody.
fn check_slack(request: &Request) -> Value {
    assert_eq!(request.headers["content-type"], "application/json");
    let payload: Value = serde_json::from_slice(&request.body).unwrap();
    let keys: Vec<&String> = payload.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["blocks", "text"]);
    let text_of = |value: &Value, kinds: &[&str], limit: usize| {
        assert!(kinds.contains(&value["type"].as_str().unwrap()), "{value}");
        let text = value["text"].as_str().unwrap().to_owned();
        assert!(!text.is_empty() && text.encode_utf16().count() <= limit, "{value}");
        text
    };
    let blocks = payload["blocks"].as_array().unwrap();
    assert!((1..=50).contains(&blocks.len()));
    let mut all = vec![payload["text"].as_str().unwrap().to_owned()];
    for block in blocks {
        match block["type"].as_str().unwrap() {
            "header" => all.push(text_of(&block["text"], &["plain_text"], 150)),
            "section" => {
                let fields = block["fields"].as_array().cloned().unwrap_or_default();
                assert!(fields.len() <= 10 && (block.get("text").is_some() || !fields.is_empty()));
                all.extend(fields.iter().map(|field| text_of(field, &["mrkdwn"], 2000)));
                all.extend(block.get("text").map(|text| text_of(text, &["mrkdwn"], 3000)));
            }
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()));
                all.extend(elements.iter().map(|element| text_of(element, &["mrkdwn"], 2000)));
            }
            other => panic!("Slack knows no block {other:?} in a message of ours"),
        }
    }
    let whole = all.join("\n");
    assert!(whole.encode_utf16().count() < 12_000);
    for mention in ["<!", "<@", "@here", "@channel", "@everyone"] {
        assert!(!whole.contains(mention), "{whole}");
    }
    payload
}

/// Fails on what a receiver of Standard Webhooks would refuse. Gives id and body.
fn check_webhook(request: &Request) -> (String, Value) {
    let header = |name: &str| request.headers[name].as_str();
    let body = String::from_utf8(request.body.clone()).unwrap();
    let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
    let signature = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).unwrap();
    mac.update(signed.as_bytes());
    mac.verify_slice(&signature).unwrap();
    assert!(header("webhook-timestamp").parse::<i64>().unwrap() > 1_700_000_000);
    assert!(body.len() < 20_000);
    (header("webhook-id").to_owned(), serde_json::from_str(&body).unwrap())
}

fn signed(sandbox: Sandbox) -> Sandbox {
    sandbox.env("SIGNING", format!("whsec_{}", STANDARD.encode(KEY)))
}

const SIGNED: &str = "signing_secret = { env = \"SIGNING\" }";

/// Nothing that was printed or written may hold a part of the address.
#[track_caller]
fn nothing_leaked(sandbox: &Sandbox, ran: &Ran) {
    let mut text = ran.printed();
    for file in sandbox.files().iter().filter(|file| *file != "deploy.toml") {
        text.push_str(&sandbox.read(file));
    }
    for secret in ["hunter2", "T00000000", "B00000000", &STANDARD.encode(KEY)] {
        // Masking is the one command that has to name what it hides.
        let lines = text.lines().filter(|line| !line.starts_with("::add-mask::"));
        assert!(lines.filter(|line| line.contains(secret)).count() == 0, "{secret} in:\n{text}");
    }
}

#[test]
fn a_success_reaches_every_channel_in_its_form() {
    let slack = Server::start().expect("POST", PATH, Reply::new(200, "ok"));
    let hook = Server::start().expect("POST", "/hook", Reply::new(204, ""));
    let channels = [
        channel("team", "slack", ""),
        channel("audit", "webhook", SIGNED),
        "[[channels]]\nname = \"job\"\nkind = \"summary\"\n".to_owned(),
        channel("pager", "slack", "events = [\"stuck\", \"failed\"]"),
    ];
    let sandbox = signed(with_record(sandbox(&channels.concat()), "success", "fine"))
        .github_actions()
        .env("URL_team", slack.url(PATH))
        .env("URL_audit", hook.url("/hook"));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "delivered");
    assert_eq!(artifact["message"], "deployed: 3 channels took the message");
    assert_eq!(artifact["evidence"][0]["artifact"], "record");
    for (index, expected, attempts) in
        [(0, "delivered", 1), (1, "delivered", 1), (2, "delivered", 0), (3, "skipped", 0)]
    {
        outcome(&artifact, index, expected, attempts);
    }
    let payload = check_slack(&slack.requests()[0]);
    assert_eq!(payload["text"], "shop: Production deployment successful (2.0.0)");
    assert_eq!(
        payload["blocks"][2]["text"]["text"],
        "2.0.0 serves everything, and every step said yes\nRollback available until 2026-01-01 01:10 UTC"
    );
    let (id, body) = check_webhook(&hook.requests()[0]);
    assert!(id.starts_with("msg_"), "{id}");
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&json!("deploy-kit.deployed"), &json!("2026-01-01T00:10:00Z"))
    );
    assert_eq!((&body["data"]["deployment_id"], &body["data"]["version"]), (&json!(ID), &json!("2.0.0")));
    assert!(sandbox.summary().contains("#### Production deployment successful"), "{}", sandbox.summary());
    assert_eq!(
        (sandbox.outputs()["event"].as_str(), sandbox.outputs()["undelivered"].as_str()),
        ("deployed", "")
    );
    nothing_leaked(&sandbox, &ran);
}

#[test]
fn hostile_text_of_a_failure_mentions_nobody() {
    let slack = Server::start().expect("POST", PATH, Reply::new(200, "ok"));
    let says = format!("<!channel> @here <https://evil.example|click> {}", "&".repeat(3900));
    let sandbox = with_record(sandbox(&channel("team", "slack", "")), "rolled_back", &says)
        .env("URL_team", slack.url(PATH));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "delivered");
    assert_eq!(artifact["body"]["event"], "rolled_back");
    let payload = check_slack(&slack.requests()[0]);
    let text = payload["blocks"][2]["text"]["text"].as_str().unwrap();
    assert!(
        text.starts_with("Because: gate-canary: &lt;!channel&gt; @\u{2060}here &lt;https://evil"),
        "{text}"
    );
}

#[test]
fn one_channel_that_fails_does_not_touch_the_others() {
    let slack = Server::start().expect("POST", PATH, Reply::new(200, "ok"));
    let refusing = Server::start().expect("POST", PATH, Reply::new(404, "no_service"));
    let echoing = Server::start().expect("POST", PATH, Reply::new(400, format!("no such hook: {PATH}")));
    let moved =
        Server::start().expect("POST", PATH, Reply::new(302, "").header("location", "http://127.0.0.1:1/"));
    let welcome = Server::start().expect("POST", PATH, Reply::new(200, "<html>Welcome to the proxy</html>"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let names = ["refusing", "echoing", "moved", "welcome", "closed", "unset", "masked", "open", "broken"];
    let mut channels: String = names.iter().map(|name| channel(name, "slack", "")).collect();
    channels.push_str("[[channels]]\nname = \"nowhere\"\nkind = \"slack\"\n");
    channels.push_str(&channel("badkey", "webhook", SIGNED));
    channels.push_str(&channel("team", "slack", ""));
    let sandbox = with_record(sandbox(&channels), "failed", "it fails")
        .github_actions()
        .env("URL_refusing", refusing.url(PATH))
        .env("URL_echoing", echoing.url(PATH))
        .env("URL_moved", moved.url(PATH))
        .env("URL_welcome", welcome.url(PATH))
        .env("URL_closed", format!("http://{closed}{PATH}"))
        .env("URL_masked", "***")
        .env("URL_open", format!("http://192.0.2.1{PATH}"))
        .env("URL_broken", format!("hooks.slack.example{PATH}"))
        .env("URL_badkey", refusing.url("/never"))
        .env("SIGNING", "whsec_no base64")
        .env("URL_team", slack.url(PATH));
    let ran = sandbox.run(BINARY, &["--within", "600ms"]);
    let artifact = ended(&sandbox, &ran, 0, "not_all_delivered");
    let channels = artifact["body"]["channels"].as_array().unwrap();
    let seen: Vec<(&str, &str, &str)> = channels
        .iter()
        .map(|item| ["channel", "outcome", "message"].map(|key| item[key].as_str().unwrap()).into())
        .collect();
    let shown = format!("{seen:#?}");
    assert_eq!(seen[0], ("refusing", "rejected", "it answered 404: no_service"));
    assert_eq!(seen[1], ("echoing", "rejected", "it answered 400: no such hook: /***"), "{shown}");
    assert_eq!(seen[2], ("moved", "rejected", "it answered 302"));
    assert_eq!(seen[3], ("welcome", "ambiguous", "it answered 200: <html>Welcome to the proxy</html>"));
    assert_eq!((seen[4].1, seen[4].2.contains("refused")), ("unreachable", true), "{shown}");
    assert!(channels[4]["attempts"].as_u64().unwrap() >= 2, "{shown}");
    assert_eq!(seen[5], ("unset", "rejected", "the environment variable URL_unset is not set or empty"));
    assert_eq!((seen[6].1, seen[6].2.contains("masked value")), ("rejected", true), "{shown}");
    assert!(seen[7].2.contains("only https is allowed"), "{shown}");
    assert!(seen[8].2.contains("cannot be parsed"), "{shown}");
    assert_eq!(seen[9].2, "deploy.toml names no url for it");
    assert!(seen[10].2.contains("the rest is not base64"), "{shown}");
    assert_eq!(seen[11].1, "delivered");
    assert!(sandbox.outputs()["undelivered"].starts_with("refusing,echoing,"), "{:?}", sandbox.outputs());
    let warning = ran.stderr.lines().find(|line| line.starts_with("::warning title=notify"));
    assert!(warning.unwrap().contains("refusing: rejected: it answered 404"), "{}", ran.stderr);
    nothing_leaked(&sandbox, &ran);
}

#[test]
fn a_required_channel_fails_the_step() {
    let refusing = Server::start().always("POST", PATH, Reply::new(403, "invalid_token"));
    let sandbox = with_record(sandbox(&channel("team", "slack", "")), "success", "fine")
        .env("URL_team", refusing.url(PATH));
    let ran = sandbox.run(BINARY, &["--require", "team"]);
    let artifact = ended(&sandbox, &ran, 20, "required_undelivered");
    assert_eq!(artifact["message"], "deployed: required, but not delivered: team");
    assert_eq!(artifact["hints"][0], "team: rejected: it answered 403: invalid_token");
    let ran = sandbox.run(BINARY, &["--require", "taem"]);
    let artifact = ended(&sandbox, &ran, 2, "usage_error");
    assert_eq!(artifact["hints"][0], "did you mean \"team\"?");
    assert_eq!(refusing.requests().len(), 1, "a usage error tells nobody");
}

#[test]
fn slow_down_is_obeyed_and_then_it_is_delivered_once() {
    let busy = || Reply::new(429, "").header("retry-after", "0");
    let slack = Server::start().expect("POST", PATH, busy()).expect("POST", PATH, busy()).expect(
        "POST",
        PATH,
        Reply::new(200, "ok"),
    );
    let full = Server::start().expect("POST", PATH, Reply::new(429, "").header("retry-after", "3600"));
    let sandbox = with_record(
        sandbox(&[channel("team", "slack", ""), channel("full", "slack", "")].concat()),
        "success",
        "fine",
    )
    .env("URL_team", slack.url(PATH))
    .env("URL_full", full.url(PATH));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "not_all_delivered");
    outcome(&artifact, 0, "delivered", 3);
    outcome(&artifact, 1, "throttled", 1);
    assert_eq!(artifact["body"]["channels"][1]["status"], 429);
}

#[test]
fn what_may_have_arrived_is_sent_again_only_where_the_receiver_can_tell() {
    let slack = Server::start().expect("POST", PATH, Reply::new(500, ""));
    let hook = Server::start()
        .expect("POST", "/hook", Reply::new(500, ""))
        .expect("POST", "/hook", Reply::new(503, "").header("retry-after", "0"))
        .expect("POST", "/hook", Reply::new(200, ""))
        .expect("POST", "/hook", Reply::new(200, ""));
    let channels = [channel("team", "slack", ""), channel("audit", "webhook", SIGNED)].concat();
    let sandbox = signed(with_record(sandbox(&channels), "success", "fine"))
        .env("URL_team", slack.url(PATH))
        .env("URL_audit", hook.url("/hook"));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "not_all_delivered");
    outcome(&artifact, 0, "ambiguous", 1);
    outcome(&artifact, 1, "delivered", 3);
    // Another run, and still the same message to whoever gets it.
    sandbox.write("deploy.toml", format!("app = \"shop\"\n{}", channel("audit", "webhook", SIGNED)));
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "delivered");
    let ids: Vec<String> = hook.requests().iter().map(|request| check_webhook(request).0).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_budget() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let held = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        // Until the client gives up.
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        all.len()
    });
    let sandbox = with_record(sandbox(&channel("team", "slack", "")), "success", "fine")
        .env("URL_team", format!("http://{silent}{PATH}"));
    let ran = sandbox.run(BINARY, &["--within", "300ms"]);
    let artifact = ended(&sandbox, &ran, 0, "not_all_delivered");
    outcome(&artifact, 0, "ambiguous", 1);
    assert!(held.join().unwrap() > 0, "the request was sent, so it may have arrived");
    nothing_leaked(&sandbox, &ran);
}

#[test]
fn a_signal_ends_it_in_time_and_leaves_what_is_known() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let sandbox = with_record(sandbox(&channel("team", "slack", "")), "success", "fine")
        .env("URL_team", format!("http://{silent}{PATH}"));
    let started = sandbox.start(BINARY, &["--within", "2m"]);
    let _held = listener.accept().unwrap();
    started.signal(Signal::TERM);
    let ran = started.wait();
    let artifact = ended(&sandbox, &ran, 143, "terminated");
    outcome(&artifact, 0, "ambiguous", 1);
}

#[test]
fn a_dry_run_shows_all_and_sends_nothing() {
    let slack = Server::start();
    let hook = Server::start();
    let channels = [channel("team", "slack", ""), channel("audit", "webhook", SIGNED)].concat();
    let sandbox = signed(with_record(sandbox(&channels), "success", "fine"))
        .env("URL_team", slack.url(PATH))
        .env("URL_audit", hook.url("/hook"));
    let ran = sandbox.run(BINARY, &["--dry-run"]);
    let artifact = ended(&sandbox, &ran, 0, "delivered");
    assert_eq!(artifact["body"]["dry_run"], true);
    outcome(&artifact, 0, "skipped", 0);
    outcome(&artifact, 1, "skipped", 0);
    assert!(
        ran.stderr.contains("\"text\": \"shop: Production deployment successful (2.0.0)\""),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("\"type\": \"deploy-kit.deployed\""), "{}", ran.stderr);
    assert_eq!(slack.requests().len() + hook.requests().len(), 0);
    nothing_leaked(&sandbox, &ran);
}

#[test]
fn without_a_record_that_is_what_is_announced() {
    let tell = |sandbox: Sandbox, args: &[&str]| {
        let hook = Server::start().expect("POST", "/hook", Reply::new(200, ""));
        let sandbox = signed(sandbox).env("URL_audit", hook.url("/hook"));
        let ran = sandbox.run(BINARY, args);
        ended(&sandbox, &ran, 0, "delivered");
        check_webhook(&hook.requests()[0]).1
    };
    let configured = || sandbox(&channel("audit", "webhook", SIGNED));
    let folder = ".deploy-kit/artifacts";
    let refused = artifact("deployment", ID, "tag_moved", "failure", &Value::Null);
    let body = tell(configured().file(&format!("{folder}/deployment.json"), &refused), &[]);
    assert_eq!((&body["type"], &body["data"]["reason"]), (&json!("deploy-kit.failed"), &json!("tag_moved")));
    assert_eq!(body["data"]["lines"][0], "The deploy left no record");
    assert_eq!(body["data"]["lines"][1], "deployment: deployment ended (tag_moved)");
    // One that cannot be read is no better than none.
    let broken =
        with_record(configured(), "success", "fine").file(&format!("{folder}/record.json"), "{\"sch");
    let body = tell(broken, &[]);
    assert_eq!(body["type"], "deploy-kit.failed");
    assert!(body["data"]["lines"][0].as_str().unwrap().starts_with("The record cannot be used: "), "{body}");
    assert_eq!(body["data"]["version"], "2.0.0");
    // Nor is that of another deployment.
    let foreign = with_record(configured(), "success", "fine");
    let text = foreign.read(&format!("{folder}/record.json")).replace(ID, "1763712999-fffffff");
    let body = tell(foreign.file(&format!("{folder}/record.json"), &text), &[]);
    assert_eq!(body["type"], "deploy-kit.failed");
    // In an empty folder on a laptop, nobody is alarmed; a run of CI that lost everything is another matter.
    let laptop = configured().env("URL_audit", "https://h.example/").env("SIGNING", "secret");
    let ran = laptop.run(BINARY, &[]);
    ended(&laptop, &ran, 3, "artifact_missing");
    assert_eq!(tell(configured().github_actions(), &[])["type"], "deploy-kit.failed");
}

#[test]
fn a_rollback_is_announced_as_what_it_undid() {
    let hook = Server::start().always("POST", "/hook", Reply::new(200, ""));
    let body = json!({
        "subject": ID, "target": "1763000000-abc1234", "why": "checkout is slow", "forced": false, "actions": [],
        "observed": [{"service": "api", "version": "1.0.0"}]
    });
    let rollback = artifact("rollback", "1763799999-0000000", "rolled_back", "success", &body);
    let sandbox = signed(with_record(sandbox(&channel("audit", "webhook", SIGNED)), "success", "fine"))
        .env("URL_audit", hook.url("/hook"))
        .file(".deploy-kit/artifacts/rollback.json", &rollback);
    // In the folder of the deployment that was undone, and asked for.
    let ran = sandbox.run(BINARY, &["--about", "rollback"]);
    assert_eq!(ended(&sandbox, &ran, 0, "delivered")["body"]["event"], "rolled_back");
    let told = check_webhook(&hook.requests()[0]).1;
    assert_eq!(
        (&told["data"]["deployment_id"], &told["data"]["title"]),
        (&json!(ID), &json!("Production rolled back"))
    );
    assert_eq!(told["data"]["lines"][2], "api now serves 1.0.0");
    // One of another deployment is not ours to announce.
    sandbox.write(".deploy-kit/artifacts/rollback.json", rollback.replace(ID, "1763712999-fffffff"));
    let ran = sandbox.run(BINARY, &["--about", "rollback"]);
    assert_eq!(ended(&sandbox, &ran, 0, "delivered")["body"]["event"], "failed");
}

#[test]
fn no_channels_are_nothing_to_do() {
    let sandbox = with_record(sandbox(""), "success", "fine");
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "not_configured");
    assert_eq!(artifact["result"], "skip");
    let ran = sandbox.run(BINARY, &["--require", "team"]);
    ended(&sandbox, &ran, 2, "usage_error");
}

/// What runs on a schedule: a failure is announced, a success is not, and silence is a failure.
#[test]
fn a_backup_or_a_drill_that_failed_is_announced() {
    let server = Server::start().always("POST", PATH, Reply::new(200, "ok"));
    let sandbox = sandbox(&channel("ops", "slack", "")).env("URL_ops", server.url(PATH)).env("CI", "true");
    let run = |about: &str| sandbox.run(BINARY, &["--about", about]);
    let text = |server: &Server| String::from_utf8(server.requests().pop().unwrap().body).unwrap();
    ended(&sandbox, &run("drill"), 0, "delivered");
    assert!(text(&server).contains("The restore drill left no result"));
    let id = "local-1763712000-abc1234";
    for (kind, about, title) in [
        ("drill", "drill", "Production restore drill failed"),
        ("backup", "backup", "Production backup failed"),
    ] {
        let file = format!(".deploy-kit/artifacts/{kind}.json");
        sandbox.write(&file, artifact(kind, id, "restore_mismatch", "failure", &Value::Null));
        ended(&sandbox, &run(about), 0, "delivered");
        let told = text(&server);
        assert!(told.contains(title) && told.contains("restore_mismatch") && told.contains(id), "{told}");
        let count = server.requests().len();
        let good = if kind == "drill" { "drilled" } else { "verified_full" };
        sandbox.write(&file, artifact(kind, id, good, "success", &Value::Null));
        ended(&sandbox, &run(about), 0, "not_configured");
        assert_eq!(server.requests().len(), count, "a success is not announced");
    }
}
