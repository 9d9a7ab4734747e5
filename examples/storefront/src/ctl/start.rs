//! Starts a sibling program in the background and waits until it listens.

use super::admin::Admin;
use super::processes::{Process, Registry};
use super::{print_json, program_of};
use crate::error::{Context, Error, Result};
use crate::faults::Faults;
use crate::files::folder_of;
use crate::router::{Backend, Patch};
use crate::serve::{ADMIN, LISTENING};
use crate::service::Service;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// Which service
    #[arg(long)]
    service: Service,
    /// Which version it says it is
    #[arg(long)]
    version: semver::Version,
    /// SQLite file
    #[arg(long)]
    database: PathBuf,
    /// Admin API of the router
    #[arg(long)]
    admin: String,
    /// File that lists the processes that were started; logs go beside it
    #[arg(long)]
    processes: PathBuf,
    #[command(flatten)]
    faults: Faults,
}

#[derive(Debug, clap::Args)]
pub(super) struct StartRouter {
    /// Address for the shop's users
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Address of the admin API
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: String,
    /// File that keeps weights and backends
    #[arg(long)]
    state: PathBuf,
    /// File that lists the processes that were started; logs go beside it
    #[arg(long)]
    processes: PathBuf,
}

pub(super) async fn start(args: Start) -> Result<()> {
    let name = args.service.name();
    let admin = Admin::new(&args.admin)?;
    let state = admin.state().await?;
    let route = state.services.get(name);
    if let Some(percent) = route.map(|route| route.canary_percent).filter(|percent| *percent > 0) {
        let message = format!("{name} sends {percent} % to its canary; withdraw that one first");
        return Err(Error::new(message));
    }
    let version = args.version.to_string();
    let mut arguments: Vec<OsString> = vec![
        "--database".into(),
        args.database.into(),
        "--app-version".into(),
        version.clone().into(),
        "--fail-percent".into(),
        args.faults.fail_percent.to_string().into(),
        "--slow-ms".into(),
        args.faults.slow_ms.to_string().into(),
    ];
    if let Some(slow_for_ms) = args.faults.slow_for_ms {
        arguments.extend(["--slow-for-ms".into(), slow_for_ms.to_string().into()]);
    }
    let process = launch(name, &program_of(args.service), &version, &arguments, &args.processes).await?;
    let backend = Some(Backend { url: process.url.clone(), version: Some(version) });
    let patch = match route.and_then(|route| route.stable.as_ref()) {
        None => Patch { stable: Some(backend), ..Patch::default() },
        // The percentage is said again: should another command have raised it, this one takes no traffic.
        Some(_) => Patch { canary: Some(backend), canary_percent: Some(0), ..Patch::default() },
    };
    admin.change(&BTreeMap::from([(name.to_owned(), patch)])).await?;
    print_json(&process)
}

pub(super) async fn start_router(args: StartRouter) -> Result<()> {
    let arguments: Vec<OsString> = vec![
        "--listen".into(),
        args.listen.into(),
        "--admin".into(),
        args.admin.into(),
        "--state".into(),
        args.state.into(),
    ];
    let version = env!("CARGO_PKG_VERSION");
    print_json(&launch("router", "storefront-router", version, &arguments, &args.processes).await?)
}

/// Starts the program, waits until it listens, and writes it into the list. What does not come up is ended.
async fn launch(
    service: &str,
    program: &str,
    version: &str,
    arguments: &[OsString],
    processes: &Path,
) -> Result<Process> {
    let own = std::env::current_exe().context("find the own program")?;
    let program = own.with_file_name(program);
    let (log_path, log) = new_log(&folder_of(processes), &format!("{service}-{version}"))?;
    let stderr = log.try_clone().context("open the log twice")?;
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(stderr)
        // Ctrl-C in the terminal is for who started it, not for what was started.
        .process_group(0)
        .spawn()
        .context(format!("start {}", program.display()))?;
    match ready(&mut child, &log_path)
        .await
        .and_then(|announced| record(&child, service, version, announced, processes))
    {
        Ok(process) => Ok(process),
        Err(error) => {
            // It may have ended by itself; the first error is the one to tell.
            let _ = child.kill().and_then(|()| child.wait());
            Err(error)
        }
    }
}

/// What a program says about itself once it can be used.
struct Announced {
    url: String,
    admin: Option<String>,
}

impl Announced {
    /// `None` until it listens. Only whole lines count: the last one may still be on its way.
    fn read(said: &str) -> Option<Self> {
        let find = |what: &str| {
            let mut lines = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            lines.find_map(|line| line.strip_prefix(what)).map(str::to_owned)
        };
        Some(Self { url: find(LISTENING)?, admin: find(ADMIN) })
    }
}

async fn ready(child: &mut Child, log: &Path) -> Result<Announced> {
    let give_up = Instant::now() + READY_MAX;
    loop {
        let ended = child.try_wait().context("look at the new process")?;
        let said = std::fs::read_to_string(log).context(format!("read {}", log.display()))?;
        if let Some(announced) = Announced::read(&said) {
            return Ok(announced);
        }
        if let Some(status) = ended {
            return Err(Error::new(format!("the new process ended ({status}): {}", said.trim())));
        }
        if Instant::now() > give_up {
            return Err(Error::new(format!("the new process does not listen; see {}", log.display())));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn record(child: &Child, service: &str, version: &str, said: Announced, processes: &Path) -> Result<Process> {
    let process = Process {
        service: service.to_owned(),
        version: version.to_owned(),
        url: said.url,
        pid: i32::try_from(child.id()).context("read the process id")?,
        admin: said.admin,
    };
    Registry::at(processes).update(|list| list.push(process.clone()))?;
    Ok(process)
}

/// A log of its own for each start: what an earlier process said must not count for this one.
fn new_log(folder: &Path, name: &str) -> Result<(PathBuf, File)> {
    std::fs::create_dir_all(folder).context(format!("create {}", folder.display()))?;
    let mut number = 1;
    loop {
        let path = folder.join(format!("{name}.{number}.log"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error).context(format!("create {}", path.display())),
        }
    }
}
