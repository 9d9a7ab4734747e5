//! Steps as actions: what later steps and people get to see.

use crate::contract::wait_until;
use crate::launcher::offline;
use crate::release::release;
use crate::runner::{Cancelled, Job, StepRun};
use kit_testing::git::Repository;
use std::net::TcpListener;

const CONFIG: &str = "app = \"shop\"\n[store]\nurl = \"file:store\"\npersistent = true\n[[services]]\nname = \"api\"\n\
                      [[databases]]\nname = \"shop\"\nurl = { env = \"DATABASE_URL\" }\n";

/// A job in a clone of a user's repository, started by the push of a tag.
fn tagged(tag: &str) -> Job {
    let job = offline().env("GITHUB_REF", format!("refs/tags/{tag}"));
    let repository = Repository::init(job.workspace());
    std::fs::write(job.workspace().join("deploy.toml"), CONFIG).unwrap();
    let commit = repository.commit("the shop");
    repository.annotated_tag("v1.2.3", "1.2.3");
    job.env("GITHUB_SHA", commit)
}

fn run(job: &mut Job, action: &str, with: &[(&str, &str)]) -> StepRun {
    job.run(&release().action(action), with)
}

#[test]
fn what_one_action_learned_reaches_the_next_with_its_digest() {
    let mut job = tagged("v1.2.3");
    let validated = run(&mut job, "validate-tag", &[]);
    assert!(validated.success, "{}", validated.log);
    assert_eq!(validated.outputs["version"], "1.2.3");
    assert_eq!(validated.outputs["artifact-name"], "deployment");
    assert!(
        validated.summary.contains("release\\_accepted") || validated.summary.contains("release_accepted")
    );
    let expect = format!("deployment:{}", validated.outputs["artifact-sha256"]);
    let smoke = run(&mut job, "deploy-record", &[("command", "begin"), ("expect", &expect)]);
    assert_eq!(smoke.outputs["reason"], "artifact_missing", "there was no preflight: {}", smoke.log);
    assert_eq!(smoke.outputs["deployment-id"], validated.outputs["deployment-id"]);
    for output in validated.outputs.values() {
        assert!(job.job_output(output).is_some());
    }

    let forged = format!("deployment:{}", "0".repeat(64));
    let refused = run(&mut job, "deploy-record", &[("command", "begin"), ("expect", &forged)]);
    assert_eq!(refused.code, Some(3), "{}", refused.log);
    assert_eq!(refused.outputs["reason"], "artifact_tampered");
}

#[test]
fn an_artifact_of_another_run_is_refused() {
    let mut job = tagged("v1.2.3");
    assert!(run(&mut job, "validate-tag", &[]).success);
    // The job belongs to another deployment than the file that lies there.
    for action in ["preflight", "db-backup", "rollout"] {
        let with = [("deployment-id", "1763712000-abc1234"), ("stage", "canary")];
        let with = if action == "rollout" { &with[..] } else { &with[..1] };
        let ran = run(&mut job, action, with);
        assert_eq!(
            (ran.code, ran.outputs["reason"].as_str()),
            (Some(3), "artifact_foreign"),
            "{action}: {}",
            ran.log
        );
        assert!(ran.said("error").contains("1763712000-abc1234"), "{}", ran.log);
    }
}

#[test]
fn a_job_may_set_inputs_for_all_of_its_steps() {
    let mut job = tagged("v1.2.3").env("DEPLOY_KIT_ENVIRONMENT", "no such name");
    let ran = run(&mut job, "validate-tag", &[]);
    assert!(ran.code == Some(2) && ran.said("error").contains("no such name"), "{}", ran.log);
    let ran = run(&mut job, "validate-tag", &[("environment", "staging")]);
    assert!(ran.success, "what the step says wins: {}", ran.log);
}

#[test]
fn a_missing_input_is_named() {
    let ran = run(&mut tagged("v1.2.3"), "canary-gate", &[]);
    assert_eq!((ran.code, ran.outputs["reason"].as_str()), (Some(2), "usage_error"));
    assert!(ran.said("error").contains("--stage"), "{}", ran.log);
}

#[test]
fn a_hostile_tag_is_data() {
    for tag in ["v1.2.3;::error::pwned", "v1$(touch pwned)", "v1.2.3\"; touch pwned; \"", "##[error]pwned"] {
        let mut job = tagged(tag);
        for with in [&[][..], &[("tag", tag)]] {
            let ran = run(&mut job, "validate-tag", with);
            assert_eq!(ran.code, Some(2), "{tag}: {}", ran.log);
            assert!(!ran.annotations.iter().any(|(_, message)| message == "pwned"), "{tag}: {}", ran.log);
            assert!(!job.workspace().join("pwned").exists(), "{tag}");
        }
    }
    let ran =
        run(&mut tagged("v1.2.3"), "validate-tag", &[("tag", "1.2.3\n::set-output name=version::9.9.9")]);
    assert!(!ran.success && !ran.outputs.contains_key("version"), "{}", ran.log);
}

#[test]
fn a_pull_request_and_a_moved_tag_deploy_nothing() {
    let mut job = tagged("v1.2.3").env("GITHUB_REF", "refs/pull/1/merge");
    let ran = run(&mut job, "validate-tag", &[]);
    assert_eq!(ran.code, Some(2), "a fork's pull request names no tag: {}", ran.log);
    let mut job = tagged("v1.2.3").env("GITHUB_SHA", "0123456789012345678901234567890123456789");
    let ran = run(&mut job, "validate-tag", &[]);
    assert_eq!((ran.code, ran.outputs["reason"].as_str()), (Some(10), "tag_moved"), "{}", ran.log);
}

#[test]
fn an_empty_secret_is_named_and_stops_the_deploy() {
    let mut job = tagged("v1.2.3").env("DATABASE_URL", "");
    assert!(run(&mut job, "validate-tag", &[]).success);
    let ran = run(&mut job, "preflight", &[]);
    assert_eq!((ran.code, ran.outputs["reason"].as_str()), (Some(10), "checks_failed"), "{}", ran.log);
    assert!(ran.said("error").contains("DATABASE_URL"), "{}", ran.log);
}

#[test]
fn a_store_that_dies_with_the_runner_is_refused() {
    let mut job = tagged("v1.2.3").env("DATABASE_URL", "sqlite:shop.db");
    let config = CONFIG.replace("persistent = true\n", "");
    std::fs::write(job.workspace().join("deploy.toml"), config).unwrap();
    assert!(run(&mut job, "validate-tag", &[]).success);
    let ran = run(&mut job, "preflight", &[]);
    assert!(ran.code != Some(0) && ran.said("error").contains("store"), "{}", ran.log);
}

#[test]
fn a_secret_stays_out_of_log_and_artifact() {
    let mut job = tagged("v1.2.3").secret("DATABASE_URL", "postgres://shop:hunter22@127.0.0.1:9/shop");
    assert!(run(&mut job, "validate-tag", &[]).success);
    let ran = run(&mut job, "db-backup", &[]);
    assert!(!ran.success && !ran.log.contains("hunter22"), "{}", ran.log);
    let artifact =
        std::fs::read_to_string(job.workspace().join(".deploy-kit/artifacts/backup.json")).unwrap();
    assert!(!artifact.contains("hunter22"), "{artifact}");
}

#[test]
fn a_cancelled_step_hears_of_it_at_once_and_leaves_its_artifact() {
    // Connections are taken by the system and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let mut job = offline();
    let with = [("stage", "try"), ("canary-url", url.as_str()), ("duration", "60s"), ("timeout", "50s")];
    let mut running = job.start(&release().action("canary-gate"), &with);
    wait_until(|| job.workspace().join(".deploy-kit/artifacts/gate-try.ticks.jsonl").exists());
    let program = std::fs::read_link(format!("/proc/{}/exe", running.pid())).unwrap();
    assert!(program.ends_with("canary-gate"), "the entry process is the program itself: {program:?}");
    assert_eq!(running.cancel(), Cancelled::Interrupted);
    let ran = job.finish(running);
    assert_eq!((ran.code, ran.outputs["reason"].as_str()), (Some(130), "interrupted"), "{}", ran.log);
    assert!(job.workspace().join(".deploy-kit/artifacts/gate-try.json").exists());
}
