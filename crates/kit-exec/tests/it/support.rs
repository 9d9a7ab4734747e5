//! A context with the real `PATH`, scripts, and a look at processes.

use kit_core::{Captured, Context, Env};
use kit_exec::Command;
use std::path::Path;
use std::time::Duration;

/// A context whose environment has the real `PATH` and these variables.
pub(crate) fn context(variables: &[(&str, &str)]) -> (Context, Captured) {
    let path = Env::capture().get("PATH").expect("PATH is set").to_owned();
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Context::for_test(pairs.chain([("PATH".to_owned(), path)]).collect())
}

/// A child with short graces, so that nobody waits for long.
pub(crate) fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script]).grace(Duration::from_millis(200))
}

/// Whether a process runs; one that has ended and waits to be reaped does not.
pub(crate) fn runs(pid: i32) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
        return rustix::process::test_kill_process(pid).is_ok();
    }
    match kit_core::fs::read_text(Path::new(&format!("/proc/{pid}/stat")), 4096) {
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => false,
    }
}

/// Waits until a condition holds; fails after 5 s.
pub(crate) async fn eventually(cx: &Context, what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            cx.clock.sleep(Duration::from_millis(10)).await;
        }
    };
    cx.clock.timeout(Duration::from_secs(5), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
