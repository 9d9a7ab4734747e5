//! `rollout --stage <name>`: gives the canary of every service the share of one stage.

use crate::traffic::{Traffic, nothing, summary};
use kit_contract::body::{Rollout, RolloutAction};
use kit_contract::config::{Span, nearest};
use kit_contract::{Artifact, ArtifactKind, Name, Reason};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Qualifier, ReadSpec, Step, StepContext,
};
use kit_traffic::{Service, Shortfall, Want};

/// The inputs of a stage.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stage, as deploy.toml names it
    #[arg(long)]
    stage: Name,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
    /// Only say what would be changed
    #[arg(long)]
    dry_run: bool,
}

/// `rollout --stage <name>`.
pub(crate) struct Stage;

impl Step for Stage {
    type Args = Args;
    type Body = Rollout;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Gives the new version the share of traffic of one stage",
        details: "Asks the router for the share of the stage, for all services in one change, and watches until \
                  that share is observed for every one of them. If it is not, or the stable version turns out \
                  unhealthy, the canary is withdrawn at once. Inside a deployment it asks the store first whether \
                  this deploy still holds the lock and nobody asked it to stop. A share that was asked for but \
                  not observed never counts.",
        examples: &[
            Example { what: "5 % for the canary", line: "rollout --stage canary" },
            Example { what: "What would change?", line: "rollout --stage full --dry-run" },
        ],
        reads: &[ReadSpec {
            kind: ArtifactKind::Deployment,
            required: false,
            what_for: "the version that the router must send traffic to; required inside a deployment",
        }],
        qualifier: Some(Qualifier::Input("stage")),
        outputs: &[OutputSpec {
            name: "observed-percent",
            help: "Smallest share observed over all services",
        }],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "asks for the same share again and observes it again",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Rollout>) -> Result<Outcome<Rollout>, StepError> {
        let percent = percent_of(&cx, &args.stage)?;
        let deployment = cx.deployment()?;
        let version = deployment.and_then(|artifact| artifact.body).map(|body| body.version.to_string());
        let Some(traffic) = Traffic::open(&cx)? else {
            let body = nothing(RolloutAction::Shift, Some(args.stage));
            return Ok(Outcome::new(
                Reason::NotConfigured,
                "traffic.driver is \"none\": no traffic is moved",
                body,
            ));
        };
        let before = traffic.observe(&cx).await?;
        let body = |after: &[_]| {
            traffic.body(RolloutAction::Shift, Some(args.stage.clone()), percent, &before, after)
        };
        if args.dry_run {
            let planned = Rollout { dry_run: true, ..body(&before) };
            let message = format!("would ask the router for {percent} %; nothing was changed");
            return Ok(Outcome::new(Reason::Planned, message, planned));
        }
        crate::hold::check(&cx, args.store.as_deref()).await?;
        cx.save(body(&[]));
        cx.in_danger(
            format!("the canary may have up to {percent} % of the traffic"),
            "run `rollout abort` until it succeeds, or set the canary's share to zero by hand",
        );
        let wants = traffic.wants(percent, version.as_deref());
        let (reason, why) = match shift(&cx, &traffic, &wants).await {
            // What is observed counts only if nobody called the deploy off meanwhile.
            Ok(services) if !cx.cancel.is_cancelled() => {
                cx.out_of_danger();
                let message = format!("{percent} % observed for all {} services", traffic.services.len());
                return Ok(Outcome::new(Reason::Shifted, message, body(&services)));
            }
            Ok(_) => (Reason::Interrupted, "cancelled".to_owned()),
            Err(not_reached) => not_reached,
        };
        let withdrawn = traffic.withdraw(&cx).await;
        // From here on, the withdrawal says itself whether it is stuck.
        cx.out_of_danger();
        let after = withdrawn.map_err(|error| error.hint(format!("withdrawn because: {why}")))?;
        let withdrawn = Rollout { withdrawn: true, ..body(&after) };
        if cx.cancel.is_cancelled() {
            cx.save(withdrawn);
            return Err(StepError::new(Reason::Interrupted, "cancelled; the canary was withdrawn"));
        }
        Ok(Outcome::new(reason, format!("{why}; the canary was withdrawn"), withdrawn))
    }

    fn outputs(artifact: &Artifact<Rollout>) -> Vec<(&'static str, String)> {
        let shares = artifact.body.iter().flat_map(|body| &body.services).map(|share| share.observed_percent);
        let smallest = shares.min_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)).flatten();
        vec![("observed-percent", smallest.map(|percent| percent.to_string()).unwrap_or_default())]
    }

    fn summary(artifact: &Artifact<Rollout>) -> String {
        summary(artifact.body.as_ref())
    }
}

fn percent_of(cx: &StepContext<Rollout>, stage: &Name) -> Result<f64, StepError> {
    let stages = &cx.config().stages;
    if let Some(found) = stages.iter().find(|candidate| candidate.name == *stage) {
        return Ok(found.percent);
    }
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let error = StepError::new(
        Reason::UsageError,
        format!(
            "--stage {stage:?} is no stage of deploy.toml: use one of {}",
            names.join(", "),
            stage = stage.as_str()
        ),
    );
    Err(match nearest(stage.as_str(), &names) {
        Some(near) => error.hint(format!("did you mean {near:?}?")),
        None => error,
    })
}

/// Asks for the share and watches until it is observed for every service; else says why it is not.
async fn shift(
    cx: &StepContext<Rollout>,
    traffic: &Traffic,
    wants: &[Want],
) -> Result<Vec<Service>, (Reason, String)> {
    let settled = match traffic.router.shift(cx, &traffic.id, wants).await {
        Ok(_) => traffic.settle(cx, wants).await,
        Err(error) => Err(error),
    };
    let settled = settled.map_err(|error| (Reason::ShareNotReached, error.chain()))?;
    if settled.missing.is_empty() {
        return Ok(settled.services);
    }
    let unhealthy =
        settled.missing.iter().any(|missing| matches!(missing, Shortfall::StableUnhealthy { .. }));
    let reason = if unhealthy { Reason::StableUnhealthy } else { Reason::ShareNotReached };
    Err((reason, settled.why()))
}
