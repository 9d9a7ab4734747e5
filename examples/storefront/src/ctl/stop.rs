//! Ends what was started here, and nothing else.

use super::print_json;
use super::processes::{Process, Registry};
use crate::error::{Context, Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const POLITE_MAX: Duration = Duration::from_secs(5);
const KILLED_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// Everything in the list
    #[arg(long, conflicts_with_all = ["service", "version"], required_unless_present_any = ["service", "version"])]
    all: bool,
    /// Only this service
    #[arg(long)]
    service: Option<String>,
    /// Only this version
    #[arg(long)]
    version: Option<String>,
    /// File that lists the processes that were started
    #[arg(long)]
    processes: PathBuf,
}

impl Stop {
    fn wants(&self, process: &Process) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        self.all || (is(&self.service, &process.service) && is(&self.version, &process.version))
    }
}

#[derive(Debug, Serialize)]
struct Stopped {
    /// Ended by this command.
    ended: Vec<Process>,
    /// Had ended before; whatever has its process id now was left alone.
    gone: Vec<Process>,
}

pub(super) async fn stop(args: Stop) -> Result<()> {
    let registry = Registry::at(&args.processes);
    let mut stopped = Stopped { ended: Vec::new(), gone: Vec::new() };
    let mut failed = None;
    // In reverse: the router, started first, is the last to go.
    for process in registry.read()?.into_iter().rev().filter(|process| args.wants(process)) {
        match end(&process).await {
            Ok(true) => stopped.ended.push(process),
            Ok(false) => stopped.gone.push(process),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    registry.update(|list| list.retain(|one| !stopped.ended.contains(one) && !stopped.gone.contains(one)))?;
    print_json(&stopped)?;
    failed.map_or(Ok(()), Err)
}

/// True if it was running and has ended; false if it was gone already.
async fn end(process: &Process) -> Result<bool> {
    if !process.is_running()? {
        return Ok(false);
    }
    for (sign, patience) in [(Signal::TERM, POLITE_MAX), (Signal::KILL, KILLED_MAX)] {
        if !signal(process, sign)? || wait(process, patience).await? {
            return Ok(true);
        }
    }
    Err(Error::new(format!("process {} ({}) does not end", process.pid, process.service)))
}

/// False if it has ended in the meantime.
fn signal(process: &Process, sign: Signal) -> Result<bool> {
    let pid = Pid::from_raw(process.pid);
    let pid = pid.ok_or_else(|| Error::new(format!("{} is not a process id", process.pid)))?;
    match kill_process(pid, sign) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error).context(format!("signal process {}", process.pid)),
    }
}

/// True once it has ended.
async fn wait(process: &Process, patience: Duration) -> Result<bool> {
    let give_up = Instant::now() + patience;
    while process.is_running()? {
        if Instant::now() > give_up {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}
