//! The traffic driver: one request on stdin, one answer on stdout, with what was observed after the action.

use super::admin::Admin;
use super::processes::{Process, Registry};
use super::{Driver, health, print_json};
use crate::error::{Context, Error, Result};
use crate::router::{Backend, Patch, ServiceView, StateView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

const SCHEMA: &str = "deploy-kit/traffic/v1";
const REQUEST_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Request {
    schema: String,
    action: Action,
    services: Vec<Asked>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// What is the share, who runs, how are they?
    Observe,
    /// Give the canary the share that is asked for.
    Shift,
    /// Take the canary to 0. Needs nothing but the router.
    Abort,
    /// Which version is stable? Answered like `observe`.
    Current,
    /// Make a running version the stable one, and take the canary to 0.
    Switch,
}

#[derive(Debug, Deserialize)]
struct Asked {
    name: String,
    canary_percent: Option<f64>,
    version: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    schema: &'static str,
    services: Vec<Observed>,
}

#[derive(Debug, Serialize)]
struct Observed {
    name: String,
    canary_percent: u8,
    stable_version: Option<String>,
    stable_healthy: Option<bool>,
    canary_version: Option<String>,
    canary_healthy: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Failure {
    schema: &'static str,
    error: String,
}

/// What must be seen in the router afterwards, by service.
type Expected = BTreeMap<String, (u8, Option<Backend>)>;

/// Reads, acts, observes, answers.
pub(super) async fn drive(driver: Driver) -> ExitCode {
    let answered = match answer(&driver).await {
        Ok(answer) => print_json(&answer).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            print_json(&Failure { schema: SCHEMA, error: error.explain() }).map(|()| ExitCode::FAILURE)
        }
    };
    answered.unwrap_or(ExitCode::FAILURE)
}

async fn answer(driver: &Driver) -> Result<Answer> {
    let request = read_request()?;
    let admin = Admin::new(&driver.admin)?;
    let before = admin.state().await?;
    let (patches, expected) = match request.action {
        Action::Observe | Action::Current => Default::default(),
        Action::Shift => shift(&request.services, &before)?,
        Action::Abort => abort(&request.services, &before),
        Action::Switch => switch(&request.services, &before, &driver.processes).await?,
    };
    if !patches.is_empty() {
        admin.change(&patches).await?;
    }
    let after = admin.state().await?;
    confirm(&expected, &after)?;
    observe(&request, after).await
}

fn read_request() -> Result<Request> {
    let mut text = String::new();
    std::io::stdin().take(REQUEST_BYTES_MAX).read_to_string(&mut text).context("read the request")?;
    let request: Request = serde_json::from_str(&text).context("understand the request")?;
    if request.schema != SCHEMA {
        return Err(Error::new(format!("schema is {:?}; this driver speaks {SCHEMA:?}", request.schema)));
    }
    let only_asks = matches!(request.action, Action::Observe | Action::Current);
    if request.services.is_empty() && !only_asks {
        return Err(Error::new("no services are named"));
    }
    Ok(request)
}

fn find<'a>(state: &'a StateView, name: &str) -> Result<&'a ServiceView> {
    state.services.get(name).ok_or_else(|| Error::new(format!("the router has no service {name:?}")))
}

fn shift(services: &[Asked], before: &StateView) -> Result<(BTreeMap<String, Patch>, Expected)> {
    let mut patches = BTreeMap::new();
    let mut expected = Expected::new();
    for asked in services {
        let percent = whole_percent(asked)?;
        let view = find(before, &asked.name)?;
        let runs = view.canary.as_ref().and_then(|canary| canary.version.as_deref());
        if percent > 0 && asked.version.is_some() && asked.version.as_deref() != runs {
            let (asked_version, runs) =
                (asked.version.as_deref().unwrap_or_default(), runs.unwrap_or("none"));
            let message = format!("canary of {:?} is {runs}, not {asked_version}", asked.name);
            return Err(Error::new(message));
        }
        patches.insert(asked.name.clone(), Patch { canary_percent: Some(percent), ..Patch::default() });
        expected.insert(asked.name.clone(), (percent, view.stable.clone()));
    }
    Ok((patches, expected))
}

fn whole_percent(asked: &Asked) -> Result<u8> {
    match asked.canary_percent {
        // The conversion is exact: the number is whole and at most 100.
        Some(percent) if (0.0..=100.0).contains(&percent) && percent.fract() == 0.0 => Ok(percent as u8),
        Some(percent) => Err(Error::new(format!(
            "canary_percent of {:?} is {percent}; this router takes whole numbers from 0 to 100",
            asked.name
        ))),
        None => Err(Error::new(format!("canary_percent of {:?} is missing", asked.name))),
    }
}

/// A service that the router does not know has nothing to withdraw, and must not keep the others from it; it
/// is reported afterwards.
fn abort(services: &[Asked], before: &StateView) -> (BTreeMap<String, Patch>, Expected) {
    let known = services.iter().filter_map(|asked| Some((&asked.name, before.services.get(&asked.name)?)));
    known
        .map(|(name, view)| {
            let patch = Patch { canary_percent: Some(0), ..Patch::default() };
            ((name.clone(), patch), (name.clone(), (0, view.stable.clone())))
        })
        .unzip()
}

async fn switch(
    services: &[Asked],
    before: &StateView,
    processes: &std::path::Path,
) -> Result<(BTreeMap<String, Patch>, Expected)> {
    let registry = Registry::at(processes).read()?;
    let mut patches = BTreeMap::new();
    let mut expected = Expected::new();
    for asked in services {
        let view = find(before, &asked.name)?;
        let version = asked.version.as_deref();
        let version = version.ok_or_else(|| Error::new(format!("version of {:?} is missing", asked.name)))?;
        let process = running(&registry, &asked.name, version).await?;
        let stable = Backend { url: process.url.clone(), version: Some(version.to_owned()) };
        // What becomes stable is no canary any more; another canary stays registered, without traffic.
        let promoted = view.canary.as_ref().is_some_and(|canary| canary.url == stable.url);
        let patch = Patch {
            stable: Some(Some(stable.clone())),
            canary: promoted.then_some(None),
            canary_percent: Some(0),
        };
        patches.insert(asked.name.clone(), patch);
        expected.insert(asked.name.clone(), (0, Some(stable)));
    }
    Ok((patches, expected))
}

/// The newest process of that version that says so itself and is healthy.
async fn running<'a>(registry: &'a [Process], service: &str, version: &str) -> Result<&'a Process> {
    let client = health::client()?;
    let mut listed = false;
    for process in registry.iter().rev().filter(|one| one.service == service && one.version == version) {
        listed = true;
        if health::healthy(&client, &process.url, service, Some(version)).await == Some(true) {
            return Ok(process);
        }
    }
    let why = if listed { "is not healthy or cannot be reached" } else { "was not started" };
    Err(Error::new(format!("{service} {version} {why}")))
}

fn confirm(expected: &Expected, after: &StateView) -> Result<()> {
    for (name, (percent, stable)) in expected {
        let view = find(after, name)?;
        if view.canary_percent != *percent || view.stable != *stable {
            let message = format!("the router did not confirm the change of {name:?}");
            return Err(Error::new(message));
        }
    }
    Ok(())
}

/// The services that were named, or all if none was.
async fn observe(request: &Request, mut state: StateView) -> Result<Answer> {
    let names: Vec<String> = match request.services.is_empty() {
        true => state.services.keys().cloned().collect(),
        false => request.services.iter().map(|asked| asked.name.clone()).collect(),
    };
    let client = health::client()?;
    let mut observing = Vec::new();
    for name in names {
        find(&state, &name)?;
        let view = state.services.remove(&name);
        let view = view.ok_or_else(|| Error::new(format!("{name:?} is named twice")))?;
        observing.push(observe_one(&client, name, view));
    }
    Ok(Answer { schema: SCHEMA, services: futures_util::future::join_all(observing).await })
}

async fn observe_one(client: &reqwest::Client, name: String, view: ServiceView) -> Observed {
    let ask = async |backend: &Option<Backend>| match backend {
        Some(backend) => health::healthy(client, &backend.url, &name, backend.version.as_deref()).await,
        None => None,
    };
    let (stable_healthy, canary_healthy) = tokio::join!(ask(&view.stable), ask(&view.canary));
    Observed {
        canary_percent: view.canary_percent,
        stable_version: view.stable.and_then(|backend| backend.version),
        stable_healthy,
        canary_version: view.canary.and_then(|backend| backend.version),
        canary_healthy,
        name,
    }
}
