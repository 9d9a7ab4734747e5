//! The `command` driver: a program of the user's that speaks `deploy-kit/traffic/v1`.

use crate::protocol::{Action, Answer, Request, RequestedService, SCHEMA, Service};
use crate::router::{Router, TrafficError, Want};
use async_trait::async_trait;
use kit_contract::config::Traffic;
use kit_contract::{DeploymentId, Name};
use kit_core::Context;
use kit_exec::{Command, Stdin, Stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An answer names a few services; a longer one is not an answer.
const ANSWER_LIMIT_BYTES: u64 = 1 << 20;
/// A driver that takes longer than this hangs, however long the router may take to settle.
const LONGEST: Duration = Duration::from_secs(30);
/// A driver that does not obey SIGINT, and then SIGTERM, for this long is killed: when the step is
/// cancelled, there must be time left for the withdrawal.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the user's program for every request. Its stderr goes to the log.
pub struct CommandRouter {
    program: String,
    args: Vec<String>,
    folder: PathBuf,
    deadline: Duration,
}

impl CommandRouter {
    /// The program of the configuration, run in `folder`.
    pub fn new(traffic: &Traffic, folder: &Path) -> Self {
        Self {
            // A name is looked up on PATH; a path is relative to the folder that it is run in.
            program: traffic.command.first().cloned().unwrap_or_default(),
            args: traffic.command.iter().skip(1).cloned().collect(),
            folder: folder.to_owned(),
            deadline: traffic.settle.duration().min(LONGEST),
        }
    }

    async fn ask(
        &self,
        cx: &Context,
        id: &DeploymentId,
        action: Action,
        services: Vec<RequestedService>,
    ) -> Result<Vec<Service>, TrafficError> {
        let asked: Vec<Name> = services.iter().map(|service| service.name.clone()).collect();
        let request = Request { schema: SCHEMA.to_owned(), action, services, deployment_id: id.clone() };
        let request = serde_json::to_vec(&request).map_err(|error| self.nonsense(error.to_string()))?;
        let output = Command::new(&self.program)
            .args(self.args.iter().map(String::as_str))
            .current_folder(&self.folder)
            .stdin(Stdin::Bytes(request))
            .stdout(Stdout::Capture { limit_bytes: ANSWER_LIMIT_BYTES })
            // A refusal is an answer too: it says why.
            .accept_code(1)
            .deadline(self.deadline)
            .grace(GRACE)
            .run(cx)
            .await
            .map_err(|error| TrafficError::Program {
                program: self.program.clone(),
                source: Box::new(error),
            })?;
        let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|error| {
            self.nonsense(format!("exit code {}, and stdout is not JSON: {error}", output.code))
        })?;
        self.check(&asked, output.code, answer)
    }

    fn check(&self, asked: &[Name], code: i32, answer: Answer) -> Result<Vec<Service>, TrafficError> {
        if answer.schema != SCHEMA {
            return Err(self.nonsense(format!("its schema is {:?}, not {SCHEMA:?}", answer.schema)));
        }
        match (code, answer.error) {
            (0, None) => {}
            (_, Some(error)) => return Err(self.nonsense(format!("it refused: {error}"))),
            (code, None) => {
                return Err(self.nonsense(format!("exit code {code} without a word about the error")));
            }
        }
        let mut services = Vec::new();
        for name in asked {
            let mut found = answer.services.iter().filter(|service| service.name == *name);
            let (Some(service), None) = (found.next(), found.next()) else {
                return Err(self.nonsense(format!("it does not say exactly once what is so for {name}")));
            };
            if !(0.0..=100.0).contains(&service.canary_percent) {
                return Err(self.nonsense(format!("{name} has canary_percent {}", service.canary_percent)));
            }
            services.push(service.clone());
        }
        Ok(services)
    }

    fn nonsense(&self, problem: String) -> TrafficError {
        TrafficError::Answer { program: self.program.clone(), problem }
    }
}

fn plain(services: &[Name]) -> Vec<RequestedService> {
    services
        .iter()
        .map(|name| RequestedService { name: name.clone(), canary_percent: None, version: None })
        .collect()
}

#[async_trait]
impl Router for CommandRouter {
    fn name(&self) -> &'static str {
        "command"
    }

    async fn observe(
        &self,
        cx: &Context,
        id: &DeploymentId,
        services: &[Name],
    ) -> Result<Vec<Service>, TrafficError> {
        self.ask(cx, id, Action::Observe, plain(services)).await
    }

    async fn shift(
        &self,
        cx: &Context,
        id: &DeploymentId,
        wants: &[Want],
    ) -> Result<Vec<Service>, TrafficError> {
        let services = wants
            .iter()
            .map(|want| RequestedService {
                name: want.service.clone(),
                canary_percent: Some(want.canary_percent),
                version: want.version.clone(),
            })
            .collect();
        self.ask(cx, id, Action::Shift, services).await
    }

    async fn abort(
        &self,
        cx: &Context,
        id: &DeploymentId,
        services: &[Name],
    ) -> Result<Vec<Service>, TrafficError> {
        self.ask(cx, id, Action::Abort, plain(services)).await
    }

    async fn switch(
        &self,
        cx: &Context,
        id: &DeploymentId,
        targets: &[(Name, String)],
    ) -> Result<Vec<Service>, TrafficError> {
        let services = targets
            .iter()
            .map(|(name, version)| RequestedService {
                name: name.clone(),
                canary_percent: None,
                version: Some(version.clone()),
            })
            .collect();
        self.ask(cx, id, Action::Switch, services).await
    }
}
