//! Reads what there is to tell. Lenient: whatever an artifact says, and even where there is none, people
//! are told.

use crate::args::About;
use crate::message::{self, Message};
use kit_contract::body::{Deployment, Notice, Record, Rollback};
use kit_contract::{
    AnyArtifact, Artifact, ArtifactKind, ArtifactName, Body, DeploymentId, Name, Reason, RunInfo,
};
use kit_core::StepError;
use kit_step::{StepContext, ToolContext};

/// What is announced.
pub(crate) enum Subject {
    /// A deploy that was recorded.
    Record(Box<Artifact<Record>>),
    /// A rollback.
    Rollback(Box<Artifact<Rollback>>),
    /// A step that runs by itself, on a schedule.
    Alone(Alone, Box<AnyArtifact>),
    /// None of them can be read.
    Nothing(Box<Unrecorded>),
}

/// Which step that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    Backup,
    Drill,
}

impl Alone {
    /// As a title has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Drill => "restore drill",
        }
    }

    const fn kind(self) -> ArtifactKind {
        match self {
            Self::Backup => ArtifactKind::Backup,
            Self::Drill => ArtifactKind::Drill,
        }
    }
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
    /// The step, if it is one that runs by itself.
    pub(crate) alone: Option<Alone>,
    /// What is missing and why, as a full sentence without a full stop.
    pub(crate) what: String,
    /// Where this runs.
    pub(crate) run: RunInfo,
    /// Now.
    pub(crate) at: jiff::Timestamp,
}

impl Subject {
    /// Of what runs on a schedule, only failures are announced.
    pub(crate) fn not_worth_telling(&self) -> Option<String> {
        match self {
            Self::Alone(which, artifact) if artifact.is_go() => {
                Some(format!("the {} succeeded, which is not announced", which.as_str()))
            }
            _ => None,
        }
    }

    /// As a message.
    pub(crate) fn message(&self) -> Message {
        match self {
            Self::Record(artifact) => message::of_record(artifact),
            Self::Rollback(artifact) => message::of_rollback(artifact),
            Self::Alone(which, artifact) => message::of_alone(*which, artifact),
            Self::Nothing(unrecorded) => message::of_nothing(unrecorded),
        }
    }
}

/// Reads it. `None` prefers the record.
///
/// # Errors
/// If nothing is there and nobody said which deployment this is about.
pub(crate) fn read(cx: &StepContext<Notice>, about: Option<About>) -> Result<Subject, StepError> {
    match about {
        Some(About::Backup) => return alone(cx, Alone::Backup),
        Some(About::Drill) => return alone(cx, Alone::Drill),
        Some(About::Record | About::Rollback) | None => {}
    }
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
    Ok(Subject::Nothing(Box::new(unrecorded(cx, deployment, (what, None)))))
}

fn unrecorded(
    cx: &ToolContext,
    deployment: Option<Artifact<Deployment>>,
    (what, alone): (String, Option<Alone>),
) -> Unrecorded {
    let identity = cx.identity();
    Unrecorded {
        app: identity.app,
        environment: identity.environment,
        deployment_id: identity.deployment_id,
        deployment,
        alone,
        what,
        run: cx.run_info().clone(),
        at: cx.clock.now(),
    }
}

/// The artifact of a step that has an id of its own, whatever it says.
fn alone(cx: &ToolContext, which: Alone) -> Result<Subject, StepError> {
    let name = ArtifactName::only(which.kind());
    let identity = cx.identity();
    let found = cx.artifacts().peek(&name);
    let what = match found {
        Ok(Some(artifact))
            if artifact.app == identity.app && artifact.environment == identity.environment =>
        {
            return Ok(Subject::Alone(which, Box::new(artifact)));
        }
        Ok(Some(_)) => format!("{} belongs to another app or environment", name.file_name()),
        Ok(None) if !cx.env.in_ci() => {
            let folder = cx.artifacts().path().display();
            let text = format!("there is no {} in {folder}", name.file_name());
            return Err(StepError::new(Reason::ArtifactMissing, text)
                .hint("point --artifacts at the folder that holds it"));
        }
        Ok(None) => format!("The {} left no result", which.as_str()),
        Err(error) => format!("The result of the {} cannot be used: {}", which.as_str(), error.chain()),
    };
    Ok(Subject::Nothing(Box::new(unrecorded(cx, None, (what, Some(which))))))
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
