//! Services that others count: programs, files and servers that are real, on loopback; short stages.
#![allow(clippy::disallowed_methods, reason = "a test prepares files, and a counter follows the time")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what goes wrong here is a failed test, and must say so loudly"
)]

mod haproxy;
mod nginx;
mod prometheus;
mod shop;

use axum::extract::{Path, State};
use axum::routing::get;
use kit_contract::body::{Gate, GateVerdict};
use kit_contract::{Artifact, Reason};
use kit_testing::{Ran, Sandbox};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const GATE: &str = env!("CARGO_BIN_EXE_canary-gate");

/// A stage of 2 s at a tenth of the traffic, looked at every 50 ms.
fn config(source: &str) -> String {
    format!(
        "app = \"shop\"\n[[stages]]\nname = \"canary\"\npercent = 10\nduration = \"2s\"\n[[stages]]\nname = \"full\"\n\
         percent = 100\nduration = \"2s\"\n[gate]\ninterval = \"50ms\"\ntimeout = \"1s\"\nhold_max = \"200ms\"\n\
         [[services]]\nname = \"api\"\n{source}"
    )
}

fn gate(sandbox: Sandbox, source: &str, stage: &str) -> (Sandbox, Ran, Artifact<Gate>) {
    let sandbox = sandbox.file("deploy.toml", &config(source));
    let ran = sandbox.run(GATE, &["--stage", stage]);
    let name = format!("gate-{stage}");
    let artifact = sandbox.artifact::<Gate>(&name);
    replays(&sandbox, &name);
    (sandbox, ran, artifact)
}

/// The recorded ticks lead to the same body, byte by byte.
fn replays(sandbox: &Sandbox, name: &str) {
    let ticks = format!(".deploy-kit/artifacts/{name}.ticks.jsonl");
    let again = sandbox.run(GATE, &["replay", "--ticks", &ticks, "--json"]);
    let said: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(said["body"].to_string(), sandbox.artifact_json(name)["body"].to_string());
}

fn expect(ran: &Ran, artifact: &Artifact<Gate>, code: i32, reason: Reason, verdict: GateVerdict) -> Gate {
    let body = artifact.body.clone().unwrap();
    let found = (ran.code, artifact.reason, body.verdict);
    assert_eq!(found, (Some(code), reason, verdict), "{}\n{}", artifact.message, ran.stderr);
    body
}

/// A program that counts on with each run: so many failures per 20 requests of the canary.
fn counting(errors: u32) -> String {
    format!(
        "#!/bin/sh\nn=$(cat n 2>/dev/null || echo 0)\nn=$((n + 1))\necho $n > n\n\
         printf '{{\"arm\": \"canary\", \"requests\": %d, \"errors\": %d}}\\n' $((n * 20)) $((n * {errors}))\n\
         printf '{{\"arm\": \"baseline\", \"requests\": %d, \"errors\": 0}}\\n' $((n * 180))\n"
    )
}

const COMMAND: &str = "[services.source.command]\ncommand = [\"sh\", \"count.sh\"]\n";

#[test]
fn a_program_counts() {
    let (_, ran, artifact) = gate(Sandbox::new().file("count.sh", &counting(0)), COMMAND, "canary");
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    let service = &body.services[0];
    assert!(service.canary.requests >= 100 && service.canary.errors == 0, "{service:?}");
    assert!(service.baseline.unwrap().requests >= 900, "{service:?}");
    assert!(artifact.message.contains(" canary requests failed"), "{}", artifact.message);
    assert!(ran.stderr.contains("counted by others: the requests of api"), "{}", ran.stderr);

    let (_, ran, artifact) = gate(Sandbox::new().file("count.sh", &counting(5)), COMMAND, "canary");
    expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    let (_, ran, artifact) = gate(Sandbox::new().file("count.sh", &counting(20)), COMMAND, "canary");
    let body = expect(&ran, &artifact, 10, Reason::TotalOutage, GateVerdict::Rollback);
    assert!(body.watched_ms < 2000, "{}", body.watched_ms);
}

#[test]
fn at_100_percent_nothing_is_compared() {
    let (_, ran, artifact) = gate(Sandbox::new().file("count.sh", &counting(0)), COMMAND, "full");
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    assert!(body.services[0].baseline.is_none() && body.services[0].certificate.absolute_only);
    let (_, ran, artifact) = gate(Sandbox::new().file("count.sh", &counting(4)), COMMAND, "full");
    expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
}

#[test]
fn a_source_that_fails_is_not_zero_errors() {
    let broken = |script: &str| Sandbox::new().file("count.sh", script);
    let silent_baseline = "n=$(cat n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > n\n\
                           printf '{\"arm\": \"canary\", \"requests\": %d, \"errors\": 0}\\n' $((n * 20))\n";
    for (sandbox, reason, text) in [
        (broken("echo down >&2; exit 7"), Reason::SourceFailed, "canary is not counted: "),
        (broken("echo nonsense"), Reason::SourceFailed, "a line that is not as it must be"),
        (
            broken(&format!(
                "{silent_baseline}printf '{{\"arm\": \"baseline\", \"requests\": -1, \"errors\": 0}}\\n'"
            )),
            Reason::SourceFailed,
            "a counter is -1, which is no count",
        ),
        (broken(silent_baseline), Reason::TooFewSamples, "nothing was counted of the baseline for the last"),
        (broken("true"), Reason::NoData, "no request of the canary was counted"),
    ] {
        let (_, ran, artifact) = gate(sandbox, COMMAND, "canary");
        expect(&ran, &artifact, 11, reason, GateVerdict::Inconclusive);
        assert!(artifact.message.contains(text), "{}", artifact.message);
    }
    let nobody = "[services.source.metrics]\ncanary = [\"http://127.0.0.1:1/metrics\"]\nrequests = \"r\"\nerrors = \"e\"\n";
    let (_, ran, artifact) = gate(Sandbox::new(), nobody, "canary");
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
    assert!(ran.stderr.contains("api, canary: not counted: http://127.0.0.1:1/metrics: "), "{}", ran.stderr);
}

/// A gauge that a program prints: over its limit, and then not a number.
#[test]
fn a_rule_asks_a_program() {
    let config = |number: &str| {
        let rule =
            "[[gate.rules]]\nname = \"queue\"\nabove = 100\ngauge.command.command = [\"sh\", \"queue.sh\"]\n";
        let text = config(COMMAND).replace("[[services]]", &format!("{rule}[[services]]"));
        let sandbox =
            Sandbox::new().file("count.sh", &counting(0)).file("queue.sh", &format!("echo {number}\n"));
        sandbox.file("deploy.toml", &text)
    };
    let gate = |sandbox: Sandbox| {
        let ran = sandbox.run(GATE, &["--stage", "canary"]);
        replays(&sandbox, "gate-canary");
        let artifact = sandbox.artifact::<Gate>("gate-canary");
        (ran, artifact)
    };
    let (ran, artifact) = gate(config("101"));
    expect(&ran, &artifact, 10, Reason::RuleBroken, GateVerdict::Rollback);
    assert_eq!(artifact.message, "rule queue: its value is 101, allowed at most 100");
    let (ran, artifact) = gate(config("100"));
    expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    let (ran, artifact) = gate(config("none; exit 3"));
    expect(&ran, &artifact, 11, Reason::RuleUnknown, GateVerdict::Inconclusive);
    let (ran, artifact) = gate(config("many"));
    expect(&ran, &artifact, 11, Reason::RuleUnknown, GateVerdict::Inconclusive);
    assert!(artifact.message.contains("sh printed \"many\", which is no number"), "{}", artifact.message);
}

#[test]
fn a_file_is_followed() {
    let line = |arm: &str, n: u32| format!("{{\"arm\": \"{arm}\", \"requests\": {n}, \"errors\": 0}}\n");
    let sandbox = Sandbox::new()
        .file("deploy.toml", &config("[services.source.file]\npath = \"counts.jsonl\"\n"))
        .file("counts.jsonl", &(line("canary", 500) + &line("baseline", 9000)));
    let gate = sandbox.start(GATE, &["--stage", "canary"]);
    let path = sandbox.path().join("counts.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let ticks = sandbox.path().join(".deploy-kit/artifacts/gate-canary.ticks.jsonl");
    let looked = || std::fs::read_to_string(&ticks).map_or(0, |ticks| ticks.lines().count());
    // The gate looks forty times; the file grows after each look but the last ones.
    for round in 1..=35 {
        text += &(line("canary", 500 + round * 7) + &line("baseline", 9000 + round * 63));
        let before = looked();
        std::fs::write(&path, &text).unwrap();
        shop::wait_until("the next look of the gate", || looked() > before);
    }
    let ran = gate.wait();
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    assert!(body.services[0].canary.requests <= 250, "what was there before does not count: {body:?}");
    replays(&sandbox, "gate-canary");
}

/// Two versions behind one address: `/<version>/metrics` and `/<version>/json`. Each look counts on.
struct App {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Looks {
    good: AtomicU64,
    bad: AtomicU64,
}

impl App {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new()
            .route("/{version}/metrics", get(metrics))
            .route("/{version}/json", get(json))
            .with_state(Arc::new(Looks::default()));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, _runtime: runtime }
    }
}

/// 100 requests per look. A bad version fails 10 of them, and is three times as slow.
fn counted(version: &str, looks: &Looks) -> (u64, u64) {
    let looks = if version == "bad" { &looks.bad } else { &looks.good };
    let n = (looks.fetch_add(1, Ordering::Relaxed) + 1) * 100;
    (n, if version == "bad" { n / 10 } else { 0 })
}

async fn metrics(Path(version): Path<String>, State(looks): State<Arc<Looks>>) -> String {
    let (n, failed) = counted(&version, &looks);
    let quick = if version == "good" { n } else { n / 4 };
    format!(
        "# TYPE r_total counter\nr_total{{code=\"200\"}} {}\nr_total{{code=\"500\"}} {failed}\n\
         t_bucket{{le=\"0.1\"}} {quick}\nt_bucket{{le=\"0.3\"}} {n}\nt_bucket{{le=\"+Inf\"}} {n}\n",
        n - failed
    )
}

async fn json(Path(version): Path<String>, State(looks): State<Arc<Looks>>) -> axum::Json<Value> {
    let (n, failed) = counted(&version, &looks);
    axum::Json(serde_json::json!({"data": {"all": n, "failed": failed.to_string()}}))
}

fn pages(app: &App, canary: &str, errors: &str, latency: &str) -> String {
    format!(
        "[services.source.metrics]\nrequests = \"r_total\"\nerrors = '{errors}'\n{latency}canary = [\"http://{0}/{canary}/metrics\"]\n\
         baseline = [\"http://{0}/good/metrics\"]\n",
        app.address
    )
}

#[test]
fn the_instances_themselves_count() {
    let app = App::start();
    let failed = "r_total{code=~\"5..\"}";
    let (_, ran, artifact) = gate(Sandbox::new(), &pages(&app, "other", failed, ""), "canary");
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    assert!(body.services[0].canary.requests >= 500, "{body:?}");
    let (_, ran, artifact) = gate(Sandbox::new(), &pages(&app, "bad", failed, ""), "canary");
    expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    // A histogram tells of slowness; here limits are what decides.
    let slow = pages(&app, "slow", failed, "latency = \"t_bucket\"\n");
    let sandbox = Sandbox::new().file("deploy.toml", &config(&slow));
    let ran =
        sandbox.run(GATE, &["--stage", "canary", "--max-p95-above-baseline", "60ms", "--warm-up", "0s"]);
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    expect(&ran, &artifact, 10, Reason::LatencyExceeded, GateVerdict::Rollback);
    replays(&sandbox, "gate-canary");
    // A name with a slip would always be 0.
    let (_, ran, artifact) = gate(Sandbox::new(), &pages(&app, "bad", "r_errors", ""), "canary");
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
    assert!(
        artifact.message.contains("there is no metric r_errors, so errors would always be 0"),
        "{}",
        artifact.message
    );
}

#[test]
fn any_json_counts() {
    let app = App::start();
    let arm = |arm: &str, version: &str, errors: &str| {
        format!(
            "[services.source.json.{arm}]\nurl = \"http://{}/{version}/json\"\nrequests = \"$.data.all\"\nerrors = \"{errors}\"\n",
            app.address
        )
    };
    let source = |errors| arm("canary", "bad", errors) + &arm("baseline", "good", "$.data.failed");
    let (_, ran, artifact) = gate(Sandbox::new(), &source("$.data.failed"), "canary");
    expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    let (_, ran, artifact) = gate(Sandbox::new(), &source("$.data.faild"), "canary");
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
    assert!(artifact.message.contains("there is nothing at $"), "{}", artifact.message);
}

#[test]
fn what_a_source_will_count_must_be_said_beforehand() {
    let sandbox = Sandbox::new().file("deploy.toml", &config(COMMAND));
    let ran = sandbox.run(GATE, &["plan"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("give --requests-per-second"), "{}", ran.stderr);
    let ran = sandbox.run(GATE, &["plan", "--requests-per-second", "200"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_asked_is_found_before_the_stage() {
    let one = "canary = [\"http://h/metrics\"]\n";
    for (source, text) in [
        (
            format!("[services.source.metrics]\nrequests = \"sum(r)\"\nerrors = \"e\"\n{one}"),
            "\"sum(r)\" is no selector",
        ),
        (
            format!("[services.source.metrics]\nrequests = 'r{{v=\"{{version}}\"}}'\nerrors = \"e\"\n{one}"),
            "asks for the version",
        ),
        (
            "[services.source.metrics]\nrequests = \"r\"\nerrors = \"e\"\ncanary = []\n".to_owned(),
            "give one address per instance",
        ),
        ("[services.source.haproxy]\ncanary = [\"b/s\"]\n".to_owned(), "give either url or socket"),
        ("[services.source.promtheus]\nurl = \"http://h\"\n".to_owned(), "promtheus"),
        (
            "[services.source.json.canary]\nurl = \"http://h/\"\nrequests = \"data\"\nerrors = \"$.e\"\n"
                .to_owned(),
            "is no JSON path",
        ),
        (
            "[services.source.command]\ncommand = [\"x\"]\n[services.probe.canary]\nurl = \"http://h/\"\n"
                .to_owned(),
            "probe and source are both given",
        ),
    ] {
        let sandbox = Sandbox::new().file("deploy.toml", &config(&source));
        let ran = sandbox.run(GATE, &["--stage", "canary"]);
        assert_eq!(ran.code, Some(2), "{source}: {}", ran.stderr);
        assert!(ran.stderr.contains(text), "{source}: {}", ran.stderr);
    }
}
