//! What only the store in a folder has to prove.

use super::*;
use crate::conformance;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

const ROOT: &str = "KIT_STORE_TEST_ROOT";
const STEPS: u64 = 50;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("not/there/yet");
    conformance::run(&|| Arc::new(FileStore::new(&root))).await;
}

/// Alone a test of one process. `four_processes_lose_no_update` starts it four times over one folder.
#[tokio::test]
async fn a_process_loses_no_update() {
    let own = tempfile::tempdir().unwrap();
    let shared = kit_core::Env::capture().get(ROOT).map(PathBuf::from);
    let store = FileStore::new(shared.clone().unwrap_or_else(|| own.path().to_owned()));
    let counted = conformance::count_up(&store, &key("shared/counter"), STEPS).await;
    assert!(counted >= STEPS);
    if shared.is_none() {
        assert_eq!(counted, STEPS);
    }
}

#[allow(clippy::disallowed_methods, reason = "the other processes are this test program itself")]
#[tokio::test]
async fn four_processes_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let children: Vec<std::process::Child> = (0..4)
        .map(|_| {
            std::process::Command::new(&program)
                .args(["--exact", "file::tests::a_process_loses_no_update"])
                .env(ROOT, folder.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let total = FileStore::new(folder.path()).get(&key("shared/counter")).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(total.bytes).unwrap(), (4 * STEPS).to_string());
}

#[tokio::test]
async fn long_objects_are_streams_with_versions_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path());
    let long = vec![7_u8; usize::try_from(OBJECT_LIMIT_BYTES).unwrap() + 1];
    let uploaded = store.create_stream(&key("a/long"), &mut long.as_slice()).await.unwrap();
    assert_eq!(uploaded.sha256, Sha256::of(&long));
    let meta = store.head(&key("a/long")).await.unwrap().unwrap();
    assert_eq!((meta.size_bytes, &meta.version), (long.len() as u64, &uploaded.version));
    let error = store.get(&key("a/long")).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    let error = store.create(&key("a/other"), &long).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    let mode = std::fs::metadata(folder.path().join("a/long")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a copy of a database is its owner's");

    let stale = Version::new("stat-1-1.000000000-1");
    let error = store.delete(&key("a/long"), &stale).await.unwrap_err();
    assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    store.delete(&key("a/long"), &meta.version).await.unwrap();
    assert_eq!(store.head(&key("a/long")).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_but_objects_is_listed_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path());
    assert_eq!(store.list("").await.unwrap(), Vec::<String>::new());
    let version = store.create(&key("a/b"), b"1").await.unwrap();
    store.replace(&key("a/b"), b"2", &version).await.unwrap();
    let mut broken = conformance::Broken::after(1 << 20);
    store.create_stream(&key("a/c"), &mut broken).await.unwrap_err();
    let names: Vec<String> = kit_core::fs::list(&folder.path().join("a")).unwrap().unwrap();
    assert_eq!(names, ["b"]);
    std::fs::File::create_new(folder.path().join("a/not a key")).unwrap();
    assert_eq!(store.list("a/").await.unwrap(), ["a/b", "a/not a key"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_asked_is_an_error_not_absence() {
    let folder = tempfile::tempdir().unwrap();
    // A link to itself: it fails for root as well, whom permissions do not stop.
    std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
    let store = FileStore::new(folder.path().join("loop"));
    let errors = [
        store.get(&key("a")).await.unwrap_err(),
        store.head(&key("a")).await.unwrap_err(),
        store.create(&key("a"), b"1").await.unwrap_err(),
        store.list("").await.unwrap_err(),
        store.create_stream(&key("a"), &mut &b"1"[..]).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    }
    assert!(store.read_stream(&key("a")).await.is_err());
}

#[tokio::test]
async fn a_store_below_a_file_could_not_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    kit_core::fs::create_new(&folder.path().join("file"), b"x").unwrap();
    let store = FileStore::new(folder.path().join("file/store"));
    let key: Key = "a/b".parse().unwrap();
    assert!(
        matches!(store.get(&key).await, Err(StoreError::Unreachable { .. })),
        "not the same as not there"
    );
    assert!(matches!(store.list("a/").await, Err(StoreError::Unreachable { .. })));
}

#[tokio::test]
async fn what_a_killed_stream_left_is_found_by_its_key_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path());
    // What `create_stream` makes first; the process dies before it ends.
    for name in ["a/b.gz", "a/c.gz"] {
        let (_, path) = Disk::new(folder.path().to_owned()).temporary(&key(name)).unwrap();
        path.keep().unwrap();
    }
    assert_eq!(store.list("").await.unwrap(), Vec::<String>::new(), "no objects");
    let none = store.remove_unfinished("a/", Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(none, Vec::<String>::new(), "they may still run");
    assert_eq!(store.remove_unfinished("a/b", Timestamp::MAX).await.unwrap(), ["a/b.gz"]);
    assert_eq!(store.remove_unfinished("", Timestamp::MAX).await.unwrap(), ["a/c.gz"]);
    assert_eq!(kit_core::fs::list(&folder.path().join("a")).unwrap().unwrap(), Vec::<String>::new());
}
