//! Reads what there is to tell. Lenient: whatever an artifact says, and even where there is none, people
//! are told.

use crate::args::About;
use crate::message::{self, Message};
use kit_contract::body::{Deployment, Notice, Record, Rollback};
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Body, DeploymentId, Name, Reason, RunInfo};
use kit_core::StepError;
use kit_step::{StepContext, ToolContext};

/// What is announced.
pub(crate) enum Subject {
    /// A deploy that was recorded.
    Record(Box<Artifact<Record>>),
    /// A rollback.
    Rollback(Box<Artifact<Rollback>>),
    /// Neither of them can be read.
    Nothing(Box<Unrecorded>),
}

/// What is known where nothing was recorded.
pub(crate) struct Unrecorded {
    /// The app.
    pub(crate) app: Name,
    /// The environment.
    pub(crate) environment: Name,
    /// The deployment.
    pub(crate) deployment_id: DeploymentId,
    /// What was to be deployed.
    pub(crate) deployment: Option<Artifact<Deployment>>,
    /// What is missing and why, as a full sentence without a full stop.
    pub(crate) what: String,
    /// Where this runs.
    pub(crate) run: RunInfo,
    /// Now.
    pub(crate) at: jiff::Timestamp,
}

impl Subject {
    /// As a message.
    pub(crate) fn message(&self) -> Message {
        match self {
            Self::Record(artifact) => message::of_record(artifact),
            Self::Rollback(artifact) => message::of_rollback(artifact),
            Self::Nothing(unrecorded) => message::of_nothing(unrecorded),
        }
    }
}

/// Reads it. `None` prefers the record.
///
/// # Errors
/// If nothing is there and nobody said which deployment this is about.
pub(crate) fn read(cx: &StepContext<Notice>, about: Option<About>) -> Result<Subject, StepError> {
    let mut what = match about {
        Some(About::Rollback) => "The rollback left no result".to_owned(),
        _ => "The deploy left no record".to_owned(),
    };
    if about != Some(About::Rollback) {
        match cx.read_if_there::<Record>(&ArtifactName::only(ArtifactKind::Record)) {
            Ok(Some(record)) => return Ok(Subject::Record(Box::new(record))),
            Ok(None) => {}
            // Somebody must be told that it cannot be believed; who reads on would never learn.
            Err(error) => what = format!("The record cannot be used: {}", error.chain()),
        }
    }
    if about != Some(About::Record) {
        match rollback(cx) {
            Ok(Some(rollback)) => return Ok(Subject::Rollback(Box::new(rollback))),
            Ok(None) => {}
            Err(error) => what = format!("The result of the rollback cannot be used: {}", error.chain()),
        }
    }
    let identity = cx.identity();
    if identity.standalone && !cx.env.in_ci() {
        let folder = cx.artifacts().path().display();
        let text = format!("there is neither record.json nor rollback.json in {folder}");
        return Err(StepError::new(Reason::ArtifactMissing, text)
            .hint("point --artifacts at the folder of a deploy, for example one that was downloaded"));
    }
    let deployment = cx.read_if_there(&ArtifactName::only(ArtifactKind::Deployment)).unwrap_or_default();
    Ok(Subject::Nothing(Box::new(Unrecorded {
        app: identity.app,
        environment: identity.environment,
        deployment_id: identity.deployment_id,
        deployment,
        what,
        run: cx.run_info().clone(),
        at: cx.clock.now(),
    })))
}

/// A rollback has an id of its own; it is ours if it undid our deployment.
fn rollback(cx: &ToolContext) -> Result<Option<Artifact<Rollback>>, StepError> {
    let name = ArtifactName::only(ArtifactKind::Rollback);
    match cx.read_if_there::<Rollback>(&name) {
        Err(error) if error.reason == Reason::ArtifactForeign => {
            let about_ours = peek(cx, &name)?.filter(|artifact: &Artifact<Rollback>| {
                artifact.body.as_ref().is_some_and(|body| body.subject == cx.identity().deployment_id)
            });
            about_ours.map(Some).ok_or(error)
        }
        other => other,
    }
}

fn peek<B: Body>(cx: &ToolContext, name: &ArtifactName) -> Result<Option<Artifact<B>>, StepError> {
    let Some(any) = cx.artifacts().peek(name)? else { return Ok(None) };
    let body = any.body.clone().and_then(|body| serde_json::from_value(body).ok());
    Ok(Some(any.with_body(body)))
}
