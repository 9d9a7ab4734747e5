//! What every store has to pass, and what is lied about conditions.

use super::{BUCKET, Bench, connected, key};
use crate::store::S3Store;
use kit_contract::config::StoreConfig;
use kit_store::{Layout, Store, StoreError, conformance, self_proof};
use kit_testing::http::{self, Reply};
use kit_testing::s3::{Fault, Seen};
use std::sync::Arc;

fn layout() -> Layout {
    Layout::new("shop".parse().unwrap(), "production".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3_conforms() {
    let bench = Bench::start();
    let mut stores: Vec<Arc<S3Store>> = Vec::new();
    for _ in 0..40 {
        stores.push(Arc::new(connected(&bench.server.endpoint(), BUCKET, StoreConfig::default()).await));
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let connect = || {
        let index = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Arc::clone(&stores[index % stores.len()]) as Arc<dyn Store>
    };
    conformance::run(&connect).await;
    assert_eq!(bench.server.unfinished_uploads(BUCKET), 0);
}

#[tokio::test]
async fn a_server_that_ignores_a_condition_is_found_out() {
    let bench = Bench::start();
    let store = bench.store().await;
    self_proof(&store, &layout()).await.unwrap();
    let is = |method: &'static str, header: &'static str| {
        move |seen: &Seen| seen.method == method && seen.headers.contains_key(header)
    };
    for (method, header, expected) in [
        ("PUT", "if-none-match", "created an object over"),
        ("PUT", "if-match", "replaced an object that had changed"),
        ("DELETE", "if-match", "deleted an object that had changed"),
    ] {
        bench.proxy.on(u32::MAX, Fault::Without(&["if-match", "if-none-match"]), is(method, header));
        let error = self_proof(&store, &layout()).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unsuitable { what, .. } if what.contains(expected)), "{error}");
        bench.proxy.heal();
        assert_eq!(store.list("").await.unwrap(), Vec::<String>::new(), "{method} {header}");
    }
}

#[tokio::test]
async fn names_of_others_are_listed_as_they_are_and_a_page_that_fails_fails_the_listing() {
    let bench = Bench::start();
    let store = bench.store().await;
    store.create(&key("shop/production/chain/00000001.json"), b"{}").await.unwrap();
    bench.server.ask("PUT", &format!("/{BUCKET}/prefixed/x"), &[], "x");
    bench.server.ask("PUT", &format!("/{BUCKET}/prefix/shop/not%20a%20key"), &[], "x");
    let listed = store.list("shop/").await.unwrap();
    assert_eq!(listed, ["shop/not a key", "shop/production/chain/00000001.json"]);
    bench
        .proxy
        .on(u32::MAX, Fault::Answer(500, "InternalError"), |seen: &Seen| seen.target.contains("list-type=2"));
    let error = store.list("shop/").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
}

fn page(keys: &[&str], next: Option<&str>) -> Reply {
    let contents: String = keys.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
    let next = next.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    Reply::new(
        200,
        format!(
            "<ListBucketResult><IsTruncated>{}</IsTruncated>{}{contents}</ListBucketResult>",
            !keys.is_empty() && keys != ["prefix/last"],
            next.unwrap_or_default(),
        ),
    )
}

#[tokio::test]
async fn a_listing_is_whole_over_many_pages_or_an_error() {
    const FIRST: &str = "/deploys/?list-type=2&prefix=prefix%2F";
    let server = http::Server::start()
        .expect("GET", FIRST, page(&["prefix/b", "prefix/a"], Some("one")))
        .expect(
            "GET",
            "/deploys/?list-type=2&prefix=prefix%2F&continuation-token=one",
            page(&["prefix/c"], Some("two")),
        )
        .expect(
            "GET",
            "/deploys/?list-type=2&prefix=prefix%2F&continuation-token=two",
            page(&["prefix/last"], None),
        )
        // It goes on, and does not say where.
        .expect("GET", FIRST, page(&["prefix/a"], None))
        // It goes in circles.
        .expect("GET", FIRST, page(&["prefix/a"], Some("one")))
        .expect(
            "GET",
            "/deploys/?list-type=2&prefix=prefix%2F&continuation-token=one",
            page(&["prefix/b"], Some("one")),
        )
        // It lists what was not asked for.
        .expect("GET", FIRST, page(&["other/a"], Some("one")));
    let store = connected(&server.url(""), BUCKET, StoreConfig::default()).await;
    assert_eq!(store.list("").await.unwrap(), ["a", "b", "c", "last"]);
    for _ in 0..3 {
        let error = store.list("").await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    }
}
