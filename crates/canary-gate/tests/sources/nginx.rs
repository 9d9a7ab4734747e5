//! The access log of a real nginx, counted by the program of the examples.

use super::shop::{Users, Version, free_port, get, wait_until};
use super::{GATE, expect, replays};
use kit_contract::body::{Gate, GateVerdict};
use kit_contract::{Artifact, Reason};
use kit_testing::{Ran, Sandbox, Started};
use std::time::Duration;

struct Shop {
    sandbox: Sandbox,
    canary: Version,
    _stable: Version,
    port: u16,
    _nginx: Started,
}

impl Shop {
    fn open(faults: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let stable = Version::start(&sandbox, "1.4.0", &[]);
        let canary = Version::start(&sandbox, "1.5.0", faults);
        let port = free_port();
        let conf = include_str!("nginx.conf");
        let conf = conf.replace("{stable}", &stable.port.to_string());
        let conf = conf.replace("{canary}", &canary.port.to_string()).replace("{users}", &port.to_string());
        sandbox.write("nginx.conf", conf);
        sandbox.write("counts.awk", include_str!("../../../../examples/nginx/counts.awk"));
        let mut command = sandbox.command("/usr/sbin/nginx");
        let prefix = sandbox.path().display().to_string();
        command.args(["-p", &prefix, "-c", "nginx.conf", "-e", "stderr"]);
        let nginx = sandbox.start_command(command, Duration::from_secs(120));
        wait_until("nginx", || get(port, "/health", "").is_some_and(|(status, _)| status == 200));
        Self { sandbox, canary, _stable: stable, port, _nginx: nginx }
    }

    fn gate(&self, log: &str, args: &[&str]) -> (Ran, Artifact<Gate>) {
        let config = format!(
            "app = \"shop\"\n[[stages]]\nname = \"canary\"\npercent = 10\nduration = \"4s\"\n[[stages]]\n\
             name = \"full\"\npercent = 100\nduration = \"1s\"\n[gate]\ninterval = \"100ms\"\nhold_max = \"300ms\"\n\
             [[services]]\nname = \"catalog\"\n[services.source.command]\n\
             command = [\"awk\", \"-v\", \"canaries=127.0.0.1:{}\", \"-f\", \"counts.awk\", \"{log}\"]\n",
            self.canary.port
        );
        self.sandbox.write("deploy.toml", config);
        let args: Vec<&str> = ["--stage", "canary"].iter().chain(args).copied().collect();
        let ran = self.sandbox.run(GATE, &args);
        replays(&self.sandbox, "gate-canary");
        (ran, self.sandbox.artifact::<Gate>("gate-canary"))
    }
}

#[test]
fn an_access_log_is_a_source() {
    let shop = Shop::open(&[]);
    let users = Users::of(shop.port);
    let (ran, artifact) = shop.gate("gate.log", &[]);
    let body = expect(&ran, &artifact, 0, Reason::Promoted, GateVerdict::Promote);
    let (canary, baseline) = (body.services[0].canary, body.services[0].baseline.unwrap());
    assert!(canary.requests > 10 && baseline.requests > canary.requests, "{body:?}");
    assert!(canary.p95_ms.is_some(), "{canary:?}");
    let (ran, artifact) = shop.gate("gone.log", &[]);
    expect(&ran, &artifact, 11, Reason::SourceFailed, GateVerdict::Inconclusive);
    drop(users);

    let shop = Shop::open(&["--fail-percent", "30"]);
    let _users = Users::of(shop.port);
    let (ran, artifact) = shop.gate("gate.log", &[]);
    expect(&ran, &artifact, 10, Reason::ErrorRateExceeded, GateVerdict::Rollback);
}
