//! What children print and how they end by themselves.

use crate::support::{context, sh};
use kit_contract::Reason;
use kit_core::{Secret, StepError};
use kit_exec::{Command, EnvPolicy, ExecError, Status, Stdout, which};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let (cx, _) = context(&[]);
    let output = sh("exit 0").run(&cx).await.unwrap();
    assert_eq!((output.code, output.left_open), (0, false));
    for (script, wanted) in [("exit 3", Status::Code(3)), ("kill -KILL $$", Status::Signal(9))] {
        let error = sh(script).run(&cx).await.unwrap_err();
        assert!(matches!(&error, ExecError::Failed { status, .. } if *status == wanted), "{error:?}");
        assert_eq!(error.reason(), Reason::CommandFailed);
    }
    let output = sh("echo no; exit 1").accept_code(1).stdout(Stdout::Capture { limit_bytes: 10 });
    let output = output.run(&cx).await.unwrap();
    assert_eq!((output.code, output.text().as_str()), (1, "no"));
}

#[tokio::test]
async fn the_end_of_stderr_is_in_the_error() {
    let (cx, captured) = context(&[]);
    let script = "i=1; while [ $i -le 30 ]; do echo line $i >&2; i=$((i+1)); done; printf last >&2; exit 1";
    let error = sh(script).quiet_stderr().run(&cx).await.unwrap_err();
    assert_eq!(error.stderr_tail().len(), 20);
    assert_eq!(error.stderr_tail()[0], "line 12");
    assert_eq!(error.stderr_tail()[19], "last");
    assert_eq!(captured.stderr(), "", "quiet is quiet");
    let chain = StepError::from(error).chain();
    assert_eq!(chain, "`sh` exited with code 1: line 27 | line 28 | line 29 | line 30 | last");
}

#[tokio::test]
async fn secrets_reach_the_child_and_nothing_else() {
    let (cx, captured) = context(&[]);
    let secret = Secret::new("correct horse battery");
    let command = sh("echo \"out $PW\"; echo \"err $PW\" >&2; exit ${#PW}").env_secret("PW", &secret);
    assert!(!format!("{command:?}").contains("horse"));
    let error = command.run(&cx).await.unwrap_err();
    assert!(
        matches!(&error, ExecError::Failed { status: Status::Code(21), .. }),
        "it was passed on: {error}"
    );
    assert_eq!(error.stderr_tail(), ["err ***"]);
    let log = captured.stderr();
    assert!(log.contains("sh| out ***\n") && log.contains("sh| err ***\n"), "{log}");
    for text in [log, captured.stdout(), format!("{error:?}"), StepError::from(error).chain()] {
        assert!(!text.contains("horse"), "{text}");
    }
}

#[tokio::test]
async fn hostile_output_gives_no_commands() {
    let (cx, captured) = context(&[]);
    let hostile =
        r"printf '::set-output name=verdict::promote\n x ##[error]boom\n\033[2J\033[0m::error::x\n'";
    let error = sh(&format!("{hostile}; {hostile} >&2; exit 1")).run(&cx).await.unwrap_err();
    let log = captured.stderr();
    assert_eq!(log.lines().count(), 6, "{log}");
    for line in log.lines().chain(error.stderr_tail().iter().map(String::as_str)) {
        // What the runner obeys: ActionCommand.cs, TryParseV2 and TryParse.
        assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert_eq!(captured.stdout(), "");
}

#[tokio::test]
async fn output_over_the_limit_is_an_error_and_ends_the_child() {
    let (cx, _) = context(&[]);
    let endless = Command::new("yes").stdout(Stdout::Capture { limit_bytes: MIB });
    let error =
        cx.clock.timeout(Duration::from_secs(5), endless.run(&cx)).await.expect("promptly").unwrap_err();
    assert!(matches!(&error, ExecError::OutputTooLong { limit_bytes: MIB, .. }), "{error}");

    let exact = Command::new("head").args(["-c", "1048576", "/dev/zero"]);
    let output = exact.stdout(Stdout::Capture { limit_bytes: MIB }).run(&cx).await.unwrap();
    assert_eq!(output.stdout.len() as u64, MIB);

    let line = Command::new("cat").arg("/dev/zero").stdout(Stdout::lines(|_| {}));
    let error = cx.clock.timeout(Duration::from_secs(5), line.run(&cx)).await.expect("promptly").unwrap_err();
    assert!(matches!(&error, ExecError::OutputTooLong { limit_bytes: MIB, .. }), "{error}");
}

#[tokio::test]
async fn a_line_without_end_is_cut_in_the_log() {
    let (cx, captured) = context(&[]);
    sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next").run(&cx).await.unwrap();
    let log = captured.stderr();
    assert!(log.len() < 10_000, "{}", log.len());
    assert!(log.contains("… (cut)\n  sh| next\n"));
}

#[tokio::test]
async fn lines_arrive_one_by_one() {
    let (cx, captured) = context(&[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let lines = Stdout::lines(move |line| keep.lock().unwrap().push(line.to_owned()));
    sh("printf 'a\\r\\n\\n::b\\nc'").stdout(lines).run(&cx).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["a", "", "::b", "c"], "raw: the caller is no runner");
    assert_eq!(captured.stderr(), "");
}

#[tokio::test]
async fn the_environment_is_what_the_policy_says() {
    let (cx, _) = context(&[("HOME", "/h"), ("AWS_PROFILE", "p"), ("GITHUB_OUTPUT", "/o"), ("LC_ALL", "C")]);
    for (policy, wanted) in [
        (EnvPolicy::Minimal, vec!["EXTRA", "HOME", "LC_ALL", "PATH"]),
        (EnvPolicy::Full, vec!["AWS_PROFILE", "EXTRA", "HOME", "LC_ALL", "PATH"]),
    ] {
        let command = Command::new("env").inherit_env(policy).env("EXTRA", "1");
        let output = command.stdout(Stdout::Capture { limit_bytes: MIB }).run(&cx).await.unwrap();
        let text = output.text();
        let mut names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, wanted);
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_told_apart() {
    let (cx, _) = context(&[]);
    for program in ["no-such-program-anywhere", "/no/such/program", ""] {
        let error = Command::new(program).run(&cx).await.unwrap_err();
        assert!(matches!(&error, ExecError::NotFound { .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::ToolMissing);
        assert_eq!(which(&cx.env, program), None);
    }
    assert!(which(&cx.env, "sh").unwrap().ends_with("sh"));
    let error =
        StepError::from(Command::new("true").current_folder("/no/such/folder").run(&cx).await.unwrap_err());
    assert_eq!(error.chain(), "`true` cannot be started: there is no folder /no/such/folder");
    let error = StepError::from(Command::new("/dev/null").run(&cx).await.unwrap_err());
    assert!(
        error.chain().starts_with("`/dev/null` cannot be started: Permission denied"),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn arguments_and_folder_are_taken_literally() {
    let (cx, _) = context(&[]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let command =
        Command::new("sh").args(["-c", "pwd; printf '%s\\n' \"$@\"", "sh"]).args(["a b", "$HOME; ls", ""]);
    let command = command.current_folder(&folder).stdout(Stdout::Capture { limit_bytes: MIB });
    let wanted = format!("{}\na b\n$HOME; ls\n\n", folder.display());
    assert_eq!(String::from_utf8(command.run(&cx).await.unwrap().stdout).unwrap(), wanted);
}
