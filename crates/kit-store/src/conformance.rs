//! What every store has to pass: each implementation runs these, and each check fails with a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use crate::{Key, Layout, Object, Store, StoreError, Version, self_proof};
use kit_contract::Sha256;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// How many tasks race.
const RACERS: u64 = 8;

/// Runs everything. `connect` gives a new connection to one and the same empty store each time.
pub async fn run(connect: &dyn Fn() -> Arc<dyn Store>) {
    let store = connect();
    objects_round_trip(&*store).await;
    a_creation_never_overwrites(&*store).await;
    a_stale_version_is_refused(&*store).await;
    listings_are_sorted_and_cut_by_prefix(&*store).await;
    streams_are_whole_or_not_there(&*store).await;
    one_of_many_creations_wins(connect).await;
    one_of_many_replacements_wins(connect).await;
    no_update_is_lost(connect).await;
    self_proof(&*store, &Layout::new("shop".parse().unwrap(), "proof".parse().unwrap())).await.unwrap();
    assert!(!store.describe().is_empty());
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Changed { .. })
}

async fn objects_round_trip(store: &dyn Store) {
    let key = key("round/trip.json");
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.head(&key).await.unwrap(), None);
    assert!(store.read_stream(&key).await.unwrap().is_none());
    for (index, bytes) in [&b""[..], b"one", &[0, 255, 10, 13]].into_iter().enumerate() {
        let key: Key = format!("round/trip-{index}").parse().unwrap();
        let version = store.create(&key, bytes).await.unwrap();
        let object = store.get(&key).await.unwrap().unwrap();
        assert_eq!(object, Object { bytes: bytes.to_vec(), version: version.clone() });
        let meta = store.head(&key).await.unwrap().unwrap();
        assert_eq!((meta.size_bytes, meta.version), (bytes.len() as u64, version));
    }
    // A folder is no object, and nothing lies below an object.
    assert_eq!(store.get(&"round".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.get(&"round/trip-0/below".parse().unwrap()).await.unwrap(), None);
}

async fn a_creation_never_overwrites(store: &dyn Store) {
    let key = key("create/once");
    store.create(&key, b"first").await.unwrap();
    let error = store.create(&key, b"second").await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    let error = store.create_stream(&key, &mut &b"third"[..]).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"first");
}

async fn a_stale_version_is_refused(store: &dyn Store) {
    let key = key("swap/me");
    let absent = store.replace(&key, b"x", &Version::new("none")).await.unwrap_err();
    assert!(refused(&absent), "{absent}");
    let absent = store.delete(&key, &Version::new("none")).await.unwrap_err();
    assert!(refused(&absent), "{absent}");

    let first = store.create(&key, b"first").await.unwrap();
    let second = store.replace(&key, b"second", &first).await.unwrap();
    assert_ne!(first, second);
    assert!(refused(&store.replace(&key, b"third", &first).await.unwrap_err()));
    assert!(refused(&store.delete(&key, &first).await.unwrap_err()));
    assert_eq!(
        store.get(&key).await.unwrap().unwrap(),
        Object { bytes: b"second".to_vec(), version: second.clone() }
    );
    store.delete(&key, &second).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert!(refused(&store.delete(&key, &second).await.unwrap_err()));
    store.create(&key, b"again").await.unwrap();
}

async fn listings_are_sorted_and_cut_by_prefix(store: &dyn Store) {
    assert_eq!(store.list("list/").await.unwrap(), Vec::<String>::new());
    // '-' sorts before '/', and '/' before letters: by byte over the whole key, not folder by folder.
    let expected = ["list/a-b", "list/a/2", "list/a/b/1", "list/ab", "list/b"];
    for text in expected.iter().rev() {
        if *text == "list/a/b/1" {
            store.create_stream(&key(text), &mut &b"x"[..]).await.unwrap();
        } else {
            store.create(&key(text), b"x").await.unwrap();
        }
    }
    assert_eq!(store.list("list/").await.unwrap(), expected);
    assert_eq!(store.list("list/a").await.unwrap(), &expected[..4]);
    assert_eq!(store.list("list/a/").await.unwrap(), &expected[1..3]);
    assert_eq!(store.list("list/zzz").await.unwrap(), Vec::<String>::new());
    assert_eq!(store.list("list/b/").await.unwrap(), Vec::<String>::new());
    let error = store.list("../").await.unwrap_err();
    assert!(matches!(error, StoreError::Key(_)), "{error}");
}

async fn streams_are_whole_or_not_there(store: &dyn Store) {
    let long: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let whole = key("stream/whole");
    let uploaded = store.create_stream(&whole, &mut long.as_slice()).await.unwrap();
    assert_eq!((uploaded.size_bytes, uploaded.sha256), (long.len() as u64, Sha256::of(&long)));
    assert_eq!(store.head(&whole).await.unwrap().unwrap().version, uploaded.version);
    let mut read = Vec::new();
    store.read_stream(&whole).await.unwrap().unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == long, "what comes out is not what went in");

    let empty = store.create_stream(&key("stream/empty"), &mut tokio::io::empty()).await.unwrap();
    assert_eq!((empty.size_bytes, empty.sha256), (0, Sha256::of(b"")));

    for after in [0, 1, 2_000_000] {
        let broken = key("stream/broken");
        let error = store.create_stream(&broken, &mut Broken::after(after)).await.unwrap_err();
        assert!(matches!(error, StoreError::Source { .. }), "{error}");
        assert_eq!(store.head(&broken).await.unwrap(), None, "broken off after {after} bytes");
        assert_eq!(store.list("stream/broken").await.unwrap(), Vec::<String>::new());
    }
    store.delete(&whole, &uploaded.version).await.unwrap();
}

/// Starts one task per racer, each with a connection of its own; gives what they returned.
async fn race<T, F>(connect: &dyn Fn() -> Arc<dyn Store>, run: impl Fn(u64, Arc<dyn Store>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..RACERS).map(|racer| tokio::spawn(run(racer, connect()))).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

async fn one_of_many_creations_wins(connect: &dyn Fn() -> Arc<dyn Store>) {
    for streamed in [false, true] {
        let key: Key = format!("race/create-{streamed}").parse().unwrap();
        let shared = key.clone();
        let answers = race(connect, move |racer, store| {
            let key = shared.clone();
            async move {
                let bytes = racer.to_string().into_bytes();
                if streamed {
                    store.create_stream(&key, &mut bytes.as_slice()).await.map(|done| (racer, done.version))
                } else {
                    store.create(&key, &bytes).await.map(|version| (racer, version))
                }
            }
        })
        .await;
        only_winner(connect, &key, answers, |error| matches!(error, StoreError::AlreadyExists { .. })).await;
    }
}

async fn one_of_many_replacements_wins(connect: &dyn Fn() -> Arc<dyn Store>) {
    let key = key("race/replace");
    let version = connect().create(&key, b"start").await.unwrap();
    let shared = key.clone();
    let answers = race(connect, move |racer, store| {
        let (key, version) = (shared.clone(), version.clone());
        async move {
            store.replace(&key, racer.to_string().as_bytes(), &version).await.map(|version| (racer, version))
        }
    })
    .await;
    only_winner(connect, &key, answers, refused).await;
}

async fn only_winner(
    connect: &dyn Fn() -> Arc<dyn Store>,
    key: &Key,
    answers: Vec<Result<(u64, Version), StoreError>>,
    refused: impl Fn(&StoreError) -> bool,
) {
    let mut winners = Vec::new();
    for answer in answers {
        match answer {
            Ok(winner) => winners.push(winner),
            Err(error) => assert!(refused(&error), "{error}"),
        }
    }
    let [(winner, version)] = winners.as_slice() else { panic!("{key}: {} winners", winners.len()) };
    let object = connect().get(key).await.unwrap().unwrap();
    assert_eq!(object.bytes, winner.to_string().into_bytes());
    assert_eq!(object.version, *version);
}

async fn no_update_is_lost(connect: &dyn Fn() -> Arc<dyn Store>) {
    const STEPS: u64 = 20;
    let key = key("race/counter");
    let shared = key.clone();
    race(connect, move |_, store| {
        let key = shared.clone();
        async move { count_up(&*store, &key, STEPS).await }
    })
    .await;
    let object = connect().get(&key).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(object.bytes).unwrap(), (RACERS * STEPS).to_string());
}

/// Adds one to a number in the store `times` times, as one of many; gives what it last wrote.
pub async fn count_up(store: &dyn Store, key: &Key, times: u64) -> u64 {
    let mut written = 0;
    let mut done = 0;
    while done < times {
        let answer = match store.get(key).await.unwrap() {
            None => {
                written = 1;
                store.create(key, b"1").await
            }
            Some(object) => {
                written = 1 + String::from_utf8(object.bytes).unwrap().parse::<u64>().unwrap();
                store.replace(key, written.to_string().as_bytes(), &object.version).await
            }
        };
        match answer {
            Ok(_) => done += 1,
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
    written
}

/// A producer that dies after some bytes.
pub struct Broken {
    left: usize,
}

impl Broken {
    /// Gives this many bytes, then fails.
    pub const fn after(bytes: usize) -> Self {
        Self { left: bytes }
    }
}

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        let count = self.left.min(buffer.remaining());
        buffer.initialize_unfilled_to(count).fill(b'x');
        buffer.advance(count);
        self.left -= count;
        Poll::Ready(Ok(()))
    }
}
