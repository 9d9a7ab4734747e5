//! The gate against the real example service behind a real HAProxy, with faults of the canary and of both.

use super::shop::Shop;
use super::{GATE, expect, replays};
use kit_contract::body::{Gate, GateVerdict};
use kit_contract::{Artifact, Reason};
use kit_testing::Ran;

const CANARY: &str =
    "[services.probe.canary]\nurl = \"{users}/products\"\nheaders = { x-deploy-target = \"canary\" }\n";
const BASELINE: &str = "[services.probe.baseline]\nurl = \"{users}/products\"\n";

/// Judges a stage of a tenth of the traffic and of this length, looked at every 20 ms.
fn gate(shop: &Shop, services: &str, duration: &str, args: &[&str]) -> (Ran, Artifact<Gate>) {
    let services = services.replace("{users}", &format!("http://127.0.0.1:{}", shop.port));
    let config = format!(
        "app = \"shop\"\n[[stages]]\nname = \"canary\"\npercent = 10\nduration = \"{duration}\"\n[[stages]]\n\
         name = \"full\"\npercent = 100\nduration = \"1s\"\n[gate]\ninterval = \"20ms\"\ntimeout = \"1s\"\nhold_max = \"300ms\"\n{services}"
    );
    shop.sandbox.write("deploy.toml", config);
    let args: Vec<&str> = ["--stage", "canary"].iter().chain(args).copied().collect();
    let ran = shop.sandbox.run(GATE, &args);
    replays(&shop.sandbox, "gate-canary");
    (ran, shop.sandbox.artifact::<Gate>("gate-canary"))
}

fn probed() -> String {
    format!("[[services]]\nname = \"catalog\"\n{CANARY}{BASELINE}")
}

#[test]
fn a_healthy_release_is_promoted() {
    let (ran, artifact) = gate(&Shop::open(&[]), &probed(), "1500ms", &[]);
    expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
}

#[test]
fn errors_are_found() {
    let (ran, artifact) = gate(&Shop::open(&["--fail-percent", "30"]), &probed(), "8s", &[]);
    let body = expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    assert!(body.watched_ms < 8000, "{}", body.watched_ms);
}

#[test]
fn slowness_is_found_and_a_cold_start_is_none() {
    let limit = ["--max-p95-above-baseline", "60ms", "--warm-up", "700ms"];
    let (ran, artifact) = gate(&Shop::open(&["--slow-ms", "120"]), &probed(), "1500ms", &limit);
    expect(&ran, &artifact, 10, Reason::LatencyExceeded, GateVerdict::Rollback);
    let cold = Shop::open(&["--slow-ms", "120", "--slow-for-ms", "300"]);
    let (ran, artifact) = gate(&cold, &probed(), "2s", &limit);
    expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
}

#[test]
fn a_canary_that_is_down_is_withdrawn_and_both_down_is_nobodys_fault() {
    let mut shop = Shop::open(&[]);
    shop.canary = None;
    let (ran, artifact) = gate(&shop, &probed(), "5s", &[]);
    let body = expect(&ran, &artifact, 10, Reason::TotalOutage, GateVerdict::Rollback);
    assert!(body.watched_ms < 2000, "{}", body.watched_ms);
    shop.stable = None;
    let (ran, artifact) = gate(&shop, &probed(), "1s", &[]);
    expect(&ran, &artifact, 11, Reason::CommonMode, GateVerdict::Hold);
}

#[test]
fn a_version_is_addressed_by_header_cookie_host_or_address() {
    let mut shop = Shop::open(&[]);
    shop.canary = None;
    let way = |name: &str, canary: &str| {
        format!("[[services]]\nname = \"{name}\"\n[services.probe.canary]\n{canary}\n{BASELINE}")
    };
    let services = way("header", "url = \"{users}/products\"\nheaders = { x-deploy-target = \"canary\" }")
        + &way("cookie", "url = \"{users}/products\"\nheaders = { cookie = { env = \"CHOICE\" } }")
        + &way("host", "url = \"{users}/products\"\nheaders = { host = \"canary.shop.example\" }")
        + &way("address", "url = \"{users}/canary/products\"");
    shop.sandbox = shop.sandbox.env("CHOICE", "target=canary");
    let (ran, artifact) = gate(&shop, &services, "5s", &["--consecutive-failures", "0"]);
    let body = expect(&ran, &artifact, 10, Reason::TotalOutage, GateVerdict::Rollback);
    for service in &body.services {
        let baseline = service.baseline.unwrap();
        assert_eq!(service.canary.errors, service.canary.requests, "{service:?}");
        assert!(service.canary.errors > 0 && baseline.errors == 0, "{service:?}");
    }
}

#[test]
fn its_statistics_are_a_source() {
    let shop = Shop::open(&["--fail-percent", "30"]);
    let _users = shop.users();
    let source = |at: &str| {
        format!(
            "[[services]]\nname = \"catalog\"\n[services.source.haproxy]\n{at}\ncanary = [\"canary/two\"]\nbaseline = [\"stable\"]\n"
        )
    };
    let url = format!("url = \"http://127.0.0.1:{}/;csv\"", shop.stats);
    for at in [&url, &format!("socket = \"{}\"", shop.socket)] {
        let (ran, artifact) = gate(&shop, &source(at), "8s", &[]);
        let body = expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
        let (canary, baseline) = (body.services[0].canary, body.services[0].baseline.unwrap());
        assert!(baseline.requests > canary.requests && baseline.errors == 0, "{body:?}");
    }
    let gone = format!("{}\n", source(&url)).replace("canary/two", "canary/three");
    let (ran, artifact) = gate(&shop, &gone, "500ms", &[]);
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
    assert!(artifact.message.contains("there is no \"canary/three\""), "{}", artifact.message);
}

/// What HAProxy answers in the place of a server that is down counts as that server's failures.
#[test]
fn its_statistics_know_a_server_that_is_down() {
    let mut shop = Shop::open(&[]);
    shop.canary = None;
    let _users = shop.users();
    let source = format!(
        "[[services]]\nname = \"catalog\"\n[services.source.haproxy]\nurl = \"http://127.0.0.1:{}/;csv\"\n\
         canary = [\"canary/two\"]\nbaseline = [\"stable/one\"]\n",
        shop.stats
    );
    let (ran, artifact) = gate(&shop, &source, "8s", &["--consecutive-failures", "0"]);
    let body = expect(&ran, &artifact, 10, Reason::TotalOutage, GateVerdict::Rollback);
    let canary = body.services[0].canary;
    assert_eq!(canary.errors, canary.requests);
}
