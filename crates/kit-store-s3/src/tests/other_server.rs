//! Another server that speaks S3 (s3s over a folder), in this process: it knows conditional writes, but
//! neither conditional deletion nor the listing of uploads.

use super::{BUCKET, MIB, bytes, connected, key, shown};
use kit_contract::Sha256;
use kit_contract::config::StoreConfig;
use kit_store::{Layout, Store, StoreError, self_proof};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::io::AsyncReadExt as _;

/// Serves a folder until the test ends; gives its address. Signatures are checked.
async fn serve(folder: &std::path::Path) -> String {
    std::fs::create_dir(folder.join(BUCKET)).unwrap();
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single("test", "hunter2"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = hyper_util::rt::TokioIo::new(stream);
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(stream, service.clone());
            tokio::spawn(async move {
                // A client that goes away has its own way to fail the test.
                let _ = serving.await;
            });
        }
    });
    endpoint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_streams_whole_and_is_refused_for_what_it_ignores() {
    let folder = tempfile::tempdir().unwrap();
    let store = connected(&serve(folder.path()).await, BUCKET, StoreConfig::default()).await;
    let content = bytes(17 * MIB + 3);
    let uploaded = store.create_stream(&key("a/long"), &mut content.as_slice()).await.unwrap();
    assert_eq!(uploaded.sha256, Sha256::of(&content));
    let mut read = Vec::new();
    store.read_stream(&key("a/long")).await.unwrap().unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == content);
    let again = store.create_stream(&key("a/long"), &mut content.as_slice()).await.unwrap_err();
    assert!(matches!(again, StoreError::AlreadyExists { .. }), "{again}");
    let version = store.create(&key("a/small"), b"1").await.unwrap();
    let error = store.create(&key("a/small"), b"2").await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    store.replace(&key("a/small"), b"2", &version).await.unwrap();
    let error = store.replace(&key("a/small"), b"3", &version).await.unwrap_err();
    assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    assert_eq!(store.list("a/").await.unwrap(), ["a/long", "a/small"]);

    let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
    let error = self_proof(&store, &layout).await.unwrap_err();
    let text = shown(error);
    assert!(text.contains("deleted an object that had changed"), "{text}");
    let error = store.remove_unfinished("", jiff::Timestamp::MAX).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "could not ask is not none: {error}");
}
