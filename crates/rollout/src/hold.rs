//! May this deploy still move traffic? Asked of the store before every shift, and by `rollout hold` all the
//! time while a gate watches.

use kit_contract::Reason;
use kit_contract::config::Span;
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::{Hold, Layout, Lock, LockOwner, Stop, StopRequest};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the store is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The file that stops a gate, in the artifact folder.
const STOP_FILE: &str = "stop.json";

/// The inputs of `hold`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File to write a request to stop into; without this, stop.json in the artifact folder
    #[arg(long, value_name = "FILE")]
    stop_file: Option<PathBuf>,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
}

/// `rollout hold`.
pub(crate) struct HoldTool;

impl Tool for HoldTool {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("hold"),
        about: "Renews the lock and hands on a request to stop, while another program runs",
        details: "Runs beside a gate, which does not talk to the store itself and starts this with --hold-with. \
                  Asks the store every second whether somebody wants this deploy to stop, or has taken its lock, \
                  and then writes the request into the stop file. Renews the lock every minute. Ends with the \
                  program that started it.",
        examples: &[Example { what: "Beside a gate", line: "canary-gate --stage full --hold-with rollout" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "goes on where the one before ended",
        // Whoever started it ends it, and a stage may last for hours.
        deadline: Span::from_secs(24 * 60 * 60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        if cx.identity().standalone {
            return Err(StepError::new(
                Reason::UsageError,
                "there is no deployment here, so nothing is held",
            )
            .hint("run this where deployment.json is, or name the folder with --artifacts"));
        }
        let parent = std::os::unix::process::parent_id();
        let (stop, lock) = books(&cx, args.store.as_deref()).await?;
        let path = args.stop_file.unwrap_or_else(|| cx.artifacts().path().join(STOP_FILE));
        let mut hold = Hold::new(stop, lock, owner(&cx));
        let mut asked = true;
        // Whoever started this is gone once somebody else has taken it in.
        while std::os::unix::process::parent_id() == parent {
            let looked = hold.look(cx.clock.now()).await.map_err(StepError::from);
            let handed = looked.and_then(|request| request.map_or(Ok(()), |one| hand_over(&one, &path)));
            // A store that hiccups is said once, and asked again in a second.
            if let (Err(error), true) = (&handed, asked) {
                cx.out.say(&format!("warning: {}", cx.out.clean(&error.chain())));
            }
            asked = handed.is_ok();
            if cx.cancel.unless(cx.clock.sleep(LOOK_EVERY)).await.is_none() {
                break;
            }
        }
        Ok(ToolOutput {
            reason: Reason::Recorded,
            text: "held until its end".to_owned(),
            json: serde_json::json!({ "stop_file": path }),
        })
    }
}

fn hand_over(request: &StopRequest, path: &Path) -> Result<(), StepError> {
    let json = serde_json::to_vec(request)
        .or_reason(Reason::InternalError, "a request to stop cannot be written as JSON")?;
    fs::write_atomic(path, &json)
        .or_reason(Reason::ArtifactUnwritable, "the request to stop cannot be handed on")
}

async fn books(cx: &ToolContext, store: Option<&str>) -> Result<(Stop, Lock), StepError> {
    let identity = cx.identity();
    let store = kit_store_s3::open(store, &cx.config().store, cx, &cx.resolve("")).await?;
    let layout = Layout::new(identity.app, identity.environment);
    Ok((Stop::new(Arc::clone(&store), layout.clone()), Lock::new(store, layout)))
}

fn owner(cx: &ToolContext) -> LockOwner {
    let run = cx.run_info();
    LockOwner {
        deployment_id: cx.identity().deployment_id,
        run_id: run.run_id.clone(),
        attempt: run.run_attempt.unwrap_or(1),
        actor: run.actor.clone(),
    }
}

/// Refuses if somebody asked this deploy to stop, or if the lock is not ours any more; renews the lock.
///
/// A step that runs alone holds no lock and is asked nothing.
pub(crate) async fn check(cx: &ToolContext, store: Option<&str>) -> Result<(), StepError> {
    let identity = cx.identity();
    if identity.standalone {
        return Ok(());
    }
    let (stop, lock) = books(cx, store).await?;
    if let Some(request) = stop.check(&identity.deployment_id).await? {
        let by = request.requested_by.as_deref().unwrap_or("somebody");
        return Err(StepError::new(
            Reason::StopRequested,
            format!("{by} asked this deploy to stop: {}", request.why),
        ));
    }
    lock.renew(&owner(cx), cx.clock.now()).await?;
    Ok(())
}
