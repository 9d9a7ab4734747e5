//! `rollout abort`: takes the canary of every service to zero. Never refused.

use crate::traffic::{Traffic, nothing, summary};
use kit_contract::body::{Rollout, RolloutAction};
use kit_contract::config::Span;
use kit_contract::{Artifact, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, Qualifier, Step, StepContext};

/// `abort` has no inputs of its own: nothing may stand between a human and the withdrawal.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// `rollout abort`.
pub(crate) struct Abort;

impl Step for Abort {
    type Args = Args;
    type Body = Rollout;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("abort"),
        about: "Takes the new version out of traffic",
        details: "Takes the canary of every service to zero and watches until that is observed. There are no \
                  guards: no artifact, lock or window can refuse it, and it works from any half-done state. The \
                  stable version serves all the while.",
        examples: &[Example { what: "Get it out, now", line: "rollout abort" }],
        reads: &[],
        qualifier: Some(Qualifier::Fixed("abort")),
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "withdraws and observes again",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(_args: Args, cx: StepContext<Rollout>) -> Result<Outcome<Rollout>, StepError> {
        let Some(traffic) = Traffic::open(&cx)? else {
            let body = nothing(RolloutAction::Abort, None);
            return Ok(Outcome::new(
                Reason::NotConfigured,
                "traffic.driver is \"none\": no traffic is moved",
                body,
            ));
        };
        // Only for the record; a router that cannot be asked can perhaps still be told.
        let before = traffic.observe(&cx).await.unwrap_or_default();
        cx.save(traffic.body(RolloutAction::Abort, None, 0.0, &before, &[]));
        let after = traffic.withdraw(&cx).await?;
        let body =
            Rollout { withdrawn: true, ..traffic.body(RolloutAction::Abort, None, 0.0, &before, &after) };
        let message = format!("0 % observed for all {} services", traffic.services.len());
        Ok(Outcome::new(Reason::Withdrawn, message, body))
    }

    fn summary(artifact: &Artifact<Rollout>) -> String {
        summary(artifact.body.as_ref())
    }
}
