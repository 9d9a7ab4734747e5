use super::{Place, PostgresDatabase, needs};
use crate::{Database as _, DatabaseError, Depth, OpenOptions, ScratchPlace, compare};
use kit_contract::Reason;
use kit_contract::body::Extension;
use kit_contract::config::DumpFormat;
use kit_core::{Cause, Context, Env, StepError};
use kit_testing::postgres::Server;
use std::num::NonZeroU8;
use tokio::io::AsyncReadExt as _;

/// Some megabytes, so that a dump can be interrupted.
const LARGE: &str = "CREATE TABLE filler (id bigint, note text);
    INSERT INTO filler SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) AS i;
    CREATE TABLE later (a integer); INSERT INTO later VALUES (1);";

/// Kills the server processes behind `pg_dump` and our connections at several byte counts; then the whole server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_whose_server_dies_is_never_whole() {
    let mut place = Place::with(LARGE);
    // More than a connection copies ahead.
    place.server.sql("shop", "INSERT INTO filler SELECT filler.* FROM filler, generate_series(1, 2)");
    let size = place.dump().await.0.len();
    let cases = [0, 1000, size / 3, size / 2].map(|at| [(at, Some(0)), (at, None)]);
    for (at, dump_jobs) in cases.into_iter().flatten() {
        let database = place.database_with("shop", OpenOptions { dump_jobs, ..Default::default() });
        let mut dump = database.begin_dump(&place.cx, place.folder.path()).await.unwrap();
        let mut begun = vec![0; at];
        dump.reader().read_exact(&mut begun).await.unwrap();
        let ended = place.server.sql(
            "postgres",
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'deploy-kit'",
        );
        assert_ne!(ended, "0");
        let mut rest = Vec::new();
        dump.reader().read_to_end(&mut rest).await.unwrap();
        assert!(at + rest.len() < size, "it ended early");
        let error = dump.finish(&place.cx).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed, "{at}: {error}");
        let said = StepError::from(error).chain();
        let by_pg_dump = said.contains("exited with code 1");
        assert!(by_pg_dump || dump_jobs.is_none() && said.contains("terminat"), "{at}: {said}");
    }
    let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
    let mut begun = vec![0; size / 2];
    dump.reader().read_exact(&mut begun).await.unwrap();
    place.server.stop();
    dump.reader().read_to_end(&mut begun).await.unwrap();
    assert_eq!(dump.finish(&place.cx).await.unwrap_err().reason(), Reason::DumpFailed);
    let error =
        place.database("shop").begin_dump(&place.cx, place.folder.path()).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable, "{error}");
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_has_no_dump() {
    let place = Place::with(LARGE);
    let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BackupTruncated);
    let mut dump = place.database("shop").begin_dump(&place.cx, place.folder.path()).await.unwrap();
    dump.reader().read_exact(&mut [0; 1000]).await.unwrap();
    place.cx.cancel.cancel(Cause::Terminated);
    let mut rest = Vec::new();
    // It may end with an error or early; what counts is what it says in the end.
    let _ = dump.reader().read_to_end(&mut rest).await;
    let error = dump.finish(&place.cx).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::Terminated | Reason::BackupTruncated), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_not_repeated() {
    let place = Place::with("SELECT 1");
    let url = place.server.url_as("admin", "hunter2-wrong", "shop");
    let database = PostgresDatabase::parse(&url, OpenOptions::default(), &place.cx).unwrap();
    for error in [
        database.begin_dump(&place.cx, place.folder.path()).await.map(drop).unwrap_err(),
        database.ping(&place.cx, std::time::Duration::from_secs(10)).await.map(drop).unwrap_err(),
        database.inventory(&place.cx).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.reason(), Reason::DatabaseUnreachable);
        let text = StepError::from(error).chain();
        assert!(text.contains("password authentication failed"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let missing = place.database("nothing").begin_dump(&place.cx, place.folder.path()).await.map(drop);
    let text = StepError::from(missing.unwrap_err()).chain();
    assert!(text.contains("\"nothing\" does not exist"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_may_not_read_is_known_before_the_dump() {
    let place = Place::with(
        "CREATE ROLE reader LOGIN PASSWORD 'hunter2-reader'; CREATE TABLE open (a serial); CREATE TABLE closed (a text);
         CREATE TABLE hidden (a text); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
         GRANT SELECT ON open, hidden TO reader",
    );
    let url = place.server.url_as("reader", "hunter2-reader", "shop");
    let reader = PostgresDatabase::parse(&url, OpenOptions::default(), &place.cx).unwrap();
    for (mend, first) in [
        ("GRANT SELECT ON closed TO reader", "public.closed and 2 more"),
        ("ALTER ROLE reader BYPASSRLS", "public.hidden and 1 more"),
        ("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader", "public.open_a_seq:"),
    ] {
        let error = reader.can_be_dumped(&place.cx).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DumpFailed);
        let text = StepError::from(error).chain();
        assert!(text.contains(&format!("may not read all of {first}")), "{text}");
        // It is true: the dump itself finds it.
        place.try_dump(&reader).await.map(drop).unwrap_err();
        place.server.sql("shop", mend);
    }
    reader.can_be_dumped(&place.cx).await.unwrap();
    place.try_dump(&reader).await.unwrap();
}

/// A dump that was cut or changed on its way back, at many places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_broken_is_found() {
    let place = Place::with(LARGE);
    let (dump, report) = place.dump().await;
    for length in [0, dump.len() / 2, dump.len() - 60] {
        let error = place.restored(&dump[..length], needs(&report), Depth::Rows).await.unwrap_err();
        assert_eq!(error.reason(), Reason::BackupTruncated, "{length}: {error}");
    }
    let at = dump.windows(6).position(|bytes| bytes == b"CREATE").unwrap();
    let mut broken = dump.clone();
    broken[at] = b'X';
    let error = place.restored(&broken, needs(&report), Depth::Rows).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Damaged { .. }), "{error:?}");
    let text = StepError::from(error).chain();
    assert!(text.contains("syntax error at or near \"XREATE\""), "{text}");
    let at = dump.windows(5).position(|bytes| bytes == b"\n100\t").unwrap();
    let mut other = dump.clone();
    other[at + 8] ^= 1;
    let restored = place.restored(&other, needs(&report), Depth::Content).await.unwrap();
    let found = compare(&report.inspection, &restored);
    assert_eq!(found, [crate::Difference::Content("public.filler".to_owned())]);
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

/// Says nothing about the dump, whatever the scratch place lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_scratch_place_lacks_is_neither_a_pass_nor_a_fail() {
    let place = Place::with(LARGE);
    let (dump, report) = place.dump().await;
    let mut lacking = needs(&report).clone();
    lacking.extensions.push(Extension { name: "postgis".to_owned(), version: "3.4.2".to_owned() });
    let error = place.restored(&dump, &lacking, Depth::Rows).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ProofUnavailable);
    assert!(error.to_string().contains("lacks the extension postgis 3.4.2"), "{error}");
    let mut lacking = needs(&report).clone();
    lacking.collate = "xx_XX.utf8".to_owned();
    let error = place.restored(&dump, &lacking, Depth::Rows).await.unwrap_err();
    assert!(error.to_string().contains("invalid locale name"), "{error}");
    let mut lacking = needs(&report).clone();
    lacking.server_major = 14;
    let error = place.restored(&dump, &lacking, Depth::Rows).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ProofUnavailable, "{error}");
    let beside = OpenOptions { scratch: ScratchPlace::Beside, ..Default::default() };
    let database = place.database_with("shop", beside);
    let mut lacking = needs(&report).clone();
    lacking.roles.push("nobody_knows".to_owned());
    let error = place.restored_by(&database, &dump, &lacking, Depth::Rows).await.unwrap_err();
    assert!(error.to_string().contains("lacks the role nobody_knows"), "{error}");
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

/// Needs root, as the whole suite does where servers are started: a file system of its own that is too small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_scratch_place_says_nothing_about_the_dump() {
    let place = Place::with(
        "CREATE TABLE filler (id bigint, note text);
         INSERT INTO filler SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 90000) AS i;",
    );
    let (dump, report) = place.dump().await;
    let small = kit_testing::SmallDisk::new(64);
    let scratch = small.path().join("scratch");
    for (jobs, said) in [(None, "could not extend file"), (NonZeroU8::new(2), "the restore cannot be tried")]
    {
        let database =
            place.database_with("shop", OpenOptions { restore_jobs: jobs, ..OpenOptions::default() });
        let mut reader = dump.as_slice();
        let tried = database.restore_scratch(&place.cx, &mut reader, Some(needs(&report)), &scratch).await;
        let error = tried.map(drop).unwrap_err();
        // Where rows are logged, the log fills up the disk, and the server dies of it.
        assert_eq!(error.reason(), Reason::ProofUnavailable, "{jobs:?}: {error:?}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(kit_core::fs::list(&scratch).unwrap().unwrap().is_empty());
    }
}

/// Two real versions: Debian's and a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_client_is_refused_before_it_starts_and_a_newer_one_fits_its_dump_to_the_server() {
    let newer = Place::on(Server::start_newer());
    newer.server.sql("postgres", "CREATE DATABASE shop");
    let tools = Some(crate::Tools::Folder(Server::programs()));
    let old_client = newer.database_with("shop", OpenOptions { tools, ..Default::default() });
    let error = newer.try_dump(&old_client).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::ToolMissing);
    let step = StepError::from(error);
    assert!(step.to_string().contains("an older one cannot dump a newer server"), "{step}");
    assert!(step.hints[0].contains("apt-get install postgresql-client"), "{:?}", step.hints);

    let place = Place::with("CREATE TABLE t (a integer); INSERT INTO t VALUES (1), (2)");
    let tools = Some(crate::Tools::Folder(Server::newer_programs()));
    let options = OpenOptions { tools, scratch: ScratchPlace::Beside, ..Default::default() };
    let new_client = place.database_with("shop", options.clone());
    let (dump, report) = place.try_dump(&new_client).await.unwrap();
    assert!(report.details.client.as_ref().unwrap().starts_with("pg_dump 18"), "{:?}", report.details.client);
    let restored = place.restored_by(&new_client, &dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    // Nobody can leave a setting out of an archive.
    let custom = place.database_with("shop", OpenOptions { format: DumpFormat::Custom, ..options });
    let error = place.try_dump(&custom).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::ToolMissing);
    assert!(error.to_string().contains("install those of 15, or use format = \"plain\""), "{error}");
}

#[tokio::test]
async fn a_data_folder_that_is_kept_is_used_and_one_that_does_not_start_is_made_anew() {
    let place = Place::with("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let cache = place.folder.path().join("cache");
    let path = cache.display().to_string();
    let env = Env::from([("PATH", std::env!("PATH")), ("DEPLOY_KIT_CACHE", path.as_str())]);
    let place = Place { cx: Context { env, ..place.cx.clone() }, ..place };
    let (dump, report) = place.dump().await;
    let restored = || place.restored(&dump, needs(&report), Depth::Rows);
    restored().await.unwrap();
    let folder = cache.join("servers");
    let names = kit_core::fs::list(&folder).unwrap().unwrap();
    let [name] = names.as_slice() else { panic!("{names:?}") };
    let file = folder.join(name);
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&file).unwrap());
    let made = inode();
    restored().await.unwrap();
    assert_eq!(inode(), made, "it was good enough");
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o600);
    archive.append_data(&mut header, "PG_VERSION", &b"9\n"[..]).unwrap();
    kit_core::fs::write_atomic(&file, &archive.into_inner().unwrap().finish().unwrap()).unwrap();
    let broken = inode();
    restored().await.unwrap();
    assert_ne!(inode(), broken, "it was replaced");
    restored().await.unwrap();
}
