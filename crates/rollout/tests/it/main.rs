//! The program as it is run, against a router that can be made to fail.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test prepares files and starts the program from outside"
)]

mod abort;
mod hold;
mod promote;
mod signals;
mod stage;

use kit_contract::body::Rollout;
use kit_contract::{Artifact, Reason};
use kit_testing::{FakeRouter, Ran, Sandbox};

const ROLLOUT: &str = env!("CARGO_BIN_EXE_rollout");
const ID: &str = "deploy-0002";

/// A sandbox with a router for two services, which may take this long to settle.
fn shop(settle: &str) -> (Sandbox, FakeRouter) {
    shop_in(Sandbox::new(), settle)
}

fn shop_in(sandbox: Sandbox, settle: &str) -> (Sandbox, FakeRouter) {
    let router = FakeRouter::new(&sandbox, &["api", "web"]);
    let config = format!(
        "app = \"shop\"\n[store]\nurl = \"file:store\"\npersistent = true\n{}",
        router.config(settle)
    );
    (sandbox.file("deploy.toml", &config), router)
}

/// Runs `rollout` and checks what must hold of every end: code, reason, and the words for people.
fn rollout(sandbox: &Sandbox, args: &[&str], name: &str, reason: Reason) -> (Ran, Artifact<Rollout>) {
    let ran = sandbox.run(ROLLOUT, args);
    let artifact = check(sandbox, &ran, name, reason);
    (ran, artifact)
}

fn check(sandbox: &Sandbox, ran: &Ran, name: &str, reason: Reason) -> Artifact<Rollout> {
    let artifact = sandbox.artifact::<Rollout>(name);
    assert_eq!(artifact.reason, reason, "{}", ran.printed());
    assert_eq!(ran.code, Some(i32::from(reason.exit_code())), "{}", ran.printed());
    assert!(ran.stderr.contains(reason.code()), "{}", ran.stderr);
    artifact
}

/// `rollout --stage canary`: 5 %.
fn canary(sandbox: &Sandbox, reason: Reason) -> Artifact<Rollout> {
    rollout(sandbox, &["--stage", "canary"], "rollout-canary", reason).1
}

fn observed(artifact: &Artifact<Rollout>) -> Vec<Option<f64>> {
    artifact.body.as_ref().unwrap().services.iter().map(|share| share.observed_percent).collect()
}
