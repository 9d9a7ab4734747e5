//! The journal of a step that changes something: what it is about to do, then what came of it.

use crate::{Key, Layout, Store, StoreError};
use jiff::Timestamp;
use kit_contract::{DeploymentId, Name};
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Mutex;

/// How often a write looks for the next free number.
const ATTEMPTS: u32 = 10;

/// When an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalPhase {
    /// Before the change: it may have happened.
    Intent,
    /// After the change: this came of it.
    Outcome,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Its number, from 1 without gaps.
    pub n: u32,
    /// When it was written.
    pub at: Timestamp,
    /// Before or after the change.
    pub phase: JournalPhase,
    /// What, for people.
    pub text: String,
    /// What, for the program that takes up the work.
    pub data: Value,
}

/// The write-ahead journal of one step in one attempt of a deployment. Entries are only ever created.
pub struct Journal {
    store: Arc<dyn Store>,
    layout: Layout,
    deployment: DeploymentId,
    attempt: u32,
    step: Name,
    /// The next number, once it is known; also lets one writer in at a time.
    next: Mutex<Option<u32>>,
}

impl Journal {
    /// The journal of this step in this attempt; an earlier attempt's is read in the same way.
    pub fn new(
        store: Arc<dyn Store>,
        layout: Layout,
        deployment: DeploymentId,
        attempt: u32,
        step: Name,
    ) -> Self {
        Self { store, layout, deployment, attempt, step, next: Mutex::new(None) }
    }

    /// Writes an entry behind all others, and gives its number. When this returns, it is stored.
    ///
    /// # Errors
    /// If the store could not be asked. Then the change must not be made: nobody would know of it.
    pub async fn write(
        &self,
        at: Timestamp,
        phase: JournalPhase,
        text: &str,
        data: Value,
    ) -> Result<u32, StoreError> {
        let mut next = self.next.lock().await;
        let mut n = match *next {
            Some(n) => n,
            None => self.newest().await?.saturating_add(1),
        };
        // Kept also if this fails: an entry whose answer was lost is then found under the same number.
        *next = Some(n);
        let mut entry = JournalEntry { n, at, phase, text: text.to_owned(), data };
        for _ in 0..ATTEMPTS {
            entry.n = n;
            let key = self.key(n);
            let bytes = crate::document::to_bytes(&key, &entry)?;
            match self.store.create(&key, &bytes).await {
                Ok(_) => {}
                // Our own, if the answer to an earlier try was lost; else somebody else's.
                Err(StoreError::AlreadyExists { .. }) => {
                    let there = self.store.get(&key).await?;
                    if there.is_none_or(|object| object.bytes != bytes) {
                        n = n.saturating_add(1);
                        continue;
                    }
                }
                Err(error) => return Err(error),
            }
            *next = Some(n.saturating_add(1));
            return Ok(n);
        }
        Err(StoreError::Contended { key: self.key(n), attempts: ATTEMPTS })
    }

    /// Every entry, oldest first; none if there is no such journal.
    ///
    /// # Errors
    /// If the store could not be asked, or an entry is missing or cannot be understood.
    pub async fn read_all(&self) -> Result<Vec<JournalEntry>, StoreError> {
        let newest = self.newest().await?;
        let mut entries = Vec::new();
        for n in 1..=newest {
            let key = self.key(n);
            let unreadable = |source| StoreError::Unreadable { key: key.clone(), source };
            let Some(object) = self.store.get(&key).await? else {
                return Err(unreadable(serde_json::Error::custom("it is missing, and later ones are there")));
            };
            let entry: JournalEntry = serde_json::from_slice(&object.bytes).map_err(unreadable)?;
            if entry.n != n {
                return Err(unreadable(serde_json::Error::custom(format!("it says that it is {}", entry.n))));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// What this step wrote in every attempt of this deployment, by attempt and number.
    ///
    /// # Errors
    /// As [`Journal::read_all`].
    pub async fn read_attempts(
        store: &Arc<dyn Store>,
        layout: &Layout,
        deployment: &DeploymentId,
        step: &Name,
    ) -> Result<Vec<JournalEntry>, StoreError> {
        let prefix = layout.deployment_prefix(deployment);
        let names = store.list(&prefix).await?;
        let attempt_of = |name: &String| {
            let (attempt, rest) = name.strip_prefix(&prefix)?.split_once('/')?;
            let attempt: u32 = attempt.parse().ok()?;
            rest.starts_with(&format!("journal-{step}/")).then_some(attempt)
        };
        let attempts: BTreeSet<u32> = names.iter().filter_map(attempt_of).collect();
        let mut entries = Vec::new();
        for attempt in attempts {
            let (store, layout) = (Arc::clone(store), layout.clone());
            let journal = Self::new(store, layout, deployment.clone(), attempt, step.clone());
            entries.append(&mut journal.read_all().await?);
        }
        Ok(entries)
    }

    /// The number of the newest entry; 0 if there is none.
    async fn newest(&self) -> Result<u32, StoreError> {
        let prefix = self.layout.journal_prefix(&self.deployment, self.attempt, &self.step);
        let names = self.store.list(&prefix).await?;
        let numbers = names.iter().filter_map(|name| {
            let n = name.strip_prefix(&prefix)?.strip_suffix(".json")?.parse().ok()?;
            (self.key(n).as_str() == name).then_some(n)
        });
        Ok(numbers.max().unwrap_or(0))
    }

    fn key(&self, n: u32) -> Key {
        self.layout.journal_entry(&self.deployment, self.attempt, &self.step, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Op};
    use serde_json::json;

    fn journal(store: &MemoryStore) -> Journal {
        let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
        let (id, step) = ("deploy-1".parse().unwrap(), "rollout".parse().unwrap());
        Journal::new(Arc::new(store.clone()), layout, id, 1, step)
    }

    async fn write(journal: &Journal, text: &str) -> Result<u32, StoreError> {
        let data = json!({ "share_percent": 5 });
        journal.write(Timestamp::UNIX_EPOCH, JournalPhase::Intent, text, data).await
    }

    #[tokio::test]
    async fn entries_come_back_in_order_also_after_a_restart() {
        let store = MemoryStore::default();
        assert_eq!(journal(&store).read_all().await.unwrap(), []);
        let first = journal(&store);
        assert_eq!(write(&first, "a").await.unwrap(), 1);
        assert_eq!(write(&first, "b").await.unwrap(), 2);
        let second = journal(&store);
        assert_eq!(write(&second, "c").await.unwrap(), 3);
        assert_eq!(write(&first, "d").await.unwrap(), 4, "another writer is not overwritten");
        let entries = journal(&store).read_all().await.unwrap();
        let texts: Vec<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "c", "d"]);
        assert_eq!(entries[0].data, json!({ "share_percent": 5 }));
    }

    #[tokio::test]
    async fn all_attempts_of_one_step_come_in_their_order() {
        let store = MemoryStore::default();
        for (attempt, step, text) in
            [(10, "rollout", "c"), (2, "rollout", "a"), (2, "rollout", "b"), (1, "migrate", "not this")]
        {
            let one = Journal { attempt, step: step.parse().unwrap(), ..journal(&store) };
            write(&one, text).await.unwrap();
        }
        let Journal { layout, deployment, step, .. } = journal(&store);
        let shared: Arc<dyn Store> = Arc::new(store);
        let entries = Journal::read_attempts(&shared, &layout, &deployment, &step).await.unwrap();
        let texts: Vec<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "c"]);
        let other = "deploy-2".parse().unwrap();
        assert_eq!(Journal::read_attempts(&shared, &layout, &other, &step).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_lost_answer_makes_no_second_entry_and_no_gap() {
        let store = MemoryStore::default();
        let journal = journal(&store);
        for fault in [MemoryStore::lose_answer_of_next, MemoryStore::fail_next] {
            fault(&store, Op::Create, 1);
            assert!(write(&journal, "a").await.is_err());
        }
        assert_eq!(write(&journal, "a").await.unwrap(), 1);
        assert_eq!(write(&journal, "b").await.unwrap(), 2);
        assert_eq!(journal.read_all().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_missing_or_foreign_entry_is_an_error() {
        let store = MemoryStore::default();
        let journal = journal(&store);
        for text in ["a", "b", "c"] {
            write(&journal, text).await.unwrap();
        }
        let (second, third) = (journal.key(2), journal.key(3));
        store.overwrite(&third, store.bytes(&second).unwrap());
        assert!(matches!(journal.read_all().await, Err(StoreError::Unreadable { key, .. }) if key == third));
        store.remove(&second);
        assert!(matches!(journal.read_all().await, Err(StoreError::Unreadable { key, .. }) if key == second));
    }
}
