//! `deploy-record adopt`: writes down what runs now, so that the first deploy has somewhere to return to.

use crate::store::{Memory, StoreArgs};
use kit_contract::Reason;
use kit_contract::body::{Begin, ServiceVersion};
use kit_contract::chain::ChainEvent;
use kit_contract::config::Span;
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, Qualifier, Step, StepContext};
use kit_store::self_proof;

/// The inputs of `adopt`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// The version that runs now, without a leading v
    #[arg(long)]
    running_version: String,
    /// Adopt it although something was deployed here before
    #[arg(long)]
    force: bool,
}

/// `deploy-record adopt`.
pub(crate) struct Adopt;

impl Step for Adopt {
    type Args = Args;
    type Body = Begin;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("adopt"),
        about: "Writes down what runs now as the version to return to",
        details: "A first deploy has nothing to return to, because nobody has written down what runs. This does. \
                  It refuses where the chain knows a version already, or a deploy is under way, unless it is forced.",
        examples: &[Example { what: "1.4.0 runs now", line: "deploy-record adopt --running-version 1.4.0" }],
        reads: &[],
        qualifier: Some(Qualifier::Fixed("adopt")),
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Own,
        rerun: "refuses, because the chain knows a version by then",
        deadline: Span::from_secs(60),
    };

    async fn run(args: Args, cx: StepContext<Begin>) -> Result<Outcome<Begin>, StepError> {
        if let Some(version) = without_v(&args.running_version) {
            return Err(StepError::new(
                Reason::UsageError,
                format!("--running-version {:?} begins with a v", args.running_version),
            )
            .hint(format!("did you mean {version:?}? It must be what the services report")));
        }
        let memory = Memory::open(&args.store, &cx).await?;
        self_proof(&*memory.store, &memory.layout).await?;
        let loaded = memory.chain.load().await?;
        if let Some(open) = &loaded.state.open
            && !args.force
        {
            return Err(StepError::new(
                Reason::RecordRefused,
                format!(
                    "deployment {} has begun and not ended: what runs now is about to change",
                    open.deployment_id
                ),
            )
            .hint("wait for its end; if its run is dead, `rollback` closes it"));
        }
        if let Some(good) = loaded.state.current()
            && !args.force
        {
            return Err(StepError::new(
                Reason::RecordRefused,
                format!(
                    "the chain says that {} serves, since deployment {}",
                    good.version, good.deployment_id
                ),
            )
            .hint("--force adopts another version all the same"));
        }
        let services: Vec<ServiceVersion> = cx
            .config()
            .services
            .iter()
            .map(|service| ServiceVersion {
                name: service.name.clone(),
                version: args.running_version.clone(),
                digest: None,
            })
            .collect();
        let now = cx.clock.now();
        let id = cx.identity().deployment_id;
        let event = ChainEvent::Adopted { version: args.running_version.clone(), services };
        let appended = memory.chain.append(event, id, now, cx.run_info().actor.clone()).await?;
        let body = Begin {
            sequence: appended.sequence,
            entry_sha256: appended.sha256,
            lock_expires_at: now,
            rollback_target: None,
            first_deployment: loaded.state.good.is_empty(),
        };
        Ok(Outcome::new(
            Reason::Adopted,
            format!("{} is written down as what runs now", args.running_version),
            body,
        ))
    }
}

/// The version without the `v` that tags begin with; `None` if it does not begin with one.
fn without_v(version: &str) -> Option<&str> {
    version.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
