//! The program as it is run: real clones, a scrubbed environment, exit code, artifact and outputs.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test prepares files and starts the program from outside"
)]

use kit_testing::git::Repository;
use kit_testing::{Ran as Ended, Sandbox as Folder};
use serde_json::Value;
use std::collections::BTreeMap;

/// A folder with `deploy.toml`, the repository `upstream` and a clone of it.
struct Sandbox {
    folder: Folder,
    upstream: Repository,
    clone: Repository,
}

const CONFIG: &str = "app = \"shop\"\n[release]\nbranches = [\"main\"]\n[[services]]\nname = \"api\"\n[[services]]\nname = \"web\"\n";

impl Sandbox {
    /// `main` holds v1.0.0 (annotated), v1.0.1 (lightweight) and v2.0.0-rc.1; `topic` holds v1.1.0.
    fn new() -> Self {
        let folder = Folder::new().file("deploy.toml", CONFIG);
        let upstream = Repository::init(folder.path().join("upstream"));
        upstream.commit("one");
        upstream.annotated_tag("v1.0.0", "release");
        upstream.commit("two");
        upstream.tag("v1.0.1");
        upstream.tag("v2.0.0-rc.1");
        upstream.branch("topic");
        upstream.commit("three");
        upstream.tag("v1.1.0");
        upstream.git(&["switch", "--quiet", "main"]);
        upstream.git(&["clone", "--quiet", ".", "../clone"]);
        let clone = Repository::init(folder.path().join("clone"));
        Self { folder, upstream, clone }
    }

    fn config(&self, text: &str) {
        self.folder.write("deploy.toml", text);
    }

    /// Runs the program on the clone.
    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        self.run_on("clone", args, env)
    }

    fn run_on(&self, repository: &str, args: &[&str], env: &[(&str, &str)]) -> Ran {
        // A runner's files are fresh for every step.
        self.folder.write("output", "");
        let mut command = self.folder.command(env!("CARGO_BIN_EXE_validate-tag"));
        command.args(["--repository", repository]).args(args).envs(env.iter().copied());
        let output = command.env("GITHUB_OUTPUT", "output").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let is_help = args.contains(&"--help");
        Ran {
            ended: Ended {
                code: output.status.code(),
                signal: None,
                stdout: text(output.stdout),
                stderr: text(output.stderr),
            },
            artifact: if is_help { Value::Null } else { self.folder.artifact_json("deployment") },
            outputs: kit_testing::runner::parse_outputs(&self.folder.read("output"))
                .unwrap()
                .into_iter()
                .collect(),
        }
    }
}

struct Ran {
    ended: Ended,
    artifact: Value,
    outputs: BTreeMap<String, String>,
}

impl Ran {
    /// Exit code and reason together, and the artifact says the same.
    #[track_caller]
    fn is(&self, code: i32, reason: &str) -> &Self {
        let found = (self.ended.code, self.artifact["reason"].as_str());
        assert_eq!(found, (Some(code), Some(reason)), "{}", self.ended.stderr);
        self
    }

    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(self.ended.stderr.contains(text), "no {text:?} in {}", self.ended.stderr);
        self
    }

    fn output(&self, name: &str) -> Option<&str> {
        self.outputs.get(name).map(String::as_str)
    }

    fn id(&self) -> &str {
        self.artifact["deployment_id"].as_str().unwrap()
    }
}

#[test]
fn an_annotated_release_on_main() {
    let sandbox = Sandbox::new();
    let sha = sandbox.upstream.git(&["rev-parse", "v1.0.0^{commit}"]);
    let event = [("GITHUB_REF", "refs/tags/v1.0.0"), ("GITHUB_SHA", sha.as_str())];
    let ran = sandbox.run(&[], &event);
    ran.is(0, "release_accepted");
    let body = &ran.artifact["body"];
    assert_eq!(body["version"], "1.0.0");
    assert_eq!(body["tag"], "v1.0.0");
    assert_eq!(body["commit"]["sha"], sha);
    assert_eq!(body["commit"]["committed_at"], "2026-01-01T00:02:00Z");
    assert_eq!(body["git_ref"], "refs/tags/v1.0.0");
    assert_eq!(body["annotated"], true);
    assert_eq!(body["branch"], "main");
    assert_eq!(body["kind"], "release");
    assert_eq!(body["services"][1], serde_json::json!({"name": "web", "version": "1.0.0"}));
    assert_eq!(body["config_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(ran.artifact["standalone"], false);
    assert!(ran.id().contains(&format!("-{}-", &sha[..7])), "{}", ran.id());
    let outputs =
        ["version", "tag", "sha", "prerelease", "kind", "deployment-id"].map(|name| ran.output(name));
    let id = Some(ran.id());
    assert_eq!(outputs, [Some("1.0.0"), Some("v1.0.0"), Some(&*sha), Some("false"), Some("release"), id]);
}

#[test]
fn a_version_typed_by_hand() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(
        &["--tag", "1.0.1", "--kind", "hotfix"],
        &[("GITHUB_REF", "refs/heads/main"), ("GITHUB_SHA", "0")],
    );
    ran.is(0, "release_accepted");
    assert_eq!(ran.artifact["body"]["tag"], "v1.0.1");
    assert_eq!(ran.artifact["body"]["annotated"], false);
    assert_eq!(ran.artifact["body"]["kind"], "hotfix");
    assert_eq!(ran.artifact["body"]["git_ref"], "refs/heads/main");
}

#[test]
fn a_monorepo_pattern() {
    let sandbox = Sandbox::new();
    sandbox.clone.git(&["tag", "shop-v3.0.0", "v1.0.0"]);
    sandbox.config("app = \"shop\"\n[release]\ntag_pattern = \"shop-v{version}\"\n");
    sandbox.run(&["--tag", "3.0.0"], &[]).is(0, "release_accepted");
    sandbox
        .run_on("clone", &["--tag", "shop-v3.0"], &[])
        .is(2, "usage_error")
        .says("did you mean shop-v3.0.0?");
}

#[test]
fn tags_that_are_no() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["--tag", "v9.9.9"], &[])
        .is(10, "tag_not_found")
        .says("there is no tag v9.9.9 in this clone");
    sandbox.run(&["--tag", "v1.1.0"], &[]).is(10, "tag_not_on_branch").says("main");
    sandbox.run(&["--tag", "v2.0.0-rc.1"], &[]).is(10, "prerelease_refused");
    let moved = sandbox.upstream.git(&["rev-parse", "topic"]);
    let event = [("GITHUB_REF", "refs/tags/v1.0.0"), ("GITHUB_SHA", moved.as_str())];
    let ran = sandbox.run(&[], &event);
    ran.is(10, "tag_moved");
    assert_eq!(ran.output("tag"), None, "a refused tag is never an output");
    assert_eq!(ran.artifact["body"], Value::Null);
}

#[test]
fn prereleases_where_they_are_wanted() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["--tag", "v2.0.0-rc.1", "--allow-prerelease"], &[]);
    ran.is(0, "release_accepted");
    assert_eq!(ran.output("prerelease"), Some("true"));
    let sandbox = Sandbox::new();
    sandbox.config(&format!("{CONFIG}[env.staging.release]\nprereleases = \"allow\"\n"));
    sandbox.run(&["--tag", "v2.0.0-rc.1"], &[]).is(10, "prerelease_refused");
    let fresh = ["--tag", "v2.0.0-rc.1", "--environment", "staging"];
    sandbox.run(&fresh, &[]).is(0, "release_accepted");
}

#[test]
fn a_branch_deploy_is_not_for_production() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--tag", "v1.1.0", "--kind", "branch"], &[]).is(2, "usage_error");
    let staging = ["--tag", "v1.1.0", "--kind", "branch", "--environment", "staging"];
    sandbox.run(&staging, &[]).is(0, "release_accepted");
}

#[test]
fn only_annotated_tags_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.config(&format!("{CONFIG}[env.production.release]\nrequire_annotated = true\n"));
    sandbox.run(&["--tag", "v1.0.1"], &[]).is(10, "tag_not_annotated").says("v1.0.1 is a lightweight tag");
    sandbox
        .run(&[], &[("GITHUB_REF", "refs/tags/v1.0.1")])
        .is(20, "repository_unreadable")
        .says("git fetch --force");
    sandbox.run(&["--tag", "v1.0.0"], &[]).is(0, "release_accepted");
}

#[test]
fn what_a_shallow_clone_cannot_tell_is_no_verdict() {
    let sandbox = Sandbox::new();
    let url = format!("file://{}", sandbox.upstream.path().display());
    let shallow = sandbox.folder.path().join("shallow");
    let clone = ["-c", "advice.detachedHead=false", "clone", "--quiet", "--depth=1", "--branch=v1.1.0"];
    sandbox.upstream.git(&[&clone[..], &[&url, shallow.to_str().unwrap()]].concat());
    sandbox
        .run_on("shallow", &["--tag", "v1.1.0"], &[])
        .is(20, "repository_unreadable")
        .says("this clone is shallow")
        .says("fetch-depth: 0");
    sandbox.run_on("shallow", &["--tag", "v1.0.0"], &[]).is(10, "tag_not_found").says("fetch-depth: 0");
    // Whole, but without the release branch.
    sandbox.clone.git(&["fetch", "--quiet", "origin", "main", "topic"]);
    sandbox.clone.git(&["switch", "--quiet", "--detach", "v1.1.0"]);
    sandbox.clone.git(&["branch", "--quiet", "-D", "main"]);
    sandbox.run(&["--tag", "v1.0.0"], &[]).is(0, "release_accepted");
    sandbox.clone.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    sandbox
        .run_on("clone", &["--tag", "v1.0.0"], &[])
        .is(20, "repository_unreadable")
        .says("this clone has no branch main");
}

#[test]
fn what_could_not_be_asked_is_no_verdict() {
    let sandbox = Sandbox::new();
    let tag = ["--tag", "v1.0.0"];
    sandbox
        .run_on(".", &tag, &[])
        .is(20, "repository_unreadable")
        .says("not a git repository")
        .says("--repository");
    sandbox.run_on("nowhere", &tag, &[]).is(20, "repository_unreadable").says("there is no folder nowhere");
    sandbox.run(&tag, &[("PATH", "/nonexistent")]).is(20, "tool_missing").says("install `git`");
    // A clone that lost an object.
    sandbox.clone.git(&["repack", "-adq"]);
    std::fs::remove_dir_all(sandbox.clone.path().join(".git/objects/pack")).unwrap();
    let ran = sandbox.run(&tag, &[]);
    ran.is(20, "repository_unreadable");
    assert_eq!(ran.output("sha"), None);
}

#[test]
fn hostile_tags_change_nothing_and_show_on_one_line() {
    let sandbox = Sandbox::new();
    let long = format!("v1.0.0-{}", "a".repeat(200));
    for tag in [
        "v1.0.0;touch${IFS}pwned",
        "v1.0.0$(touch pwned)",
        "v1.0.0\n::set-output name=x::y",
        "::error::v1.0.0",
        "##[error]v1.0.0",
        "--upload-pack=touch pwned",
        "-v1.0.0",
        "v1.0.0^{tree}",
        "vé1.0.0",
        &long,
    ] {
        let ran = sandbox.run(&["--tag", tag], &[("GITHUB_ACTIONS", "true")]);
        ran.is(2, "usage_error").says("the tag \"");
        let by_run = sandbox.run(&[], &[("GITHUB_REF", &format!("refs/tags/{tag}"))]);
        by_run.is(2, "usage_error");
        let (stdout, stderr) = (&ran.ended.stdout, &ran.ended.stderr);
        let commands = kit_testing::runner::parse_commands(format!("{stdout}{stderr}").as_bytes());
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!(commands[0].properties["title"], "validate-tag: usage_error");
        assert_eq!(ran.artifact["message"].as_str().unwrap().lines().count(), 1);
    }
    assert!(!sandbox.folder.files().iter().any(|file| file.contains("pwned")));
}

#[test]
fn a_rerun_keeps_the_id_and_another_release_is_refused() {
    let sandbox = Sandbox::new();
    let first = sandbox.run(&["--tag", "v1.0.0"], &[]);
    first.is(0, "release_accepted");
    let again = sandbox.run(&["--tag", "v1.0.0"], &[]);
    again.is(0, "release_accepted");
    assert_eq!((again.id(), &again.artifact["attempt"]), (first.id(), &Value::from(2)));
    sandbox
        .run(&["--tag", "v1.0.1"], &[])
        .is(3, "artifact_foreign")
        .says("v1.0.0")
        .says("fresh --artifacts folder");
    // The failed runs in between did not make the folder forget whose it is.
    sandbox.run(&["--tag", "v9.9.9"], &[]).is(10, "tag_not_found");
    sandbox.run(&["--tag", "v1.0.1"], &[]).is(3, "artifact_foreign");
    let back = sandbox.run(&["--tag", "v1.0.0"], &[]);
    back.is(0, "release_accepted");
    assert_eq!(back.id(), first.id());
    sandbox.run(&["--tag", "v1.0.0", "--environment", "staging"], &[]).is(3, "artifact_foreign");
}

#[test]
fn an_id_that_is_given_is_kept() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["--tag", "v1.0.0", "--deployment-id", "given-by-hand"], &[]);
    ran.is(0, "release_accepted");
    assert_eq!(ran.id(), "given-by-hand");
    let env = [("DEPLOY_KIT_DEPLOYMENT_ID", "given-by-hand")];
    sandbox.run(&["--tag", "v1.0.1"], &env).is(3, "artifact_foreign");
    assert_eq!(sandbox.run(&["--tag", "v1.0.0"], &env).is(0, "release_accepted").id(), "given-by-hand");
}

#[test]
fn without_a_tag_it_says_what_started_the_run() {
    let sandbox = Sandbox::new();
    sandbox.run(&[], &[]).is(2, "usage_error").says("GITHUB_REF is not set");
    sandbox.run(&[], &[("GITHUB_REF", "refs/heads/main")]).is(2, "usage_error").says("refs/heads/main");
    sandbox.run(&[], &[("DEPLOY_KIT_TAG", "v1.0.1")]).is(0, "release_accepted");
}

#[test]
fn help_teaches() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["--help"], &[]);
    assert_eq!(ran.ended.code, Some(0));
    for text in [
        "Examples:",
        "validate-tag --tag 1.2.3",
        "Writes:",
        "deployment.json",
        "Exit codes:",
        "A second run",
        "DEPLOY_KIT_TAG",
    ] {
        assert!(ran.ended.stdout.contains(text), "no {text:?} in {}", ran.ended.stdout);
    }
}

#[test]
fn a_branch_or_a_commit_can_be_tried_out_but_never_in_production() {
    let sandbox = Sandbox::new();
    let head = sandbox.upstream.git(&["rev-parse", "topic"]);
    let staging = ["--kind", "branch", "--environment", "staging", "--commit"];
    for name in ["topic", head.as_str()] {
        let ran = sandbox.run(&[&staging[..], &[name]].concat(), &[]);
        ran.is(0, "release_accepted");
        assert_eq!(ran.output("sha"), Some(head.as_str()));
        assert_eq!(ran.output("version"), Some(format!("0.0.0-g{}", &head[..12]).as_str()));
        std::fs::remove_dir_all(sandbox.folder.path().join(".deploy-kit")).unwrap();
    }
    for (name, code, reason, said) in [
        ("gone", 10, "tag_not_found", "there is no branch or commit gone"),
        (
            "0123456789012345678901234567890123456789",
            10,
            "tag_not_found",
            "there is no branch or commit 0123",
        ),
        ("main;id", 2, "usage_error", "the commit \"main;id\" is not allowed"),
        ("--all", 2, "usage_error", "starts with '-'"),
    ] {
        sandbox.run(&[&staging[..], &[name]].concat(), &[]).is(code, reason).says(said);
    }
    sandbox
        .run(&["--commit", "main", "--kind", "branch"], &[])
        .is(2, "usage_error")
        .says("not for production");
    sandbox
        .run(&["--commit", "main", "--environment", "staging"], &[])
        .is(2, "usage_error")
        .says("--kind branch");
    let both = ["--tag", "v1.1.0", "--commit", "main", "--kind", "branch", "--environment", "staging"];
    sandbox.run(&both, &[]).is(2, "usage_error").says("both given");
}
