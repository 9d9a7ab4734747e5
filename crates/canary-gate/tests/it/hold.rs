//! Holding: both versions fail together.

use super::{GATE, Service, down, expect, replays, service};
use kit_contract::Reason;
use kit_contract::body::{Gate, GateVerdict};
use kit_testing::Sandbox;

#[test]
fn a_hold_that_asks_calls_for_a_human_and_can_be_stopped() {
    let (canary, baseline) = (Service::start(down), Service::start(down));
    let text = "app = \"shop\"\n[[stages]]\nname = \"canary\"\npercent = 100\nduration = \"300ms\"\non_hold = \"ask\"\n[gate]\n\
                interval = \"20ms\"\ntimeout = \"500ms\"\nhold_max = \"100ms\"\n";
    let text = format!("{text}{}", service("api", &canary.url(), &baseline.url()));
    let sandbox = Sandbox::new().github_actions().file("deploy.toml", &text);
    let started = sandbox.start(GATE, &["--stage", "canary"]);
    started.wait_for_line("::warning title=canary-gate asks for a human::");
    // Longer than the stage and its hold_max together.
    canary.wait_until_asked(60);
    sandbox.write(".deploy-kit/artifacts/stop.json", "{\"who\": \"ada\"}");
    let ran = started.wait();
    let artifact = sandbox.artifact::<Gate>("gate-canary");
    expect(&ran, &artifact, 10, Reason::StopRequested, GateVerdict::Rollback);
    replays(&sandbox, &artifact);
}
