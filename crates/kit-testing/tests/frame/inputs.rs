//! Where inputs come from, and how wrong ones are refused.

use crate::{ARTIFACT, REHEARSE, step};
use kit_contract::Reason;
use kit_testing::{Ran, Sandbox};

const CONFIG: &str = "app = \"shop\"\n[gate]\nmin_samples = 3\n[store]\npersistent = true\n\
    [release]\nbranches = [\"main\", \"stable\"]\n";

fn show(sandbox: &Sandbox, args: &[&str]) -> serde_json::Value {
    let ran = sandbox.run(REHEARSE, &[&["show", "--do", "ok"], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn refused(sandbox: &Sandbox, args: &[&str], reason: Reason) -> Ran {
    step(sandbox, args, reason).0
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let bare = show(&Sandbox::new(), &[]);
    assert_eq!((bare["speed"].as_u64(), bare["careful"].as_bool()), (Some(1), Some(false)));
    assert_eq!(bare["label"], serde_json::json!([]));

    let sandbox = Sandbox::new().file("deploy.toml", CONFIG);
    let from_file = show(&sandbox, &[]);
    assert_eq!((from_file["speed"].as_u64(), from_file["careful"].as_bool()), (Some(3), Some(true)));
    assert_eq!(from_file["label"], serde_json::json!(["main", "stable"]));
    assert_eq!(from_file["app"], "shop");

    let sandbox = sandbox
        .env("DEPLOY_KIT_SPEED", "5")
        .env("DEPLOY_KIT_CAREFUL", "false")
        .env("DEPLOY_KIT_LABEL", "a\n\n  b  \n");
    let from_env = show(&sandbox, &[]);
    assert_eq!((from_env["speed"].as_u64(), from_env["careful"].as_bool()), (Some(5), Some(false)));
    assert_eq!(from_env["label"], serde_json::json!(["a", "b"]));

    let from_flags = show(&sandbox, &["--speed=7", "--careful", "--label", "c"]);
    assert_eq!((from_flags["speed"].as_u64(), from_flags["careful"].as_bool()), (Some(7), Some(true)));
    assert_eq!(from_flags["label"], serde_json::json!(["c"]), "lists are replaced whole");

    let sandbox = sandbox.env("DEPLOY_KIT_CAREFUL", "true");
    assert_eq!(show(&sandbox, &["--careful=false"])["careful"], false);
    assert_eq!(show(&sandbox, &[])["careful"], true);
}

#[test]
fn an_empty_variable_is_not_set() {
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG);
    let sandbox =
        ["SPEED", "CAREFUL", "LABEL", "STAGE", "ENVIRONMENT", "DEADLINE", "JSON", "DEPLOYMENT_ID", "EXPECT"]
            .iter()
            .fold(sandbox, |sandbox, name| sandbox.env(&format!("DEPLOY_KIT_{name}"), ""));
    let shown = show(&sandbox, &[]);
    assert_eq!((shown["speed"].as_u64(), shown["careful"].as_bool()), (Some(3), Some(true)));
    assert_eq!((shown["stage"].as_str(), shown["standalone"].as_bool()), (Some("one"), Some(true)));
}

#[test]
fn a_bad_value_is_refused_and_its_source_named() {
    for (name, value) in [
        ("SPEED", "fast"),
        ("DO", "wonders"),
        ("CAREFUL", "perhaps"),
        ("DEADLINE", "soon"),
        ("ENVIRONMENT", "Production!"),
        ("DEPLOYMENT_ID", "No!"),
        ("EXPECT", "backup"),
    ] {
        let variable = format!("DEPLOY_KIT_{name}");
        let sandbox = Sandbox::new().env(&variable, value);
        let args: &[&str] = if name == "DO" { &[] } else { &["--do", "ok"] };
        let ran = refused(&sandbox, args, Reason::UsageError);
        assert!(ran.stderr.contains(&variable), "{variable}: {}", ran.stderr);
        assert!(ran.stderr.contains(value), "{variable}: {}", ran.stderr);
    }
    let sandbox = Sandbox::new().env("DEPLOY_KIT_SPEED", "5");
    let ran = refused(&sandbox, &["--do", "ok", "--speed", "fast"], Reason::UsageError);
    assert!(!ran.stderr.contains("DEPLOY_KIT_SPEED"), "the flag was wrong, not the variable: {}", ran.stderr);
}

#[test]
fn usage_errors_leave_an_artifact() {
    let (_, artifact) = step(&Sandbox::new(), &["--do", "ok", "--sped", "5"], Reason::UsageError);
    assert!(artifact.message.contains("--sped"), "{}", artifact.message);
    assert!(artifact.hints.iter().any(|hint| hint.contains("--speed")), "{:?}", artifact.hints);
    assert!(artifact.body.is_none());
    let (_, artifact) = step(&Sandbox::new(), &[], Reason::UsageError);
    assert!(artifact.message.contains("--do"), "{}", artifact.message);
    step(&Sandbox::new(), &["--do", "nonsense"], Reason::UsageError);
    step(&Sandbox::new(), &["--do", "ok", "--deadline", "10"], Reason::UsageError);
    step(&Sandbox::new(), &["--do", "ok", "--stage"], Reason::UsageError);
}

#[test]
fn what_looks_like_a_flag_is_no_value() {
    let sandbox = Sandbox::new();
    step(&sandbox, &["--do", "ok", "--artifacts", "--json"], Reason::UsageError);
    assert_eq!(sandbox.files(), [ARTIFACT], "no folder is called --json");
}

#[test]
fn a_qualifier_that_names_no_file_is_refused() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(REHEARSE, &["--do", "ok", "--stage", "../one"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("--stage"), "{}", ran.stderr);
}

#[test]
fn configuration_errors_name_the_line_in_overlays_too() {
    for (text, place) in [
        ("app = \"shop\"\n\n[gate]\nmin_sampels = 3\n", "line 4"),
        ("app = \"shop\"\n[env.staging.gate]\nmin_sampels = 3\n", "line 3"),
        ("app = \"shop\"\n[env.production.gate]\nmin_samples = \"x\"\n", "line 3"),
        ("app = \n", "line 1"),
    ] {
        let sandbox = Sandbox::new().file("deploy.toml", text);
        let (ran, artifact) = step(&sandbox, &["--do", "ok", "--marker", "marker"], Reason::ConfigInvalid);
        assert!(artifact.message.contains(place), "{}", artifact.message);
        assert!(ran.stderr.contains("deploy.toml"), "{}", ran.stderr);
        assert!(!sandbox.has("marker"));
    }
    let missing = step(&Sandbox::new(), &["--do", "ok", "--config", "other.toml"], Reason::ConfigInvalid).1;
    assert!(missing.message.contains("other.toml"), "{}", missing.message);
}

#[test]
fn help_shows_what_would_hold_and_survives_everything() {
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG).env("DEPLOY_KIT_SPEED", "41");
    let ran = sandbox.run(REHEARSE, &["--help"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let help = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for shown in [
        "[env: DEPLOY_KIT_SPEED] [default: 41]",
        "[env: DEPLOY_KIT_CAREFUL] [default: true]",
        "[env: DEPLOY_KIT_LABEL] [default: main stable]",
        "[env: DEPLOY_KIT_STAGE] [default: one]",
    ] {
        assert!(help.contains(shown), "{shown}: {help}");
    }

    let sandbox = Sandbox::new().file("deploy.toml", "app = [").env("DEPLOY_KIT_ENVIRONMENT", "No!");
    for flag in ["--help", "-h", "--version", "-V"] {
        let ran = sandbox.run(REHEARSE, &[flag]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{flag}");
        assert!(ran.stdout.contains("rehearse"), "{flag}");
    }
    assert_eq!(sandbox.files(), ["deploy.toml"], "help writes nothing");
}

/// A word for others that looks like a plea for help must not make the step run on defaults.
#[test]
fn a_broken_configuration_is_not_excused_by_a_help_flag_for_others() {
    let sandbox = Sandbox::new().file("deploy.toml", "app = [");
    let args = ["--do", "ok", "--marker", "marker", "--", "kubectl", "-h"];
    step(&sandbox, &args, Reason::ConfigInvalid);
    assert!(!sandbox.has("marker"));
    let sandbox = Sandbox::new();
    let shown = show(&sandbox, &["--", "-h"]);
    assert_eq!(shown["rest"], serde_json::json!(["-h"]));
}
