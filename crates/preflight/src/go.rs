//! `preflight`: go or no-go before anything is touched.

use crate::args::GoArgs;
use crate::world::{self, World};
use crate::{checks, overrides, report, run, verdict};
use kit_contract::body::{CheckOutcome, Preflight};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, Reason};
use kit_core::{Level, StepError};
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, ReadSpec, SecretSpec, Step, StepContext};

/// `preflight`.
pub(crate) struct Go;

impl Step for Go {
    type Args = GoArgs;
    type Body = Preflight;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Asks everything that can be asked before anything is touched",
        details: "Every secret that deploy.toml names is there and well-formed; endpoints, services and databases \
                  answer; the store keeps its conditions; nobody else deploys; the chain is whole; the version is \
                  not marked bad; nobody asked to stop; images that are built already are in their registry. In \
                  GitHub Actions: nobody has to review each job of the deploy. All checks run side by side, 15 s each, and none stops \
                  the others. What could not be asked is never healthy. A check can be overridden with a reason, \
                  which the record keeps open; lock_free and store_usable cannot.",
        examples: &[
            Example { what: "May we deploy?", line: "preflight" },
            Example {
                what: "Deploy although a service is down",
                line: "preflight --override endpoint_reachable:web --override-reason \"this release repairs it\"",
            },
        ],
        reads: &[ReadSpec {
            kind: ArtifactKind::Deployment,
            required: false,
            what_for: "the version; required inside a deployment",
        }],
        qualifier: None,
        outputs: report::GO_OUTPUTS,
        secrets: &[SecretSpec {
            name: "registry-password",
            help: "Password or token for the registry of --image",
        }],
        identity: IdentityRule::Joins,
        rerun: "asks everything again",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(args: GoArgs, cx: StepContext<Preflight>) -> Result<Outcome<Preflight>, StepError> {
        let deployment = world::deployment(&cx)?;
        let world = World::new((*cx).clone(), deployment, args.both.store.as_deref());
        let checks = checks::before_anything(&world, &args);
        let ids: Vec<String> = checks.iter().map(|check| check.id.clone()).collect();
        let asked = overrides::asked(&args.both, &ids, cx.run_info().actor.as_deref())?;
        let results = run::all(&cx, checks).await;
        let verdict = verdict::judge(&results, &asked);
        for check in results.iter().filter(|check| check.outcome == CheckOutcome::Warn) {
            // Nobody opens the log of a job that succeeded.
            cx.out.annotate(Level::Warning, "preflight", &format!("{}: {}", check.id, check.message));
        }
        let body = Preflight { checks: results, overrides: verdict.used, images: world.images() };
        if cx.cancel.is_cancelled() {
            cx.save(body);
            return Err(StepError::new(Reason::Interrupted, "stopped before every check had an answer"));
        }
        Ok(Outcome { reason: verdict.reason, message: verdict.message, hints: verdict.hints, body })
    }

    fn outputs(artifact: &Artifact<Preflight>) -> Vec<(&'static str, String)> {
        let body = artifact.body.as_ref();
        let digests: Vec<&str> =
            body.iter().flat_map(|body| &body.images).map(|image| image.digest.as_str()).collect();
        let mut outputs = report::outputs(body.map_or(&[], |body| &body.checks));
        outputs.push(("image-digests", digests.join("\n")));
        outputs
    }

    fn summary(artifact: &Artifact<Preflight>) -> String {
        artifact.body.as_ref().map(|body| report::summary(&body.checks, &body.overrides)).unwrap_or_default()
    }
}
