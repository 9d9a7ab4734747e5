//! The program beside the gate: it talks to the store, so that this one need not.

use kit_contract::body::Gate;
use kit_core::Level;
use kit_exec::{Command, ExecError};
use kit_step::StepContext;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

/// One that ended by mistake is started again, but not in a tight loop.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Keeps `program` running until this is dropped, or the gate is cancelled. The verdict is the judge's,
/// whatever becomes of the program beside it.
pub(crate) async fn keep(cx: &StepContext<Gate>, program: Option<&str>, stop_file: &Path) -> Infallible {
    // A gate that runs alone belongs to no deploy, which could be stopped or hold a lock.
    if let Some(program) = program.filter(|_| !cx.identity().standalone) {
        loop {
            let ended = command(cx, program, stop_file).run(cx).await;
            if matches!(ended, Err(ExecError::Cancelled { .. })) || cx.cancel.is_cancelled() {
                break;
            }
            let why = ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
            let message =
                format!("a request to stop is not heard and the lock not renewed for {AGAIN_AFTER:?}: {why}");
            cx.out.say(&format!("warning: {}", cx.out.clean(&message)));
            cx.out.annotate(Level::Warning, "canary-gate", &message);
            cx.clock.sleep(AGAIN_AFTER).await;
        }
    }
    std::future::pending().await
}

fn command(cx: &StepContext<Gate>, program: &str, stop_file: &Path) -> Command {
    let identity = cx.identity();
    let mut command = Command::new(program).arg("hold").arg("--stop-file").arg(stop_file);
    command = command.arg("--artifacts").arg(cx.artifacts().path());
    command = command.args(["--environment", identity.environment.as_str()]);
    command = command.args(["--deployment-id", identity.deployment_id.as_str()]);
    match cx.config_path() {
        Some(path) => command.arg("--config").arg(path),
        None => command,
    }
}
