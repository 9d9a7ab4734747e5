//! Text of others never becomes a command.

use crate::{ARTIFACT, REHEARSE};
use kit_testing::runner::{Command, parse_commands};
use kit_testing::{Ran, Sandbox};

/// Only what the frame itself gives: annotations, one of them asked for by the step.
fn assert_only_annotations(ran: &Ran) -> Vec<Command> {
    let mut all = Vec::new();
    for stream in [&ran.stdout, &ran.stderr] {
        for command in parse_commands(stream.as_bytes()) {
            assert!(matches!(command.name.as_str(), "error" | "notice" | "warning"), "{command:?}");
            all.push(command);
        }
        let control = stream.chars().find(|&character| character.is_control() && character != '\n');
        assert_eq!(control, None, "{stream:?}");
    }
    all
}

#[test]
fn hostile_text_is_printed_harmlessly() {
    for (act, expected) in [("foreign-hostile", vec!["notice", "error"]), ("hostile-panic", vec!["error"])] {
        for json in ["--json=false", "--json"] {
            let sandbox = Sandbox::new().github_actions();
            let ran = sandbox.run(REHEARSE, &["--do", act, json]);
            let commands = assert_only_annotations(&ran);
            let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
            assert_eq!(names, expected, "{}", ran.printed());
            assert!(ran.stderr.contains("forged"), "it was printed, not swallowed: {}", ran.stderr);
            assert_only_annotations(&Ran {
                stdout: sandbox.read(ARTIFACT),
                stderr: sandbox.summary(),
                ..ran
            });
        }
    }
}

#[test]
fn outside_of_actions_no_command_is_given_at_all() {
    for act in ["foreign-hostile", "hostile-panic", "error"] {
        let ran = Sandbox::new().run(REHEARSE, &["--do", act]);
        assert_eq!(parse_commands(ran.printed().as_bytes()), [], "{act}");
    }
}

#[test]
fn hostile_inputs_are_refused_harmlessly() {
    let hostile = "::set-output name=a::b\r##[error]forged\u{1b}[2J\n::add-mask::forged";
    for args in [vec!["--do", hostile], vec![hostile], vec!["--do", "ok", "--environment", hostile]] {
        let sandbox = Sandbox::new().github_actions();
        let ran = sandbox.run(REHEARSE, &args);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert_only_annotations(&ran);
    }
    let sandbox =
        Sandbox::new().github_actions().file("deploy.toml", "app = \"##[error]x\"\n\"::error::y\" = 1\n");
    assert_only_annotations(&sandbox.run(REHEARSE, &["--do", "ok"]));
    assert_only_annotations(&sandbox.run(REHEARSE, &["show", "--do", "ok"]));
}

#[test]
fn annotations_come_back_as_they_were_meant() {
    let sandbox = Sandbox::new().github_actions();
    let ran = sandbox.run(REHEARSE, &["--do", "error"]);
    let commands = parse_commands(ran.stderr.as_bytes());
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].properties["title"], "rehearse: store_unreachable");
    assert_eq!(commands[0].data, "the store is away: connection refused\nhint: bring it back");
    assert!(ran.stderr.contains("title=rehearse%3A store_unreachable"), "{}", ran.stderr);
}
