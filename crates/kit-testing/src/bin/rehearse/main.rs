//! A step whose every way to end can be chosen: the frame is proved with it, in `tests/frame`.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "it misbehaves on purpose: panics, blocks threads, fills disks"
)]

mod acts;
mod args;

use args::{Args, ReleaseArgs};
use kit_contract::config::{Config, Span};
use kit_contract::{Artifact, ArtifactKind, Reason, body};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, Qualifier, ReadSpec, SecretSpec, Step,
    StepContext, Tool, ToolContext, ToolOutput,
};
use std::process::ExitCode;

const SPEC: CommandSpec = CommandSpec {
    command: None,
    about: "Ends in the way that is asked for",
    details: "Rehearses the frame: every way in which a step can end, on demand.",
    examples: &[Example { what: "End well", line: "rehearse --do ok" }],
    reads: &[ReadSpec { kind: ArtifactKind::Smoke, required: false, what_for: "to rest on it" }],
    qualifier: Some(Qualifier::Input("stage")),
    outputs: &[OutputSpec { name: "note", help: "Foreign text" }],
    secrets: &[SecretSpec { name: "rehearsal-key", help: "the key of the rehearsal" }],
    identity: IdentityRule::Joins,
    rerun: "ends again, under the next attempt",
    deadline: Span::from_secs(60),
};

struct Rehearse;

impl Step for Rehearse {
    type Args = Args;
    type Body = body::Smoke;
    const SPEC: CommandSpec = SPEC;

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        args::from_config(config)
    }

    async fn run(args: Args, cx: StepContext<body::Smoke>) -> Result<Outcome<body::Smoke>, StepError> {
        acts::run(args, cx).await
    }

    fn outputs(artifact: &Artifact<body::Smoke>) -> Vec<(&'static str, String)> {
        vec![("note", acts::note(artifact))]
    }

    fn summary(artifact: &Artifact<body::Smoke>) -> String {
        acts::summary(artifact)
    }
}

/// Makes the deployment, as `validate-tag` does.
struct Release;

impl Step for Release {
    type Args = ReleaseArgs;
    type Body = body::Deployment;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("release"),
        about: "Makes a deployment",
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Creates,
        ..SPEC
    };

    async fn run(
        args: ReleaseArgs,
        cx: StepContext<body::Deployment>,
    ) -> Result<Outcome<body::Deployment>, StepError> {
        let body = args::deployment(&args, cx.config())?;
        Ok(Outcome::new(Reason::ReleaseAccepted, format!("{} may be deployed", body.tag), body))
    }
}

/// Shows what the inputs came to.
struct Show;

impl Tool for Show {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("show"),
        about: "Shows what its inputs came to",
        qualifier: None,
        ..SPEC
    };

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        args::from_config(config)
    }

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        acts::tool(args, cx).await
    }
}

fn main() -> ExitCode {
    kit_step::main(
        &Program::new("rehearse", "Rehearses the frame").step::<Rehearse>().step::<Release>().tool::<Show>(),
    )
}
