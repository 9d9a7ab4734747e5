//! `preflight`: go or no-go.

use crate::check::{run_all, word};
use crate::checks;
use crate::memory::{Memory, StoreArgs};
use crate::verdict::{OverrideArgs, overrides, verdict};
use kit_contract::body::{CheckOutcome, CheckResult, Preflight};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, ReadSpec, Step, StepContext, markdown_escape,
};

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// `preflight`.
pub(crate) struct Go;

/// The outputs of both commands.
pub(crate) const OUTPUTS: &[OutputSpec] = &[
    OutputSpec { name: "passed", help: "How many checks passed" },
    OutputSpec { name: "failed", help: "The checks that failed or could not be asked, separated by commas" },
];

impl Step for Go {
    type Args = Args;
    type Body = Preflight;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Asks everything that can be asked without changing anything",
        details: "Are the secrets there and well-formed, do addresses and databases answer, is the store usable, is \
                  the lock free, is the version not marked bad? All checks run side by side and none stops the \
                  others. A check that could not ask is not a pass: without a failure the step then ends \
                  inconclusive. A check can be overridden with a reason, which the record keeps.",
        examples: &[
            Example { what: "Go or no-go?", line: "preflight" },
            Example {
                what: "Go although one address is known to be down",
                line: "preflight --override endpoint_reachable:1 --override-reason \"moved next week\"",
            },
        ],
        reads: &[ReadSpec {
            kind: ArtifactKind::Deployment,
            required: false,
            what_for: "the version; required inside a deployment",
        }],
        qualifier: None,
        outputs: OUTPUTS,
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "asks everything again",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Preflight>) -> Result<Outcome<Preflight>, StepError> {
        let deployment = cx.deployment()?.and_then(|artifact| artifact.body);
        let memory = Memory::open(&args.store, &cx).await;
        let mut all = checks::secrets(&cx);
        all.extend(checks::endpoints(&cx));
        all.extend(checks::databases(&cx));
        all.push(checks::opened(&memory));
        if let Ok(memory) = &memory {
            all.extend(checks::memory(&cx, memory, deployment.as_ref()));
        }
        let results = run_all(cx.context(), all).await;
        let overrides = overrides(&args.overrides, &results, cx.run_info().actor.as_deref())?;
        let verdict = verdict(&results, &overrides);
        let mut outcome =
            Outcome::new(verdict.reason, verdict.message, Preflight { checks: results, overrides });
        outcome.hints = verdict.hints;
        Ok(outcome)
    }

    fn outputs(artifact: &Artifact<Preflight>) -> Vec<(&'static str, String)> {
        outputs(artifact.body.as_ref().map(|body| body.checks.as_slice()).unwrap_or_default())
    }

    fn summary(artifact: &Artifact<Preflight>) -> String {
        summary(artifact.body.as_ref().map(|body| body.checks.as_slice()).unwrap_or_default())
    }
}

/// The outputs of both commands.
pub(crate) fn outputs(checks: &[CheckResult]) -> Vec<(&'static str, String)> {
    let good = |check: &&CheckResult| matches!(check.outcome, CheckOutcome::Pass | CheckOutcome::Warn);
    let failed: Vec<&str> =
        checks.iter().filter(|check| !good(check)).map(|check| check.id.as_str()).collect();
    vec![("passed", checks.iter().filter(good).count().to_string()), ("failed", failed.join(","))]
}

/// The job summary of both commands.
pub(crate) fn summary(checks: &[CheckResult]) -> String {
    let mut text = String::from("\n| check | outcome | what was seen |\n|---|---|---|\n");
    for check in checks {
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            markdown_escape(&check.id),
            word(check.outcome),
            markdown_escape(&check.message)
        ));
    }
    text
}
