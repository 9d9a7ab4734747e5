//! The chain in the store: entries that are only ever created, and a head that moves to the newest.

mod examine;
#[cfg(test)]
mod tests;

use crate::{Key, Layout, Store, StoreError};
use examine::{Found, HeadFound, Whole, examine, next_entry};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kit_contract::chain::{ChainEntry, ChainEvent, State};
use kit_contract::{DeploymentId, Reason, Sha256};
use kit_core::StepError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use examine::Problem;

/// How often an append starts again because somebody else was faster.
const ATTEMPTS: u32 = 10;
/// How many entries are asked for at the same time.
const AT_ONCE: usize = 16;
const HEAD_SCHEMA: &str = "deploy-kit/head/v1";

/// The newest entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    schema: String,
    sequence: u64,
    sha256: Sha256,
}

impl Head {
    fn at(sequence: u64, sha256: Sha256) -> Self {
        Self { schema: HEAD_SCHEMA.to_owned(), sequence, sha256 }
    }
}

/// The chain of one app in one environment.
///
/// An entry is created first, which is what makes it part of the chain; then the head moves to it. A
/// program that dies in between leaves the head one entry behind: whoever loads the chain next moves
/// it forward. Nothing is ever overwritten but the head, and that only by compare-and-swap.
#[derive(Clone)]
pub struct Chain {
    store: Arc<dyn Store>,
    layout: Layout,
}

/// Where the head stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadPosition {
    /// At the newest entry.
    InStep,
    /// It was one behind, left so by a program that died, and is now at the newest entry.
    MovedForward,
    /// It is one behind and could not be moved, for example because this program may only read. The
    /// chain is whole all the same.
    Behind {
        /// Why it could not be moved.
        why: String,
    },
}

/// A chain that was read and fits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it says about now.
    pub state: State,
    /// Its entries, oldest first, each with its digest.
    pub entries: Vec<(ChainEntry, Sha256)>,
    /// Where the head stands.
    pub head: HeadPosition,
}

/// An entry that is now part of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place.
    pub sequence: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// Where the head stands.
    pub head: HeadPosition,
}

/// What an inspection found.
#[derive(Debug, PartialEq, Eq)]
pub struct Verification {
    /// The number of the newest entry; 0 if there is none.
    pub entries: u64,
    /// Everything that is wrong, in the order of the entries. Empty: the chain is valid.
    pub problems: Vec<Problem>,
}

/// The chain could not be read, or cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum ChainFault {
    /// The store could not be asked.
    #[error("the chain of {scope} could not be read or extended")]
    Store {
        /// App and environment.
        scope: String,
        /// Why.
        source: StoreError,
    },
    /// Something was changed or is missing.
    #[error("the chain of {scope} is broken: {}", list(.problems))]
    Broken {
        /// App and environment.
        scope: String,
        /// Everything that is wrong; never empty.
        problems: Vec<Problem>,
    },
}

/// As many problems as one line can bear.
fn list(problems: &[Problem]) -> String {
    const SHOWN: usize = 3;
    let mut text = problems.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

impl From<ChainFault> for StepError {
    fn from(fault: ChainFault) -> Self {
        match fault {
            ChainFault::Store { scope, source } => {
                let mut error = Self::from(source);
                error.message = format!("the chain of {scope} could not be read or extended");
                error
            }
            ChainFault::Broken { .. } => Self::new(Reason::ChainBroken, fault.to_string())
                .hint("`deploy-record verify` lists every problem with its entry"),
        }
    }
}

impl Chain {
    /// The chain of this app in this environment.
    pub fn new(store: Arc<dyn Store>, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// Reads every entry, checks every link and the head, and folds them. A head that is one entry
    /// behind is moved forward.
    ///
    /// # Errors
    /// [`ChainFault::Broken`] if anything was changed or is missing; [`ChainFault::Store`] if the store
    /// could not be asked.
    pub async fn load(&self) -> Result<Loaded, ChainFault> {
        let (found, whole) = self.read_whole().await?;
        let head = match self.head_step(&found, &whole.state) {
            None => HeadPosition::InStep,
            Some(head) => match self.move_head(&found.head_after, &head).await {
                Ok(()) => HeadPosition::MovedForward,
                Err(error) => HeadPosition::Behind { why: StepError::from(error).chain() },
            },
        };
        Ok(Loaded { state: whole.state, entries: whole.entries, head })
    }

    /// Adds an entry. The same event of the same deployment at the same time is added once: whoever got
    /// no answer may ask again.
    ///
    /// # Errors
    /// As [`Chain::load`]; then the entry is not part of the chain, unless the store wrote it without
    /// answering and could not be asked about it either.
    pub async fn append(
        &self,
        event: ChainEvent,
        deployment_id: DeploymentId,
        at: Timestamp,
        actor: Option<String>,
    ) -> Result<Appended, ChainFault> {
        let mut unanswered = None;
        for _ in 0..ATTEMPTS {
            let (found, whole) = self.read_whole().await?;
            let same = |entry: &ChainEntry| {
                entry.deployment_id == deployment_id
                    && entry.at == at
                    && entry.actor == actor
                    && entry.event == event
            };
            if let Some((entry, sha256)) = whole.entries.iter().rev().find(|(entry, _)| same(entry)) {
                let head = self.follow(&found, &whole.state).await;
                return Ok(Appended { sequence: entry.sequence, sha256: sha256.clone(), head });
            }
            if let Some(error) = unanswered {
                return Err(self.fault(error));
            }
            // The head must be in step before the next entry is made, or it could fall two behind.
            if let Some(head) = self.head_step(&found, &whole.state) {
                self.move_head(&found.head_after, &head).await.map_err(|error| self.fault(error))?;
                continue;
            }
            let entry = next_entry(
                &self.layout,
                &whole.state,
                event.clone(),
                deployment_id.clone(),
                at,
                actor.clone(),
            );
            match self.create(&entry).await {
                Ok(sha256) => return Ok(self.appended(&found, entry.sequence, sha256).await),
                Err(StoreError::AlreadyExists { .. }) => {}
                // It may be written all the same: look once more before saying that it failed.
                Err(error @ StoreError::Unreachable { .. }) => unanswered = Some(error),
                Err(error) => return Err(self.fault(error)),
            }
        }
        let key = self.layout.head();
        Err(self.fault(unanswered.unwrap_or(StoreError::Contended { key, attempts: ATTEMPTS })))
    }

    /// Reads everything and lists every problem instead of stopping at the first. Changes nothing.
    ///
    /// # Errors
    /// [`ChainFault::Store`] if the store could not be asked.
    pub async fn verify(&self) -> Result<Verification, ChainFault> {
        let found = self.find().await.map_err(|error| self.fault(error))?;
        let problems = examine(&self.layout, &found).err().unwrap_or_default();
        Ok(Verification { entries: found.newest(), problems })
    }

    async fn read_whole(&self) -> Result<(Found, Whole), ChainFault> {
        let found = self.find().await.map_err(|error| self.fault(error))?;
        match examine(&self.layout, &found) {
            Ok(whole) => Ok((found, whole)),
            Err(problems) => Err(ChainFault::Broken { scope: self.scope(), problems }),
        }
    }

    /// Reads the head, all entries, and the head again: by then, others may have appended.
    async fn find(&self) -> Result<Found, StoreError> {
        let head_before = self.find_head().await?;
        let mut strays = Vec::new();
        let mut sequences = Vec::new();
        for name in self.store.list(&self.layout.chain_prefix()).await? {
            match self.layout.sequence_of(&name) {
                Some(sequence) => sequences.push((sequence, self.layout.chain_entry(sequence))),
                None => strays.push(name),
            }
        }
        let entries: BTreeMap<u64, Option<Vec<u8>>> = futures_util::stream::iter(sequences)
            .map(|(sequence, key)| read_entry(Arc::clone(&self.store), sequence, key))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Found { head_before, entries, strays, head_after: self.find_head().await? })
    }

    async fn find_head(&self) -> Result<HeadFound, StoreError> {
        let Some(object) = self.store.get(&self.layout.head()).await? else { return Ok(HeadFound::Absent) };
        Ok(match crate::document::parse::<Head>(&object.bytes, HEAD_SCHEMA) {
            Ok(head) => HeadFound::At(head, object.version),
            Err(error) => HeadFound::Unreadable(error.to_string()),
        })
    }

    /// Where the head has to move, if it is behind the newest entry.
    fn head_step(&self, found: &Found, state: &State) -> Option<Head> {
        let behind = found.head_after.sequence() < state.sequence;
        let sha256 = state.head_sha256.clone().filter(|_| behind)?;
        Some(Head::at(state.sequence, sha256))
    }

    /// Moves the head from where it was found. If it is elsewhere by now, somebody else has moved it, and
    /// it only ever moves forward.
    async fn move_head(&self, from: &HeadFound, to: &Head) -> Result<(), StoreError> {
        let key = self.layout.head();
        let bytes = crate::document::to_bytes(&key, to)?;
        let moved = match from {
            HeadFound::At(_, version) => self.store.replace(&key, &bytes, version).await,
            HeadFound::Absent | HeadFound::Unreadable(_) => self.store.create(&key, &bytes).await,
        };
        match moved {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn follow(&self, found: &Found, state: &State) -> HeadPosition {
        let Some(head) = self.head_step(found, state) else { return HeadPosition::InStep };
        position_after(self.move_head(&found.head_after, &head).await)
    }

    /// The entry is written, so it is part of the chain even if the head cannot follow now.
    async fn appended(&self, found: &Found, sequence: u64, sha256: Sha256) -> Appended {
        let moved = self.move_head(&found.head_after, &Head::at(sequence, sha256.clone())).await;
        Appended { sequence, sha256, head: position_after(moved) }
    }

    async fn create(&self, entry: &ChainEntry) -> Result<Sha256, StoreError> {
        let key = self.layout.chain_entry(entry.sequence);
        let bytes = entry.to_bytes().map_err(|source| StoreError::Unreadable { key: key.clone(), source })?;
        self.store.create(&key, &bytes).await?;
        Ok(Sha256::of(&bytes))
    }

    fn scope(&self) -> String {
        format!("{}/{}", self.layout.app, self.layout.environment)
    }

    fn fault(&self, source: StoreError) -> ChainFault {
        ChainFault::Store { scope: self.scope(), source }
    }
}

fn position_after(moved: Result<(), StoreError>) -> HeadPosition {
    match moved {
        Ok(()) => HeadPosition::InStep,
        Err(error) => HeadPosition::Behind { why: StepError::from(error).chain() },
    }
}

async fn read_entry(
    store: Arc<dyn Store>,
    sequence: u64,
    key: Key,
) -> Result<(u64, Option<Vec<u8>>), StoreError> {
    Ok((sequence, store.get(&key).await?.map(|object| object.bytes)))
}
