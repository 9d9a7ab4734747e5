//! What can happen to a release, each with its end state: what serves, what the chain says, what was kept.

use crate::world::{Run, World};
use kit_contract::Sha256;
use kit_testing::http::{Reply, Server};
use serde_json::{Value, json};

fn as_it_is(config: String) -> String {
    config
}

/// Stages long enough that somebody can act in the middle of one.
fn slowly(config: String) -> String {
    config.replace("duration = \"1500ms\"", "duration = \"12s\"")
}

/// 1.4.0 serves, nothing is open, and the chain ends with this status.
fn assert_ended(world: &World, run: &Run, serves: &str, status: &str) {
    world.shop.assert_serves(serves);
    world.shop.assert_closed();
    assert_eq!(world.last_status(), status, "{}", run.log);
    assert_eq!(run.jobs["record"], "success", "{}", run.log);
}

fn bad_versions(world: &World) -> Value {
    world.shop.status()["state"]["bad_versions"].clone()
}

#[test]
fn a_good_release_goes_through_every_job_and_every_artifact_is_vouched_for() {
    let world = World::open(as_it_is, "0");
    let manifest = r#"{"schemaVersion": 2}"#;
    let registry = Server::start().expect("GET", "/v2/octo/shop/manifests/2.0.0", Reply::new(200, manifest));
    let host = registry.url("").replace("http://", "");
    let told = world.at("images.txt");
    let tell = format!("  [[ $GITHUB_JOB != rollout ]] || echo $IMAGES $IMAGE_DIGESTS >{}", told.display());
    let image = format!("image: \"{host}/octo/shop:{{version}}\"");
    world.call_with("deploy.yml", &[&image, "setup-command: |", &tell]);
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(0), "{}", run.log);
    assert_ended(&world, &run, "2.0.0", "success");
    // An image that was built before is found by its digest, and whoever moves traffic is told which.
    let digest = Sha256::of(manifest.as_bytes());
    assert_eq!(
        std::fs::read_to_string(told).unwrap(),
        format!("{host}/octo/shop:{{version}} sha256:{digest}\n")
    );
    for job in [
        "validate",
        "preflight",
        "approve",
        "begin",
        "backup",
        "migrate",
        "rollout",
        "smoke",
        "record",
        "notify",
    ] {
        assert_eq!(run.jobs.get(job).map(String::as_str), Some("success"), "{job}: {}", run.log);
    }
    assert_eq!(run.result("guard"), "skipped");
    assert_eq!(
        world.kept("1"),
        [
            "backup-logs",
            "begin",
            "deployment",
            "deployment-record",
            "migration-logs",
            "notice",
            "preflight",
            "rollback-instructions",
            "rollout-logs",
            "smoke-test-logs"
        ]
    );
    for name in [
        "preflight",
        "begin",
        "backup",
        "readiness",
        "gate-before-migration",
        "migration",
        "gate-after-migration",
        "rollout-full",
        "gate-full",
        "smoke",
        "rollout-promote",
    ] {
        let artifact = world.published(name);
        assert_eq!(artifact["result"], "success", "{name}");
        assert_ne!(
            artifact["unanchored"], true,
            "{name} read what nobody vouched for: {}",
            artifact["evidence"]
        );
    }

    // And back, with the database: by hand, with the name of what is replaced typed in. SQLite can only be
    // replaced where nobody has it open.
    let processes = world.at("processes.json");
    let stop = |service: &str| {
        format!("storefront-ctl stop --service {service} --processes {}", processes.display())
    };
    world.call_with(
        "rollback.yml",
        &[
            "setup-command: |",
            "  [[ $GITHUB_JOB == restore ]] || exit 0",
            &format!("  {}", stop("catalog")),
            &format!("  {}", stop("checkout")),
        ],
    );
    // The event holds texts, whatever their type.
    let inputs = json!({ "reason": "a drill", "restore-database": "true", "confirm": "shop" });
    let back = world.rollback(&inputs);
    assert_eq!(back.ran.code, Some(0), "{}", back.log);
    assert_eq!((back.result("rollback"), back.result("restore")), ("success", "success"), "{}", back.log);
    assert!(back.log.contains("observed in service: checkout 1.4.0, catalog 1.4.0"), "{}", back.log);
    let kept = world.names("2");
    for name in ["rollback-logs-", "restore-logs-"] {
        assert!(kept.iter().any(|one| one.starts_with(name)), "{kept:?}");
    }
}

/// Here the migrations run beside the build, too.
#[test]
fn a_public_repository_shows_the_deployment_and_the_log_of_its_build_and_nothing_more() {
    let world = World::open(as_it_is, "0").public();
    let build = "build-command: echo \"built $VERSION\" >\"$BUILD_LOGS/build.log\"";
    world.call_with("deploy.yml", &[build, "migrate-beside-build: true"]);
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(0), "{}", run.log);
    assert_ended(&world, &run, "2.0.0", "success");
    assert_eq!((run.result("build-beside"), run.result("build")), ("success", "skipped"));
    assert_eq!(world.kept("1"), ["build-logs", "deployment"]);
    for name in ["backup", "migration", "gate-full", "smoke", "rollout-promote"] {
        let artifact = world.published(name);
        assert_eq!(artifact["result"], "success", "{name}");
        assert_ne!(artifact["unanchored"], true, "{name} read what nobody vouched for");
    }
}

#[test]
fn a_build_that_fails_deploys_nothing_and_beside_it_the_schema_has_moved() {
    let world = World::open(as_it_is, "0");
    world.call_with("deploy.yml", &["build-command: exit 3"]);
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "failed");
    assert_eq!(
        (run.result("build"), run.result("migrate"), run.result("rollout")),
        ("failure", "skipped", "skipped")
    );
    assert!(world.kept("1").contains(&"deployment-failure-report".to_owned()));

    world.call_with("deploy.yml", &["build-command: exit 3", "migrate-beside-build: true"]);
    let run = Run::of(world.act("push", "deploy.yml", &world.push(), "3").wait());
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "failed");
    assert_eq!((run.result("build-beside"), run.result("migrate")), ("failure", "success"), "{}", run.log);
    assert_eq!((run.result("rollout"), run.result("guard")), ("skipped", "skipped"));
    assert_eq!(world.published("migration")["reason"], "migrated");
}

#[test]
fn what_a_dead_runner_left_is_put_right_by_another_one() {
    let world = World::open(as_it_is, "0");
    // Traffic has moved; then the machine is gone: no step runs any more, nothing is kept, nothing is said.
    world.change_deploy(|workflow| {
        let job = workflow["jobs"]["rollout"].as_object_mut().unwrap();
        job.remove("outputs");
        let steps = job["steps"].as_array_mut().unwrap();
        let gate = steps.iter().position(|step| step["id"] == "gate-1").unwrap();
        steps.truncate(gate);
        steps.push(json!({ "name": "The runner dies", "shell": "bash", "run": "exit 137" }));
    });
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_eq!(
        (run.result("rollout"), run.result("smoke"), run.result("guard")),
        ("failure", "skipped", "success"),
        "{}",
        run.log
    );
    assert!(run.log.contains("[guard] withdraw_canary: 0 % observed for every service"), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "rolled_back");
    assert_eq!(bad_versions(&world), json!({}), "a machine that dies proves nothing");
}

#[test]
fn a_branch_is_tried_out_in_staging() {
    let world = World::open(|config| format!("{config}\n[env.staging]\n"), "0");
    let workflow = "on: workflow_dispatch\njobs:\n  deploy:\n    uses: org/deploy-kit/.github/workflows/deploy-staging.yml@v1\n    \
                    with:\n      commit: main\n    secrets:\n      DATABASE_URL: ${{ secrets.DATABASE_URL }}\n";
    world.commit(".github/workflows/staging.yml", workflow);
    let event = world.push();
    let version = format!("0.0.0-g{}", &event["after"].as_str().unwrap()[..12]);
    world.shop.start(&version, "0");
    let run = Run::of(world.act("workflow_dispatch", "staging.yml", &world.by_hand(&json!({})), "1").wait());
    assert_eq!(run.ran.code, Some(0), "{}", run.log);
    assert_eq!((run.result("approve"), run.result("record")), ("skipped", "success"), "{}", run.log);
    world.shop.assert_serves(&version);
}

#[test]
fn a_bad_canary_is_withdrawn_in_its_own_job() {
    let world = World::open(as_it_is, "30");
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "rolled_back");
    assert_eq!(run.jobs["rollout"], "failure");
    assert_eq!((run.result("smoke"), run.result("guard")), ("skipped", "skipped"));
    assert!(run.log.contains("[rollout] rollout abort: success (withdrawn)"), "{}", run.log);
    assert!(bad_versions(&world)["2.0.0"].is_string());
    assert!(world.kept("1").contains(&"deployment-failure-report".to_owned()));
    assert!(world.kept("1").contains(&"backup-logs".to_owned()), "the backup is preserved");

    // The version is marked bad: a second push is refused before anything begins.
    let again = world.act("push", "deploy.yml", &world.push(), "3").wait();
    let again = Run::of(again);
    assert_eq!(again.ran.code, Some(1), "{}", again.log);
    assert_eq!(
        (again.jobs["preflight"].as_str(), again.result("begin")),
        ("failure", "skipped"),
        "{}",
        again.log
    );
    world.shop.assert_serves("1.4.0");
}

#[test]
fn a_gate_that_cannot_see_withdraws_and_blames_nobody() {
    let world = World::open(
        |config| {
            let blind = |line: &str| match line.starts_with("url = ") && line.contains("/products") {
                true => "url = \"http://127.0.0.1:9/nowhere\"".to_owned(),
                false => line.to_owned(),
            };
            config.lines().map(blind).collect::<Vec<_>>().join("\n")
        },
        "0",
    );
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "inconclusive");
    assert_eq!(bad_versions(&world), json!({}), "unknown is not bad");
    assert_eq!(run.result("guard"), "skipped");
}

#[test]
fn a_failing_migration_stops_before_any_traffic() {
    let world = World::open(as_it_is, "0");
    world
        .commit("migrations/20260301000000_broken.sql", "CREATE TABLE half (id INTEGER);\nSELECT no_such;\n");
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "failed");
    assert_eq!(run.jobs["migrate"], "failure");
    for job in ["rollout", "smoke", "guard"] {
        assert_eq!(run.result(job), "skipped", "{job}");
    }
}

#[test]
fn a_failing_smoke_test_takes_the_release_back_at_100_percent() {
    let wrong = |config: String| config.replace("\"$.status\" = \"healthy\"", "\"$.status\" = \"splendid\"");
    let world = World::open(|config| wrong(config).replace("deadline = \"20s\"", "deadline = \"1s\""), "0");
    let run = world.deploy();
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "rolled_back");
    assert_eq!((run.jobs["rollout"].as_str(), run.jobs["smoke"].as_str()), ("success", "failure"));
    assert!(run.log.contains("[smoke] rollout abort: success (withdrawn)"), "{}", run.log);
    assert_eq!(run.result("guard"), "skipped");
}

#[test]
fn a_cancelled_run_leaves_nothing_behind() {
    let world = World::open(slowly, "0");
    let deploy = world.start_deploy();
    deploy.wait_for_data("Run Main Stage 1: watch");
    deploy.signal(kit_testing::Signal::INT);
    let run = Run::of(deploy.wait());
    assert_ne!(run.ran.code, Some(0), "{}", run.log);
    world.shop.assert_serves("1.4.0");
    world.shop.assert_closed();
    assert_eq!(bad_versions(&world), json!({}), "a cancelled run proves nothing");
}

#[test]
fn a_rollback_while_a_gate_watches_is_heard_within_seconds_and_has_one_winner() {
    // Nothing but the request may end the gate: two runs at once are much for a machine of two cores, whose services may
    // then fail together for longer than a hold lasts.
    let watching = |config: String| {
        config
            .replace("duration = \"1500ms\"", "duration = \"30m\"")
            .replace("timeout = \"2s\"", "timeout = \"20s\"")
            .replace("hold_max = \"5s\"", "hold_max = \"30m\"")
    };
    let world = World::open(watching, "0");
    let deploy = world.start_deploy();
    deploy.wait_for_data("watching catalog (canary and baseline)");
    let asked = jiff::Timestamp::now();
    let rollback = world.rollback(&json!({ "reason": "wrong version" }));
    assert_eq!(rollback.ran.code, Some(0), "{}", rollback.log);
    let run = Run::of(deploy.wait());
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_ended(&world, &run, "1.4.0", "rolled_back");
    assert_eq!(run.result("smoke"), "skipped", "{}", run.log);
    let gate = world.published("gate-canary");
    assert_eq!(gate["reason"], "stop_requested", "{gate}");
    // The rollback may be done, and its request gone, before the next look: then the lock tells.
    let said = gate["message"].as_str().unwrap();
    assert!(said.contains("wrong version") || said.contains("the lock is lost"), "{gate}");
    let ended: jiff::Timestamp = gate["finished_at"].as_str().unwrap().parse().unwrap();
    let heard_s = asked.duration_until(ended).as_secs();
    println!("the gate ended {heard_s} s after the rollback was started, of a stage of 30 minutes");
    assert!((0..30).contains(&heard_s), "{heard_s} s: {}", run.log);
}

#[test]
fn a_run_can_be_run_again_once_its_cause_is_gone() {
    let world = World::open(as_it_is, "0");
    world.shop.sandbox.write("secrets.env", "DATABASE_URL=\n");
    let first = world.deploy();
    assert_eq!((first.ran.code, first.jobs["preflight"].as_str()), (Some(1), "failure"), "{}", first.log);
    assert!(first.log.contains("DATABASE_URL"), "{}", first.log);
    assert_eq!(first.result("begin"), "skipped");
    world.shop.assert_serves("1.4.0");
    world.write_secrets();
    // The same run, so its artifacts are there already: those of the jobs that succeeded are the first's.
    world.only_failed_jobs_of(&first);
    let second = world.deploy_attempt("2");
    assert_eq!(second.ran.code, Some(0), "{}", second.log);
    assert_ended(&world, &second, "2.0.0", "success");
    assert!(!second.log.contains("validate-tag: success"), "it ran again: {}", second.log);
}

#[test]
fn the_failed_jobs_of_a_deploy_that_is_over_move_nothing() {
    let world = World::open(as_it_is, "30");
    let first = world.deploy();
    assert_ended(&world, &first, "1.4.0", "rolled_back");
    world.only_failed_jobs_of(&first);
    let second = world.deploy_attempt("2");
    assert_eq!(second.ran.code, Some(1), "{}", second.log);
    assert!(second.log.contains("lock_lost"), "{}", second.log);
    assert!(!second.log.contains("Run Main Stage 1: watch"), "{}", second.log);
    world.shop.assert_serves("1.4.0");
    world.shop.assert_closed();
    assert_eq!(world.last_status(), "rolled_back", "what is over stays as it was");
}
