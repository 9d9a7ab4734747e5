use super::{EVERYTHING, Place, needs};
use crate::{Database as _, DatabaseError, Depth, OpenOptions};
use kit_contract::Reason;
use kit_core::{Cause, StepError};
use kit_testing::redis::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Sixteen megabytes, which are not compressed.
const LARGE: &str = "CONFIG SET rdbcompression no\nDEBUG POPULATE 400 key 40000";

/// Breaks the first connection on which an exchange is sent, before it comes to the server or after it was done.
pub(super) struct Proxy {
    port: u16,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(super) async fn start(server: &Server, done: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, broken) = (server.port(), Arc::new(AtomicBool::new(false)));
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(lead(client, server, done, Arc::clone(&broken)));
            }
        });
        Self { port, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

async fn lead(client: TcpStream, server: u16, done: bool, broken: Arc<AtomicBool>) {
    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let sent = AtomicBool::new(false);
    let there = async {
        let mut piece = [0; 65536];
        while let Ok(count @ 1..) = from_client.read(&mut piece).await {
            let exchange = piece[..count].windows(6).any(|word| word == b"SWAPDB");
            if exchange && !broken.swap(true, Ordering::SeqCst) {
                if !done {
                    return;
                }
                sent.store(true, Ordering::SeqCst);
            }
            to_server.write_all(&piece[..count]).await.unwrap();
        }
    };
    let back = async {
        let mut piece = [0; 65536];
        while let Ok(count @ 1..) = from_server.read(&mut piece).await {
            if sent.load(Ordering::SeqCst) {
                return;
            }
            to_client.write_all(&piece[..count]).await.unwrap();
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}

/// The connection is cut at several byte counts, then the server dies; written straight into the connection, and from
/// a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_whose_server_dies_is_never_whole() {
    let disk = ["--repl-diskless-sync", "no"];
    for (settings, cuts) in [(&[][..], &[8][..]), (&disk, &[1000])] {
        let mut place = Place::on(Server::with(settings));
        place.server.run(0, LARGE);
        let size = place.dump().await.0.len();
        assert!(size > 12_000_000, "{size}");
        // What is left is more than connections hold by themselves.
        for part in cuts {
            let at = size.checked_div(*part).unwrap_or_default();
            let mut dump = place.database(0).begin_dump(&place.cx, place.folder.path()).await.unwrap();
            dump.reader().read_exact(&mut vec![0; at]).await.unwrap();
            place.server.run(0, "CLIENT KILL TYPE replica");
            let mut rest = Vec::new();
            let ended = dump.reader().read_to_end(&mut rest).await;
            assert!(ended.is_err() && at + rest.len() < size, "{at}: it ended early");
            let error = dump.finish(&place.cx).await.unwrap_err();
            assert_eq!(error.reason(), Reason::DumpFailed, "{at}: {error}");
        }
        let mut dump = place.database(0).begin_dump(&place.cx, place.folder.path()).await.unwrap();
        dump.reader().read_exact(&mut vec![0; size / 2]).await.unwrap();
        place.server.stop();
        let mut rest = Vec::new();
        // Where a child of the server writes it, that one may come to its end.
        let ended = dump.reader().read_to_end(&mut rest).await;
        assert_eq!(ended.is_ok(), dump.finish(&place.cx).await.is_ok());
        assert!(ended.is_err() || size / 2 + rest.len() == size);
        let error = place.database(0).begin_dump(&place.cx, place.folder.path()).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Reason::DatabaseUnreachable, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_has_no_dump() {
    let place = Place::with(LARGE);
    let mut dump = place.database(0).begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BackupTruncated, "{error}");
    let mut dump = place.database(0).begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    place.cx.cancel.cancel(Cause::Terminated);
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::Terminated | Reason::BackupTruncated), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_missing_rights_are_told() {
    let place = Place::with("SET a 1\nACL SETUSER reader on >hunter2-reader ~* +@read +info +select");
    let wrong = place.database_at(&place.server.url_as("", "hunter2-wrong", 0), OpenOptions::default());
    for error in [
        wrong.begin_dump(&place.cx, place.folder.path()).await.map(drop).unwrap_err(),
        wrong.can_be_dumped(&place.cx).await.unwrap_err(),
        wrong.inventory(&place.cx).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.reason(), Reason::DatabaseUnreachable);
        let text = StepError::from(error).chain();
        assert!(text.contains("WRONGPASS") && !text.contains("hunter2"), "{text}");
    }
    let reader =
        place.database_at(&place.server.url_as("reader", "hunter2-reader", 0), OpenOptions::default());
    reader.can_be_dumped(&place.cx).await.unwrap();
    for (mend, missing) in [("+acl|dryrun", "replconf"), ("+replconf", "psync")] {
        place.server.run(0, &format!("ACL SETUSER reader {mend}"));
        let error = reader.can_be_dumped(&place.cx).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed);
        let text = StepError::from(error).chain();
        assert!(text.contains(&format!("'{missing}'")) && text.contains("+psync +replconf"), "{text}");
        // It is true: the dump itself finds it.
        let error = place.try_dump(&reader).await.map(drop).unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed);
    }
    place.server.run(
        0,
        "ACL SETUSER reader +psync\nACL SETUSER open on nopass ~* +@all\nCONFIG SET requirepass \"\"",
    );
    for (url, fits) in [("redis://reader@", false), ("redis://open@", true), ("redis://", true)] {
        let url = format!("{url}127.0.0.1:{}/0", place.server.port());
        let asked = place.database_at(&url, OpenOptions::default()).can_be_dumped(&place.cx).await;
        assert_eq!(asked.is_ok(), fits, "{url}: nobody is taken for another");
    }
    reader.can_be_dumped(&place.cx).await.unwrap();
    place.try_dump(&reader).await.unwrap();
}

/// A dump that was cut or changed on its way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_broken_is_found() {
    let place = Place::with(EVERYTHING);
    let (dump, report) = place.dump().await;
    let database = place.database(0);
    for length in [0, dump.len() / 2, dump.len() - 1] {
        let cut = &dump[..length];
        let error = place.restored_by(&database, cut, needs(&report)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{length}: {error}");
        let mut reader = cut;
        let error =
            database.restore_beside(&place.cx, &mut reader, Some(needs(&report)), "r1").await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{length}: {error}");
        assert!(!place.server.run(0, "INFO keyspace").contains("db15"), "nothing stays beside");
    }
    let other =
        kit_contract::body::RestoreNeeds { series: Some("Redis 6.2".to_owned()), ..needs(&report).clone() };
    let error = place.restored_by(&database, &dump, &other).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ProofUnavailable);
    assert!(error.to_string().contains("Redis 7.0, and the backup is of Redis 6.2"), "{error}");
    let nowhere = OpenOptions {
        tools: Some(crate::Tools::Folder(place.folder.path().to_owned())),
        ..Default::default()
    };
    let nowhere = place.database_at(&place.server.url(0), nowhere);
    let error = place.restored_by(&nowhere, &dump, needs(&report)).await.unwrap_err();
    assert!(error.to_string().contains("no redis-server is installed"), "{error}");
    // One that is whole by its sum, and nonsense to the server: the length of a set is a lie.
    let mut lie = b"REDIS0010\xfe\x00\x0b\x01s\x08\x02\0\0\0\0\0\0\0\xff".to_vec();
    let sum = super::super::rdb::sum_of(&lie);
    lie.extend_from_slice(&sum.to_le_bytes());
    let error = place.restored_by(&database, &lie, needs(&report)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BackupMismatch, "{error}");
    let error =
        database.restore_beside(&place.cx, &mut &lie[..], Some(needs(&report)), "r1").await.unwrap_err();
    assert!(matches!(error, DatabaseError::Damaged { .. }), "{error}");
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_and_a_replica_that_lost_its_master_are_not_dumped() {
    let place = Place::on(Server::with(&["--cluster-enabled", "yes"]));
    let error = place.database(0).can_be_dumped(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError);
    assert!(
        error.to_string().contains("a node of a cluster") || error.to_string().contains("one node"),
        "{error}"
    );
    let place = Place::on(Server::with(&["--replicaof", "127.0.0.1", "1"]));
    let error = place.database(0).can_be_dumped(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed, "{error}");
    let live = place.database(0).inspect(&place.cx, Depth::Content).await.unwrap_err();
    assert!(StepError::from(live).chain().contains("NOMASTERLINK"));
}
