//! The program as it is run: real servers on loopback, real probes, short stages.
#![allow(clippy::disallowed_methods, reason = "a test prepares files, and a slow server takes its time")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here is a failed test, and must say so loudly")]

mod baseline;
mod hold;

use axum::extract::State;
use axum::http::StatusCode;
use kit_contract::body::{Gate, GateVerdict};
use kit_contract::{Artifact, Reason};
use kit_testing::{Ran, Sandbox, Signal};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const GATE: &str = env!("CARGO_BIN_EXE_canary-gate");

/// How a server answers its requests, counted from 0.
type Behaviour = fn(u64) -> (u16, Duration);

/// How often a service was asked.
#[derive(Default)]
struct Asked {
    times: Mutex<u64>,
    changed: Condvar,
}

#[derive(Clone)]
struct Shared {
    behaviour: Behaviour,
    asked: Arc<Asked>,
}

/// A service on a free port. It ends with the test.
struct Service {
    address: SocketAddr,
    asked: Arc<Asked>,
    _runtime: tokio::runtime::Runtime,
}

impl Service {
    fn start(behaviour: Behaviour) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { behaviour, asked: Arc::default() };
        let asked = Arc::clone(&shared.asked);
        let app = axum::Router::new().fallback(answer).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, asked, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    fn asked(&self) -> u64 {
        *self.asked.times.lock().unwrap()
    }

    /// Waits until it was asked so often.
    fn wait_until_asked(&self, times: u64) {
        let asked = self.asked.times.lock().unwrap();
        let limit = Duration::from_secs(30);
        let waited = self.asked.changed.wait_timeout_while(asked, limit, |asked| *asked < times).unwrap();
        assert!(!waited.1.timed_out(), "nobody asked");
    }
}

async fn answer(State(shared): State<Shared>) -> StatusCode {
    let request = {
        let mut times = shared.asked.times.lock().unwrap();
        *times += 1;
        *times - 1
    };
    shared.asked.changed.notify_all();
    let (status, delay) = (shared.behaviour)(request);
    if !delay.is_zero() {
        // tidy: allow-sleep a slow service is what is tested
        tokio::time::sleep(delay).await;
    }
    StatusCode::from_u16(status).unwrap()
}

const AT_ONCE: Duration = Duration::ZERO;

fn good(_: u64) -> (u16, Duration) {
    (200, AT_ONCE)
}

fn down(_: u64) -> (u16, Duration) {
    (503, AT_ONCE)
}

fn three_in_ten(request: u64) -> (u16, Duration) {
    (if matches!(request % 10, 2 | 5 | 8) { 500 } else { 200 }, AT_ONCE)
}

fn slow(_: u64) -> (u16, Duration) {
    (200, Duration::from_millis(120))
}

/// A port that is taken, and on which nobody listens.
struct Nobody(tokio::net::TcpSocket);

impl Nobody {
    fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    fn url(&self) -> String {
        format!("http://{}/health", self.0.local_addr().unwrap())
    }
}

/// A short stage with a probe every 20 ms: 75 of them, of which a slow machine may miss many.
const QUICK: &[&str] =
    &["--stage", "canary", "--duration", "1500ms", "--interval", "20ms", "--timeout", "500ms"];

fn gate(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let args: Vec<&str> = QUICK.iter().chain(args).copied().collect();
    sandbox.run(GATE, &args)
}

/// Runs a gate on two addresses.
fn compare(canary: &str, baseline: Option<&str>, args: &[&str]) -> (Sandbox, Ran, Artifact<Gate>) {
    let sandbox = Sandbox::new().github_actions();
    let mut all = vec!["--canary-url", canary];
    if let Some(baseline) = baseline {
        all.extend(["--baseline-url", baseline]);
    }
    all.extend(args);
    let ran = gate(&sandbox, &all);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    replays(&sandbox, &artifact);
    (sandbox, ran, artifact)
}

/// The recorded ticks lead to the same body, byte by byte.
fn replays(sandbox: &Sandbox, artifact: &Artifact<Gate>) {
    let ticks = ".deploy-kit/artifacts/gate-canary.ticks.jsonl";
    let again = sandbox.run(GATE, &["replay", "--ticks", ticks, "--json"]);
    let said: Value = serde_json::from_str(&again.stdout).unwrap();
    let recorded = &sandbox.artifact_json("gate-canary")["body"];
    assert_eq!(said["body"].to_string(), recorded.to_string());
    if !matches!(artifact.reason, Reason::Interrupted) {
        assert_eq!(said["reason"], artifact.reason.code());
        assert_eq!(said["message"], artifact.message.as_str());
        assert_eq!(again.code, Some(i32::from(artifact.reason.exit_code())));
    }
}

fn expect(ran: &Ran, artifact: &Artifact<Gate>, code: i32, reason: Reason, verdict: GateVerdict) -> Gate {
    let body = artifact.body.clone().unwrap();
    assert_eq!(
        (ran.code, artifact.reason, body.verdict),
        (Some(code), reason, verdict),
        "{}\n{}",
        artifact.message,
        ran.stderr
    );
    body
}

#[test]
fn a_healthy_canary_is_promoted() {
    let (canary, baseline) = (Service::start(good), Service::start(good));
    let (sandbox, ran, artifact) = compare(&canary.url(), Some(&baseline.url()), &[]);
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    assert_eq!(sandbox.outputs()["verdict"], "promote");
    assert!(artifact.standalone && artifact.message.starts_with("app: 0 of "), "{}", artifact.message);
    let service = &body.services[0];
    assert!(service.canary.requests >= 20 && service.canary.errors == 0, "{service:?}");
    assert!(service.certificate.error_rate_upper_bound.unwrap() < 0.14);
    assert!(!service.certificate.absolute_only && service.baseline.is_some());
    assert!(ran.stderr.contains("watching app (canary and baseline) for 1s 500ms"), "{}", ran.stderr);
    assert!(sandbox.summary().contains("| app | promote | `promoted` | 0 of "), "{}", sandbox.summary());
}

#[test]
fn errors_above_the_limit_roll_back() {
    let (canary, baseline) = (Service::start(three_in_ten), Service::start(good));
    let limit = ["--max-error-percent", "5"];
    let (sandbox, ran, artifact) = compare(&canary.url(), Some(&baseline.url()), &limit);
    let body = expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    let message = &artifact.message;
    assert!(message.contains(" %, allowed 5 %), baseline 0 of "), "{message}");
    assert!(message.ends_with(" × server_error)"), "{message}");
    assert!(body.watched_ms < 1_500, "as soon as there are enough samples: {}", body.watched_ms);
    assert_eq!(sandbox.outputs()["verdict"], "rollback");
}

#[test]
fn without_any_limit_statistics_find_what_is_worse_and_say_how_sure_they_are() {
    let (canary, baseline) = (Service::start(three_in_ten), Service::start(good));
    let sandbox = Sandbox::new();
    let (canary_url, baseline_url) = (canary.url(), baseline.url());
    let args = ["--stage", "canary", "--duration", "10s", "--interval", "20ms", "--canary-url", &canary_url];
    let args: Vec<&str> = args.into_iter().chain(["--baseline-url", &baseline_url]).collect();
    let ran = sandbox.run(GATE, &args);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    replays(&sandbox, &artifact);
    let body = expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    let message = &artifact.message;
    assert!(message.starts_with("app: fails more often than the baseline: "), "{message}");
    assert!(message.ends_with("a healthy canary is blamed with 0.45 % probability at most"), "{message}");
    let certificate = &body.services[0].certificate;
    assert_eq!(certificate.alpha, Some(0.0045));
    assert!(certificate.evidence.unwrap() >= 1.0 / 0.0045, "{certificate:?}");
    assert!(body.watched_ms < 9_000, "{}", body.watched_ms);
}

#[test]
fn a_promotion_says_what_it_could_not_have_seen_and_too_little_is_no_promotion() {
    let (canary, baseline) = (Service::start(good), Service::start(good));
    let sandbox = Sandbox::new();
    let (canary_url, baseline_url) = (canary.url(), baseline.url());
    let args = ["--stage", "canary", "--duration", "4s", "--interval", "20ms", "--canary-url", &canary_url];
    let args: Vec<&str> = args.into_iter().chain(["--baseline-url", &baseline_url]).collect();
    let ran = sandbox.run(GATE, &args);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    let rate = body.services[0].certificate.detectable_error_rate.unwrap();
    assert!(rate > 0.05 && rate < 1.0, "200 probes see no less than that: {rate}");
    assert!(artifact.message.ends_with(" % errors would have been seen (90 %)"), "{}", artifact.message);

    let asked = ["--detect-error-percent", "2"];
    let (_, ran, artifact) = compare(&canary.url(), Some(&baseline.url()), &asked);
    expect(&ran, &artifact, 11, Reason::TooFewSamples, GateVerdict::Inconclusive);
    assert!(
        artifact.message.contains("would have been seen") && artifact.message.contains("2 % are asked for"),
        "{}",
        artifact.message
    );
}

#[test]
fn a_shadow_judges_and_decides_nothing() {
    let (canary, baseline) = (Service::start(down), Service::start(good));
    let sandbox = Sandbox::new().github_actions();
    let ran = gate(&sandbox, &["--canary-url", &canary.url(), "--baseline-url", &baseline.url(), "--shadow"]);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    let body = expect(&ran, &artifact, 0, Reason::Shadowed, GateVerdict::Rollback);
    assert!(
        body.shadow && artifact.message.starts_with("would have been rollback: app: "),
        "{}",
        artifact.message
    );
    assert_eq!(sandbox.outputs()["verdict"], "rollback");
}

#[test]
fn plan_says_what_a_stage_sees_and_refuses_what_it_cannot() {
    let stages = "[[stages]]\nname = \"canary\"\npercent = 5\nduration = \"5m\"\n[[stages]]\nname = \"full\"\npercent = 100\nduration = \"15m\"\n";
    let text =
        format!("app = \"shop\"\n{stages}{}", service("api", "http://a.example/", "http://b.example/"));
    let sandbox = Sandbox::new().file("deploy.toml", &text);
    let ran = sandbox.run(GATE, &["plan"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in [
        "canary (5m): 300 samples of the canary, 300 of the baseline",
        "the error rate is below 0.994 % (95 %)",
        "at most 0.6 % of healthy releases",
        "5 failures in a row: rolls back ",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    assert!(!sandbox.has(".deploy-kit/artifacts/gate-canary.json"), "a tool leaves no artifact");

    let ran = sandbox.run(GATE, &["plan", "--stage", "canary", "--detect-error-percent", "1", "--json"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    let stage = &said["stages"][0];
    assert!(stage["detectable_error_rate"].as_f64().unwrap() > 0.01, "{stage}");
    assert!(stage["needed_per_second"].as_f64().unwrap() > 2.0, "{stage}");
    let traffic =
        ["plan", "--stage", "canary", "--detect-error-percent", "1", "--requests-per-second", "200"];
    assert_eq!(sandbox.run(GATE, &traffic).code, Some(0));
}

#[test]
fn a_total_outage_is_called_at_once() {
    let (canary, baseline) = (Service::start(down), Service::start(good));
    let nobody = Nobody::new();
    for url in [&canary.url(), &nobody.url()] {
        let long = ["--duration", "20s", "--warm-up", "10s", "--min-samples", "100"];
        let args = ["--stage", "canary", "--interval", "20ms", "--canary-url", url, "--baseline-url"];
        let sandbox = Sandbox::new();
        let baseline = baseline.url();
        let args: Vec<&str> = args.iter().copied().chain([baseline.as_str()]).chain(long).collect();
        let ran = sandbox.run(GATE, &args);
        let artifact = sandbox.artifact::<Gate>("gate-canary");
        let body = expect(&ran, &artifact, 10, Reason::TotalOutage, GateVerdict::Rollback);
        assert!(body.watched_ms < 5_000, "{}", body.watched_ms);
        replays(&sandbox, &artifact);
    }
}

#[test]
fn when_both_fail_nobody_is_blamed() {
    let (canary, baseline) = (Service::start(down), Service::start(down));
    let (sandbox, ran, artifact) = compare(&canary.url(), Some(&baseline.url()), &["--hold-max", "300ms"]);
    let body = expect(&ran, &artifact, 11, Reason::CommonMode, GateVerdict::Hold);
    assert!(body.watched_ms >= 1_800, "{}", body.watched_ms);
    assert!(!artifact.message.contains("migrated"), "there was none: {}", artifact.message);
    assert_eq!(sandbox.outputs()["verdict"], "hold");
}

#[test]
fn after_a_migration_of_this_deploy_a_common_failure_names_it_first() {
    let (canary, baseline) = (Service::start(down), Service::start(down));
    let applied = json!({"version": "20260201000000", "description": "discounts", "checksum": "ab"});
    let database =
        |applied: Value| json!({"database": "shop", "before": [], "applied": applied, "pending": []});
    let id = "1763712000-abc1234";
    let moved = json!({"stage": "canary", "action": "shift", "driver": "command", "withdrawn": false, "dry_run": false, "services": []});
    for (applied, message) in [
        (
            json!([applied]),
            "this deploy migrated shop to 20260201000000, so look there first: app: canary and",
        ),
        (json!([]), "app: canary and baseline fail together: "),
    ] {
        let migration = json!({"phase": "pre", "dry_run": false, "databases": [database(applied)]});
        let sandbox = Sandbox::new();
        sandbox.write(".deploy-kit/artifacts/rollout-canary.json", rollout("shifted", "success", &moved));
        let artifact = kit_testing::artifact("migration", id, Reason::Migrated, 1, migration);
        let mut artifact = artifact;
        artifact["app"] = json!("app");
        sandbox.put_artifact("migration", &artifact);
        let args = ["--canary-url", &canary.url(), "--baseline-url", &baseline.url(), "--hold-max", "300ms"];
        let args: Vec<&str> = args.into_iter().chain(["--deployment-id", id]).collect();
        let ran = gate(&sandbox, &args);
        let artifact = sandbox.artifact::<Gate>("gate-canary");
        expect(&ran, &artifact, 11, Reason::CommonMode, GateVerdict::Hold);
        assert!(artifact.message.starts_with(message), "{}", artifact.message);
        replays(&sandbox, &artifact);
    }
}

#[test]
fn nothing_listening_is_no_verdict_on_the_version() {
    let (canary, baseline) = (Nobody::new(), Nobody::new());
    for baseline in [None, Some(baseline.url())] {
        let (sandbox, ran, artifact) = compare(&canary.url(), baseline.as_deref(), &[]);
        expect(&ran, &artifact, 11, Reason::NoData, GateVerdict::Inconclusive);
        assert!(artifact.message.contains("nothing could be reached from here"), "{}", artifact.message);
        assert_eq!(sandbox.outputs()["verdict"], "inconclusive");
    }
}

#[test]
fn slowness_rolls_back() {
    let (canary, baseline) = (Service::start(slow), Service::start(good));
    for limit in [["--max-p95", "100ms"], ["--max-p95-above-baseline", "60ms"]] {
        let (_, ran, artifact) = compare(&canary.url(), Some(&baseline.url()), &limit);
        expect(&ran, &artifact, 10, Reason::LatencyExceeded, GateVerdict::Rollback);
        assert!(artifact.message.contains("canary p95 is "), "{}", artifact.message);
    }
}

#[test]
fn too_short_a_stage_promotes_nothing_and_says_so_at_once() {
    let canary = Service::start(good);
    let (_, ran, artifact) = compare(&canary.url(), None, &["--min-samples", "1000"]);
    let body = expect(&ran, &artifact, 11, Reason::TooFewSamples, GateVerdict::Inconclusive);
    assert!(ran.stderr.contains("warning: 75 probes are fewer than the 1000 samples"), "{}", ran.stderr);
    assert!(body.services[0].certificate.absolute_only && body.services[0].baseline.is_none());
}

#[test]
fn an_interrupt_leaves_what_is_known() {
    let (canary, baseline) = (Service::start(good), Service::start(good));
    let sandbox = Sandbox::new();
    let (canary_url, baseline_url) = (canary.url(), baseline.url());
    let args = ["--stage", "canary", "--duration", "1h", "--interval", "20ms", "--canary-url", &canary_url];
    let args: Vec<&str> = args.into_iter().chain(["--baseline-url", &baseline_url]).collect();
    let started = sandbox.start(GATE, &args);
    canary.wait_until_asked(10);
    started.signal(Signal::INT);
    let ran = started.wait();
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    let body = expect(&ran, &artifact, 130, Reason::Interrupted, GateVerdict::Inconclusive);
    assert!(body.ticks >= 5 && body.services[0].canary.requests >= 5, "{body:?}");
    replays(&sandbox, &artifact);
}

#[test]
fn a_stop_request_is_obeyed_at_the_next_tick() {
    let canary = Service::start(good);
    let sandbox = Sandbox::new().github_actions();
    let url = canary.url();
    let args = ["--stage", "canary", "--duration", "1h", "--interval", "20ms", "--canary-url", &url];
    let started = sandbox.start(GATE, &args);
    canary.wait_until_asked(10);
    // Whole or not at all, as the store's files come.
    sandbox.write("stop.new", r###"{"who": "ada", "why": "orders fail ##[error]x"}"###);
    let target = sandbox.path().join(".deploy-kit/artifacts/stop.json");
    std::fs::rename(sandbox.path().join("stop.new"), target).unwrap();
    let ran = started.wait();
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    expect(&ran, &artifact, 10, Reason::StopRequested, GateVerdict::Rollback);
    assert_eq!(artifact.message, "ada asked this deploy to stop: orders fail # #[error]x");
    replays(&sandbox, &artifact);

    // One that lies there already, elsewhere: the gate does not even probe.
    let idle = Service::start(good);
    let sandbox = Sandbox::new().file("red/button.json", "");
    let url = idle.url();
    let ran = gate(&sandbox, &["--canary-url", &url, "--stop-file", "red/button.json"]);
    assert_eq!((ran.code, idle.asked()), (Some(10), 0));
}

fn config(services: &str) -> String {
    let stages = "[[stages]]\nname = \"canary\"\npercent = 100\nduration = \"1s\"\n";
    format!("app = \"shop\"\n{stages}[gate]\ninterval = \"20ms\"\nmin_samples = 10\n{services}")
}

fn service(name: &str, canary: &str, baseline: &str) -> String {
    format!(
        "[[services]]\nname = \"{name}\"\nprobe.canary.url = \"{canary}\"\nprobe.baseline.url = \"{baseline}\"\n"
    )
}

#[test]
fn every_service_of_the_file_is_watched_and_the_worst_decides() {
    let (canary, baseline, broken) = (Service::start(good), Service::start(good), Service::start(down));
    let text = config(
        &(service("api", &canary.url(), &baseline.url()) + &service("web", &broken.url(), &baseline.url())),
    );
    let sandbox = Sandbox::new().file("deploy.toml", &text);
    let ran = sandbox.run(GATE, &["--stage", "canary"]);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    let body = expect(&ran, &artifact, 10, Reason::TotalOutage, GateVerdict::Rollback);
    assert!(artifact.message.starts_with("web: the last "), "{}", artifact.message);
    assert_eq!(body.planned_ms, 1000);
    let verdicts: Vec<GateVerdict> = body.services.iter().map(|service| service.verdict).collect();
    assert_eq!(verdicts, [GateVerdict::Inconclusive, GateVerdict::Rollback]);
    replays(&sandbox, &artifact);
}

#[test]
fn a_service_that_cannot_be_asked_is_an_error() {
    let sandbox = Sandbox::new().file("deploy.toml", &config("[[services]]\nname = \"api\"\n"));
    let ran = sandbox.run(GATE, &["--stage", "canary"]);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    assert_eq!((ran.code, artifact.reason), (Some(2), Reason::ConfigInvalid));
    assert!(artifact.message.starts_with("service \"api\" has no probe"), "{}", artifact.message);

    // Addresses given by hand stand in for the file.
    let canary = Service::start(good);
    let ran = gate(&sandbox, &["--canary-url", &canary.url(), "--min-samples", "5"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(sandbox.has(".deploy-kit/artifacts/history/gate-canary.1.json"));
}

#[test]
fn wrong_inputs_are_named() {
    let sandbox = Sandbox::new();
    for (args, code, message) in [
        (&["--stage", "canry", "--canary-url", "http://h/"][..], 2, "--stage \"canry\" is no stage"),
        (&["--stage", "canary", "--canary-url", "http://h/", "--interval", "1ms"], 2, "interval is 1ms"),
        (&["--stage", "canary", "--canary-url", "http://h/", "--duration", "500ms"], 2, "duration is 500ms"),
        (&["--stage", "canary", "--canary-url", "http://h/", "--timeout", "0s"], 2, "timeout is 0s"),
        (
            &["--stage", "canary", "--canary-url", "http://h/", "--max-error-percent", "nan"],
            2,
            "max-error-percent is NaN",
        ),
        (&["--stage", "canary", "--baseline-url", "http://h/"], 2, "--baseline-url is given without"),
        (&["--stage", "canary"], 2, "there is no service to watch"),
        (&["--stage", "canary", "--canary-url", "h/health"], 2, "app, canary probe: the address cannot"),
        (&["replay", "--ticks", "none.jsonl"], 3, "the ticks cannot be read"),
    ] {
        let ran = sandbox.run(GATE, args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
    }
}

/// The artifact of `rollout` as a deployment has it.
fn rollout(reason: &str, result: &str, body: &Value) -> String {
    json!({
        "schema": "deploy-kit/rollout/v1", "app": "app", "environment": "production",
        "deployment_id": "1763712000-abc1234", "attempt": 1, "standalone": false, "step": "rollout",
        "result": result, "reason": reason, "message": "5 % observed", "hints": [],
        "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z",
        "tool": {"version": "0.1.0"}, "run": {}, "evidence": [], "body": body,
    })
    .to_string()
}

#[test]
fn inside_a_deployment_the_rollout_must_have_shifted() {
    let canary = Service::start(good);
    let url = canary.url();
    let args = ["--canary-url", &url, "--deployment-id", "1763712000-abc1234"];
    let share = |service: &str, percent: f64| json!({"service": service, "asked_percent": 5.0, "observed_percent": percent, "before_percent": 0.0});
    let body = |dry_run: bool| {
        json!({"stage": "canary", "action": "shift", "driver": "command", "withdrawn": false,
               "dry_run": dry_run, "services": [share("api", 5.5), share("web", 4.5)]})
    };
    for (file, code, reason) in [
        (None, 3, Reason::ArtifactMissing),
        (Some(rollout("share_not_reached", "failure", &body(false))), 3, Reason::ArtifactNotGo),
        (Some(rollout("shifted", "success", &body(true))), 3, Reason::ArtifactNotGo),
        (Some(rollout("shifted", "success", &body(false))), 0, Reason::Promoted),
    ] {
        let sandbox = Sandbox::new();
        if let Some(file) = file {
            sandbox.write(".deploy-kit/artifacts/rollout-canary.json", file);
        }
        let ran = gate(&sandbox, &args);
        let artifact = sandbox.artifact::<Gate>("gate-canary");
        assert_eq!((ran.code, artifact.reason), (Some(code), reason), "{}", ran.stderr);
        if code == 0 {
            assert_eq!(artifact.body.unwrap().share_percent, Some(4.5), "the smallest that was observed");
            assert_eq!(artifact.evidence[0].artifact, "rollout-canary");
        }
    }
}

/// Inside a deployment, with a program beside the gate that is this script.
fn beside(script: &str) -> (Sandbox, String) {
    let body = json!({"stage": "canary", "action": "shift", "driver": "command", "withdrawn": false,
        "dry_run": false, "services": [{"service": "api", "asked_percent": 5.0, "observed_percent": 5.0, "before_percent": 0.0}]});
    let sandbox = Sandbox::new().github_actions();
    sandbox.write(".deploy-kit/artifacts/rollout-canary.json", rollout("shifted", "success", &body));
    sandbox.write("holder", format!("#!/bin/sh\necho $$ >\"$HOME/pid\"\n{script}\n"));
    let holder = sandbox.path().join("holder");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&holder, permissions).unwrap();
    (sandbox, holder.display().to_string())
}

#[test]
fn what_runs_beside_the_gate_stops_it_and_ends_with_it() {
    let canary = Service::start(good);
    let url = canary.url();
    let (sandbox, holder) = beside(
        "[ \"$1\" = hold ] && [ \"$2\" = --stop-file ] && echo '{\"why\": \"orders fail\"}' >\"$3\"\nexec sleep 600",
    );
    let args = ["--stage", "canary", "--duration", "1h", "--interval", "20ms", "--canary-url", &url];
    let args = [&args[..], &["--deployment-id", "1763712000-abc1234", "--hold-with", &holder]].concat();
    let ran = sandbox.run(GATE, &args);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    expect(&ran, &artifact, 10, Reason::StopRequested, GateVerdict::Rollback);
    let pid = sandbox.read("pid");
    let since = std::time::Instant::now();
    loop {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "it lives on: {state}");
        std::thread::yield_now();
    }
}

#[test]
fn what_runs_beside_the_gate_never_decides_by_failing() {
    let canary = Service::start(good);
    let url = canary.url();
    let (sandbox, holder) = beside("echo '##[error]no store' >&2; exit 20");
    let args = [QUICK, &["--canary-url", &url, "--deployment-id", "1763712000-abc1234"]].concat();
    for (holder, why) in [(holder.as_str(), "exited with code 20"), ("/nowhere/rollout", "/nowhere/rollout")]
    {
        let ran = sandbox.run(GATE, &[&args[..], &["--hold-with", holder]].concat());
        let artifact = sandbox.artifact::<Gate>("gate-canary");
        assert_eq!((ran.code, artifact.reason), (Some(0), Reason::Promoted), "{}", ran.printed());
        let warned = ran.printed().contains("a request to stop is not heard") && ran.printed().contains(why);
        assert!(warned && !ran.printed().contains("##["), "{}", ran.printed());
    }
}
