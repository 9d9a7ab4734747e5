//! A weighted reverse proxy: `/<service>/*` goes to the stable or the canary backend of that service.
//! Its weights and backends are set through an admin API and survive a restart.

mod admin;
mod proxy;
mod split;
mod state;

use crate::error::{Context, Error, Result, exit};
use crate::{files, serve};
use clap::Parser;
use serde::{Deserialize, Serialize};
pub(crate) use split::Arm;
use split::Split;
pub(crate) use state::{Backend, Patch, Routes};
use state::{Refusal, Route};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Header that names the arm a request must go to; such requests do not count for the split.
pub(crate) const TARGET_HEADER: &str = "x-deploy-target";

/// The weighted router of the demo shop.
#[derive(Debug, Parser)]
struct Args {
    /// Address for the shop's users; port 0 takes a free one and prints it
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Loopback address of the admin API, which asks nobody for a password
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// File that keeps weights and backends over a restart
    #[arg(long)]
    state: PathBuf,
}

/// Requests by arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) stable: u64,
    pub(crate) canary: u64,
}

impl Counts {
    fn count(&mut self, arm: Arm) {
        match arm {
            Arm::Stable => self.stable += 1,
            Arm::Canary => self.canary += 1,
        }
    }
}

/// What is counted while the router runs; starts afresh with it.
#[derive(Clone, Debug, Default)]
struct Traffic {
    split: Split,
    served: Counts,
    forced: Counts,
}

/// What `GET /state` says of one service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServiceView {
    pub(crate) stable: Option<Backend>,
    pub(crate) canary: Option<Backend>,
    pub(crate) canary_percent: u8,
    /// Requests the split decided, since the start or the last reset.
    pub(crate) served: Counts,
    /// Requests that named their arm.
    pub(crate) forced: Counts,
}

/// The answer of `GET /state` and of every change.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StateView {
    pub(crate) services: BTreeMap<String, ServiceView>,
}

#[derive(Default)]
struct Live {
    routes: Routes,
    traffic: BTreeMap<String, Traffic>,
}

struct Shared {
    live: Mutex<Live>,
    /// Held over a whole change, so that two changes cannot overtake each other on their way to the disk.
    changing: tokio::sync::Mutex<()>,
    state: PathBuf,
    client: reqwest::Client,
}

/// Why a change did not happen.
enum ChangeError {
    Refused(Refusal),
    NotWritten(Error),
}

impl Shared {
    /// Each change of `Live` is a plain assignment, so what a panic left is whole.
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Picks the backend for one request and counts it. `None`: no such service.
    fn choose(&self, service: &str, forced: Option<Arm>) -> Option<(Arm, Option<Backend>)> {
        let mut live = self.live();
        let route: Route = live.routes.get(service)?.clone();
        let traffic = live.traffic.entry(service.to_owned()).or_default();
        let arm = forced.unwrap_or_else(|| traffic.split.next(route.canary_percent));
        match forced {
            Some(_) => traffic.forced.count(arm),
            None => traffic.served.count(arm),
        }
        Some((
            arm,
            match arm {
                Arm::Stable => route.stable,
                Arm::Canary => route.canary,
            },
        ))
    }

    /// All of the patches, or none: decided, then on the disk, then in force.
    async fn change(
        self: &Arc<Self>,
        patches: BTreeMap<String, Patch>,
    ) -> std::result::Result<(), ChangeError> {
        let _turn = self.changing.lock().await;
        let before = self.live().routes.clone();
        let after = state::apply(&before, patches).map_err(ChangeError::Refused)?;
        let (path, written) = (self.state.clone(), after.clone());
        tokio::task::spawn_blocking(move || files::write_json(&path, &written))
            .await
            .context("write the state")
            .flatten()
            .map_err(ChangeError::NotWritten)?;
        let mut live = self.live();
        for (name, route) in &after {
            if before.get(name).map(|old| old.canary_percent) != Some(route.canary_percent) {
                live.traffic.entry(name.clone()).or_default().split = Split::default();
            }
        }
        live.routes = after;
        Ok(())
    }

    fn view(&self) -> StateView {
        let live = self.live();
        let view = |(name, route): (&String, &Route)| {
            let traffic = live.traffic.get(name).cloned().unwrap_or_default();
            let view = ServiceView {
                stable: route.stable.clone(),
                canary: route.canary.clone(),
                canary_percent: route.canary_percent,
                served: traffic.served,
                forced: traffic.forced,
            };
            (name.clone(), view)
        };
        StateView { services: live.routes.iter().map(view).collect() }
    }
}

/// Runs the router until SIGTERM or SIGINT.
#[tokio::main]
pub async fn main() -> ExitCode {
    exit(run(Args::parse()).await)
}

async fn run(args: Args) -> Result<()> {
    if !args.admin.ip().is_loopback() {
        return Err(Error::new("--admin must be a loopback address: the admin API has no password"));
    }
    let routes = files::read_json(&args.state)?.unwrap_or_default();
    state::check_all(&routes).context(format!("use {}", args.state.display()))?;
    let shared = Arc::new(Shared {
        live: Mutex::new(Live { routes, traffic: BTreeMap::new() }),
        changing: tokio::sync::Mutex::default(),
        state: args.state,
        client: proxy::client()?,
    });
    let stop = serve::Stop::on_signals()?;
    let (admin, admin_address) = serve::bind(args.admin).await?;
    let (users, users_address) = serve::bind(args.listen).await?;
    serve::announce(serve::ADMIN, admin_address)?;
    serve::announce(serve::LISTENING, users_address)?;
    tokio::try_join!(
        serve::serve(admin, admin::routes(shared.clone()), stop.clone()),
        serve::serve(users, proxy::routes(shared), stop),
    )?;
    Ok(())
}
