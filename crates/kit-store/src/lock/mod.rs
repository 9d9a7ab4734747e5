//! The lock: one deploy at a time for an app in an environment.

mod decide;
mod error;
#[cfg(test)]
mod tests;

use crate::{Layout, Store, StoreError, Version, document};
use jiff::{SignedDuration, Timestamp};
use kit_contract::DeploymentId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use decide::{Decision, decide};
pub use error::{Holder, LockError};

/// How long a lock holds without being renewed: the longest allowed gap between two steps.
pub const LOCK_TTL: SignedDuration = SignedDuration::from_mins(60);
const SCHEMA: &str = "deploy-kit/lock/v1";
/// How often a write starts again because somebody else was faster.
const ATTEMPTS: u32 = 10;

/// Who holds the lock, or wants it: a deployment, the run that makes it, and the attempt of that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOwner {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The CI run; absent outside CI.
    pub run_id: Option<String>,
    /// The attempt of the run, from 1.
    pub attempt: u32,
    /// Who started it, for people. Never part of the comparison.
    pub actor: Option<String>,
}

impl std::fmt::Display for LockOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.deployment_id)?;
        if let Some(run_id) = &self.run_id {
            write!(f, " (run {run_id}, attempt {})", self.attempt)?;
        }
        match &self.actor {
            Some(actor) => write!(f, " of {actor}"),
            None => Ok(()),
        }
    }
}

/// The lock as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDocument {
    /// Always `deploy-kit/lock/v1`.
    pub schema: String,
    /// Who holds it.
    pub owner: LockOwner,
    /// Since when.
    pub acquired_at: Timestamp,
    /// When it was last renewed.
    pub renewed_at: Timestamp,
    /// From when on others may take it.
    pub expires_at: Timestamp,
}

impl LockDocument {
    /// A lock with these facts.
    pub fn new(
        owner: LockOwner,
        acquired_at: Timestamp,
        renewed_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self { schema: SCHEMA.to_owned(), owner, acquired_at, renewed_at, expires_at }
    }
}

/// A lock that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It says who holds it.
    Readable(LockDocument),
    /// It cannot be understood. Somebody holds it.
    Unreadable {
        /// Why.
        message: String,
    },
}

impl Existing {
    /// Who holds it.
    pub fn holder(&self) -> Holder {
        match self {
            Self::Readable(lock) => Holder::Known(Box::new(lock.owner.clone())),
            Self::Unreadable { .. } => Holder::Unknown,
        }
    }
}

/// How the lock was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquisition {
    /// Nobody had it.
    Created,
    /// It was ours already, or that of an earlier attempt of the same run.
    Renewed,
    /// It had expired; this was the lock before.
    TakenOver(LockDocument),
}

/// The lock, as it is held now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockGuardInfo {
    /// The lock.
    pub lock: LockDocument,
    /// How it was got.
    pub how: Acquisition,
}

/// The lock of one app in one environment.
///
/// Every change is a conditional write, so it holds between machines as far as the store honours
/// conditions; see [`crate::self_proof`]. Clocks of different machines decide only whether a lock has
/// expired, and the time to live is long against their differences.
#[derive(Clone)]
pub struct Lock {
    store: Arc<dyn Store>,
    layout: Layout,
    ttl: SignedDuration,
}

impl Lock {
    /// The lock of this app in this environment, held for [`LOCK_TTL`] at a time.
    pub fn new(store: Arc<dyn Store>, layout: Layout) -> Self {
        Self { store, layout, ttl: LOCK_TTL }
    }

    /// The same, held for another time.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: SignedDuration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Takes the lock, renews it if it is ours, or takes over one that has expired.
    ///
    /// # Errors
    /// [`LockError::Held`] if somebody else holds it; [`LockError::Store`] if the store could not be
    /// asked. After the latter the lock may be ours: asking again finds out.
    pub async fn acquire(&self, owner: &LockOwner, now: Timestamp) -> Result<LockGuardInfo, LockError> {
        self.change(|existing| {
            let (lock, how) = match (decide(existing, owner, now), existing) {
                (Decision::Create, _) => (self.fresh(owner, now), Acquisition::Created),
                (Decision::Renew, Some(Existing::Readable(lock))) => {
                    (self.renewed(lock, owner, now), Acquisition::Renewed)
                }
                (Decision::TakeOver, Some(Existing::Readable(before))) => {
                    (self.fresh(owner, now), Acquisition::TakenOver(before.clone()))
                }
                (_, existing) => return Err(LockError::held(existing)),
            };
            Ok((Change::Put(lock.clone()), LockGuardInfo { lock, how }))
        })
        .await
    }

    /// Extends the lock.
    ///
    /// # Errors
    /// [`LockError::Lost`] if it is not ours; [`LockError::Store`] if the store could not be asked.
    pub async fn renew(&self, owner: &LockOwner, now: Timestamp) -> Result<LockDocument, LockError> {
        self.change(|existing| {
            let lock = self.renewed(ours(existing, owner)?, owner, now);
            Ok((Change::Put(lock.clone()), lock))
        })
        .await
    }

    /// Looks whether the lock is ours, and changes nothing.
    ///
    /// # Errors
    /// As [`Lock::renew`].
    pub async fn check(&self, owner: &LockOwner) -> Result<(), LockError> {
        ours(self.peek().await?.as_ref(), owner).map(drop)
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// [`LockError::Lost`] if it is not ours, with no holder if it is gone, as after an earlier release;
    /// [`LockError::Store`] if the store could not be asked.
    pub async fn release(&self, owner: &LockOwner) -> Result<(), LockError> {
        self.change(|existing| ours(existing, owner).map(|_| (Change::Delete, ()))).await
    }

    /// Gives the lock to somebody else without letting anybody in between.
    ///
    /// # Errors
    /// [`LockError::Lost`] if it is not ours; [`LockError::Store`] if the store could not be asked.
    pub async fn hand_over(
        &self,
        owner: &LockOwner,
        to: &LockOwner,
        now: Timestamp,
    ) -> Result<LockDocument, LockError> {
        self.change(|existing| {
            ours(existing, owner)?;
            let lock = self.fresh(to, now);
            Ok((Change::Put(lock.clone()), lock))
        })
        .await
    }

    /// The lock as it is, or `None` if nobody has it.
    ///
    /// # Errors
    /// If the store could not be asked.
    pub async fn peek(&self) -> Result<Option<Existing>, StoreError> {
        Ok(self.find().await?.map(|(existing, _)| existing))
    }

    /// Removes a lock that `expected` holds, as a person saw it. Whoever held it finds out at its next
    /// renewal.
    ///
    /// # Errors
    /// [`LockError::Lost`] if somebody else holds it by now, or nobody; [`LockError::Store`] if the store
    /// could not be asked.
    pub async fn break_lock(&self, expected: &Holder) -> Result<(), LockError> {
        self.change(|existing| match existing {
            Some(existing) if existing.holder() == *expected => Ok((Change::Delete, ())),
            other => Err(LockError::lost(other)),
        })
        .await
    }

    /// Looks, decides and writes, again from the start if somebody changed the lock in between.
    async fn change<T>(
        &self,
        decide: impl Fn(Option<&Existing>) -> Result<(Change, T), LockError>,
    ) -> Result<T, LockError> {
        let key = self.layout.lock();
        for _ in 0..ATTEMPTS {
            let found = self.find().await?;
            let (change, done) = decide(found.as_ref().map(|(existing, _)| existing))?;
            let version = found.map(|(_, version)| version);
            let written = match (change, version) {
                (Change::Put(lock), None) => {
                    self.store.create(&key, &document::to_bytes(&key, &lock)?).await.map(drop)
                }
                (Change::Put(lock), Some(version)) => {
                    self.store.replace(&key, &document::to_bytes(&key, &lock)?, &version).await.map(drop)
                }
                (Change::Delete, Some(version)) => self.store.delete(&key, &version).await,
                (Change::Delete, None) => Ok(()),
            };
            match written {
                Ok(()) => return Ok(done),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended { key, attempts: ATTEMPTS }.into())
    }

    async fn find(&self) -> Result<Option<(Existing, Version)>, StoreError> {
        let Some(object) = self.store.get(&self.layout.lock()).await? else { return Ok(None) };
        let existing = match document::parse(&object.bytes, SCHEMA) {
            Ok(lock) => Existing::Readable(lock),
            Err(error) => Existing::Unreadable { message: error.to_string() },
        };
        Ok(Some((existing, object.version)))
    }

    fn fresh(&self, owner: &LockOwner, now: Timestamp) -> LockDocument {
        LockDocument::new(owner.clone(), now, now, self.expiry(now))
    }

    fn renewed(&self, lock: &LockDocument, owner: &LockOwner, now: Timestamp) -> LockDocument {
        LockDocument::new(owner.clone(), lock.acquired_at, now, self.expiry(now))
    }

    fn expiry(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.ttl).unwrap_or(Timestamp::MAX)
    }
}

/// What to write.
enum Change {
    Put(LockDocument),
    Delete,
}

/// The lock, if it is that of `owner` or of an earlier attempt of it.
fn ours<'a>(existing: Option<&'a Existing>, owner: &LockOwner) -> Result<&'a LockDocument, LockError> {
    match existing {
        Some(Existing::Readable(lock)) if owner.follows(&lock.owner) => Ok(lock),
        other => Err(LockError::lost(other)),
    }
}
