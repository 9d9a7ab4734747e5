//! What servers and networks do to small objects.

use super::{BUCKET, Bench, connected, connected_for, key, shown};
use kit_contract::config::StoreConfig;
use kit_store::{Store, StoreError};
use kit_testing::s3::{Fault, Seen};
use std::time::Duration;

fn is(method: &'static str) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| seen.method == method && !seen.target.contains("list-type")
}

#[tokio::test]
async fn failures_that_pass_are_not_seen() {
    let bench = Bench::start();
    let limit = Duration::from_secs(1);
    let store = connected_for(&bench.proxy.endpoint(), BUCKET, StoreConfig::default(), limit).await;
    for (number, fault) in [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::ResetAfter(1),
        Fault::Unanswered,
        Fault::DoneBut(500, "InternalError"),
        Fault::Hang,
    ]
    .into_iter()
    .enumerate()
    {
        let key = key(&format!("a/{number}"));
        bench.proxy.on(1, fault.clone(), is("PUT"));
        let first = store.create(&key, b"first").await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        bench.proxy.on(1, fault.clone(), is("PUT"));
        let second = store.replace(&key, b"second", &first).await.unwrap();
        bench.proxy.on(1, fault.clone(), is("GET"));
        let object = store.get(&key).await.unwrap().unwrap();
        assert_eq!((object.bytes.as_slice(), &object.version), (b"second".as_slice(), &second), "{fault:?}");
        bench.proxy.on(1, fault.clone(), is("DELETE"));
        store.delete(&key, &second).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(store.get(&key).await.unwrap(), None);
        bench.proxy.heal();
    }
}

#[tokio::test]
async fn a_write_whose_every_answer_is_lost_is_recognised_and_that_of_another_is_not() {
    let bench = Bench::start();
    let store = bench.store().await;
    // Done the first time; refused as existing, or lost, three times.
    bench.proxy.on(4, Fault::Unanswered, is("PUT"));
    let version = store.create(&key("a/own"), b"1").await.unwrap();
    assert_eq!(store.head(&key("a/own")).await.unwrap().unwrap().version, version);
    bench.proxy.heal();
    // Not done at all, and somebody else was there before: equal bytes are not a proof.
    let other = bench.store().await;
    other.create(&key("a/other"), b"1").await.unwrap();
    let error = store.create(&key("a/other"), b"1").await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    bench.proxy.on(4, Fault::Answer(500, "InternalError"), is("PUT"));
    let error = store.create(&key("a/other"), b"1").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "it was not refused: it could not be asked");
}

#[tokio::test]
async fn conflicts_of_two_writers_are_told_from_refusals() {
    let bench = Bench::start();
    let store = bench.store().await;
    // The other writer comes to nothing: ours goes through.
    bench.proxy.on(2, Fault::Answer(409, "ConditionalRequestConflict"), is("PUT"));
    let version = store.create(&key("a/b"), b"1").await.unwrap();
    // The other writer wins.
    bench.proxy.on(1, Fault::Answer(409, "ConditionalRequestConflict"), is("PUT"));
    let error = store.create(&key("a/b"), b"2").await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    bench.proxy.on(1, Fault::Answer(409, "ConditionalRequestConflict"), is("PUT"));
    let error = store.replace(&key("a/b"), b"2", &version).await.unwrap_err();
    assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    bench.proxy.on(u32::MAX, Fault::Answer(409, "ConditionalRequestConflict"), is("PUT"));
    let error = store.create(&key("a/c"), b"1").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "nothing is there: {error}");
}

#[tokio::test]
async fn what_lasts_is_named_with_what_to_do() {
    let bench = Bench::start();
    let limit = Duration::from_millis(200);
    let store = connected_for(&bench.proxy.endpoint(), BUCKET, StoreConfig::default(), limit).await;
    for (fault, what, hint) in [
        (Fault::Answer(403, "AccessDenied"), "access denied: AccessDenied: as the test asked", "docs/s3.md"),
        (Fault::Answer(400, "ExpiredToken"), "the credentials have expired", "sign in again"),
        (Fault::Answer(403, "InvalidAccessKeyId"), "the credentials are refused", "check the access key"),
        (Fault::Answer(404, "NoSuchBucket"), "there is no such bucket", "store.url"),
        (Fault::Answer(301, "PermanentRedirect"), "the bucket is in another region", "store.region"),
        (Fault::Answer(503, "SlowDown"), "the store asks to slow down (HTTP 503)", "run the step again"),
        (Fault::Answer(500, "InternalError"), "the store failed: HTTP 500", "run the step again"),
        (Fault::Answer(400, "InvalidRequest"), "the store refused: HTTP 400: InvalidRequest", ""),
        (Fault::Unanswered, "the connection to the store failed", "reaches the store"),
        (Fault::Hang, "the store did not answer in time", "reaches the store"),
    ] {
        bench.proxy.on(u32::MAX, fault.clone(), |_| true);
        let key = key("a/b");
        for error in [
            store.get(&key).await.map(drop).unwrap_err(),
            store.create(&key, b"1").await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Unreachable { .. }), "{fault:?}: {error}");
            let text = shown(error);
            assert!(text.contains(what) && text.contains(hint), "{fault:?}: {text}");
            assert!(text.contains("a/b in the store s3://deploys/prefix"), "{text}");
        }
        bench.proxy.heal();
    }
}

#[tokio::test]
async fn could_not_ask_is_never_not_there() {
    let bench = Bench::start();
    let absent = connected(&bench.proxy.endpoint(), "no-such-bucket", StoreConfig::default()).await;
    let errors = [
        absent.get(&key("a")).await.map(drop).unwrap_err(),
        // HEAD has no body that could name the bucket.
        absent.head(&key("a")).await.map(drop).unwrap_err(),
        absent.create(&key("a"), b"1").await.map(drop).unwrap_err(),
        absent.list("").await.map(drop).unwrap_err(),
        absent.create_stream(&key("a"), &mut &b"1"[..]).await.map(drop).unwrap_err(),
        absent.read_stream(&key("a")).await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert!(shown(error).contains("there is no such bucket"));
    }
    let store = bench.store().await;
    assert_eq!(store.head(&key("a")).await.unwrap(), None);
    // Nobody listens there any more.
    let gone = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        connected(&format!("http://{free}"), BUCKET, StoreConfig::default()).await
    };
    for error in
        [gone.head(&key("a")).await.map(drop).unwrap_err(), gone.list("").await.map(drop).unwrap_err()]
    {
        assert!(shown(error).contains("the connection to the store failed"));
    }
}
