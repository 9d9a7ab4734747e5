//! A secret is never shown, wherever it came from and whatever the step does with it.

use crate::{ARTIFACT, REHEARSE, check};
use kit_contract::Reason;
use kit_testing::{Sandbox, runner};

const OWN: &str = "hunter2-own \"quoted\" key";
const PASSWORD: &str = "p%40ss-w0rd-of-prod";
const DECODED: &str = "p@ss-w0rd-of-prod";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"PROD_DB\" }\n";

/// Sandboxes in which the step learns its secrets in every way there is.
fn sandboxes() -> Vec<(Sandbox, Vec<&'static str>)> {
    let address = format!("postgres://shop:{PASSWORD}@db.example/shop");
    let base = || Sandbox::new().file("deploy.toml", CONFIG).env("PROD_DB", address.clone());
    vec![
        (base().env("DEPLOY_KIT_REHEARSAL_KEY", OWN), vec![]),
        (base().file("key", &format!("{OWN}\n")), vec!["--rehearsal-key-file", "key"]),
        (base().file("key", OWN).env("DEPLOY_KIT_REHEARSAL_KEY_FILE", "key"), vec![]),
    ]
}

#[test]
fn secrets_are_never_shown() {
    let acts = [
        ("secret-everywhere", Reason::SmokeFailed),
        ("secret-error", Reason::CommandFailed),
        ("secret-panic", Reason::InternalError),
    ];
    for (act, reason) in acts {
        for (sandbox, more) in sandboxes() {
            for sandbox in [sandbox, in_actions(&more)] {
                let args = [&["--do", act, "--json"], more.as_slice()].concat();
                let ran = sandbox.run(REHEARSE, &args);
                let artifact = check(&sandbox, &ran, reason);
                assert!(artifact.message.contains("***"), "the step did speak: {}", artifact.message);
                let mut places =
                    vec![("artifact", sandbox.read(ARTIFACT)), ("printed", unmasked(&ran.printed()))];
                if sandbox.has(".runner/output") {
                    places.push(("outputs", sandbox.read(".runner/output")));
                    places.push(("summary", sandbox.summary()));
                    assert!(!sandbox.outputs().is_empty());
                }
                for (place, text) in places {
                    for secret in [OWN, "hunter2", PASSWORD, DECODED, "hunter2-own \\\"quoted"] {
                        assert!(!text.contains(secret), "{act}: {secret} in {place}: {text}");
                    }
                }
            }
        }
    }
}

fn in_actions(more: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new().github_actions().file("deploy.toml", CONFIG).file("key", OWN);
    let sandbox = sandbox.env("PROD_DB", format!("postgres://shop:{PASSWORD}@db.example/shop"));
    if more.is_empty() { sandbox.env("DEPLOY_KIT_REHEARSAL_KEY", OWN) } else { sandbox }
}

/// What was printed, without the commands that tell the runner to hide something.
fn unmasked(printed: &str) -> String {
    printed.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_runner_is_told_to_mask_before_anything_else_is_printed() {
    let sandbox = in_actions(&[]);
    let ran = sandbox.run(REHEARSE, &["--do", "secret-everywhere"]);
    let commands = runner::parse_commands(ran.stderr.as_bytes());
    let masked: Vec<&str> = commands
        .iter()
        .take_while(|command| command.name == "add-mask")
        .map(|command| command.data.as_str())
        .collect();
    assert!(masked.contains(&OWN), "{masked:?}");
    assert!(masked.iter().any(|value| value.contains(PASSWORD)), "{masked:?}");
    let alone = Sandbox::new().env("DEPLOY_KIT_REHEARSAL_KEY", OWN);
    let ran = alone.run(REHEARSE, &["--do", "ok"]);
    assert!(!ran.printed().contains("add-mask"), "nobody listens outside of Actions: {}", ran.printed());
}

#[test]
fn a_secret_typed_by_mistake_is_not_repeated() {
    let sandbox = Sandbox::new();
    for flag in ["--database-url=postgres://shop:hunter2@db/shop", "postgres://shop:hunter2@db/shop"] {
        let ran = sandbox.run(REHEARSE, &["--do", "ok", flag]);
        check(&sandbox, &ran, Reason::UsageError);
        assert!(!ran.printed().contains("hunter2"), "{}", ran.printed());
        assert!(!sandbox.read(ARTIFACT).contains("hunter2"));
    }
}

#[test]
fn a_missing_secret_file_names_the_input() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(REHEARSE, &["--do", "ok", "--rehearsal-key-file", "nowhere"]);
    let artifact = check(&sandbox, &ran, Reason::SecretMissing);
    assert!(artifact.message.contains("--rehearsal-key-file"), "{}", artifact.message);
}

/// The password of many a test database is the name of its engine.
#[test]
fn a_secret_that_is_a_common_word_does_not_spoil_the_artifact() {
    for secret in ["success", "smoke-test", "production", "smoke_passed", "rehearse", "2026", "pass", "body"]
    {
        let sandbox = Sandbox::new().env("DEPLOY_KIT_REHEARSAL_KEY", secret);
        let ran = sandbox.run(REHEARSE, &["--do", "ok"]);
        assert_eq!(ran.code, Some(0), "{secret}: {}", ran.stderr);
        crate::valid::<kit_contract::body::Smoke>(&sandbox, "smoke-one");
        let artifact = sandbox.artifact::<kit_contract::body::Smoke>("smoke-one");
        assert!(artifact.is_go(), "{secret}");
        let checks = artifact.body.unwrap().checks;
        assert_eq!(checks[0].outcome, kit_contract::body::SmokeOutcome::Pass, "{secret}");
    }
}
