//! `examples/azora/ci/traffic` against a real HAProxy with the example's own configuration; instead of ssh, a
//! program that hands the words to a shell, as sshd does.

use crate::contract::wait_until;
use crate::release::root;
use kit_testing::http::{Reply, Server};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

const SERVICES: [&str; 4] = ["api-gateway", "auth", "education", "marketplace"];

struct Host {
    folder: tempfile::TempDir,
    haproxy: Child,
    address: String,
    _versions: Vec<Server>,
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.haproxy.kill();
        let _ = self.haproxy.wait();
    }
}

impl Host {
    /// 1.2.2 in the places of the stable version, 1.2.3 in those of the canary.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let config = std::fs::read_to_string(root().join("examples/azora/ci/haproxy.cfg")).unwrap();
        let mut config = config
            .replace("bind :443 ssl crt /etc/haproxy/azora.pem", &format!("bind {address}"))
            .replace(
                "/run/haproxy/admin.sock mode 660 level admin group deploy",
                &format!("{} level admin", at("socket")),
            )
            .replace("/var/lib/haproxy/state", &at("state"));
        let mut versions = Vec::new();
        for (first, version) in [(4001, "1.2.2"), (5001, "1.2.3")] {
            for port in first..first + 4 {
                let server = Server::start().always(
                    "GET",
                    "/health",
                    Reply::json(200, &json!({"status": "healthy", "version": version})),
                );
                config = config
                    .replace(&format!("127.0.0.1:{port}"), server.url("").strip_prefix("http://").unwrap());
                versions.push(server);
            }
        }
        std::fs::write(at("haproxy.cfg"), config).unwrap();
        std::fs::write(
            at("ssh"),
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec sh -c \"$*\"\n",
        )
        .unwrap();
        std::fs::set_permissions(at("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let haproxy = Command::new("haproxy")
            .args(["-db", "-f", &at("haproxy.cfg")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let host = Self { haproxy, address, _versions: versions, folder };
        wait_until(|| std::os::unix::net::UnixStream::connect(host.folder.path().join("socket")).is_ok());
        host
    }

    fn ask(&self, request: &Value) -> (Option<i32>, Value) {
        let folder = self.folder.path();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut driver = Command::new("python3")
            .arg(root().join("examples/azora/ci/traffic"))
            .env("PATH", path)
            .env("AZORA_SOCKET", folder.join("socket"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        driver.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
        let output = driver.wait_with_output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    fn act(&self, action: &str, services: Value) -> (Option<i32>, Value) {
        self.ask(&json!({"schema": "deploy-kit/traffic/v1", "action": action, "deployment_id": "1763712000-abc1234", "services": services}))
    }
}

/// Share, stable version and canary's version of every service.
fn seen(answer: &(Option<i32>, Value)) -> Vec<(f64, String, String)> {
    assert_eq!(answer.0, Some(0), "{}", answer.1);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let services = answer.1["services"].as_array().unwrap();
    services
        .iter()
        .map(|one| {
            (
                one["canary_percent"].as_f64().unwrap(),
                text(&one["stable_version"]),
                text(&one["canary_version"]),
            )
        })
        .collect()
}

fn all(percent: Option<u32>, version: &str) -> Value {
    SERVICES
        .map(|name| json!({"name": name, "canary_percent": percent, "version": version}))
        .into_iter()
        .collect()
}

fn everywhere(percent: f64, stable: &str, canary: &str) -> Vec<(f64, String, String)> {
    vec![(percent, stable.to_owned(), canary.to_owned()); SERVICES.len()]
}

#[test]
fn the_traffic_of_the_example_moves_and_is_observed() {
    let host = Host::start();
    assert_eq!(seen(&host.act("observe", json!([]))), everywhere(0.0, "1.2.2", "1.2.3"));
    for percent in [5, 50, 100] {
        let shifted = host.act("shift", all(Some(percent), "1.2.3"));
        assert_eq!(seen(&shifted), everywhere(f64::from(percent), "1.2.2", "1.2.3"));
    }
    assert_eq!(seen(&host.act("abort", all(None, ""))), everywhere(0.0, "1.2.2", "1.2.3"));
    let refused = host.act("shift", all(Some(5), "9.9.9"));
    assert!(
        refused.0 == Some(1) && refused.1["error"].as_str().unwrap().contains("not 9.9.9"),
        "{refused:?}"
    );
    // Promoted and switched back: the places take turns, and what served before stays where it can be had.
    host.act("shift", all(Some(100), "1.2.3"));
    assert_eq!(seen(&host.act("switch", all(None, "1.2.3"))), everywhere(0.0, "1.2.3", "1.2.2"));
    assert_eq!(seen(&host.act("switch", all(None, "1.2.3"))), everywhere(0.0, "1.2.3", "1.2.2"), "repeated");
    assert_eq!(seen(&host.act("switch", all(None, "1.2.2"))), everywhere(0.0, "1.2.2", "1.2.3"));
}

#[test]
fn users_of_the_example_get_the_version_that_serves_and_the_gate_the_one_it_names() {
    let host = Host::start();
    let versions = |target: &str| {
        let url = format!("http://{}/auth/health", host.address);
        let header = format!("x-deploy-target: {target}");
        let said = Command::new("curl").args(["--silent", "--header", &header, &url]).output().unwrap();
        serde_json::from_slice::<Value>(&said.stdout).unwrap()["version"].as_str().unwrap().to_owned()
    };
    assert_eq!([versions("canary"), versions("stable"), versions("")], ["1.2.3", "1.2.2", "1.2.2"]);
}

#[test]
fn what_the_example_cannot_do_it_says() {
    let host = Host::start();
    for (request, said) in [
        (json!({"schema": "deploy-kit/traffic/v2", "action": "observe"}), "is not deploy-kit/traffic/v1"),
        (json!({"schema": "deploy-kit/traffic/v1", "action": "explode"}), "no action explode"),
        (
            json!({"schema": "deploy-kit/traffic/v1", "action": "abort", "services": [{"name": "nope"}]}),
            "no service nope",
        ),
        (
            json!({"schema": "deploy-kit/traffic/v1", "action": "switch", "services": [{"name": "auth", "version": "9"}]}),
            "no healthy auth 9",
        ),
    ] {
        let (code, answer) = host.ask(&request);
        assert!(code == Some(1) && answer["error"].as_str().unwrap().contains(said), "{request}: {answer}");
    }
    std::fs::remove_file(host.folder.path().join("socket")).unwrap();
    let (code, answer) = host.act("abort", all(None, ""));
    assert!(code == Some(1) && answer["error"].as_str().unwrap().contains("cannot be asked"), "{answer}");
}
