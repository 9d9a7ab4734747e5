//! A real Prometheus that scrapes the real example service.

use super::shop::{Shop, free_port, get, wait_until};
use super::{GATE, expect, replays};
use kit_contract::body::{Gate, GateVerdict, RuleState};
use kit_contract::{Artifact, Reason};
use kit_testing::{Ran, Started};
use std::time::Duration;

/// Four scrapes per second: a test is short.
fn start(shop: &Shop) -> (Started, u16) {
    let (stable, canary) = (shop.stable.as_ref().unwrap().port, shop.canary.as_ref().unwrap().port);
    let targets = format!("\"127.0.0.1:{stable}\", \"127.0.0.1:{canary}\"");
    let config = format!(
        "global: {{ scrape_interval: 250ms, scrape_timeout: 200ms }}\n\
         scrape_configs: [{{ job_name: shop, static_configs: [{{ targets: [{targets}] }}] }}]\n"
    );
    shop.sandbox.write("prometheus.yml", config);
    let port = free_port();
    let mut command = shop.sandbox.command("/usr/bin/prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=error"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let server = shop.sandbox.start_command(command, Duration::from_secs(120));
    let known = "/api/v1/query?query=count(http_requests_total)";
    wait_until("Prometheus", || get(port, known, "").is_some_and(|(_, page)| page.contains("\"4\"")));
    (server, port)
}

fn gate(shop: &Shop, port: u16, errors: &str, gate: &str) -> (Ran, Artifact<Gate>) {
    let arm = |arm: &str, version: &str| {
        format!(
            "[services.source.prometheus.{arm}]\nrequests = 'http_requests_total{{version=\"{version}\"}}'\n\
             errors = '{}'\nlatency = 'http_request_duration_seconds_bucket{{version=\"{version}\"}}'\n",
            errors.replace("{}", version)
        )
    };
    let config = format!(
        "app = \"shop\"\n[[stages]]\nname = \"canary\"\npercent = 10\nduration = \"6s\"\n[[stages]]\nname = \"full\"\npercent = 100\n\
         duration = \"1s\"\n[gate]\ninterval = \"100ms\"\ntimeout = \"2s\"\nhold_max = \"300ms\"\nmin_samples = 10\n{gate}[[services]]\nname = \"catalog\"\n\
         [services.source.prometheus]\nurl = \"http://127.0.0.1:{port}\"\nscrape_interval = \"250ms\"\n{}{}",
        arm("canary", "1.5.0"),
        arm("baseline", "1.4.0")
    );
    shop.sandbox.write("deploy.toml", config);
    let ran = shop.sandbox.run(GATE, &["--stage", "canary"]);
    replays(&shop.sandbox, "gate-canary");
    (ran, shop.sandbox.artifact::<Gate>("gate-canary"))
}

const ERRORS: &str = "http_requests_total{version=\"{}\",code=~\"5..\"}";

#[test]
fn a_healthy_release_is_promoted_and_a_name_with_a_slip_is_not() {
    let shop = Shop::open(&[]);
    let (_server, port) = start(&shop);
    let _users = shop.users();
    let (ran, artifact) = gate(&shop, port, ERRORS, "");
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    let (canary, baseline) = (body.services[0].canary, body.services[0].baseline.unwrap());
    assert!(canary.requests > 10 && baseline.requests > canary.requests, "{body:?}");
    assert!(canary.p50_ms.is_some(), "{canary:?}");

    let (ran, artifact) = gate(&shop, port, "http_request_total{code=~\"5..\"}", "");
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
    let message = &artifact.message;
    assert!(
        message.contains("there is no metric http_request_total, so errors would always be 0"),
        "{message}"
    );
}

#[test]
fn errors_are_found_and_nothing_is_known_without_the_server() {
    let shop = Shop::open(&["--fail-percent", "30"]);
    let (server, port) = start(&shop);
    let _users = shop.users();
    let (ran, artifact) = gate(&shop, port, ERRORS, "");
    let body = expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
    assert_eq!(body.services[0].baseline.unwrap().errors, 0, "{body:?}");
    drop(server);
    let (ran, artifact) = gate(&shop, port, ERRORS, "");
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
}

#[test]
fn a_histogram_finds_slowness() {
    let shop = Shop::open(&["--slow-ms", "60"]);
    let (_server, port) = start(&shop);
    let _users = shop.users();
    let (ran, artifact) = gate(&shop, port, ERRORS, "max_p95_above_baseline = \"30ms\"\nwarm_up = \"0s\"\n");
    expect(&ran, &artifact, 10, Reason::LatencyExceeded, GateVerdict::Rollback);
}

/// Rules of a user's own: a gauge that a query yields, and events that the canary has too few of.
#[test]
fn rules_ask_prometheus_as_well() {
    let shop = Shop::open(&["--fail-percent", "60"]);
    let (server, port) = start(&shop);
    let _users = shop.users();
    // Nobody calls these errors: only fewer pages are found.
    let blind = "http_requests_total{version=\"{}\",code=\"599\"}";
    let arm = |version: &str| {
        let requests = format!("http_requests_total{{version=\\\"{version}\\\"}}");
        let pages = format!("http_requests_total{{version=\\\"{version}\\\",code=\\\"200\\\"}}");
        format!("{{ requests = \"{requests}\", events = \"{pages}\" }}")
    };
    let pages = format!(
        "[[gate.rules]]\nname = \"pages\"\nfalls_percent = 10\n[gate.rules.events.prometheus]\n\
         url = \"http://127.0.0.1:{port}\"\nscrape_interval = \"250ms\"\ncanary = {}\nbaseline = {}\n",
        arm("1.5.0"),
        arm("1.4.0")
    );
    let (ran, artifact) = gate(&shop, port, blind, &pages);
    let body = expect(&ran, &artifact, 10, Reason::RuleBroken, GateVerdict::Rollback);
    assert!(artifact.message.contains("rule pages: "), "{}", artifact.message);
    assert_eq!(body.rules[0].state, RuleState::Holds);

    let instances = |action: &str, least: u32| {
        format!(
            "[[gate.rules]]\nname = \"instances\"\naction = \"{action}\"\nbelow = {least}\nfor = \"2s\"\n\
             gauge.prometheus = {{ url = \"http://127.0.0.1:{port}\", query = \"count(up == 1)\" }}\n"
        )
    };
    let (ran, artifact) = gate(&shop, port, blind, &instances("rollback", 3));
    expect(&ran, &artifact, 10, Reason::RuleBroken, GateVerdict::Rollback);
    assert!(artifact.message.contains("its value is 2, allowed at least 3, for 2s"), "{}", artifact.message);
    let (ran, artifact) = gate(&shop, port, blind, &instances("warn", 3));
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    assert_eq!(body.rules[0].state, RuleState::Holds);
    assert!(ran.stderr.contains("rule instances: its value is 2"), "{}", ran.stderr);
    let typo = instances("hold", 1).replace("up == 1", "upp == 1");
    let (ran, artifact) = gate(&shop, port, blind, &typo);
    expect(&ran, &artifact, 11, Reason::RuleUnknown, GateVerdict::Inconclusive);
    assert!(artifact.message.contains("there is no value"), "{}", artifact.message);
    drop(server);
}
