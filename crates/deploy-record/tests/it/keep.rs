//! `deploy-record keep` and `bring`: what passes from job to job by way of the store.

use crate::{ID, PROGRAM, SHOP, ready};
use kit_testing::{Ran, Sandbox};

const FOLDER: &str = ".deploy-kit/artifacts";

fn run(sandbox: &Sandbox, command: &str, folder: &str) -> Ran {
    let ran = sandbox.run(PROGRAM, &[command, "--deployment-id", ID, "--artifacts", folder]);
    assert_eq!(ran.code, Some(0), "{}", ran.printed());
    ran
}

#[test]
fn the_next_job_has_what_was_kept_and_the_newest_of_it() {
    let sandbox = ready(ID, "2.0.0");
    sandbox.write(&format!("{FOLDER}/gate-full.ticks.jsonl"), "1\n");
    sandbox.write(&format!("{FOLDER}/history/gate-full.1.json"), "{}");
    let first = run(&sandbox, "keep", FOLDER);
    assert!(
        first.stdout.contains("gate-full.ticks.jsonl") && first.stdout.contains("history/"),
        "{}",
        first.stdout
    );
    assert!(run(&sandbox, "keep", FOLDER).stdout.contains("nothing new"));
    sandbox.write(&format!("{FOLDER}/gate-full.ticks.jsonl"), "1\n2\n");
    run(&sandbox, "keep", FOLDER);

    // Another job: what it has already stays, the rest is brought, each as it was last.
    sandbox.write("next/preflight.json", "mine");
    run(&sandbox, "bring", "next");
    assert_eq!(sandbox.read("next/gate-full.ticks.jsonl"), "1\n2\n");
    assert_eq!(sandbox.read("next/history/gate-full.1.json"), "{}");
    assert_eq!(sandbox.read("next/deployment.json"), sandbox.read(&format!("{FOLDER}/deployment.json")));
    assert_eq!(sandbox.read("next/preflight.json"), "mine");
    // Nothing was written over: both are there.
    assert_eq!(sandbox.read(&format!("{SHOP}/deployments/{ID}/kept/1/gate-full.ticks.jsonl")), "1\n");
    assert_eq!(sandbox.read(&format!("{SHOP}/deployments/{ID}/kept/2/gate-full.ticks.jsonl")), "1\n2\n");
}

#[test]
fn nothing_is_kept_of_nobody_knows_what() {
    let sandbox = Sandbox::new().file("deploy.toml", "app = \"shop\"\n");
    let ran = sandbox.run(PROGRAM, &["keep"]);
    assert_eq!(ran.code, Some(2), "{}", ran.printed());
    assert!(ran.stderr.contains("nobody knows of which deployment"), "{}", ran.stderr);
}
