//! The end of a container whose client cannot be asked for it.

use super::{Container, run::Launch};
use kit_core::{Clock, Context};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest time that a step waits for it; the engine goes on with it all the same.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);
/// How often is looked whether it is done, where nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Removes one container by force.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    container: Container,
    name: String,
    env: Arc<Vec<(String, String)>>,
    needed: Arc<AtomicBool>,
}

impl Removal {
    pub(crate) fn of(container: &Container, launch: &Launch, cx: &Context) -> Self {
        let env = crate::EnvPolicy::Full.apply(&cx.env, &std::collections::BTreeMap::new());
        Self {
            container: container.clone(),
            name: launch.name.clone(),
            env: Arc::new(env.into_iter().collect()),
            needed: Arc::new(AtomicBool::new(true)),
        }
    }

    /// It ended by itself.
    pub(crate) fn release(&self) {
        self.needed.store(false, Ordering::Release);
    }

    /// The program of the container, too, must not take the end of its client for the end of its input, so this comes
    /// before the client is killed.
    pub(crate) async fn run(&self, clock: Clock) {
        if !self.needed.load(Ordering::Acquire) {
            return;
        }
        // What cannot be removed is found by the next run.
        if let Ok(mut child) = tokio::process::Command::from(self.command()).spawn()
            && clock.timeout(LONGEST, child.wait()).await.is_ok()
        {
            self.release();
        }
    }

    #[allow(clippy::disallowed_methods, reason = "no child of a step: it outlives what it tidies up after")]
    fn command(&self) -> std::process::Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = std::process::Command::new(&self.container.0.client);
        command
            .args(["rm", "--force", &self.name])
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// Removes it when dropped, unless it ended by itself.
#[derive(Debug)]
pub(crate) struct RemoveOnDrop(pub(crate) Removal);

impl Drop for RemoveOnDrop {
    #[allow(clippy::disallowed_methods, reason = "a drop cannot wait in any other way, and it is rare")]
    fn drop(&mut self) {
        if !self.0.needed.load(Ordering::Acquire) {
            return;
        }
        let Ok(mut child) = self.0.command().spawn() else { return };
        let rounds = LONGEST.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..rounds {
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
