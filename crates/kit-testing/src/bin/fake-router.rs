//! A traffic driver over a state file, with faults on demand: `fake-router <state.json>`.
//!
//! Strict: a request that `deploy-kit/traffic/v1` does not allow is written to `<state.json>.violations`
//! and refused. Faults lie in `<state.json>.faults`, by action: a name, or a list of names (`null`: none)
//! of which each holds for one request and the last for ever.
//!
//! | fault | what it does |
//! |---|---|
//! | `refuse` | changes nothing, says why not, exit code 1 |
//! | `silent` | changes nothing, exit code 1 without a word |
//! | `crash` | changes nothing, exit code 7 |
//! | `hang` | changes nothing and never ends |
//! | `garbage`, `wrong_schema`, `missing`, `twice` | changes nothing, answers nonsense |
//! | `claim` | changes nothing, answers as if it had |
//! | `first` | changes only the first service, answers what is so |
//! | `first_then_refuse` | changes only the first service, exit code 1 |
//! | `change_then_refuse` | changes everything, exit code 1 |
//! | `off` | reports three percentage points more than is so |
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a stand-in for a user's program, which knows nothing of the kits"
)]

use serde_json::{Map, Value, json};
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

const SCHEMA: &str = "deploy-kit/traffic/v1";

fn main() -> ExitCode {
    let state_file = std::env::args().nth(1).expect("fake-router <state.json>");
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("a request on stdin");
    let mut state: Map<String, Value> = serde_json::from_str(&read(&state_file)).expect("a state file");
    let request = match check(&text, &state) {
        Ok(request) => request,
        Err(problem) => {
            append(&format!("{state_file}.violations"), &format!("{problem}: {text}"));
            eprintln!("violation: {problem}");
            return ExitCode::from(9);
        }
    };
    let log = format!("{state_file}.log");
    let before = std::fs::read_to_string(&log).unwrap_or_default();
    let nth = before.lines().filter(|line| *line == request.action).count();
    append(&log, &request.action);
    eprintln!("{} {}", request.action, nth + 1);
    let fault = fault(&state_file, &request.action, nth);
    match fault.as_str() {
        "refuse" => return refuse(),
        "silent" => return ExitCode::from(1),
        "crash" => return ExitCode::from(7),
        "hang" => return hang(),
        "garbage" => {
            println!("<html>502 Bad Gateway</html>");
            return ExitCode::SUCCESS;
        }
        "wrong_schema" => {
            println!("{}", json!({ "schema": "deploy-kit/traffic/v9", "services": [] }));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let mut changed = state.clone();
    let concerned = if fault.starts_with("first") { 1 } else { request.services.len() };
    for service in request.services.iter().take(concerned) {
        if let Err(problem) = change(&request.action, service, &mut changed) {
            println!("{}", json!({ "schema": SCHEMA, "error": problem }));
            return ExitCode::from(1);
        }
    }
    if !matches!(fault.as_str(), "claim" | "missing" | "twice") {
        state.clone_from(&changed);
        // Whole at every moment: tests look at it while this runs.
        let half = format!("{state_file}.new");
        std::fs::write(&half, format!("{:#}\n", Value::Object(state.clone()))).expect("state");
        std::fs::rename(&half, &state_file).expect("state");
    }
    if fault.ends_with("then_refuse") {
        return refuse();
    }
    let mut services: Vec<Value> =
        request.services.iter().map(|service| answer(service, &changed, fault == "off")).collect();
    match fault.as_str() {
        "missing" => drop(services.pop()),
        "twice" => services.extend(services.clone()),
        _ => {}
    }
    println!("{}", json!({ "schema": SCHEMA, "services": services }));
    ExitCode::SUCCESS
}

/// Never ends by itself, but not without whoever started it.
fn hang() -> ExitCode {
    let parent = std::os::unix::process::parent_id();
    eprintln!("hanging");
    while std::os::unix::process::parent_id() == parent {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    ExitCode::from(9)
}

fn refuse() -> ExitCode {
    println!("{}", json!({ "schema": SCHEMA, "error": "the router is on strike" }));
    ExitCode::from(1)
}

struct Request {
    action: String,
    services: Vec<Map<String, Value>>,
}

/// Takes nothing that the protocol does not say.
fn check(text: &str, state: &Map<String, Value>) -> Result<Request, String> {
    let request: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut keys: Vec<&str> = request.keys().map(String::as_str).collect();
    keys.sort_unstable();
    if keys != ["action", "deployment_id", "schema", "services"] {
        return Err(format!("unexpected keys {keys:?}"));
    }
    if request["schema"] != SCHEMA {
        return Err("wrong schema".to_owned());
    }
    if request["deployment_id"].as_str().is_none_or(|id| id.len() < 8) {
        return Err("no deployment id".to_owned());
    }
    let action = request["action"].as_str().unwrap_or_default();
    let (needed, allowed): (&[&str], &[&str]) = match action {
        "observe" | "abort" => (&["name"], &["name"]),
        "shift" => (&["canary_percent", "name"], &["canary_percent", "name", "version"]),
        "switch" => (&["name", "version"], &["name", "version"]),
        _ => return Err(format!("unknown action {action:?}")),
    };
    let services: Vec<Map<String, Value>> =
        serde_json::from_value(request["services"].clone()).map_err(|error| error.to_string())?;
    if services.is_empty() {
        return Err("no services".to_owned());
    }
    for service in &services {
        let unknown = service.keys().find(|key| !allowed.contains(&key.as_str()));
        let missing = needed.iter().find(|key| !service.contains_key(**key));
        if unknown.is_some() || missing.is_some() {
            return Err(format!("{action}: unknown {unknown:?}, missing {missing:?}"));
        }
        if !state.contains_key(name(service)) {
            return Err(format!("no service {:?}", name(service)));
        }
    }
    Ok(Request { action: action.to_owned(), services })
}

fn name(service: &Map<String, Value>) -> &str {
    service["name"].as_str().unwrap_or_default()
}

fn change(action: &str, asked: &Map<String, Value>, state: &mut Map<String, Value>) -> Result<(), String> {
    let service = &mut state[name(asked)];
    let version = asked.get("version").cloned().unwrap_or_default();
    match action {
        "shift" => {
            let percent = asked["canary_percent"].as_f64().unwrap_or(-1.0);
            if service["canary"].is_null() && percent > 0.0 {
                return Err(format!("{} has no canary", name(asked)));
            }
            service["percent"] = json!(percent);
        }
        "abort" => service["percent"] = json!(0.0),
        "switch" => {
            let stable = service["stable"].clone();
            let standby = service["standby"].as_array().cloned().unwrap_or_default();
            if version != stable && version != service["canary"] && !standby.contains(&version) {
                return Err(format!("{} does not run version {version}", name(asked)));
            }
            if version != stable {
                service["standby"] = json!([stable]);
            }
            service["stable"] = version;
            service["canary"] = Value::Null;
            service["percent"] = json!(0.0);
        }
        _ => {}
    }
    Ok(())
}

fn answer(asked: &Map<String, Value>, state: &Map<String, Value>, off: bool) -> Value {
    let service = &state[name(asked)];
    let percent = service["percent"].as_f64().unwrap_or_default() + if off { 3.0 } else { 0.0 };
    json!({
        "name": name(asked), "canary_percent": percent,
        "stable_version": service["stable"], "stable_healthy": service["stable_healthy"],
        "canary_version": service["canary"], "canary_healthy": null,
    })
}

fn fault(state_file: &str, action: &str, nth: usize) -> String {
    let text = std::fs::read_to_string(format!("{state_file}.faults")).unwrap_or_else(|_| "{}".to_owned());
    let faults: Value = serde_json::from_str(&text).expect("faults as JSON");
    let fault = match &faults[action] {
        Value::Array(list) => list.get(nth).or(list.last()).cloned().unwrap_or_default(),
        one => one.clone(),
    };
    fault.as_str().unwrap_or_default().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn append(path: &str, line: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("a log");
    writeln!(file, "{line}").expect("a log");
}
