//! `preflight readiness`: can this deploy be undone?

use crate::check::run_all;
use crate::checks;
use crate::go::{OUTPUTS, outputs, summary};
use crate::memory::{Memory, StoreArgs};
use crate::verdict::{OverrideArgs, overrides, verdict};
use kit_contract::body::{Begin, Readiness};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, ArtifactName};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, ReadSpec, Step, StepContext};

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// `preflight readiness`.
pub(crate) struct ReadinessStep;

impl Step for ReadinessStep {
    type Args = Args;
    type Body = Readiness;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("readiness"),
        about: "Asks whether this deploy can be undone, before the first change",
        details: "Is there a version to return to, is the backup finished, is the lock ours, does the router answer, \
                  and is the stable version healthy? Asked after the build and before the first change, because \
                  afterwards it is too late.",
        examples: &[Example { what: "Can it be undone?", line: "preflight readiness" }],
        reads: &[
            ReadSpec { kind: ArtifactKind::Deployment, required: true, what_for: "the version" },
            ReadSpec { kind: ArtifactKind::Begin, required: true, what_for: "must say go" },
            ReadSpec {
                kind: ArtifactKind::Backup,
                required: false,
                what_for: "must say go where there are databases",
            },
        ],
        qualifier: None,
        outputs: OUTPUTS,
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "asks everything again",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Readiness>) -> Result<Outcome<Readiness>, StepError> {
        let begin = cx.read_go::<Begin>(&ArtifactName::only(ArtifactKind::Begin))?;
        let memory = Memory::open(&args.store, &cx).await?;
        let results = run_all(cx.context(), checks::undo(&cx, &memory)).await;
        let overrides = overrides(&args.overrides, &results, cx.run_info().actor.as_deref())?;
        let verdict = verdict(&results, &overrides);
        let body = Readiness {
            checks: results,
            overrides,
            rollback_target: begin.body.and_then(|begin| begin.rollback_target),
        };
        let mut outcome = Outcome::new(verdict.reason, verdict.message, body);
        outcome.hints = verdict.hints;
        Ok(outcome)
    }

    fn outputs(artifact: &Artifact<Readiness>) -> Vec<(&'static str, String)> {
        outputs(artifact.body.as_ref().map(|body| body.checks.as_slice()).unwrap_or_default())
    }

    fn summary(artifact: &Artifact<Readiness>) -> String {
        summary(artifact.body.as_ref().map(|body| body.checks.as_slice()).unwrap_or_default())
    }
}
