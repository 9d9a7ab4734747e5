//! `rollout abort`: takes the canary of every service to zero. Never refused.

use crate::traffic::{Traffic, nothing, summary};
use kit_contract::body::{Rollout, RolloutAction};
use kit_contract::config::Span;
use kit_contract::{Artifact, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, Qualifier, Step, StepContext};
use std::time::Duration;

/// How long the withdrawal may wait for a look at what was before it.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// `abort` has no inputs of its own: nothing may stand between a human and the withdrawal.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// `rollout abort`.
pub(crate) struct Abort;

impl Step for Abort {
    type Args = Args;
    type Body = Rollout;
    // A withdrawal is never refused, not even by a full disk.
    const ACTS_UNRECORDED: bool = true;
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
        identity: IdentityRule::JoinsOrNot,
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
        // Only for the record: a router that cannot be asked can perhaps still be told, and at once.
        let before = cx.clock.timeout(LOOK_LIMIT, traffic.observe(&cx)).await;
        let before = before.ok().and_then(Result::ok).unwrap_or_default();
        cx.save(traffic.body(RolloutAction::Abort, None, 0.0, &before, &[]));
        cx.in_danger(
            "the canary may still have a share of the traffic",
            "run `rollout abort` until it succeeds, or set the canary's share to zero by hand",
        );
        let withdrawn = traffic.withdraw(&cx).await;
        // From here on, the withdrawal says itself whether it is stuck.
        cx.out_of_danger();
        let after = withdrawn?;
        let body =
            Rollout { withdrawn: true, ..traffic.body(RolloutAction::Abort, None, 0.0, &before, &after) };
        let message = format!("0 % observed for all {} services", traffic.services.len());
        Ok(Outcome::new(Reason::Withdrawn, message, body))
    }

    fn summary(artifact: &Artifact<Rollout>) -> String {
        summary(artifact.body.as_ref())
    }
}
