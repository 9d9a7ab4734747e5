//! A child's process group: the child and everything that it started.

use crate::container::Removal;
use crate::members;
use kit_core::Clock;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::process::Child;

/// Longest time that SIGINT, and after it SIGTERM, may take to work.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(2);
/// SIGKILL cannot be refused; this is for the system to clean up.
const KILL_GRACE: Duration = Duration::from_millis(500);
/// How often a group whose leader is gone is looked at: nothing tells us when it is empty.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A handle on a group. Dropping it changes nothing; dropping a [`KillOnDrop`] does.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    /// Set once the child is reaped and nothing is to be signalled any more: its number may then
    /// belong to somebody else.
    released: AtomicBool,
}

impl Group {
    /// The group that `child` leads, unless it is reaped already.
    pub(crate) fn of(child: &Child) -> Option<Arc<Self>> {
        let id = Pid::from_raw(i32::try_from(child.id()?).ok()?)?;
        Some(Arc::new(Self { id, released: AtomicBool::new(false) }))
    }

    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    /// An error means that nobody is left who could get the signal, or nobody whom we may send one;
    /// [`Group::is_alive`] tells the two apart.
    fn signal(&self, signal: Signal) {
        if !self.released.load(Ordering::Acquire) {
            let _ = kill_process_group(self.id, signal);
        }
    }

    /// True unless everybody is known to have ended. Containers often have a first process that
    /// reaps nobody, where the ended stay members of their group for ever; they do not count.
    fn is_alive(&self) -> bool {
        !matches!(test_kill_process_group(self.id), Err(rustix::io::Errno::SRCH))
            && members::any_runs(self.id.as_raw_nonzero().get()).unwrap_or(true)
    }

    /// Ends the group: SIGINT, after `grace` SIGTERM, after `grace` again SIGKILL. Returns as soon as
    /// everybody is gone, at the latest after two graces and half a second; false if somebody is
    /// left even then. A container that is still there when SIGKILL's turn comes is removed by force before it.
    pub(crate) async fn end(
        &self,
        child: &mut Child,
        clock: Clock,
        grace: Duration,
        container: Option<&Removal>,
    ) -> bool {
        let mut gone = false;
        for (signal, grace) in [(Signal::INT, grace), (Signal::TERM, grace), (Signal::KILL, KILL_GRACE)] {
            if let Some(container) = container.filter(|_| signal == Signal::KILL) {
                container.run(clock).await;
            }
            self.signal(signal);
            // A stopped process, such as one that asked a terminal, takes signals only when continued.
            self.signal(Signal::CONT);
            gone = clock.timeout(grace, self.until_gone(child, clock)).await.is_ok();
            if gone {
                break;
            }
        }
        self.release();
        gone
    }

    async fn until_gone(&self, child: &mut Child, clock: Clock) {
        // How it ended does not matter any more, and an error means that it is not ours to wait for.
        let _ = child.wait().await;
        while self.is_alive() {
            clock.sleep(LOOK_EVERY).await;
        }
    }
}

/// Kills the group when dropped, unless the group is released.
#[derive(Debug)]
pub(crate) struct KillOnDrop(pub(crate) Arc<Group>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_time_left_after_its_children_are_ended() {
        // The frame must be gone 7 s after the first signal; children get at most 5 of them, containers 6.
        let longest = LONGEST_GRACE * 2 + KILL_GRACE + crate::supervise::DRAIN_AFTER_STOP;
        assert!(longest <= Duration::from_secs(5));
        assert!(longest + crate::container::REMOVAL_LIMIT <= Duration::from_secs(6));
    }
}
