//! The harness does what a runner does; a harness that lets everything pass would prove nothing.

use crate::runner::{Cancelled, Job};
use std::collections::BTreeMap;
use std::time::Duration;

fn run(job: &mut Job, script: &str) -> crate::runner::StepRun {
    let running = job.start_script(script, &BTreeMap::new(), None);
    job.finish(running)
}

#[test]
fn a_step_has_pipes_and_no_input() {
    let ran = run(
        &mut Job::new(),
        "[ ! -t 0 ] && [ ! -t 1 ] && [ ! -t 2 ] && [ -z \"$(cat)\" ] && ! env | grep INPUT_",
    );
    assert!(ran.success, "{ran:?}");
}

#[test]
fn both_streams_are_searched_for_commands() {
    let ran = run(
        &mut Job::new(),
        "echo '::set-output name=a::1'; echo 'x ##[error]two' >&2; echo '::notice::three' >&2",
    );
    assert_eq!(ran.outputs["a"], "1");
    assert_eq!((ran.said("error"), ran.said("notice")), ("two".to_owned(), "three".to_owned()));
}

#[test]
fn disabled_commands_fail_the_step() {
    for command in ["set-env name=PATH::x", "add-path::/tmp"] {
        let ran = run(&mut Job::new(), &format!("echo '::{command}'"));
        assert!(ran.code == Some(0) && !ran.success, "{command}: {ran:?}");
    }
}

#[test]
fn broken_files_fail_the_step() {
    for (file, text) in
        [("GITHUB_OUTPUT", "a<<E\\nx"), ("GITHUB_OUTPUT", "no sign\\n"), ("GITHUB_ENV", "NODE_OPTIONS=x\\n")]
    {
        let ran = run(&mut Job::new(), &format!("printf '{text}' >>\"${file}\""));
        assert!(ran.code == Some(0) && !ran.success, "{file} {text}: {ran:?}");
    }
}

#[test]
fn what_is_masked_is_neither_shown_nor_handed_to_another_job() {
    let mut job = Job::new().secret("TOKEN", "hunter22");
    let ran =
        run(&mut job, "echo \"$TOKEN\"; echo '::add-mask::8%250'; echo 8%0; echo a=8%0 >>\"$GITHUB_OUTPUT\"");
    assert!(!ran.log.contains("hunter22") && !ran.log.contains("8%0"), "{}", ran.log);
    assert_eq!(job.job_output(&ran.outputs["a"]), None);
    assert_eq!(job.job_output("https://hunter22.example"), None);
    assert_eq!(job.job_output("v1.2.3"), Some("v1.2.3".to_owned()));
}

#[test]
fn a_secret_is_hidden_in_every_encoding_that_a_runner_knows() {
    let secret = "p@ss \"w\\rd\" & <co>";
    let mut job = Job::new().secret("TOKEN", secret);
    let ran = run(
        &mut job,
        "printf %s \"$TOKEN\" | base64 -w0; echo; printf %s \"x$TOKEN\" | base64 -w0; echo; printf %s \"xy$TOKEN\" | \
         base64 -w0; echo; echo 'p%40ss%20%22w%5Crd%22%20%26%20%3Cco%3E'; echo '{\"p@ss \\\"w\\\\rd\\\" & <co>\"}'; \
         echo 'p@ss &quot;w\\rd&quot; &amp; &lt;co&gt;'",
    );
    let lines: Vec<&str> = ran.log.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 6, "{}", ran.log);
    for line in lines {
        assert!(line.contains("***"), "{line:?} of {}", ran.log);
        assert!(job.job_output(line).is_some(), "what is hidden already is handed on: {line}");
    }
    assert_eq!(job.job_output("cEBzcyAid1xyZCIgJiA8Y28+"), None, "an encoded secret is dropped, too");
    let mut multiline = Job::new().secret("KEY", "line one\nline two");
    let ran = run(&mut multiline, "echo before line two after");
    assert!(!ran.log.contains("line two"), "{}", ran.log);
}

#[test]
fn a_summary_that_is_too_long_is_refused_as_a_whole() {
    let ran = run(&mut Job::new(), "head -c 1048577 /dev/zero | tr '\\0' x >>\"$GITHUB_STEP_SUMMARY\"");
    assert!(ran.success && ran.summary.is_empty() && ran.complaints.len() == 1, "{:?}", ran.complaints);
}

#[test]
fn annotations_are_counted_and_cut() {
    let ran =
        run(&mut Job::new(), "for i in $(seq 12); do echo \"::error::$(printf 'x%.0s' $(seq 5000))\"; done");
    let errors: Vec<_> = ran.annotations.iter().map(|(_, message)| message.len()).collect();
    assert_eq!(errors, [4096; 10]);
}

#[test]
fn only_the_entry_process_is_signalled_and_that_is_why_every_action_ends_in_exec() {
    let short = (Duration::from_millis(300), Duration::from_millis(300));
    // bash waits for its child before it dies, so what the step started never hears of the cancellation.
    let mut job = Job::new();
    let mut running = job.start_script("sleep 30 >&- 2>&- & echo $! >child; wait; :", &BTreeMap::new(), None);
    let child = job.workspace().join("child");
    wait_until(|| std::fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n')));
    assert_ne!(running.cancel_within(short.0, short.1), Cancelled::Killed);
    let child: i32 = std::fs::read_to_string(&child).unwrap().trim().parse().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{child}")).exists(), "the orphan lives on");
    kit_testing::signal(child, kit_testing::Signal::KILL);
    job.finish(running);

    let mut running = job.start_script(
        "trap '' INT TERM; echo 1 >deaf; while :; do read -t 1 <> <(:) || :; done",
        &BTreeMap::new(),
        None,
    );
    wait_until(|| job.workspace().join("deaf").exists());
    assert_eq!(running.cancel_within(short.0, short.1), Cancelled::Killed);
    assert_eq!(job.finish(running).code, Some(137));
}

/// Waits for something that another process does.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !done() {
        assert!(since.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::yield_now();
    }
}
