//! The frame, proved through a real process: how it takes inputs, how it ends, what it leaves, and what
//! it never shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests: what goes wrong must say so loudly"
)]

mod artifacts;
mod disk;
mod endings;
mod hostile;
mod inputs;
mod secrets;
mod signals;

use kit_contract::body::{Deployment, Smoke};
use kit_contract::{Artifact, Body, Reason, Sha256};
use kit_testing::{Ran, Sandbox};

/// The program under test.
const REHEARSE: &str = env!("CARGO_BIN_EXE_rehearse");

/// Where `--stage one` leaves its artifact.
const ARTIFACT: &str = ".deploy-kit/artifacts/smoke-one.json";

/// Runs the step and checks what must hold of every run that leaves an artifact: code, reason, the
/// published schema, and the words for people.
fn step(sandbox: &Sandbox, args: &[&str], reason: Reason) -> (Ran, Artifact<Smoke>) {
    let ran = sandbox.run(REHEARSE, args);
    let artifact = check(sandbox, &ran, reason);
    (ran, artifact)
}

fn check(sandbox: &Sandbox, ran: &Ran, reason: Reason) -> Artifact<Smoke> {
    assert_eq!(ran.code, Some(i32::from(reason.exit_code())), "{}", sandbox.snapshot(ran));
    valid::<Smoke>(sandbox, "smoke-one");
    let artifact = sandbox.artifact::<Smoke>("smoke-one");
    assert_eq!(artifact.reason, reason, "{}", artifact.message);
    assert_eq!(artifact.result, reason.result());
    assert_eq!(artifact.is_go(), ran.code == Some(0));
    assert_eq!(artifact.step, "rehearse");
    assert!(ran.stderr.contains(reason.code()), "people are told why: {}", ran.stderr);
    artifact
}

/// Proves an artifact against the published schema of its kind.
fn valid<B: Body>(sandbox: &Sandbox, name: &str) {
    let file = format!("{}.v1.json", B::KIND);
    let schemas = kit_contract::schemas();
    let schema = schemas.iter().find(|schema| schema.file_name == file).unwrap();
    let json = sandbox.artifact_json(name);
    let validator = jsonschema::validator_for(&schema.json).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}");
}

/// A sandbox in which a deployment has been made; gives its id too.
fn released(sandbox: Sandbox) -> (Sandbox, String) {
    let ran = sandbox.run(REHEARSE, &["release"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    valid::<Deployment>(&sandbox, "deployment");
    let id = sandbox.artifact::<Deployment>("deployment").deployment_id.to_string();
    (sandbox, id)
}

fn digest(sandbox: &Sandbox, path: &str) -> String {
    Sha256::of(sandbox.read(path).as_bytes()).to_string()
}
