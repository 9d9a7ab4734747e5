//! `rollout promote`: the new version becomes the stable one.

use crate::traffic::{Traffic, nothing, summary};
use kit_contract::body::{Rollout, RolloutAction, Smoke};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, Qualifier, ReadSpec, Step, StepContext};
use kit_traffic::{Service, unswitched};

/// The inputs of `promote`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The version to promote; without this, the one of deployment.json
    #[arg(long)]
    to_version: Option<String>,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
}

/// `rollout promote`.
pub(crate) struct Promote;

impl Step for Promote {
    type Args = Args;
    type Body = Rollout;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("promote"),
        about: "Makes the new version the stable one, once it has all of the traffic",
        details: "Refuses unless every service was observed at 100 % of that version, or promoted already. Then the new version becomes the stable one, \
                  and the old version stands by until the rollback window has passed. Until this, a withdrawal is a \
                  change of weights; after it, `rollback` switches back.",
        examples: &[Example { what: "Make it the stable version", line: "rollout promote" }],
        reads: &[
            ReadSpec {
                kind: ArtifactKind::Deployment,
                required: false,
                what_for: "the version; required inside a deployment",
            },
            ReadSpec { kind: ArtifactKind::Smoke, required: false, what_for: "must say go if it is there" },
        ],
        qualifier: Some(Qualifier::Fixed("promote")),
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "promotes what is not promoted yet; where all of it is, it says so",
        deadline: Span::from_secs(2 * 60),
    };

    async fn run(args: Args, cx: StepContext<Rollout>) -> Result<Outcome<Rollout>, StepError> {
        let deployment = cx.deployment()?.and_then(|artifact| artifact.body);
        let version = args.to_version.or_else(|| deployment.map(|body| body.version.to_string()));
        let Some(traffic) = Traffic::open(&cx)? else {
            let body = nothing(RolloutAction::Promote, None);
            return Ok(Outcome::new(
                Reason::NotConfigured,
                "traffic.driver is \"none\": no traffic is moved",
                body,
            ));
        };
        let Some(version) = version else {
            return Err(StepError::new(Reason::UsageError, "which version is to be promoted is not known")
                .hint("give --to-version, or run inside a deployment"));
        };
        let smoke = ArtifactName::only(ArtifactKind::Smoke);
        if cx.read_if_there::<Smoke>(&smoke)?.is_some() {
            cx.read_go::<Smoke>(&smoke)?;
        }
        let before = traffic.observe(&cx).await?;
        let body = |after: &[Service]| traffic.body(RolloutAction::Promote, None, 0.0, &before, after);
        let targets: Vec<_> = traffic.services.iter().map(|name| (name.clone(), version.clone())).collect();
        if unswitched(&targets, &before).is_empty() {
            return Ok(Outcome::new(
                Reason::PromotedStable,
                format!("{version} is the stable version already"),
                body(&before),
            ));
        }
        let not_ready: Vec<String> =
            before.iter().filter_map(|service| not_ready(service, &version)).collect();
        if !not_ready.is_empty() {
            return Ok(Outcome::new(Reason::PromotionFailed, not_ready.join("; "), body(&before)));
        }
        crate::hold::check(&cx, args.store.as_deref()).await?;
        cx.save(body(&[]));
        let switched = traffic.switch(&cx, &targets).await.map_err(|error| {
            let message = format!("nobody knows whether {version} is the stable version of every service");
            error.into_step_error(Reason::PromotionFailed, message)
        })?;
        let (reason, message) = if switched.missing.is_empty() {
            (Reason::PromotedStable, format!("{version} observed as the stable version"))
        } else {
            (Reason::PromotionFailed, switched.why())
        };
        Ok(Outcome::new(reason, message, body(&switched.services)))
    }

    fn summary(artifact: &Artifact<Rollout>) -> String {
        summary(artifact.body.as_ref())
    }
}

/// Why this service cannot be promoted; `None` if it can, or if an earlier try has promoted it already.
fn not_ready(service: &Service, version: &str) -> Option<String> {
    let Service { name, canary_percent, canary_version, stable_version, .. } = service;
    if stable_version.as_deref() == Some(version) && *canary_percent <= 0.0 {
        return None;
    }
    if *canary_percent < 100.0 {
        return Some(format!("{name} has {canary_percent} % on the canary: only 100 % can be promoted"));
    }
    let other = canary_version.as_deref().filter(|canary| *canary != version)?;
    Some(format!("{name}: the canary is version {other}, not {version}"))
}
