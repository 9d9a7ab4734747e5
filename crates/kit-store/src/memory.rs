//! A store in memory, with faults: for tests.

use crate::key::check_prefix;
use crate::store::check_size;
use crate::{ByteReader, Key, Meta, Object, Store, StoreError, Uploaded, Version};
use async_trait::async_trait;
use kit_contract::Sha256;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// One method of [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// [`Store::get`].
    Get,
    /// [`Store::head`].
    Head,
    /// [`Store::create`].
    Create,
    /// [`Store::replace`].
    Replace,
    /// [`Store::delete`].
    Delete,
    /// [`Store::list`].
    List,
    /// [`Store::create_stream`].
    CreateStream,
    /// [`Store::read_stream`].
    ReadStream,
}

/// A store in memory. Clones share their objects and their faults.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    ignoring: Option<Op>,
    failing: HashMap<Op, u32>,
    losing: HashMap<Op, u32>,
    /// Writes that still happen before the crash.
    writes_left: Option<u32>,
}

impl MemoryStore {
    /// A store that says yes to every write of one kind, as some that speak S3 do.
    pub fn ignoring_conditions_of(op: Op) -> Self {
        let store = Self::default();
        store.state().ignoring = Some(op);
        store
    }

    /// The next `count` calls of `op` fail before they do anything.
    pub fn fail_next(&self, op: Op, count: u32) {
        self.state().failing.insert(op, count);
    }

    /// The next `count` writes by `op` happen, but their answer is lost.
    pub fn lose_answer_of_next(&self, op: Op, count: u32) {
        self.state().losing.insert(op, count);
    }

    /// The program dies after `writes` more writes: those happen, then every call fails until
    /// [`MemoryStore::revive`].
    pub fn crash_after_writes(&self, writes: u32) {
        self.state().writes_left = Some(writes);
    }

    /// Ends every fault.
    pub fn revive(&self) {
        let mut state = self.state();
        state.failing.clear();
        state.losing.clear();
        state.writes_left = None;
    }

    /// Puts these bytes under a key, whatever is there: somebody tampers.
    pub fn overwrite(&self, key: &Key, bytes: impl Into<Vec<u8>>) {
        self.state().objects.insert(key.to_string(), bytes.into());
    }

    /// Removes an object, whatever it is: somebody tampers.
    pub fn remove(&self, key: &Key) {
        self.state().objects.remove(key.as_str());
    }

    /// What lies under a key, without being asked through [`Store`].
    pub fn bytes(&self, key: &Key) -> Option<Vec<u8>> {
        self.state().objects.get(key.as_str()).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: lets other tasks run first, so that callers interleave, then fails if it has to.
    async fn enter(&self, op: Op, what: &str) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        let crashed = state.writes_left == Some(0);
        if crashed || take_one(&mut state.failing, op) {
            return Err(fault(what, "the fault that the test asked for"));
        }
        Ok(())
    }

    /// Writes under the lock, so that condition and write are one.
    fn write<T>(
        &self,
        op: Op,
        key: &Key,
        work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>, bool) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state();
        let ignoring = state.ignoring == Some(op);
        let done = work(&mut state.objects, ignoring)?;
        if let Some(left) = &mut state.writes_left {
            *left = left.saturating_sub(1);
        }
        if take_one(&mut state.losing, op) {
            return Err(fault(key.as_str(), "the answer was lost"));
        }
        Ok(done)
    }

    fn insert_new(&self, op: Op, key: &Key, bytes: &[u8]) -> Result<Version, StoreError> {
        self.write(op, key, |objects, ignoring| {
            if objects.contains_key(key.as_str()) && !ignoring {
                return Err(StoreError::AlreadyExists { key: key.clone() });
            }
            objects.insert(key.to_string(), bytes.to_vec());
            Ok(version_of(bytes))
        })
    }
}

fn fault(what: &str, why: &str) -> StoreError {
    StoreError::unreachable("ask for", what, "memory:", why.to_owned())
}

fn take_one(counts: &mut HashMap<Op, u32>, op: Op) -> bool {
    match counts.get_mut(&op) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

fn version_of(bytes: &[u8]) -> Version {
    Version::new(format!("sha256-{}", Sha256::of(bytes)))
}

/// Refused unless the object has the version `expected`.
fn compare(objects: &BTreeMap<String, Vec<u8>>, key: &Key, expected: &Version) -> Result<(), StoreError> {
    match objects.get(key.as_str()) {
        Some(bytes) if version_of(bytes) == *expected => Ok(()),
        _ => Err(StoreError::Changed { key: key.clone() }),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.enter(Op::Get, key.as_str()).await?;
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        check_size(key, &bytes)?;
        Ok(Some(Object { version: version_of(&bytes), bytes }))
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.enter(Op::Head, key.as_str()).await?;
        Ok(self.bytes(key).map(|bytes| Meta { size_bytes: bytes.len() as u64, version: version_of(&bytes) }))
    }

    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<Version, StoreError> {
        check_size(key, bytes)?;
        self.enter(Op::Create, key.as_str()).await?;
        self.insert_new(Op::Create, key, bytes)
    }

    async fn replace(&self, key: &Key, bytes: &[u8], expected: &Version) -> Result<Version, StoreError> {
        check_size(key, bytes)?;
        self.enter(Op::Replace, key.as_str()).await?;
        self.write(Op::Replace, key, |objects, ignoring| {
            if !ignoring {
                compare(objects, key, expected)?;
            }
            objects.insert(key.to_string(), bytes.to_vec());
            Ok(version_of(bytes))
        })
    }

    async fn delete(&self, key: &Key, expected: &Version) -> Result<(), StoreError> {
        self.enter(Op::Delete, key.as_str()).await?;
        self.write(Op::Delete, key, |objects, ignoring| {
            if !ignoring {
                compare(objects, key, expected)?;
            }
            objects.remove(key.as_str());
            Ok(())
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_prefix(prefix)?;
        self.enter(Op::List, prefix).await?;
        Ok(self.state().objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    async fn create_stream(
        &self,
        key: &Key,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Uploaded, StoreError> {
        self.enter(Op::CreateStream, key.as_str()).await?;
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .await
            .map_err(|source| StoreError::Source { key: key.clone(), source })?;
        let version = self.insert_new(Op::CreateStream, key, &bytes)?;
        Ok(Uploaded { size_bytes: bytes.len() as u64, sha256: Sha256::of(&bytes), version })
    }

    async fn read_stream(&self, key: &Key) -> Result<Option<ByteReader>, StoreError> {
        self.enter(Op::ReadStream, key.as_str()).await?;
        Ok(self.bytes(key).map(|bytes| Box::new(std::io::Cursor::new(bytes)) as ByteReader))
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        "a/b".parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_conforms() {
        let store = MemoryStore::default();
        crate::conformance::run(&|| Arc::new(store.clone())).await;
    }

    #[tokio::test]
    async fn faults_come_as_asked() {
        let store = MemoryStore::default();
        store.fail_next(Op::Create, 1);
        assert!(matches!(store.create(&key(), b"1").await, Err(StoreError::Unreachable { .. })));
        assert_eq!(store.bytes(&key()), None, "it failed before it did anything");
        store.lose_answer_of_next(Op::Create, 1);
        assert!(matches!(store.create(&key(), b"1").await, Err(StoreError::Unreachable { .. })));
        assert_eq!(store.bytes(&key()), Some(b"1".to_vec()), "it happened; only the answer was lost");
        store.crash_after_writes(1);
        store.replace(&key(), b"2", &version_of(b"1")).await.unwrap();
        assert!(matches!(store.get(&key()).await, Err(StoreError::Unreachable { .. })));
        store.revive();
        assert_eq!(store.get(&key()).await.unwrap().unwrap().bytes, b"2");
    }
}
