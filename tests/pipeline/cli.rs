//! What a user sees, kept as files: exit code, both streams, the files that were written.
//!
//! `UPDATE_SNAPSHOTS=1 cargo nextest run -p deploy-kit-tests` writes them anew; a reviewer reads the
//! difference.

use crate::shop::programs;
use kit_contract::pipeline::PIPELINE;
use kit_testing::Sandbox;
use kit_testing::git::Repository;
use std::path::Path;

/// Compares what a command line leaves with `tests/snapshots/<name>.txt`.
fn check(name: &str, sandbox: &Sandbox, args: &[&str]) {
    let ran = sandbox.run(programs().join("deploy-kit"), args);
    let snapshot = sandbox.snapshot(&ran);
    // What git keeps of its own is another on every machine.
    let snapshot: Vec<&str> = snapshot.lines().filter(|line| !line.starts_with(".git/")).collect();
    let seen = format!("$ {}\n{}\n", [&["deploy-kit"], args].concat().join(" "), snapshot.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("snapshots/{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, &seen).expect("a snapshot");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, kept, "{name} differs; if that is right: UPDATE_SNAPSHOTS=1");
}

fn with_tag() -> Sandbox {
    let sandbox = Sandbox::new().file("deploy.toml", "app = \"shop\"\n[[services]]\nname = \"api\"\n");
    let repository = Repository::init(sandbox.path());
    repository.commit("first");
    repository.annotated_tag("v1.2.3", "1.2.3");
    sandbox
}

#[test]
fn what_a_user_sees() {
    check("no-command", &Sandbox::new(), &[]);
    check("explain", &Sandbox::new(), &["explain", "backup_too_old"]);
    check("explain-near", &Sandbox::new(), &["explain", "backup_to_old"]);
    check("init", &Sandbox::new(), &["init", "--app", "shop"]);
    check("init-again", &Sandbox::new().file("deploy.toml", "app = \"shop\"\n"), &["init"]);
    check("init-elsewhere", &Sandbox::new(), &["init", "--app", "shop", "--config", "shop.toml"]);
    let pasted = "app = \"shop\"\n[[services]]\nname = \"api\"\nurl = \"https://u:hunter2@shop.example\"\n";
    check("config-with-a-password", &Sandbox::new().file("deploy.toml", pasted), &["config", "show"]);
    check("no-configuration", &Sandbox::new(), &["status"]);
    let typo = "app = \"shop\"\n\n[env.staging.gate]\ninterval = \"1s\"\ntimeot = \"5s\"\n";
    check("config-typo-in-an-overlay", &Sandbox::new().file("deploy.toml", typo), &["config", "check"]);
    check("tag-accepted", &with_tag(), &["validate-tag", "--tag", "v1.2.3"]);
    check("tag-missing", &with_tag(), &["validate-tag", "--tag", "v9.9.9"]);
    check("tag-hostile", &with_tag(), &["validate-tag", "--tag", "v1;::error::x $(id)"]);
    check("tag-incomplete", &with_tag(), &["validate-tag", "--tag", "v1.2"]);
    check("usage", &Sandbox::new(), &["smoke-test", "--deadlin", "5s"]);
    check("deadline-without-unit", &Sandbox::new(), &["smoke-test", "--deadline", "5"]);
    check("store-in-ci", &with_tag().env("CI", "true"), &["deploy-record", "list"]);
    check("nothing-deployed", &with_tag(), &["status"]);
    check("artifact-missing", &with_tag(), &["deploy-record", "begin", "--deployment-id", "deploy-01"]);
    let cut = Sandbox::new().file(".deploy-kit/artifacts/deployment.json", "{\"schema\": \"deploy-kit/depl");
    check("artifact-truncated", &cut, &["rollout", "--stage", "canary"]);
    check("stage-unknown", &with_tag(), &["rollout", "--stage", "canray"]);
}

#[test]
fn help_of_a_command_is_its_own_help() {
    for command in [&["rollout", "abort"][..], &["smoke-test"], &["stop"], &["deploy-record"]] {
        let run = |args: &[&str]| Sandbox::new().run(programs().join("deploy-kit"), args);
        let asked = run(&[&["help"], command].concat());
        let own = run(&[command, &["--help"]].concat());
        assert_eq!((asked.code, &asked.stdout), (Some(0), &own.stdout), "{command:?}");
        assert!(asked.stdout.contains("Usage:"), "{}", asked.stdout);
    }
}

#[test]
fn a_step_says_the_same_alone_and_as_a_subcommand() {
    let mut names: Vec<&str> =
        PIPELINE.iter().map(|step| step.program).chain(["rollback", "db-restore"]).collect();
    names.sort_unstable();
    names.dedup();
    kit_testing::programs_of(&names);
    for name in names {
        for args in [&["--help"][..], &["--no-such-input"], &[]] {
            let alone = Sandbox::new();
            let alone = alone.snapshot(&alone.run(programs().join(name), args));
            let together = Sandbox::new();
            let all: Vec<&str> = [name].into_iter().chain(args.iter().copied()).collect();
            let together = together.snapshot(&together.run(programs().join("deploy-kit"), &all));
            assert_eq!(alone, together, "{name} {args:?}");
        }
    }
}
