//! How children are ended: deadline, cancel, drop, and what they leave behind.

use crate::support::{context, eventually, runs, sh};
use kit_contract::Reason;
use kit_core::{Cause, Context};
use kit_exec::{Command, ExecError, Stdout};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

type Pids = Arc<Mutex<Vec<i32>>>;

/// Lines that are process ids are kept; at `ready`, `then` is called.
fn watching(pids: &Pids, then: impl Fn() + Send + 'static) -> Stdout {
    let pids = pids.clone();
    Stdout::lines(move |line| match line.parse() {
        Ok(pid) => pids.lock().unwrap().push(pid),
        Err(_) => {
            assert_eq!(line, "ready");
            let pids = pids.lock().unwrap();
            assert!(!pids.is_empty() && pids.iter().all(|pid| runs(*pid)), "they run before they are ended");
            then();
        }
    })
}

fn cancel_when_ready(cx: &Context, pids: &Pids) -> Stdout {
    let cancel = cx.cancel.clone();
    watching(pids, move || cancel.cancel(Cause::Interrupted))
}

/// A child, its child in the background, one in the foreground, and that one's child.
const FAMILY: &str = "echo $$; sleep 1000 & echo $!; \
                      sh -c 'echo $$; sleep 1001 & echo $!; echo ready; wait'; wait";

#[tokio::test]
async fn a_deadline_ends_the_whole_family() {
    let (cx, _) = context(&[]);
    let pids = Pids::default();
    let (send, mut ready) = mpsc::unbounded_channel();
    let stdout = watching(&pids, move || send.send(()).unwrap());
    let error = sh(FAMILY).stdout(stdout).deadline(Duration::from_millis(1500)).run(&cx).await.unwrap_err();
    assert!(matches!(&error, ExecError::Deadline { limit_ms: 1500, .. }), "{error}");
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert!(ready.try_recv().is_ok());
    let pids = pids.lock().unwrap();
    assert_eq!(pids.len(), 4);
    assert!(!pids.iter().any(|pid| runs(*pid)), "nobody is left: {pids:?}");
}

#[tokio::test]
async fn on_cancel_the_child_gets_sigint_first() {
    let (cx, captured) = context(&[]);
    let folder = tempfile::tempdir().unwrap();
    let pids = Pids::default();
    let script = "trap 'echo INT >> signals; exit 0' INT; trap 'echo TERM >> signals; exit 0' TERM; \
                  echo $$; echo ready; while :; do sleep 0.02; done";
    let command = sh(script).current_folder(folder.path()).stdout(cancel_when_ready(&cx, &pids));
    let error = command.grace(Duration::from_secs(2)).run(&cx).await.unwrap_err();
    // Exit code 0 after a signal is no success: nobody knows how far it came.
    let wanted = matches!(error, ExecError::Cancelled { cause: Cause::Interrupted, started: true, .. });
    assert!(wanted, "{error:?}");
    assert_eq!(error.reason(), Reason::Interrupted);
    let signals = kit_core::fs::read_text(&folder.path().join("signals"), 100).unwrap();
    assert_eq!(signals, "INT\n", "{}", captured.stderr());
}

#[tokio::test]
async fn a_child_that_obeys_nothing_is_killed() {
    let (cx, captured) = context(&[]);
    let pids = Pids::default();
    let script = "trap '' INT TERM; echo $$; sleep 1000 & echo $!; echo ready; wait";
    let before = cx.clock.elapsed();
    let error = sh(script).stdout(cancel_when_ready(&cx, &pids)).run(&cx).await.unwrap_err();
    let took = cx.clock.elapsed() - before;
    assert!(matches!(error, ExecError::Cancelled { .. }), "{error:?}");
    assert!(took >= Duration::from_millis(400), "both graces were given: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let pids = pids.lock().unwrap();
    assert!(pids.len() == 2 && !pids.iter().any(|pid| runs(*pid)), "{pids:?} {}", captured.stderr());
}

#[tokio::test]
async fn a_dropped_future_kills_the_whole_family() {
    let (cx, _) = context(&[]);
    let pids = Pids::default();
    let (send, mut ready) = mpsc::unbounded_channel();
    let stdout = watching(&pids, move || send.send(()).unwrap());
    tokio::select! {
        ended = sh(FAMILY).stdout(stdout).run(&cx) => panic!("{ended:?}"),
        _ = ready.recv() => {}
    }
    let pids = pids.lock().unwrap().clone();
    assert_eq!(pids.len(), 4);
    eventually(&cx, "everybody is gone", || !pids.iter().any(|pid| runs(*pid))).await;
}

#[tokio::test]
async fn nothing_is_started_once_cancelled() {
    let (cx, _) = context(&[]);
    cx.cancel.cancel(Cause::Terminated);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("touched");
    let error = Command::new("touch").arg(&file).run(&cx).await.unwrap_err();
    assert!(matches!(error, ExecError::Cancelled { started: false, .. }), "{error:?}");
    assert_eq!(error.reason(), Reason::Terminated);
    assert!(!file.exists());
    // An undo runs all the same.
    let undo = Context { cancel: kit_core::Cancel::default(), ..cx };
    Command::new("touch").arg(&file).run(&undo).await.unwrap();
    assert!(file.exists());
}

#[tokio::test]
async fn what_a_child_leaves_behind_does_not_hold_us_up() {
    let (cx, captured) = context(&[]);
    let command = sh("sleep 1000 & echo $!").stdout(Stdout::Capture { limit_bytes: 100 });
    let output = cx.clock.timeout(Duration::from_secs(5), command.run(&cx)).await.expect("promptly").unwrap();
    let pid: i32 = output.text().parse().unwrap();
    assert!(output.left_open);
    assert!(captured.stderr().contains("note: `sh` left a process behind"), "{}", captured.stderr());
    assert!(runs(pid), "it was left on purpose, so it lives on");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_left_behind_writer_without_end_does_not_hold_us_up() {
    let (cx, _) = context(&[]);
    let pids = Pids::default();
    let keep = pids.clone();
    let stdout = Stdout::lines(move |line| keep.lock().unwrap().extend(line.parse::<i32>()));
    let command = sh("yes & echo $!").stdout(stdout);
    let output = cx.clock.timeout(Duration::from_secs(5), command.run(&cx)).await.expect("promptly").unwrap();
    assert!(output.left_open);
    let pid = pids.lock().unwrap()[0];
    // Nobody reads any more: SIGPIPE.
    eventually(&cx, "the writer is gone", || !runs(pid)).await;
}
