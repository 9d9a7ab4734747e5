//! May a deploy that is under way go on? Asked again and again while something long runs.

use crate::{Lock, LockError, LockOwner, Stop, StopRequest, StopSubject, StoreError};
use jiff::{SignedDuration, Timestamp};

/// The lock lives for an hour; renewing it every minute leaves room for a store that hiccups.
const RENEW_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// A deploy that is under way: its lock, and the requests that may stop it.
pub struct Hold {
    stop: Stop,
    lock: Lock,
    owner: LockOwner,
    /// `None` before the first time.
    renewed_at: Option<Timestamp>,
}

impl Hold {
    /// Of the deploy that this owner of the lock makes.
    pub const fn new(stop: Stop, lock: Lock, owner: LockOwner) -> Self {
        Self { stop, lock, owner, renewed_at: None }
    }

    /// One look; renews the lock where that is due. Gives the request that stops this deploy. A lock that
    /// is lost belongs to somebody else by now, which is a request, too.
    ///
    /// # Errors
    /// If the store could not be asked: then nobody knows, and whoever calls asks again.
    pub async fn look(&mut self, now: Timestamp) -> Result<Option<StopRequest>, StoreError> {
        if let Some(request) = self.stop.check(&self.owner.deployment_id).await? {
            return Ok(Some(request));
        }
        // Whoever asked may be done by now, and the request with it: then the lock is not ours any more.
        let fresh = self.renewed_at.is_some_and(|then| now.duration_since(then) < RENEW_EVERY);
        let looked = if fresh {
            self.lock.check(&self.owner).await
        } else {
            self.lock.renew(&self.owner, now).await.map(|_| self.renewed_at = Some(now))
        };
        match looked {
            Ok(()) => Ok(None),
            Err(LockError::Store(error)) => Err(error),
            Err(lost) => Ok(Some(StopRequest {
                subject: StopSubject::Deployment(self.owner.deployment_id.clone()),
                requested_by: None,
                why: lost.to_string(),
                at: now,
                by_deployment: None,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Existing, Layout, MemoryStore, Op};
    use std::sync::Arc;

    fn owner(id: &str) -> LockOwner {
        LockOwner { deployment_id: id.parse().unwrap(), run_id: None, attempt: 1, actor: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn parts() -> (MemoryStore, Stop, Lock) {
        let store = MemoryStore::default();
        let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
        let shared = Arc::new(store.clone());
        (store, Stop::new(shared.clone(), layout.clone()), Lock::new(shared, layout))
    }

    async fn expires_at(lock: &Lock) -> Timestamp {
        match lock.peek().await.unwrap() {
            Some(Existing::Readable(lock)) => lock.expires_at,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_lock_outlives_whatever_runs_for_hours() {
        let (_, stop, lock) = parts();
        lock.acquire(&owner("deploy-1"), at(0)).await.unwrap();
        let mut hold = Hold::new(stop, lock.clone(), owner("deploy-1"));
        assert_eq!(hold.look(at(30)).await.unwrap(), None);
        assert_eq!(hold.look(at(89)).await.unwrap(), None);
        assert_eq!(expires_at(&lock).await, at(3630), "not due yet");
        for minute in 2..=180 {
            assert_eq!(hold.look(at(60 * minute)).await.unwrap(), None);
            lock.acquire(&owner("deploy-2"), at(60 * minute + 59)).await.unwrap_err();
        }
        assert_eq!(expires_at(&lock).await, at(3 * 3600 + 3600));
    }

    #[tokio::test]
    async fn a_request_and_a_lost_lock_stop_it_and_a_silent_store_is_neither() {
        let (store, stop, lock) = parts();
        lock.acquire(&owner("deploy-1"), at(0)).await.unwrap();
        let mut hold = Hold::new(stop.clone(), lock.clone(), owner("deploy-1"));
        store.fail_next(Op::Get, 1);
        hold.look(at(1)).await.unwrap_err();
        assert_eq!(hold.look(at(2)).await.unwrap(), None);

        // A rollback that was faster than the next look has taken its request away again.
        lock.release(&owner("deploy-1")).await.unwrap();
        assert!(hold.look(at(3)).await.unwrap().unwrap().why.contains("nobody holds it"));

        lock.acquire(&owner("deploy-2"), at(7200)).await.unwrap();
        let lost = hold.look(at(7201)).await.unwrap().unwrap();
        assert!(lost.why.contains("deploy-2") && lost.stops(&owner("deploy-1").deployment_id), "{lost:?}");

        let subject = StopSubject::Deployment(owner("deploy-1").deployment_id);
        let asked = StopRequest { subject, why: "orders fail".into(), ..lost };
        stop.request(asked.clone()).await.unwrap();
        assert_eq!(hold.look(at(7202)).await.unwrap(), Some(asked));
    }
}
