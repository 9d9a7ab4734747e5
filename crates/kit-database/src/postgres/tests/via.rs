//! Reached through something else.

use super::{Place, needs};
use crate::{Database as _, Depth, OpenOptions, ScratchPlace, compare};
use kit_contract::Reason;
use kit_core::StepError;
use kit_testing::ssh;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

fn through(via: Vec<String>) -> OpenOptions {
    OpenOptions { via, scratch: ScratchPlace::Beside, ..Default::default() }
}

/// Everything goes through: connections, `pg_dump`, `psql`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_ssh_is_dumped_restored_and_swapped_and_no_secret_is_an_argument() {
    let place = Place::with("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)");
    let bastion = ssh::Server::start();
    let database = place.database_with("shop", through(bastion.way()));
    assert!(database.display().ends_with(" via ssh"), "{}", database.display());
    database.ping(&place.cx, Duration::from_secs(20)).await.unwrap();
    let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
    let arguments = arguments_of_all();
    assert!(arguments.iter().any(|line| line.contains("-W\u{0}127.0.0.1:")), "ssh runs");
    assert!(!arguments.iter().any(|line| line.contains(place.server.password())));
    let mut bytes = Vec::new();
    dump.reader().read_to_end(&mut bytes).await.unwrap();
    let report = dump.finish(&place.cx).await.unwrap();
    let restored = place.restored_by(&database, &bytes, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    let beside =
        database.restore_beside(&place.cx, &mut &bytes[..], Some(needs(&report)), "r1").await.unwrap();
    let beside = database.finish_beside(&place.cx, &beside).await.unwrap();
    database.swap(&place.cx, &beside).await.unwrap();
    drop(report);
    assert_eq!(place.left(), [""; 0]);

    // Somebody else's key is nobody's database.
    let stranger = place.database_with("shop", through(bastion.way_of_a_stranger()));
    let error = stranger.ping(&place.cx, Duration::from_secs(20)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable, "{error}");
    let gone = place.database_with("shop", through(vec!["no-such-program".to_owned()]));
    let error = gone.ping(&place.cx, Duration::from_secs(20)).await.unwrap_err();
    assert!(StepError::from(error).chain().contains("via no-such-program"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_breaks_in_the_middle_leaves_no_dump() {
    let place = Place::with(
        "CREATE TABLE t (a bigint, b text);
         INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) AS i",
    );
    let via = ["socat", "-", "TCP:{host}:{port}"].map(str::to_owned).to_vec();
    let database = place.database_with("shop", through(via));
    let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    let port = place.server.url("shop").rsplit_once(':').unwrap().1.split('/').next().unwrap().to_owned();
    let mut ended = 0;
    for (pid, line) in processes() {
        if line.starts_with("socat\u{0}") && line.contains(&format!("TCP:127.0.0.1:{port}")) {
            kit_testing::signal(pid, kit_testing::Signal::KILL);
            ended += 1;
        }
    }
    // Each pg_dump may be done: what it has to write is small.
    assert!((2..=4).contains(&ended), "those of the counting, of the copying, of each pg_dump: {ended}");
    let mut rest = Vec::new();
    dump.reader().read_to_end(&mut rest).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed, "{error}");
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test]
async fn a_name_that_cannot_be_checked_is_refused() {
    let place = kit_core::Context::for_test(kit_core::Env::default()).0;
    let open = |mode: &str| {
        let url = format!("postgres://u:hunter2@h/d?sslmode={mode}");
        super::PostgresDatabase::parse(&url, through(vec!["cat".to_owned()]), &place)
    };
    let problem = open("verify-full").unwrap_err();
    assert!(problem.contains("use verify-ca") && !problem.contains("hunter2"), "{problem}");
    open("verify-ca").unwrap();
}

/// Process ids and arguments of everything that runs.
fn processes() -> Vec<(i32, String)> {
    let names = kit_core::fs::list(Path::new("/proc")).unwrap().unwrap();
    names
        .iter()
        .filter_map(|name| {
            let pid: i32 = name.parse().ok()?;
            let line =
                kit_core::fs::read_text(&Path::new("/proc").join(name).join("cmdline"), 1 << 20).ok()?;
            Some((pid, line))
        })
        .collect()
}

fn arguments_of_all() -> Vec<String> {
    processes().into_iter().map(|(_, line)| line).collect()
}
