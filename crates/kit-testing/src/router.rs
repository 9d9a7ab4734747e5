//! A router that can be made to fail, behind the traffic driver `fake-router`.

use crate::Sandbox;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// A router with services whose stable version is 1.0.0 and whose canary, 2.0.0, has no share yet. Its
/// state lies in a sandbox; its faults are those of the program `fake-router`.
///
/// Dropping it fails the test if it was asked anything that the protocol does not allow.
#[derive(Debug)]
pub struct FakeRouter {
    state: PathBuf,
    program: PathBuf,
}

impl FakeRouter {
    /// A router in this sandbox.
    pub fn new(sandbox: &Sandbox, services: &[&str]) -> Self {
        let router = Self { state: sandbox.path().join("router.json"), program: program() };
        let service = json!({
            "stable": "1.0.0", "stable_healthy": true, "canary": "2.0.0", "percent": 0.0, "standby": []
        });
        let state = services.iter().map(|name| ((*name).to_owned(), service.clone())).collect();
        router.write(&state);
        router
    }

    /// The section of `deploy.toml` that moves traffic with it, and its services. A change may take as
    /// long as `settle` says.
    pub fn config(&self, settle: &str) -> String {
        let services: String =
            self.read().keys().map(|name| format!("[[services]]\nname = \"{name}\"\n")).collect();
        let (program, state) = (self.program.display(), self.state.display());
        format!(
            "{services}[traffic]\ndriver = \"command\"\ncommand = [\"{program}\", \"{state}\"]\nsettle = \"{settle}\"\n"
        )
    }

    /// Sets the faults, by action; `{}` heals it.
    pub fn faults(&self, faults: &Value) {
        std::fs::write(self.beside("faults"), faults.to_string()).expect("the faults can be written");
    }

    /// Sets what is so: `stable`, `stable_healthy`, `canary`, `percent` or `standby`.
    pub fn set(&self, service: &str, key: &str, value: Value) {
        let mut state = self.read();
        state[service][key] = value;
        self.write(&state);
    }

    /// What is so of a service.
    pub fn get(&self, service: &str, key: &str) -> Value {
        self.read()[service][key].clone()
    }

    /// The share of every service's canary, in percent.
    pub fn shares(&self) -> Vec<f64> {
        self.read().values().map(|service| service["percent"].as_f64().expect("a share")).collect()
    }

    /// The stable version of every service.
    pub fn stable(&self) -> Vec<String> {
        let version = |service: &Value| service["stable"].as_str().unwrap_or("none").to_owned();
        self.read().values().map(version).collect()
    }

    /// Every action that it was asked for, oldest first.
    pub fn actions(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.beside("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Every action but the looks.
    pub fn changes(&self) -> Vec<String> {
        self.actions().into_iter().filter(|action| action != "observe").collect()
    }

    fn beside(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("{}.{what}", self.state.display()))
    }

    fn read(&self) -> Map<String, Value> {
        let text = std::fs::read_to_string(&self.state).expect("the router's state");
        serde_json::from_str(&text).expect("the router's state")
    }

    fn write(&self, state: &Map<String, Value>) {
        std::fs::write(&self.state, format!("{:#}\n", Value::Object(state.clone()))).expect("a state file");
    }
}

impl Drop for FakeRouter {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let violations = std::fs::read_to_string(self.beside("violations")).unwrap_or_default();
            assert!(violations.is_empty(), "the protocol does not allow this:\n{violations}");
        }
    }
}

/// The program, built if need be.
fn program() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| crate::programs_of(&["kit-testing"])).join("fake-router")
}
