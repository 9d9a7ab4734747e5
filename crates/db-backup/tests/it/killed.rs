//! Real servers, a real bucket, and a run that is ended at many bytes: by a signal, by a crash of its machine, by the
//! death of the database's own process.

use super::bucket::{BUCKET, Shop};
use super::{BINARY, ID, ended};
use kit_contract::Sha256;
use kit_contract::body::DatabaseBackup;
use kit_testing::s3::{Fault, Seen};
use kit_testing::{Signal, mariadb, postgres};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// 11 MB of dump, 8 MB in the bucket: a whole part and another.
pub(super) const POSTGRES: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, note text);
    INSERT INTO orders SELECT i, encode(sha256(i::text::bytea), 'base64') || encode(sha256((-i)::text::bytea), 'base64')
    FROM generate_series(1, 120000) AS i;";
pub(super) const MARIADB: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, note text);
    INSERT INTO orders SELECT seq, CONCAT(TO_BASE64(UNHEX(SHA2(seq, 256))), TO_BASE64(UNHEX(SHA2(-seq, 256)))) FROM
    seq_1_to_120000;";
/// At which bytes of the upload which signal comes, and what it ends with.
const CUTS: [(usize, Signal, Option<i32>); 4] = [
    (0, Signal::KILL, None),
    (1_000_000, Signal::TERM, Some(143)),
    (5_300_000, Signal::KILL, None),
    (6_500_000, Signal::INT, Some(130)),
];
const ARGS: &[&str] = &["--proof", "remote"];

/// Waits for something that another process does.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

impl Shop {
    fn uploads(&self) -> usize {
        self.server.unfinished_uploads(BUCKET)
    }

    /// Starts a run, waits until it is where it shall end, and ends it. Says how it ended.
    fn end_at(&self, signal: Signal, what: &str, is_there: impl FnMut() -> bool) -> (Option<i32>, String) {
        let started = self.sandbox.start(BINARY, ARGS);
        until(what, is_there);
        let at = Instant::now();
        started.signal(signal);
        let ran = started.wait();
        assert!(at.elapsed() < Duration::from_secs(7), "{what}: gone after {:?}", at.elapsed());
        self.proxy.heal();
        let artifact = self.sandbox.artifact_json("backup");
        let expected = if signal == Signal::KILL { "unfinished" } else { "cancellation" };
        let said = if signal == Signal::KILL { &artifact["reason"] } else { &artifact["result"] };
        assert_eq!(said, expected, "{what}: {artifact}");
        (ran.code, ran.stderr)
    }

    fn every_cut(&self, cuts: &[(usize, Signal, Option<i32>)]) {
        for &(bytes, signal, code) in cuts {
            let context = format!("{signal:?} after {bytes} bytes");
            self.proxy.hold_after(bytes);
            let (found, said) = self.end_at(signal, &context, || self.proxy.holds());
            assert_eq!(found, code, "{context}: {said}");
            // A machine that dies ends nothing; whoever can still act leaves nothing.
            let left = usize::from(signal == Signal::KILL);
            self.assert_no_backup(left, &context);
        }
        // The object is whole, and its metadata never came: no backup.
        let metadata = format!("backup-{ID}.json");
        let is_metadata =
            |seen: &Seen| seen.method == "PUT" && seen.target.contains(&format!("backup-{ID}.json"));
        for (signal, code) in [(Signal::TERM, Some(143)), (Signal::KILL, None)] {
            let before = self.proxy.count("PUT", &metadata);
            self.proxy.on(u32::MAX, Fault::Hang, is_metadata);
            let is_there = || self.proxy.count("PUT", &metadata) > before;
            let (found, said) = self.end_at(signal, "the metadata", is_there);
            assert_eq!(found, code, "{said}");
            assert!(!self.objects().contains(&metadata) && self.uploads() == 0, "{}", self.objects());
            assert_eq!(said.contains("whether it got there is not known"), code.is_some(), "{said}");
        }
        let ran = self.sandbox.run(BINARY, ARGS);
        ended(&self.sandbox, &ran, 0, "verified_remote");
        assert!(ran.stderr.contains("a run left it without metadata"), "{}", ran.stderr);
        assert!(ran.stderr.contains("a run that was killed left scratch copies there"), "{}", ran.stderr);
        assert_eq!(self.uploads(), 0);
        let object = |extension: &str| {
            let target = format!("/{BUCKET}/deploys/shop/production/backup-{ID}.{extension}");
            self.server.bytes(&target)
        };
        let backup: DatabaseBackup = serde_json::from_slice(&object("json")).unwrap();
        assert_eq!(backup.sha256, Sha256::of(&object("sql.gz")));
    }
}

#[test]
fn postgres_onto_a_bucket_ended_at_any_byte() {
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", POSTGRES);
    // Enough for the middle to last.
    server.sql(
        "shop",
        "CREATE TABLE larger AS SELECT i, md5(i::text) || md5((-i)::text) AS note FROM generate_series(1, 600000) AS i",
    );
    let shop = Shop::of(&server.url("shop"));
    // The process of the server that copies is killed in the middle: what was stored of it is taken back.
    let started = shop.sandbox.start(BINARY, ARGS);
    let copying = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE substring(query FROM 'ctid >= ''.([0-9]+),')::integer > 1000";
    until("it copies", || server.sql("postgres", copying) == "1");
    let ran = started.wait();
    ended(&shop.sandbox, &ran, 20, "dump_failed");
    shop.assert_no_backup(0, "the database's process was killed");
    server.sql("shop", "DROP TABLE larger");
    shop.every_cut(&CUTS);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'deploy-kit'";
    assert_eq!(server.sql("postgres", left), "0");
}

#[test]
fn mariadb_onto_a_bucket_ended_at_any_byte() {
    let server = mariadb::Server::start();
    server.sql("mysql", "CREATE DATABASE shop");
    server.sql("shop", MARIADB);
    Shop::of(&server.url("shop")).every_cut(&CUTS[1..3]);
}

/// A run that waits, and another that begins meanwhile: what belongs to the living stays.
#[test]
fn scratch_copies_of_a_run_that_lives_are_left_alone() {
    let shop = Shop::open();
    // Which files are in one changes while it works.
    let folders = || {
        let files = shop.sandbox.files();
        let folder =
            |file: &String| file.split('/').find(|part| part.starts_with("db-backup-")).map(str::to_owned);
        files.iter().filter_map(folder).collect::<BTreeSet<_>>().len()
    };
    let elsewhere = |artifacts: &str| {
        let args = ["--proof", "stream", "--store", "file:elsewhere", "--artifacts", artifacts];
        let ran = shop.sandbox.run(BINARY, &args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr.contains("a run that was killed left scratch copies there")
    };
    shop.proxy.hold_after(1_000_000);
    let started = shop.sandbox.start(BINARY, ARGS);
    until("it waits", || shop.proxy.holds());
    let before = folders();
    assert!(before > 0 && !elsewhere("other"), "it lives");
    assert_eq!(folders(), before);
    started.signal(Signal::KILL);
    started.wait();
    assert!(elsewhere("third"));
    assert_eq!(folders(), 0);
}
