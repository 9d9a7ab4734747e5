//! `rollout promote`: the new version becomes the stable one.

use crate::traffic::{Traffic, nothing, summary};
use kit_contract::body::{Rollout, RolloutAction, Smoke};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, Qualifier, ReadSpec, Step, StepContext};
use kit_traffic::Service;

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
        details: "Refuses unless every service was observed at 100 %. Then the new version becomes the stable one, \
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
        rerun: "finds that the version is stable already, and says so",
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
        if is_stable(&before, &version) {
            return Ok(Outcome::new(
                Reason::PromotedStable,
                format!("{version} is the stable version already"),
                body(&before),
            ));
        }
        if let Some(service) = before.iter().find(|service| service.canary_percent < 100.0) {
            let message = format!(
                "{} has {} % on the canary: only 100 % can be promoted",
                service.name, service.canary_percent
            );
            return Ok(Outcome::new(Reason::PromotionFailed, message, body(&before)));
        }
        crate::hold::check(&cx, args.store.as_deref()).await?;
        cx.save(body(&[]));
        let targets: Vec<_> = traffic.services.iter().map(|name| (name.clone(), version.clone())).collect();
        let switched = match traffic.router.switch(&cx, &traffic.id, &targets).await {
            // The first answer is a look, too; what counts is the one after it.
            Ok(_) => traffic.observe(&cx).await,
            Err(error) => Err(error.into_step_error(Reason::PromotionFailed, "the driver could not promote")),
        };
        match switched {
            Ok(after) if is_stable(&after, &version) => Ok(Outcome::new(
                Reason::PromotedStable,
                format!("{version} observed as the stable version"),
                body(&after),
            )),
            Ok(after) => {
                let message = format!("{version} was not observed as the stable version of every service");
                Ok(Outcome::new(Reason::PromotionFailed, message, body(&after)))
            }
            Err(error) => Err(error),
        }
    }

    fn summary(artifact: &Artifact<Rollout>) -> String {
        summary(artifact.body.as_ref())
    }
}

/// True if every service was observed with this stable version and no canary. Unknown is not true.
fn is_stable(services: &[Service], version: &str) -> bool {
    services
        .iter()
        .all(|service| service.stable_version.as_deref() == Some(version) && service.canary_percent <= 0.0)
}
