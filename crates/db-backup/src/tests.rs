//! Stores that fail or lie, in process: what they do to a backup while it is made.

use crate::args::Target;
use crate::keys::Keys;
use crate::ladder::Rules;
use crate::one::back_up;
use crate::place::Place;
use async_trait::async_trait;
use kit_contract::Reason;
use kit_contract::body::{DatabaseBackup, Proof};
use kit_core::{Context, Env, Secret, StepError};
use kit_store::{ByteReader, Key, MemoryStore, Meta, Object, Op, Store, StoreError, Uploaded, Version};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, ReadBuf};

/// What reading an object gives.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Flipped,
    Cut,
    Breaks,
}

/// Keeps objects faithfully and gives others back, or says that it stored what it did not read.
struct Liar {
    inner: MemoryStore,
    reading: Option<Lie>,
    forgets: bool,
    keeps: bool,
}

/// Ends with an error.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("the connection was reset")))
    }
}

#[async_trait]
impl Store for Liar {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }
    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.inner.head(key).await
    }
    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<Version, StoreError> {
        self.inner.create(key, bytes).await
    }
    async fn replace(&self, key: &Key, bytes: &[u8], expected: &Version) -> Result<Version, StoreError> {
        self.inner.replace(key, bytes, expected).await
    }
    async fn delete(&self, key: &Key, expected: &Version) -> Result<(), StoreError> {
        if self.keeps {
            return Err(StoreError::Unreachable {
                action: "remove",
                what: key.to_string(),
                address: self.describe(),
                source: "access denied".into(),
                hint: None,
            });
        }
        self.inner.delete(key, expected).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix).await
    }
    async fn create_stream(
        &self,
        key: &Key,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Uploaded, StoreError> {
        if self.forgets {
            return self.inner.create_stream(key, &mut b"the beginning".as_slice()).await;
        }
        self.inner.create_stream(key, reader).await
    }
    async fn read_stream(&self, key: &Key) -> Result<Option<ByteReader>, StoreError> {
        let Some(mut bytes) = self.inner.bytes(key) else { return Ok(None) };
        let middle = bytes.len() / 2;
        match self.reading {
            Some(Lie::Flipped) => bytes[middle] ^= 1,
            Some(Lie::Cut) => bytes.truncate(middle),
            Some(Lie::Breaks) => return Ok(Some(Box::new(Broken))),
            None => {}
        }
        Ok(Some(Box::new(std::io::Cursor::new(bytes))))
    }
    fn describe(&self) -> String {
        "liar:".to_owned()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    store: MemoryStore,
    cx: Context,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("a.db")).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        connection.execute("CREATE TABLE a (b)").await.unwrap();
        connection.execute("INSERT INTO a VALUES (randomblob(100000))").await.unwrap();
        connection.close().await.unwrap();
        Self { folder, store: MemoryStore::default(), cx: Context::for_test(Env::default()).0 }
    }

    async fn run_on(&self, store: Arc<dyn Store>) -> Result<DatabaseBackup, StepError> {
        let url = format!("sqlite:{}", self.folder.path().join("a.db").display());
        let target = Target {
            name: "main".parse().unwrap(),
            url: Secret::new(url),
            input: "test".to_owned(),
            options: Default::default(),
        };
        let rules = Rules {
            wanted: kit_contract::config::WantedProof::Auto,
            budget: std::time::Duration::from_secs(300),
            required: Proof::Schema,
        };
        let scratch = self.folder.path().join("scratch");
        let result = back_up(
            &self.cx,
            &Place::for_test(store).unwrap(),
            &target,
            (&rules, &Keys::default(), &scratch),
        )
        .await;
        let left = kit_core::fs::list(&scratch).unwrap().unwrap_or_default();
        assert!(left.is_empty(), "scratch copies stayed behind: {left:?}");
        result
    }

    async fn run(&self) -> Result<DatabaseBackup, StepError> {
        self.run_on(Arc::new(self.store.clone())).await
    }

    async fn lie(&self, reading: Option<Lie>, forgets: bool) -> StepError {
        let liar = Liar { inner: self.store.clone(), reading, forgets, keeps: false };
        self.run_on(Arc::new(liar)).await.unwrap_err()
    }

    async fn objects(&self) -> Vec<String> {
        self.store.list("").await.unwrap()
    }
}

#[tokio::test]
async fn a_store_that_gives_back_something_else_is_found_out_and_nothing_stays() {
    for lie in [Lie::Flipped, Lie::Cut] {
        let bench = Bench::new().await;
        let error = bench.lie(Some(lie), false).await;
        assert_eq!(error.reason, Reason::BackupMismatch, "{}", error.chain());
        assert!(error.hints.iter().any(|hint| hint.ends_with("was removed")), "{:?}", error.hints);
        assert_eq!(bench.objects().await, [""; 0], "{lie:?}");
    }
}

#[tokio::test]
async fn a_mismatch_that_cannot_be_removed_is_said_and_is_no_backup() {
    let bench = Bench::new().await;
    bench.store.fail_next(Op::Delete, 1);
    let error = bench.lie(Some(Lie::Flipped), false).await;
    assert!(error.hints.iter().any(|hint| hint.contains("could not be removed")), "{:?}", error.hints);
    assert_eq!(bench.objects().await, ["shop/production/backup-1763712000-abc1234.sqlite.gz"]);
    assert_eq!(bench.run().await.unwrap().proof, Proof::Full);
}

/// What a dead run left stays where a deploy may remove nothing: the next attempt is written beside it, and
/// found by every later run.
#[tokio::test]
async fn what_cannot_be_removed_does_not_stop_the_next_attempt() {
    let bench = Bench::new().await;
    let liar = || Liar { inner: bench.store.clone(), reading: None, forgets: false, keeps: true };
    let key = |attempt: &str| format!("shop/production/backup-1763712000-abc1234{attempt}.sqlite.gz");
    for left in [key(""), key(".attempt-2")] {
        bench.store.create(&left.parse().unwrap(), b"half of it").await.unwrap();
    }
    let backup = bench.run_on(Arc::new(liar())).await.unwrap();
    assert_eq!((backup.key.clone(), backup.adopted), (key(".attempt-3"), false));
    let again = bench.run_on(Arc::new(liar())).await.unwrap();
    assert_eq!((again.key, again.adopted), (backup.key, true));
    let bench = Bench::new().await;
    let liar = Liar { inner: bench.store.clone(), reading: None, forgets: false, keeps: true };
    for attempt in 1..=9 {
        let left = if attempt == 1 { key("") } else { key(&format!(".attempt-{attempt}")) };
        bench.store.create(&left.parse().unwrap(), b"half of it").await.unwrap();
    }
    let error = bench.run_on(Arc::new(liar)).await.unwrap_err();
    assert_eq!(error.reason, Reason::StoreUnreachable, "{}", error.chain());
    assert!(error.to_string().contains("9 runs left copies"), "{error}");
}

#[tokio::test]
async fn a_proof_that_could_not_be_made_is_not_a_mismatch_and_not_a_backup() {
    let bench = Bench::new().await;
    let error = bench.lie(Some(Lie::Breaks), false).await;
    assert_eq!(error.reason, Reason::StoreUnreachable, "{}", error.chain());
    assert!(!bench.objects().await.iter().any(|key| key.ends_with(".json")));
    assert_eq!(bench.run().await.unwrap().proof, Proof::Full);
}

#[tokio::test]
async fn a_store_that_did_not_read_to_the_end_is_not_believed() {
    let bench = Bench::new().await;
    let error = bench.lie(None, true).await;
    assert_eq!(error.reason, Reason::StoreUnsuitable, "{}", error.chain());
    assert_eq!(bench.objects().await, [""; 0]);
}

/// Two runs would write over each other's copies there.
#[tokio::test]
async fn a_store_that_writes_over_what_is_there_is_found_out_and_holds_no_backup() {
    let bench = Bench::new().await;
    let careless = MemoryStore::ignoring_conditions_of(Op::Create);
    let error = bench.run_on(Arc::new(careless.clone())).await.unwrap_err();
    assert_eq!(error.reason, Reason::StoreUnsuitable, "{}", error.chain());
    assert!(error.hints.iter().any(|hint| hint.ends_with("was removed")), "{:?}", error.hints);
    assert_eq!(careless.list("").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn whichever_call_of_the_store_fails_the_next_run_succeeds() {
    for op in [Op::Get, Op::Head, Op::CreateStream, Op::ReadStream, Op::Create] {
        let bench = Bench::new().await;
        bench.store.fail_next(op, 1);
        let error = bench.run().await.unwrap_err();
        assert_eq!(error.reason, Reason::StoreUnreachable, "{op:?}: {}", error.chain());
        assert!(!bench.objects().await.iter().any(|key| key.ends_with(".json")), "{op:?}");
        let backup = bench.run().await.unwrap();
        assert_eq!((backup.proof, backup.adopted), (Proof::Full, false), "{op:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_metadata_is_noticed_as_success() {
    let bench = Bench::new().await;
    bench.store.lose_answer_of_next(Op::Create, 1);
    assert!(!bench.run().await.unwrap().adopted);
    assert!(bench.run().await.unwrap().adopted);
}

#[tokio::test]
async fn a_cancelled_run_stores_nothing() {
    let bench = Bench::new().await;
    bench.cx.cancel.cancel(kit_core::Cause::Terminated);
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.reason, Reason::Terminated, "{}", error.chain());
    assert_eq!(bench.objects().await, [""; 0]);
}
