//! Long objects: parts, faults in the middle, and nothing left behind.

use super::{BUCKET, Bench, MIB, bytes, key};
use jiff::Timestamp;
use kit_contract::Sha256;
use kit_store::{Store, StoreError, conformance};
use kit_testing::s3::{Fault, Seen};
use tokio::io::AsyncReadExt as _;

fn part(number: u32) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| seen.method == "PUT" && seen.target.contains(&format!("partNumber={number}&"))
}

fn completion(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.contains("uploadId=")
}

async fn read(store: &dyn Store, name: &str) -> Vec<u8> {
    let mut read = Vec::new();
    store.read_stream(&key(name)).await.unwrap().unwrap().read_to_end(&mut read).await.unwrap();
    read
}

#[tokio::test]
async fn many_parts_become_one_object() {
    let bench = Bench::start();
    let store = bench.store().await;
    // One byte less than a part, exactly one, exactly two, and some more.
    for (size, parts) in [(5 * MIB - 1, 0), (5 * MIB, 1), (10 * MIB, 2), (22 * MIB + 7, 5)] {
        let before = bench.proxy.count("PUT", "partNumber=");
        let (name, content) = (format!("s/{size}"), bytes(size));
        let uploaded = store.create_stream(&key(&name), &mut content.as_slice()).await.unwrap();
        assert_eq!(uploaded.size_bytes, size as u64);
        assert_eq!(uploaded.sha256, Sha256::of(&content));
        assert_eq!(bench.proxy.count("PUT", "partNumber=") - before, parts, "{size}");
        let meta = store.head(&key(&name)).await.unwrap().unwrap();
        assert_eq!((meta.size_bytes, &meta.version), (size as u64, &uploaded.version));
        assert!(read(&store, &name).await == content, "{size}");
        let again = store.create_stream(&key(&name), &mut content.as_slice()).await.unwrap_err();
        assert!(matches!(again, StoreError::AlreadyExists { .. }), "{again}");
    }
    let error = store.get(&key(&format!("s/{}", 22 * MIB + 7))).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 0);
}

#[tokio::test]
async fn failures_in_the_middle_that_pass_are_not_seen() {
    let bench = Bench::start();
    let store = bench.store().await;
    let content = bytes(18 * MIB);
    for (number, fault) in [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::ResetAfter(3 * MIB),
        Fault::Unanswered,
        Fault::DoneBut(500, "InternalError"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("m/{number}");
        bench.proxy.on(1, fault.clone(), part(2));
        // The SDK may ask twice for the completion; the second time, the upload is gone.
        bench.proxy.on(1, fault.clone(), completion);
        let uploaded = store
            .create_stream(&key(&name), &mut content.as_slice())
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(uploaded.sha256, Sha256::of(&content));
        assert!(read(&store, &name).await == content, "{fault:?}");
        bench.proxy.heal();
    }
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 0);
}

#[tokio::test]
async fn whatever_fails_for_good_leaves_neither_object_nor_upload() {
    let bench = Bench::start();
    let store = bench.store().await;
    let content = bytes(18 * MIB);
    let name = key("f/broken");
    type Matches = Box<dyn Fn(&Seen) -> bool + Send>;
    let cases: [(Fault, Matches, &str); 6] = [
        (Fault::Answer(500, "InternalError"), Box::new(part(2)), "HTTP 500"),
        (Fault::Answer(503, "SlowDown"), Box::new(part(1)), "slow down"),
        (Fault::Answer(403, "AccessDenied"), Box::new(part(3)), "access denied"),
        (Fault::Answer(400, "ExpiredToken"), Box::new(part(2)), "expired"),
        (Fault::ResetAfter(MIB), Box::new(part(2)), "connection"),
        (Fault::Answer(403, "AccessDenied"), Box::new(completion), "access denied"),
    ];
    for (fault, matches, expected) in cases {
        bench.proxy.on(u32::MAX, fault.clone(), matches);
        let error = store.create_stream(&name, &mut content.as_slice()).await.unwrap_err();
        let text = super::shown(error);
        assert!(text.contains(expected), "{fault:?}: {text}");
        bench.proxy.heal();
        assert_eq!(store.head(&name).await.unwrap(), None, "{fault:?}");
        assert_eq!(bench.server.unfinished_uploads(BUCKET), 0, "{fault:?}");
    }
    // The producer dies, in the first part and later.
    for after in [0, 3 * MIB, 8 * MIB, 17 * MIB] {
        let mut dying = conformance::Broken::after(after);
        let error = store.create_stream(&name, &mut dying).await.unwrap_err();
        assert!(matches!(error, StoreError::Source { .. }), "{error}");
        assert_eq!(store.head(&name).await.unwrap(), None);
        assert_eq!(bench.server.unfinished_uploads(BUCKET), 0, "after {after}");
    }
}

#[tokio::test]
async fn whoever_completes_first_wins_also_where_the_object_came_in_between() {
    let bench = Bench::start();
    let store = bench.store().await;
    // It appears after the upload was begun: seen only by the condition of the completion.
    let endpoint = bench.server.endpoint();
    let content = bytes(9 * MIB);
    let racing = super::connected(&endpoint, BUCKET, kit_contract::config::StoreConfig::default()).await;
    let mut reader = tokio_util::io::StreamReader::new(Box::pin(futures_util::stream::unfold(0, |step| {
        let (racing, content) = (&racing, &content);
        async move {
            match step {
                0 => Some((Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(content)), 1)),
                1 => {
                    racing.create(&key("r/same"), b"theirs").await.unwrap();
                    Some((Ok(bytes::Bytes::from_static(b"x")), 2))
                }
                _ => None,
            }
        }
    })));
    let error = store.create_stream(&key("r/same"), &mut reader).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    assert_eq!(store.get(&key("r/same")).await.unwrap().unwrap().bytes, b"theirs");
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 0);
}

#[tokio::test]
async fn a_download_goes_on_where_the_connection_broke_and_never_ends_early() {
    let bench = Bench::start();
    let store = bench.store().await;
    let content = bytes(9 * MIB + 5);
    let uploaded = store.create_stream(&key("d/x"), &mut content.as_slice()).await.unwrap();
    let is_get = |seen: &Seen| seen.method == "GET" && seen.target.contains("d/x");
    // Cut three times at other places; each time it goes on from there.
    bench.proxy.on(1, Fault::CutAnswer(5 * MIB), is_get);
    bench.proxy.on(1, Fault::CutAnswer(MIB), is_get);
    bench.proxy.on(1, Fault::Answer(500, "InternalError"), is_get);
    assert!(read(&store, "d/x").await == content);
    // Cut again and again without a byte more: an error, not an end.
    bench.proxy.on(u32::MAX, Fault::CutAnswer(0), is_get);
    let mut reader = store.read_stream(&key("d/x")).await.unwrap().unwrap();
    let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_ne!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    bench.proxy.heal();
    // Somebody replaces it in the middle: never a mixture of two.
    bench.proxy.on(1, Fault::CutAnswer(5 * MIB), is_get);
    let mut reader = store.read_stream(&key("d/x")).await.unwrap().unwrap();
    store.delete(&key("d/x"), &uploaded.version).await.unwrap();
    store.create_stream(&key("d/x"), &mut bytes(10 * MIB).as_slice()).await.unwrap();
    let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
    let source = error.into_inner().unwrap().to_string();
    assert!(source.contains("not what the condition asked for"), "{source}");
}

#[tokio::test]
async fn what_a_killed_run_left_is_found_and_removed() {
    let bench = Bench::start();
    let store = bench.store().await;
    for name in ["k/a.gz", "k/a.gz", "k/b.gz", "l/c.gz"] {
        let object = format!("/{BUCKET}/prefix/{name}?uploads");
        bench.server.ask("POST", &object, &[], "");
    }
    bench.server.ask("POST", &format!("/{BUCKET}/elsewhere/k/a.gz?uploads"), &[], "");
    let none = store.remove_unfinished("", Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(none, Vec::<String>::new(), "they may still run");
    assert_eq!(store.remove_unfinished("k/a.gz", Timestamp::MAX).await.unwrap(), ["k/a.gz"]);
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 3);
    assert_eq!(store.remove_unfinished("", Timestamp::MAX).await.unwrap(), ["k/b.gz", "l/c.gz"]);
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 1, "what is not ours stays");
    // One that somebody else ended meanwhile is as good.
    bench.server.ask("POST", &format!("/{BUCKET}/prefix/k/a.gz?uploads"), &[], "");
    bench.proxy.on(1, Fault::DoneBut(500, "InternalError"), |seen| seen.method == "DELETE");
    assert_eq!(store.remove_unfinished("", Timestamp::MAX).await.unwrap(), ["k/a.gz"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_dropped_ends_its_upload() {
    let bench = Bench::start();
    let store = bench.store().await;
    let content = bytes(9 * MIB);
    let mut reader = content.as_slice().chain(Forever);
    let name = key("p/dropped");
    let mut work = Box::pin(store.create_stream(&name, &mut reader));
    // Driven until the first part is on its way, then dropped while it waits for more.
    while bench.proxy.count("PUT", "partNumber=1&") == 0 {
        assert!(futures_util::poll!(&mut work).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 1);
    drop(work);
    while bench.server.unfinished_uploads(BUCKET) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.head(&name).await.unwrap(), None);
}

/// A producer that never goes on.
struct Forever;

impl tokio::io::AsyncRead for Forever {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }
}
