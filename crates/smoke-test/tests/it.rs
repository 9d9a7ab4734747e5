//! The program as it is run: against real servers, in a scrubbed environment.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

use kit_testing::http::{Reply, Server};
use kit_testing::{Ran, Sandbox, Signal};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

const BINARY: &str = env!("CARGO_BIN_EXE_smoke-test");
/// Long enough for a busy machine; only tests whose servers answer rely on it.
const LONG: &str = "30s";

fn run(sandbox: &Sandbox, args: &[&str]) -> Ran {
    sandbox.run(BINARY, &[args, ["--interval", "10ms"].as_slice()].concat())
}

#[track_caller]
fn ended(sandbox: &Sandbox, ran: &Ran, code: i32, reason: &str) -> Value {
    let artifact = sandbox.artifact_json("smoke");
    assert_eq!((ran.code, artifact["reason"].as_str()), (Some(code), Some(reason)), "{}", ran.stderr);
    artifact
}

/// A port on which nobody listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

/// A server that hands each connection, its request read, to `answer`.
fn raw(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            answer(stream);
        }
    });
    address
}

fn check(name: &str, url: &str, more: &str) -> String {
    format!("[[smoke.checks]]\nname = {name:?}\nurl = {url:?}\n{more}\n")
}

fn deployment(reason: &str) -> String {
    json!({
        "schema": "deploy-kit/deployment/v1", "app": "app", "environment": "production",
        "deployment_id": "1763712000-abc1234", "attempt": 1, "standalone": false, "step": "validate-tag",
        "result": if reason == "release_accepted" { "success" } else { "failure" }, "reason": reason, "message": "",
        "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
        "tool": {"version": "0"}, "run": {},
        "body": {
            "version": "2.0.0", "tag": "v2.0.0", "annotated": true, "kind": "release", "services": [],
            "commit": {"sha": "a".repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
            "git_ref": "refs/tags/v2.0.0", "config_sha256": "a".repeat(64),
        }
    })
    .to_string()
}

#[test]
fn all_well() {
    let server = Server::start()
        .expect("GET", "/health", Reply::json(200, &json!({"status": "healthy"})).header("x-env", "live"))
        .expect("GET", "/", Reply::new(200, "welcome"));
    let sandbox = Sandbox::new().github_actions().file(
        "deploy.toml",
        &format!(
            "app = \"shop\"\n{}{}",
            check(
                "health",
                &server.url("/health"),
                "[smoke.checks.expect]\njson = { \"$.status\" = \"healthy\" }\nheader = { x-env = \"live\" }"
            ),
            check("home", &server.url("/"), "[smoke.checks.expect]\nbody_contains = \"welcome\""),
        ),
    );
    let ran = run(&sandbox, &[]);
    let artifact = ended(&sandbox, &ran, 0, "smoke_passed");
    assert_eq!(artifact["message"], "all 2 checks passed at the first try");
    assert_eq!(artifact["standalone"], true);
    let first = &artifact["body"]["checks"][0];
    assert_eq!(
        (&first["name"], &first["outcome"], &first["attempts_total"]),
        (&json!("health"), &json!("pass"), &json!(1))
    );
    assert_eq!(first["attempts"][0]["status"], 200);
    let outputs = sandbox.outputs();
    assert_eq!((outputs["passed"].as_str(), outputs["failed"].as_str()), ("2", "0"));
    assert!(sandbox.summary().contains("| health | GET http://127.0.0.1:"), "{}", sandbox.summary());
    let junit = sandbox.read(".deploy-kit/artifacts/smoke.junit.xml");
    assert!(junit.contains("<testsuite name=\"shop/production\" tests=\"2\" failures=\"0\""), "{junit}");
}

#[test]
fn a_second_try_that_passes_is_named() {
    let server = Server::start().expect("GET", "/", Reply::new(503, "starting")).expect(
        "GET",
        "/",
        Reply::new(200, ""),
    );
    let sandbox = Sandbox::new();
    let ran = run(&sandbox, &["--url", &server.url("/"), "--within", LONG]);
    let artifact = ended(&sandbox, &ran, 0, "smoke_passed_flaky");
    assert_eq!(artifact["body"]["checks"][0]["outcome"], "pass_flaky");
    assert_eq!(
        artifact["hints"][0],
        "not at the first try: url: passed after 2 tries, before that: status: expected 200, got 503"
    );
}

#[test]
fn a_wrong_version_fails_with_what_was_expected_and_found() {
    let server =
        Server::start().always("GET", "/version/2.0.0", Reply::json(200, &json!({"version": "1.0.0"})));
    let url = server.url("/version/{version}");
    let sandbox = Sandbox::new().file(".deploy-kit/artifacts/smoke.junit.xml", "<green/>");
    let wanted = ["--url", &url, "--expect-json", "$.version={version}", "--within", "500ms"];
    let ran = run(&sandbox, &[&wanted[..], &["--release-version", "2.0.0"]].concat());
    let artifact = ended(&sandbox, &ran, 10, "smoke_failed");
    let message = artifact["message"].as_str().unwrap();
    assert!(
        message.starts_with("1 of 1 check failed: url: json $.version: expected \"2.0.0\", got \"1.0.0\" ("),
        "{message}"
    );
    let junit = sandbox.read(".deploy-kit/artifacts/smoke.junit.xml");
    assert!(
        junit.contains("failures=\"1\"")
            && junit.contains("<failure message=\"json $.version: expected &quot;2.0.0&quot;"),
        "{junit}"
    );
    // Without anybody who knows the version, nothing is asked.
    let ran = run(&sandbox, &wanted);
    ended(&sandbox, &ran, 2, "usage_error");
    assert!(ran.stderr.contains("--release-version"), "{}", ran.stderr);
    // The deployment knows it.
    let sandbox =
        Sandbox::new().file(".deploy-kit/artifacts/deployment.json", &deployment("release_accepted"));
    let ran = run(&sandbox, &wanted);
    let artifact = ended(&sandbox, &ran, 10, "smoke_failed");
    assert_eq!(
        (&artifact["standalone"], &artifact["deployment_id"]),
        (&json!(false), &json!("1763712000-abc1234"))
    );
    assert_eq!(artifact["evidence"][0]["artifact"], "deployment");
}

#[test]
fn a_deployment_that_may_not_be_deployed_is_not_tested() {
    let sandbox = Sandbox::new().file(".deploy-kit/artifacts/deployment.json", &deployment("tag_moved"));
    let ran = run(&sandbox, &["--url", &closed()]);
    ended(&sandbox, &ran, 3, "artifact_not_go");
}

#[test]
fn nothing_reachable_is_no_verdict() {
    let sandbox = Sandbox::new().file(
        "deploy.toml",
        &format!("app = \"shop\"\n{}{}", check("one", &closed(), ""), check("two", &closed(), "")),
    );
    let ran = run(&sandbox, &["--within", "500ms"]);
    let artifact = ended(&sandbox, &ran, 11, "nothing_reachable");
    assert!(
        artifact["message"]
            .as_str()
            .unwrap()
            .starts_with("none of 2 checks could be reached within 500ms: one: never answered")
    );
    assert_eq!(artifact["body"]["checks"][1]["outcome"], "unreachable");
    let attempts = artifact["body"]["checks"][0]["attempts"].as_array().unwrap();
    assert!(attempts.len() <= 20 && attempts.iter().all(|attempt| attempt["reached"] == false));
}

#[test]
fn one_of_two_down_is_no() {
    let server = Server::start().expect("GET", "/", Reply::new(200, ""));
    let sandbox = Sandbox::new().file(
        "deploy.toml",
        &format!("app = \"shop\"\n{}{}", check("up", &server.url("/"), ""), check("down", &closed(), "")),
    );
    let ran = run(&sandbox, &["--within", "500ms"]);
    let artifact = ended(&sandbox, &ran, 10, "smoke_failed");
    let message = artifact["message"].as_str().unwrap();
    assert!(message.starts_with("1 of 2 checks failed: down: never answered in "), "{message}");
}

#[test]
fn an_advisory_check_only_informs() {
    let server =
        Server::start().always("GET", "/extra", Reply::new(500, "")).expect("GET", "/", Reply::new(200, ""));
    let sandbox = Sandbox::new().file(
        "deploy.toml",
        &format!(
            "app = \"shop\"\n{}{}",
            check("home", &server.url("/"), ""),
            check("extra", &server.url("/extra"), "advisory = true")
        ),
    );
    let ran = run(&sandbox, &["--within", "500ms"]);
    let artifact = ended(&sandbox, &ran, 0, "smoke_passed");
    let hint = artifact["hints"][0].as_str().unwrap();
    assert!(hint.starts_with("advisory, did not pass: extra: status: expected 200, got 500"), "{hint}");
}

#[test]
fn slow_answers_and_bodies_without_end() {
    let quick = Server::start().always("GET", "/", Reply::new(200, ""));
    let sandbox = Sandbox::new();
    let ran = run(&sandbox, &["--url", &quick.url("/"), "--max-latency", "0.001ms", "--within", "500ms"]);
    let artifact = ended(&sandbox, &ran, 10, "smoke_failed");
    assert!(artifact["message"].as_str().unwrap().contains("latency: expected at most"), "{artifact}");

    let held = std::sync::Mutex::new(Vec::new());
    let half = raw(move |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
        held.lock().unwrap().push(stream);
    });
    let ran =
        run(&sandbox, &["--url", &format!("http://{half}/"), "--timeout", "100ms", "--within", "500ms"]);
    let artifact = ended(&sandbox, &ran, 10, "smoke_failed");
    assert!(artifact["message"].as_str().unwrap().contains("but no end within"), "{artifact}");

    let endless = raw(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let url = format!("http://{endless}/");
    let ran =
        run(&sandbox, &["--url", &url, "--expect-body", "hello", "--timeout", "10s", "--within", "500ms"]);
    let artifact = ended(&sandbox, &ran, 10, "smoke_failed");
    assert_eq!(artifact["body"]["checks"][0]["attempts"][0]["reached"], true);
}

#[test]
fn bad_checks_are_found_before_anything_is_asked() {
    let server = Server::start();
    let url = server.url("/");
    for (more, says) in [
        ("[smoke.checks.expect]\njson = { \"$.[\" = 1 }", "is not a JSON path"),
        ("[smoke.checks.expect]\njson = { \"$.v\" = \"{version}\" }", "speaks of {version}"),
        ("method = \"FETCH\"", "is not a method"),
    ] {
        let sandbox =
            Sandbox::new().file("deploy.toml", &format!("app = \"shop\"\n{}", check("home", &url, more)));
        let ran = run(&sandbox, &[]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("\"home\""), "{}", ran.stderr);
    }
    let sandbox = Sandbox::new();
    for (args, says) in [
        (vec!["--url", &url, "--expect-json", "$.[=1"], "<path>=<value>"),
        (vec!["--expect-status", "200"], "no --url"),
        (vec!["--url", "shop.example"], "cannot be parsed"),
        (vec![], "there is nothing to check"),
    ] {
        let ran = run(&sandbox, &args);
        ended(&sandbox, &ran, 2, "usage_error");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn nothing_configured_is_a_skip_that_says_so() {
    let sandbox = Sandbox::new().file("deploy.toml", "app = \"shop\"\n");
    let ran = run(&sandbox, &[]);
    let artifact = ended(&sandbox, &ran, 0, "not_configured");
    assert_eq!(artifact["result"], "skip");
    assert!(ran.stderr.contains("nothing was checked"), "{}", ran.stderr);
}

#[test]
fn secrets_in_headers_are_sent_and_never_shown() {
    let secret = "s3cr3t-t0ken&<>";
    let server = Server::start().always("GET", "/", Reply::new(401, format!("Bearer {secret} is wrong")));
    let sandbox = Sandbox::new().github_actions().env("SHOP_AUTH", format!("Bearer {secret}")).file(
        "deploy.toml",
        &format!(
            "app = \"shop\"\n{}",
            check(
                "home",
                &server.url("/?key=in-the-query"),
                "headers = { Authorization = { env = \"SHOP_AUTH\" } }\n[smoke.checks.expect]\nstatus = [401]\nbody_contains = \"fine\""
            )
        ),
    );
    let server = server.always("GET", "/?key=in-the-query", Reply::new(401, format!("{secret} is wrong")));
    let ran = run(&sandbox, &["--within", "500ms"]);
    ended(&sandbox, &ran, 10, "smoke_failed");
    assert_eq!(server.requests()[0].headers["authorization"], format!("Bearer {secret}"));
    let printed = ran.printed();
    let masked: String = printed.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
    let files =
        ["smoke.json", "smoke.junit.xml"].map(|name| sandbox.read(&format!(".deploy-kit/artifacts/{name}")));
    for text in [&masked, &sandbox.summary(), &files[0], &files[1]] {
        assert!(!text.contains("s3cr3t") && !text.contains("in-the-query"), "{text}");
    }
    assert!(files[0].contains("*** is wrong"), "{}", files[0]);
}

#[test]
fn hostile_answers_stay_one_harmless_line() {
    let hostile = "::set-output name=x::y\n##[error]boom\u{1b}[2J <img> | `x`";
    let server = Server::start().always("GET", "/", Reply::new(200, hostile));
    let sandbox = Sandbox::new().github_actions();
    let ran = run(&sandbox, &["--url", &server.url("/"), "--expect-body", "fine", "--within", "500ms"]);
    ended(&sandbox, &ran, 10, "smoke_failed");
    let commands = kit_testing::runner::parse_commands(ran.printed().as_bytes());
    assert!(
        commands.iter().all(|command| command.name == "error" && command.properties.contains_key("title")),
        "{commands:?}"
    );
    assert!(!sandbox.summary().contains("<img>"));
}

#[test]
fn what_was_known_survives_a_cancel() {
    let server = Server::start().always("GET", "/", Reply::new(503, ""));
    let sandbox = Sandbox::new();
    let started =
        sandbox.start(BINARY, &["--url", &server.url("/"), "--within", "10m", "--interval", "10ms"]);
    started.wait_for_line("got 503");
    started.signal(Signal::TERM);
    let ran = started.wait();
    let artifact = ended(&sandbox, &ran, 143, "terminated");
    assert_eq!(artifact["message"], "stopped when 0 of 1 checks had passed");
    assert_eq!(artifact["body"]["checks"][0]["attempts"][0]["status"], 503);
    assert!(!sandbox.has(".deploy-kit/artifacts/smoke.junit.xml"));
}

#[test]
fn a_second_run_asks_again() {
    let server =
        Server::start().expect("GET", "/", Reply::new(200, "")).expect("GET", "/", Reply::new(200, ""));
    let sandbox =
        Sandbox::new().file(".deploy-kit/artifacts/deployment.json", &deployment("release_accepted"));
    for attempt in [1, 2] {
        let ran = run(&sandbox, &["--url", &server.url("/"), "--within", LONG]);
        assert_eq!(ended(&sandbox, &ran, 0, "smoke_passed")["attempt"], attempt);
    }
}

#[test]
fn help_teaches() {
    let ran = run(&Sandbox::new(), &["--help"]);
    assert_eq!(ran.code, Some(0));
    for text in [
        "Examples:",
        "smoke-test --url https://shop.example/health",
        "Reads:",
        "deployment",
        "Writes:",
        "smoke.json",
        "Exit codes:",
        "  11 ",
        "A second run",
        "DEPLOY_KIT_WITHIN",
    ] {
        assert!(ran.stdout.contains(text), "no {text:?} in {}", ran.stdout);
    }
}
