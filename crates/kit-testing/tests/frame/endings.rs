//! Every way to end leaves an artifact that says so.

use crate::{ARTIFACT, REHEARSE, check, digest, step};
use kit_contract::Reason;
use kit_testing::{Sandbox, runner};

#[test]
fn verdicts() {
    let (ran, artifact) = step(&Sandbox::new(), &["--do", "ok"], Reason::SmokePassed);
    assert!(artifact.standalone && artifact.body.is_some());
    assert!(artifact.started_at <= artifact.finished_at);
    assert_eq!(ran.stdout, "", "stdout is for data");

    let (ran, artifact) = step(&Sandbox::new(), &["--do", "verdict"], Reason::SmokeFailed);
    assert_eq!(artifact.message, "1 of 3 checks failed");
    assert!(
        ran.stderr.contains("1 of 3 checks failed") && ran.stderr.contains("hint: look at it"),
        "{}",
        ran.stderr
    );

    let (_, artifact) = step(&Sandbox::new(), &["--do", "inconclusive"], Reason::NothingReachable);
    assert!(!artifact.is_go());
}

#[test]
fn errors_and_panics() {
    let (_, artifact) = step(&Sandbox::new(), &["--do", "error"], Reason::StoreUnreachable);
    assert_eq!(artifact.message, "the store is away: connection refused");
    assert_eq!(artifact.hints, ["bring it back"]);
    let (_, artifact) = step(&Sandbox::new(), &["--do", "panic"], Reason::InternalError);
    assert!(artifact.message.contains("the rehearsed bug with a second line"), "{}", artifact.message);
    assert!(artifact.message.contains("acts.rs:"), "it says where: {}", artifact.message);
}

#[test]
fn a_bug_in_the_summary_hides_no_verdict() {
    let sandbox = Sandbox::new().github_actions();
    let (ran, _) = step(&sandbox, &["--do", "summary-panic"], Reason::SmokeFailed);
    assert!(ran.stderr.contains("the rehearsed bug in the summary"), "{}", ran.stderr);
    assert_eq!(sandbox.outputs()["reason"], "smoke_failed");
}

#[test]
fn the_deadline() {
    let sandbox = Sandbox::new();
    let args = ["--do", "save-then-hang", "--deadline", "500ms"];
    let (_, artifact) = step(&sandbox, &args, Reason::DeadlineExceeded);
    assert_eq!(artifact.body.unwrap().checks[0].name, "what was known");
}

#[test]
fn danger_ends_stuck_and_says_what_to_do() {
    for (act, told) in [
        ("danger-error", "connection refused"),
        ("danger-panic", "the rehearsed bug"),
        ("danger-hang", "stopped"),
    ] {
        let sandbox = Sandbox::new().github_actions();
        let (ran, artifact) = step(&sandbox, &["--do", act, "--deadline", "500ms"], Reason::LeftChanged);
        assert_eq!(ran.code, Some(30));
        assert!(artifact.message.starts_with("the table is half renamed: "), "{}", artifact.message);
        assert!(artifact.message.contains(told), "{}", artifact.message);
        assert_eq!(artifact.hints[0], "rename it back by hand");
        assert!(ran.stderr.contains("hint: rename it back by hand"), "{}", ran.stderr);
        assert!(sandbox.summary().contains("rename it back by hand"), "{}", sandbox.summary());
        let commands = runner::parse_commands(ran.printed().as_bytes());
        let error = commands.iter().find(|command| command.name == "error").unwrap();
        assert!(error.data.contains("rename it back by hand"), "{}", error.data);
    }
}

#[test]
fn json_on_stdout_is_the_artifact() {
    for (args, code) in [
        (&["--do", "ok", "--json"] as &[&str], 0),
        (&["--do", "error", "--json"], 20),
        (&["--do", "danger-panic", "--json"], 30),
        (&["--json", "--do", "ok", "--sped"], 2),
    ] {
        let sandbox = Sandbox::new();
        let ran = sandbox.run(REHEARSE, args);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert_eq!(ran.stdout, sandbox.read(ARTIFACT), "byte for byte");
        assert!(serde_json::from_str::<serde_json::Value>(&ran.stdout).is_ok());
    }
    let sandbox = Sandbox::new();
    sandbox.run(REHEARSE, &["--do", "ok", "--json"]);
    let name = &sandbox.artifact_json("smoke-one")["body"]["checks"][0]["name"];
    assert_eq!(name, "##[group]x \u{202e}\u{7f}", "what is printed harmlessly is still what it was");
}

#[test]
fn outputs_are_what_the_artifact_says() {
    for act in ["ok", "verdict", "panic", "foreign-hostile"] {
        let sandbox = Sandbox::new().github_actions();
        let ran = sandbox.run(REHEARSE, &["--do", act]);
        let outputs = sandbox.outputs();
        let artifact = sandbox.artifact_json("smoke-one");
        assert_eq!(outputs["artifact-sha256"], digest(&sandbox, ARTIFACT), "{act}");
        assert!(sandbox.has(&outputs["artifact"]), "{act}");
        for (output, field) in
            [("result", "result"), ("reason", "reason"), ("deployment-id", "deployment_id")]
        {
            assert_eq!(artifact[field], outputs[output], "{act}");
        }
        let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["artifact", "artifact-name", "artifact-sha256", "deployment-id", "note", "reason", "result"],
            "{act}"
        );
        assert_eq!(artifact["run"]["url"], "https://github.example/octo/shop/actions/runs/4711");
        check(&sandbox, &ran, kit_contract::Reason::from_code(&outputs["reason"]).unwrap());
    }
}

#[test]
fn a_summary_stays_below_what_the_runner_takes() {
    let sandbox = Sandbox::new().github_actions();
    step(&sandbox, &["--do", "big-summary"], Reason::SmokePassed);
    let summary = sandbox.summary();
    assert!(summary.len() <= 1024 * 1024 && summary.len() > 900 * 1024, "{} bytes", summary.len());
    assert!(summary.starts_with("### rehearse: success"));
    assert!(summary.trim_end().ends_with("(cut: the artifact holds all of it)"));
}

#[test]
fn tools_write_nothing_and_end_alike() {
    for (act, code) in [("ok", 0), ("error", 20), ("panic", 1), ("hang", 0)] {
        let sandbox = Sandbox::new();
        let ran = sandbox.run(REHEARSE, &["show", "--do", act, "--deadline", "100ms"]);
        assert_eq!(ran.code, Some(code), "{act}: {}", ran.stderr);
        assert_eq!(ran.stdout.is_empty(), code != 0, "{act}");
        assert_eq!(sandbox.files(), [""; 0], "{act}");
    }
    let sandbox = Sandbox::new();
    let ran = sandbox.run(REHEARSE, &["show", "--do", "ok", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["speed"], 1);
}

#[test]
fn what_a_run_says_and_leaves() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(REHEARSE, &["--do", "verdict"]);
    let expected = "exit code: 10\n----- stdout -----\n----- stderr -----\n\
        rehearse: failure (smoke_failed): 1 of 3 checks failed\n  hint: look at it\n  \
        artifact: .deploy-kit/artifacts/smoke-one.json\n----- files -----\n\
        .deploy-kit/artifacts/smoke-one.json\n";
    assert_eq!(sandbox.snapshot(&ran), expected);
}
