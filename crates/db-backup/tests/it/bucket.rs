//! The whole program with a bucket (moto) that fails, hangs or lies dead in the middle of an upload.

use super::killed::{MARIADB, POSTGRES, until};
use super::{ID, SCHEMA, deployment, ended, orders, sql};
use kit_testing::s3::{Fault, Proxy, Seen, Server};
use kit_testing::{Sandbox, Signal, mariadb, postgres};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
pub(super) const BUCKET: &str = "acme-deploys";

pub(super) struct Shop {
    pub(super) server: Server,
    pub(super) proxy: Proxy,
    pub(super) sandbox: Sandbox,
}

impl Shop {
    /// A database of two parts, the second of them the last.
    pub(super) fn open() -> Self {
        let shop = Self::of("sqlite:main.db");
        sql(&shop.sandbox.path().join("main.db"), SCHEMA);
        sql(&shop.sandbox.path().join("main.db"), &orders(3300, 2000));
        shop
    }

    /// The database that this URL names.
    pub(super) fn of(url: &str) -> Self {
        let server = Server::start();
        server.make_bucket(BUCKET);
        let proxy = Proxy::before(server.port());
        let config = format!(
            "app = \"shop\"\n[store]\nurl = \"s3://{BUCKET}/deploys\"\npath_style = true\n[[databases]]\nname = \
             \"main\"\nurl = {{ env = \"MAIN_URL\" }}\n"
        );
        let sandbox = Sandbox::new()
            .file("deploy.toml", &config)
            .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"))
            .env("MAIN_URL", url)
            .env("AWS_ENDPOINT_URL", proxy.endpoint())
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "hunter2-of-the-bucket")
            .env("AWS_MAX_ATTEMPTS", "1");
        Self { server, proxy, sandbox }
    }

    pub(super) fn objects(&self) -> String {
        self.server.ask("GET", &format!("/{BUCKET}?list-type=2"), &[], "")
    }

    /// Neither an object nor its metadata, and so many unfinished uploads.
    #[track_caller]
    pub(super) fn assert_no_backup(&self, unfinished: usize, context: &str) {
        assert!(!self.objects().contains("/backup-"), "{context}: {}", self.objects());
        assert_eq!(self.server.unfinished_uploads(BUCKET), unfinished, "{context}");
        let artifact = self.sandbox.read(".deploy-kit/artifacts/backup.json");
        assert!(!artifact.contains("hunter2") && !artifact.contains("\"success\""), "{context}: {artifact}");
    }
}

fn part(number: u32) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| seen.method == "PUT" && seen.target.contains(&format!("partNumber={number}&"))
}

fn completion(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.contains("uploadId=")
}

type Matches = Box<dyn Fn(&Seen) -> bool + Send>;

/// What a bucket does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Fails,
    AsksToSlowDown,
    Resets,
    ExpiresInAPart,
    ExpiresAtTheEnd,
    Hangs,
    WritesOver,
}

impl Wrong {
    /// The fault for all requests of a kind, how it ends the run, and what is said then.
    fn plan(self) -> (Fault, Matches, (i32, &'static str), &'static str) {
        const UNREACHABLE: (i32, &str) = (20, "store_unreachable");
        const EXPIRED: Fault = Fault::Answer(400, "ExpiredToken");
        const RENEW: &str = "the credentials have expired";
        let conditional = |seen: &Seen| seen.headers.contains_key("if-none-match");
        let over = "it created an object over an existing one";
        match self {
            Self::Fails => {
                (Fault::Answer(500, "InternalError"), Box::new(part(2)), UNREACHABLE, "InternalError")
            }
            Self::AsksToSlowDown => {
                (Fault::Answer(503, "SlowDown"), Box::new(part(1)), UNREACHABLE, "slow down")
            }
            Self::Resets => (
                Fault::ResetAfter(1 << 20),
                Box::new(part(2)),
                UNREACHABLE,
                "the connection to the store failed",
            ),
            Self::ExpiresInAPart => (EXPIRED, Box::new(part(2)), UNREACHABLE, RENEW),
            Self::ExpiresAtTheEnd => (EXPIRED, Box::new(completion), UNREACHABLE, RENEW),
            Self::Hangs => (Fault::Hang, Box::new(part(2)), (21, "deadline_exceeded"), "deadline passed"),
            Self::WritesOver => {
                let without = Fault::Without(&["if-none-match"]);
                (without, Box::new(conditional), (20, "store_unsuitable"), over)
            }
        }
    }
}

impl Shop {
    /// Each ends the run with the right code, leaves nothing that counts, and the database to itself.
    fn every(&self, wrongs: &[Wrong], left_alone: impl Fn() -> bool) {
        for wrong in wrongs {
            let (fault, matches, (code, reason), says) = wrong.plan();
            let deadline = if *wrong == Wrong::Hangs { "1s" } else { "1m" };
            self.proxy.on(u32::MAX, fault, matches);
            let ran = self.sandbox.run(BINARY, &["--proof", "stream", "--deadline", deadline]);
            self.proxy.heal();
            ended(&self.sandbox, &ran, code, reason);
            assert!(ran.stderr.contains(says), "{wrong:?}: no {says:?} in {}", ran.stderr);
            let printed = ran.printed().replace("::add-mask::hunter2", "");
            assert!(!printed.contains("hunter2"), "{printed}");
            self.assert_no_backup(0, &format!("{wrong:?}"));
            until("the database is left alone", &left_alone);
        }
    }
}

#[test]
fn a_bucket_that_fails_in_the_middle_holds_no_backup_and_nothing_of_one() {
    let wrongs = [Wrong::Fails, Wrong::ExpiresAtTheEnd, Wrong::WritesOver];
    Shop::open().every(&wrongs, || true);
}

#[test]
fn a_dump_of_postgres_ends_with_the_bucket_that_it_was_for() {
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", POSTGRES);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'";
    let wrongs = [Wrong::Fails, Wrong::Resets, Wrong::Hangs, Wrong::ExpiresAtTheEnd];
    let shop = Shop::of(&server.url("shop"));
    shop.every(&wrongs, || server.sql("postgres", sessions) == "0");
    super::progress::is_seen_at_a_terminal(&shop);
}

#[test]
fn a_dump_of_mariadb_ends_with_the_bucket_that_it_was_for() {
    let server = mariadb::Server::start();
    server.sql("mysql", "CREATE DATABASE shop");
    server.sql("shop", MARIADB);
    let sessions = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'shop'";
    let wrongs = [Wrong::AsksToSlowDown, Wrong::ExpiresInAPart, Wrong::Hangs, Wrong::WritesOver];
    Shop::of(&server.url("shop")).every(&wrongs, || server.sql("mysql", sessions) == "0");
}

/// The bucket takes a part and never answers; then somebody ends the run, or its machine dies.
#[test]
fn a_run_that_ends_while_the_bucket_hangs_leaves_nothing_that_stays() {
    let shop = Shop::open();
    for (number, signal, code, unfinished) in
        [(1, Signal::TERM, Some(143), 0), (2, Signal::INT, Some(130), 0), (1, Signal::KILL, None, 1)]
    {
        let context = format!("{signal:?} in part {number}");
        shop.proxy.on(u32::MAX, Fault::Hang, part(number));
        let before = shop.proxy.count("PUT", &format!("partNumber={number}&"));
        let started = shop.sandbox.start(BINARY, &[]);
        while shop.proxy.count("PUT", &format!("partNumber={number}&")) == before {
            std::thread::yield_now();
        }
        let at = Instant::now();
        started.signal(signal);
        let ran = started.wait();
        assert!(at.elapsed() < Duration::from_secs(7), "{context}: gone after {:?}", at.elapsed());
        shop.proxy.heal();
        assert_eq!(ran.code, code, "{context}: {}", ran.stderr);
        shop.assert_no_backup(unfinished, &context);
    }
    // What the dead machine began is found and removed by the next run.
    let ran = shop.sandbox.run(BINARY, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("removed what a killed run left"), "{}", ran.stderr);
    assert_eq!(shop.server.unfinished_uploads(BUCKET), 0);
}
