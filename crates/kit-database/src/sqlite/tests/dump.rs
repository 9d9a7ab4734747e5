use super::{Place, connect};
use crate::{Database as _, DatabaseError, Depth, Difference, compare};
use kit_contract::Reason;
use kit_contract::body::Engine;
use kit_core::{Cause, Secret};
use sqlx::Executor as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::AsyncReadExt as _;

const FAMILY: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE child (parent INTEGER NOT NULL REFERENCES parent (id), body BLOB);
    CREATE INDEX child_parent ON child (parent);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO parent SELECT i, 'parent ' || i FROM n;
    INSERT INTO child SELECT id, randomblob(100) FROM parent;
    INSERT INTO child SELECT id, randomblob(100) FROM parent;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_one_committed_state_while_a_writer_writes() {
    let place = Place::with(FAMILY).await;
    let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (stop, commits, path) = (Arc::clone(&stop), Arc::clone(&commits), place.path.clone());
        tokio::spawn(async move {
            let mut connection = connect(&path).await;
            while !stop.load(Ordering::SeqCst) {
                connection
                    .execute(
                        "BEGIN; INSERT INTO parent (name) VALUES ('new');
                         INSERT INTO child VALUES (last_insert_rowid(), zeroblob(50));
                         INSERT INTO child SELECT max(id), zeroblob(60) FROM parent; COMMIT;",
                    )
                    .await
                    .unwrap();
                commits.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let mut overlapped = 0;
    for _ in 0..500 {
        let before = commits.load(Ordering::SeqCst);
        let mut dump = place.database().begin_dump(&place.cx, &place.scratch()).await.unwrap();
        let after = commits.load(Ordering::SeqCst) + 1;
        let mut bytes = Vec::new();
        dump.reader().read_to_end(&mut bytes).await.unwrap();
        let report = dump.finish(&place.cx).await.unwrap();
        let source = report.inspection;
        assert_eq!(report.uncompressed_bytes, bytes.len() as u64);

        let restored = place.restored(&bytes, Depth::Content).await.unwrap();
        assert_eq!(compare(&source, &restored), []);
        assert_eq!(restored.foreign_keys_violated, Ok(0));
        assert_eq!(restored.table_rows(), source.table_rows());
        let [child, parent] = &restored.tables[..] else { panic!("{restored:?}") };
        assert_eq!(child.rows, 2 * parent.rows, "every transaction is whole or absent");
        assert!((2000 + before..=2000 + after).contains(&parent.rows), "{before} {} {after}", parent.rows);
        overlapped += usize::from(after > before + 1);
        if overlapped >= 3 {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    assert!(overlapped >= 3, "the writer never committed during a dump, so nothing was tried");
    assert_eq!(kit_core::fs::list(&place.scratch()).unwrap().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dump_that_was_not_read_to_its_end_is_not_complete() {
    let place = Place::with(FAMILY).await;
    let mut dump = place.database().begin_dump(&place.cx, &place.scratch()).await.unwrap();
    let size = dump.size_hint_bytes().unwrap();
    let mut some = vec![0_u8; usize::try_from(size).unwrap()];
    dump.reader().read_exact(&mut some).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BackupTruncated, "all bytes, but the end was not seen");

    let mut dump = place.database().begin_dump(&place.cx, &place.scratch()).await.unwrap();
    dump.reader().read_exact(&mut some[..100]).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(error.to_string().contains(&format!("100 of {size} bytes were read")), "{error}");
}

#[tokio::test]
async fn a_truncated_copy_is_found_and_leaves_nothing() {
    let place = Place::with(FAMILY).await;
    let dump = place.dump().await;
    for length in [0, 50, 100, 4096, 4097, dump.len() - 4096, dump.len() - 1] {
        let error = place.restored(&dump[..length], Depth::Rows).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{length}: {error}");
        let error =
            place.database().restore_beside(&place.cx, &mut &dump[..length], None, "r1").await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{length}: {error}");
    }
    let mut longer = dump.clone();
    longer.push(0);
    assert!(place.restored(&longer, Depth::Rows).await.is_err());
    // How a decompressor reports that its input broke off.
    let eof = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "unexpected end of file");
    let mut broken = (&dump[..4096]).chain(Broken(Some(eof)));
    let error = place.database().restore_beside(&place.cx, &mut broken, None, "r1").await.unwrap_err();
    assert_eq!(error.reason(), Reason::BackupTruncated, "{error}");
    assert!(!place.names().iter().any(|name| name.contains("restore")), "{:?}", place.names());
}

struct Broken(Option<std::io::Error>);

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(self.0.take().map_or(Ok(()), Err))
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found() {
    let place = Place::with(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);
         CREATE INDEX notes_body ON notes (id);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO notes SELECT i, 'needle in row ' || i FROM n;
         INSERT INTO notes VALUES (1000, 'x' || hex(zeroblob(9000)));",
    )
    .await;
    let dump = place.dump().await;
    let source = place.restored(&dump, Depth::Content).await.unwrap();
    // Every occurrence: some lie in parts of pages that are not used.
    let mut flipped = dump.clone();
    for at in (0..dump.len() - 6).filter(|at| &dump[*at..*at + 6] == b"needle") {
        flipped[at] ^= 1;
    }
    let restored = place.restored(&flipped, Depth::Content).await.unwrap();
    assert_eq!(compare(&source, &restored), [Difference::Content("notes".to_owned())]);

    for page in 1..dump.len() / 4096 {
        let mut flipped = dump.clone();
        flipped[page * 4096] ^= 1;
        match place.restored(&flipped, Depth::Content).await {
            Ok(restored) => assert_ne!(compare(&source, &restored), [], "page {page}"),
            Err(error) => assert_eq!(error.reason(), Reason::BackupMismatch, "page {page}: {error}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_database_and_what_is_cancelled_are_said() {
    let place = Place::with("CREATE TABLE t (a); INSERT INTO t VALUES (1);").await;
    let limit = std::time::Duration::from_secs(10);
    assert!(place.database().ping(&place.cx, limit).await.unwrap().version.starts_with("3."));
    assert_eq!(place.database().inventory(&place.cx).await.unwrap()[0].rows, 1);

    place.cx.cancel.cancel(Cause::Terminated);
    let error = place.database().begin_dump(&place.cx, &place.scratch()).await.map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::Terminated);
    let mut endless = tokio::io::repeat(0);
    let error = place.database().restore_beside(&place.cx, &mut endless, None, "r1").await.unwrap_err();
    assert_eq!(error.reason(), Reason::Terminated);

    let place = Place::with("").await;
    kit_core::fs::write_atomic(&place.path, &[b'x'; 5000]).unwrap();
    let error = place.database().ping(&place.cx, limit).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
    let error = place.database().begin_dump(&place.cx, &place.scratch()).await.map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed);
    let text = kit_core::StepError::from(error).chain();
    assert!(text.ends_with("shop.db: file is not a database"), "{text}");
}

#[tokio::test]
async fn a_long_dump_ends_soon_after_a_cancel() {
    // More than SQLite's cache holds, so that the copy takes many looks at the cancellation.
    let place = Place::with(
        "CREATE TABLE t (a); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO t SELECT i FROM n; CREATE VIEW v AS SELECT a FROM t",
    )
    .await;
    let database = place.database();
    let mut dump = database.begin_dump(&place.cx, &place.scratch()).await.unwrap();
    let mut bytes = Vec::new();
    dump.reader().read_to_end(&mut bytes).await.unwrap();
    place.cx.cancel.cancel(Cause::Interrupted);
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Cancelled { cause: Some(Cause::Interrupted), .. }), "{error:?}");
}

#[tokio::test]
async fn through_the_front_door() {
    let place = Place::with(FAMILY).await;
    for parameters in ["", "?mode=ro"] {
        let url = Secret::new(format!("sqlite://{}{parameters}", place.path.display()));
        let database = crate::open(&url, "DATABASE_URL", Default::default(), &place.cx).await.unwrap();
        assert_eq!((database.engine(), database.extension()), (Engine::Sqlite, "sqlite"));
        assert_eq!(database.display(), format!("SQLite {}", place.path.display()));
        let mut dump = database.begin_dump(&place.cx, &place.scratch()).await.unwrap();
        assert_eq!(dump.snapshot_at().to_string().get(..4), Some("2025"), "the clock of the context");
        let mut bytes = Vec::new();
        dump.reader().read_to_end(&mut bytes).await.unwrap();
        let rows = dump.finish(&place.cx).await.unwrap().inspection.table_rows();
        assert_eq!(rows, database.inventory(&place.cx).await.unwrap());
        if parameters.is_empty() {
            assert_eq!(place.names(), ["shop.db"], "looking leaves nothing beside a database in WAL mode");
        }
    }
}
