//! `preflight readiness`: can this deploy be undone?

use crate::args::Args;
use crate::world::{self, World};
use crate::{checks, overrides, report, run, verdict};
use kit_contract::body::{Begin, Readiness};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, ReadSpec, Step, StepContext};

/// `preflight readiness`.
pub(crate) struct Ready;

impl Step for Ready {
    type Args = Args;
    type Body = Readiness;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("readiness"),
        about: "Asks, before the first change, whether the deploy can be undone",
        details: "There is a version to return to; every database has a backup of this deployment, verified to the \
                  required level; the lock is ours; the router answers and its stable side is known; the \
                  migrations can be read and fit what was applied before. All checks run side by side, 15 s each. \
                  At the first deployment there is nothing to return to, which is said and is no failure.",
        examples: &[Example { what: "Can we undo it?", line: "preflight readiness" }],
        reads: &[
            ReadSpec { kind: ArtifactKind::Deployment, required: true, what_for: "what is deployed" },
            ReadSpec { kind: ArtifactKind::Begin, required: true, what_for: "must say go" },
            ReadSpec {
                kind: ArtifactKind::Backup,
                required: false,
                what_for: "the backups; required if there are databases",
            },
        ],
        qualifier: None,
        outputs: report::OUTPUTS,
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "asks everything again",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(args: Args, cx: StepContext<Readiness>) -> Result<Outcome<Readiness>, StepError> {
        let Some(deployment) = world::deployment(&cx)? else {
            return Err(StepError::new(Reason::ArtifactMissing, "there is no deployment to be ready for")
                .hint("the artifact folder must hold deployment.json"));
        };
        cx.read_go::<Begin>(&ArtifactName::only(ArtifactKind::Begin))?;
        let world = World::new((*cx).clone(), Some(deployment), args.store.as_deref());
        let checks = checks::before_the_first_change(&world);
        let ids: Vec<String> = checks.iter().map(|check| check.id.clone()).collect();
        let asked = overrides::asked(&args, &ids, cx.run_info().actor.as_deref())?;
        let results = run::all(&cx, checks).await;
        let verdict = verdict::judge(&results, &asked);
        let body = Readiness {
            checks: results,
            overrides: verdict.used,
            rollback_target: checks::rollback_target::of(&world),
        };
        if cx.cancel.is_cancelled() {
            cx.save(body);
            return Err(StepError::new(Reason::Interrupted, "stopped before every check had an answer"));
        }
        Ok(Outcome { reason: verdict.reason, message: verdict.message, hints: verdict.hints, body })
    }

    fn outputs(artifact: &Artifact<Readiness>) -> Vec<(&'static str, String)> {
        report::outputs(artifact.body.as_ref().map_or(&[], |body| &body.checks))
    }

    fn summary(artifact: &Artifact<Readiness>) -> String {
        artifact.body.as_ref().map(|body| report::summary(&body.checks, &body.overrides)).unwrap_or_default()
    }
}
