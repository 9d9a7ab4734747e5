//! `--crash-at`: the machine dies in the middle of a step. What is left must be enough to put it right.

use super::check;
use super::shop::Shop;
use crate::error::Error;
use std::process::Child;
use std::time::{Duration, Instant};

/// The steps of the pipeline, with the artifact that each writes.
const STEPS: [(&str, &str); 18] = [
    ("validate", "deployment"),
    ("preflight", "preflight"),
    ("begin", "begin"),
    ("backup", "backup"),
    ("readiness", "readiness"),
    ("measure", "gate-before-migration"),
    ("migrate", "migration"),
    ("compare", "gate-after-migration"),
    ("rollout-canary", "rollout-canary"),
    ("gate-canary", "gate-canary"),
    ("rollout-progressive", "rollout-progressive"),
    ("gate-progressive", "gate-progressive"),
    ("rollout-full", "rollout-full"),
    ("gate-full", "gate-full"),
    ("smoke", "smoke"),
    ("promote", "rollout-promote"),
    ("finish", "record"),
    ("notify", "notice"),
];

/// How long the deploy may take to get to the step.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn steps() -> Vec<&'static str> {
    STEPS.iter().map(|(step, _)| *step).collect()
}

pub(super) fn is_step(step: &str) -> bool {
    steps().contains(&step)
}

/// Deploys, kills everything once the step has begun, and rolls back.
pub(super) fn show(shop: &Shop, step: &str) -> Result<bool, Error> {
    let Some((_, artifact)) = STEPS.iter().find(|(name, _)| *name == step) else { return Ok(false) };
    let args = ["deploy", "v2.0.0", "--artifacts", "artifacts"];
    println!("\n$ deploy-kit {}", args.join(" "));
    let mut child = shop
        .command("deploy-kit", &args)
        .spawn()
        .map_err(|source| Error::Spawn { program: "deploy-kit".to_owned(), source })?;
    let file = format!("artifacts/{artifact}.json");
    let since = Instant::now();
    while shop.file(&file).is_none() {
        if since.elapsed() > PATIENCE
            || child.try_wait().map_err(Error::file("wait for", "deploy-kit"))?.is_some()
        {
            eprintln!("the deploy ended before it came to {step}");
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_tree(&mut child)?;
    println!("\n== killed at {step}, with everything that it had started");
    let left = shop.file(&file);
    let reason = left.as_ref().and_then(|artifact| artifact.get("reason")?.as_str()).unwrap_or("nothing");
    println!("   {file} says: {reason}");
    println!("\n== rollback, from what was left");
    // A deploy that was finished before the machine died is no business of a rollback.
    let finished = shop.deploy_kit_json(&["status", "--json"])?;
    let serves = finished
        .pointer("/state/good")
        .and_then(|good| good.as_array()?.last()?.get("version")?.as_str().map(str::to_owned));
    if serves.as_deref() == Some("2.0.0") {
        println!("   the chain says that 2.0.0 was deployed: there is nothing to put right");
        return check::put_right(shop, "2.0.0");
    }
    let rolled_back =
        shop.deploy_kit(&["rollback", "--artifacts", "artifacts", "--reason", "the machine died"])?;
    Ok(rolled_back && check::put_right(shop, "1.4.0")?)
}

/// Kills the process and all of its descendants, as a machine that dies does.
fn kill_tree(child: &mut Child) -> Result<(), Error> {
    let mut doomed = vec![child.id()];
    let mut index = 0;
    while let Some(parent) = doomed.get(index).copied() {
        doomed.extend(children_of(parent));
        index += 1;
    }
    // The parent first: it must not see its children die and write down what that means.
    for pid in doomed.iter().filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // One that has ended by itself is as dead as we want it.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    child.wait().map(drop).map_err(Error::file("wait for", "deploy-kit"))
}

/// From `/proc` where there is one; else `ps` is asked.
fn children_of(parent: u32) -> Vec<u32> {
    let pairs = if std::path::Path::new("/proc/self/stat").exists() { from_proc() } else { from_ps() };
    pairs.into_iter().filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| pid).collect()
}

/// Process and parent. The name in `stat` may hold blanks and parentheses, so what counts comes after
/// the last one (proc(5)): state, then parent.
fn from_proc() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let ppid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, ppid))
        })
        .collect()
}

fn from_ps() -> Vec<(u32, u32)> {
    let Ok(listed) = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.lines()
        .filter_map(|line| {
            let (pid, ppid) = line.trim().split_once(' ')?;
            Some((pid.parse().ok()?, ppid.trim().parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_known_by_name() {
        assert!(is_step("gate-canary") && is_step("validate"));
        assert!(!is_step("gate"));
    }
}
