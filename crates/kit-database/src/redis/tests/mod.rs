//! Real servers, one per test.

mod faults;
mod swap;

use super::RedisDatabase;
use crate::assertions::tests::{none, told};
use crate::{Database, DatabaseError, Depth, DumpReport, Inspection, OpenOptions, ScratchPlace, compare};
use kit_contract::Reason;
use kit_contract::body::RestoreNeeds;
use kit_contract::config::Expected;
use kit_core::{Clock, Context, Env, StepError};
use kit_testing::redis::Server;
use tokio::io::AsyncReadExt as _;

/// Every type, in every way in which Redis keeps it; bytes that are no text; keys that go.
pub(super) const EVERYTHING: &str = r##"
SET text "hello"
SET number 42
SET negative -40000
SET large-number 123456789012
SET "bytes\x00\xff\r\n" "\x00\x01\xfe\xff"
SET empty ""
SET going soon PXAT 4102444800123
SETRANGE long 100000 end
RPUSH list a 1 -1 300 -70000 5000000000 "\xff"
SADD numbers 1 2 3
SADD big-numbers 1 70000 5000000000
SADD words a b c 1
HSET small-hash a 1 b two
ZADD small-zset 1 one 2.5 two -inf low +inf high 3 three
XADD stream 1-1 field value
XADD stream 2-1 field value other 7
XADD stream 3-1 field value
XDEL stream 2-1
XGROUP CREATE stream group 0
XREADGROUP GROUP group ada COUNT 1 STREAMS stream >
XGROUP CREATE stream idle $
PFADD sketch a b c
GEOADD places 13.4 52.5 Berlin
EVAL "for i = 1, 2000 do redis.call('HSET', 'hash', i, 'value of ' .. i); redis.call('SADD', 'set', 'member ' .. i); redis.call('ZADD', 'zset', i / 3, 'member ' .. i); redis.call('RPUSH', 'long-list', string.rep('x', i % 700)); redis.call('XADD', 'long-stream', i .. '-0', 'n', i) end" 0
EVAL "redis.call('RPUSH', 'list-of-large', string.rep('y', 20000), 'small', string.rep('z', 9000))" 0
FUNCTION LOAD "#!lua name=shop\nredis.register_function('one', function() return 1 end)"
"##;

/// A server, and a folder for scratch copies.
pub(super) struct Place {
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
    pub(super) cx: Context,
}

impl Place {
    pub(super) fn on(server: Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::from([("PATH", std::env!("PATH"))]);
        // Children live in real time.
        let cx = Context { clock: Clock::system(), ..Context::for_test(env).0 };
        Self { server, folder, cx }
    }

    pub(super) fn with(commands: &str) -> Self {
        let place = Self::on(Server::start());
        place.server.run(0, commands);
        place
    }

    pub(super) fn database(&self, number: u64) -> RedisDatabase {
        self.database_at(&self.server.url(number), OpenOptions::default())
    }

    pub(super) fn database_at(&self, url: &str, options: OpenOptions) -> RedisDatabase {
        RedisDatabase::parse(url, options, &self.cx).unwrap()
    }

    pub(super) async fn dump(&self) -> (Vec<u8>, DumpReport) {
        self.try_dump(&self.database(0)).await.unwrap()
    }

    pub(super) async fn try_dump(
        &self,
        database: &RedisDatabase,
    ) -> Result<(Vec<u8>, DumpReport), DatabaseError> {
        let mut dump = database.begin_dump(&self.cx, self.folder.path()).await?;
        let mut bytes = Vec::new();
        // It may end with an error or early; what counts is what it says in the end.
        let _ = dump.reader().read_to_end(&mut bytes).await;
        Ok((bytes, dump.finish(&self.cx).await?))
    }

    /// Restores into a scratch place and examines what came.
    pub(super) async fn restored_by(
        &self,
        database: &RedisDatabase,
        dump: &[u8],
        needs: &RestoreNeeds,
    ) -> Result<Inspection, DatabaseError> {
        let mut reader = dump;
        let scratch =
            database.restore_scratch(&self.cx, &mut reader, Some(needs), self.folder.path()).await?;
        let counted = scratch.inspect(&self.cx, Depth::Rows).await;
        let inspected = scratch.inspect(&self.cx, Depth::Content).await;
        scratch.close(&self.cx).await?;
        let (counted, inspected) = (counted?, inspected?);
        assert_eq!(counted.table_rows(), inspected.table_rows());
        Ok(inspected)
    }

    /// What is left in the folder for scratch copies.
    pub(super) fn left(&self) -> Vec<String> {
        kit_core::fs::list(self.folder.path()).unwrap().unwrap()
    }
}

pub(super) fn needs(report: &DumpReport) -> &RestoreNeeds {
    report.details.needs.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_back_in_a_server_of_its_own_and_beside_the_live_database() {
    let place = Place::with(EVERYTHING);
    place.server.run(3, "SET other 1\nSET another 2");
    let (dump, report) = place.dump().await;
    let keys: u64 = place.server.run(0, "DBSIZE").parse().unwrap();
    let [table] = report.inspection.tables.as_slice() else { panic!("{report:?}") };
    assert_eq!((table.table.as_str(), table.rows), ("db0", keys));
    assert_eq!(report.uncompressed_bytes, dump.len() as u64);
    assert_eq!(needs(&report).series.as_deref(), Some("Redis 7.0"));
    let position = report.details.log_position.as_deref().unwrap();
    assert_eq!(position.find(':'), Some(40), "{position}");

    let restored = place.restored_by(&place.database(0), &dump, needs(&report)).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    // Without a server program, in another database of the same server.
    let beside = OpenOptions { scratch: ScratchPlace::Beside, ..Default::default() };
    let beside = place.database_at(&place.server.url(0), beside);
    let restored = place.restored_by(&beside, &dump, needs(&report)).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    // On a server that somebody named.
    let other = Server::start();
    let scratch = ScratchPlace::Server(kit_core::Secret::new(other.url(5)));
    let named = place.database_at(&place.server.url(0), OpenOptions { scratch, ..Default::default() });
    let restored = place.restored_by(&named, &dump, needs(&report)).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    for server in [&place.server, &other] {
        assert!(!server.run(0, "INFO keyspace").contains("db15"), "nothing is left there");
    }
    // The live one is the same as ever.
    let live = place.database(0).inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &live), []);
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_value_is_another_content() {
    let place = Place::with(EVERYTHING);
    let digest = async || {
        let inspected = place.database(0).inspect(&place.cx, Depth::Content).await.unwrap();
        inspected.tables[0].content_sha256.clone().unwrap()
    };
    let mut seen = vec![digest().await];
    for change in [
        "SET text hellO",
        "PEXPIREAT going 4102444800124",
        "PERSIST going",
        "RENAME text txet",
        "LSET list 6 x",
        "SREM big-numbers 70000\nSADD big-numbers 70001",
        "HSET hash 1999 other",
        "HSET small-hash b three",
        "ZADD zset 0.5 \"member 7\"",
        "ZINCRBY small-zset 0.5 two",
        "XADD stream 4-1 field value",
        "XACK stream group 1-1",
        "XGROUP CREATECONSUMER stream idle bob",
        "DEL empty\nRPUSH empty x",
    ] {
        place.server.run(0, change);
        let next = digest().await;
        assert!(!seen.contains(&next), "{change}");
        seen.push(next);
    }
    // In another order, and kept in another way, it is the same.
    place.server.run(0, "SADD one a b c 1\nSADD two 1 c b a\nCONFIG SET set-max-intset-entries 0");
    place.server.run(0, "DEL words numbers one two\nSADD words c b 1 a\nSADD numbers 3 2 1");
    place
        .server
        .run(0, "CONFIG SET hash-max-listpack-entries 0\nDEL small-hash\nHSET small-hash b three a 1");
    assert_eq!(digest().await, *seen.last().unwrap());
}

/// Made by Redis' own client, and readable by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_what_redis_itself_would_have_made() {
    let disk = ["--repl-diskless-sync", "no"];
    for settings in [&[][..], &disk] {
        let place = Place::on(Server::with(settings));
        place.server.run(0, EVERYTHING);
        let (dump, report) = place.dump().await;
        let own = place.server.snapshot();
        let restored = place.restored_by(&place.database(0), &own, needs(&report)).await.unwrap();
        assert_eq!(compare(&report.inspection, &restored), []);
        let file = place.folder.path().join("by-hand.rdb");
        kit_core::fs::write_atomic(&file, &dump).unwrap();
        let mut check = kit_exec::Command::new("redis-check-rdb").arg(file.display().to_string());
        check = check.stdout(kit_exec::Stdout::Capture { limit_bytes: 1 << 20 });
        let said = check.run(&place.cx).await.unwrap().text();
        assert!(said.contains("RDB looks OK"), "{said}");
    }
}

/// A key whose time is over is still in a snapshot; nobody may take that for a loss, and a loss not for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_go_meanwhile_are_no_difference() {
    let place = Place::with("DEBUG SET-ACTIVE-EXPIRE 0\nSET stays 1\nSET gone 1 PX 1\nSET going 1 PX 400");
    while place.server.run(0, "EXISTS gone") != "0" {}
    place.server.run(0, "SET gone 1 PX 1");
    let (dump, report) = place.dump().await;
    assert_eq!(report.inspection.tables[0].rows, 3, "they are in it");
    let restored = place.restored_by(&place.database(0), &dump, needs(&report)).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    let database = place.database(0);
    let beside =
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await.unwrap();
    while place.server.run(15, "EXISTS going") != "0" {}
    let restored = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    place.server.run(15, "DEL stays");
    let restored = database.inspect_beside(&place.cx, &beside, Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assertions_are_commands_that_only_read() {
    let place = Place::with("SADD users ada bob\nHSET config \"the key\" hunter2");
    let (dump, report) = place.dump().await;
    let expect = |one: &str, sql: &str, expect| kit_contract::config::Assertion { expect, ..none(one, sql) };
    let assertions = vec![
        expect("two-users", "SCARD users", Expected::Number(2)),
        expect("config", "HGET config 'the key'", Expected::Text("hunter2".to_owned())),
        none("none", "SCARD users"),
        none("missing", "GET nothing"),
        none("several", "SMEMBERS users"),
        none("writes", "DEL users"),
        none("unknown", "NOSUCH users"),
        none("quotes", "GET 'users"),
        none("wrong-type", "GET users"),
        expect("script", "EVAL_RO \"return redis.call('SCARD', KEYS[1])\" 1 users", Expected::Number(2)),
    ];
    let options = OpenOptions { assertions, ..Default::default() };
    let database = place.database_at(&place.server.url(0), options);
    let scratch = database
        .restore_scratch(&place.cx, &mut &dump[..], Some(needs(&report)), place.folder.path())
        .await
        .unwrap();
    let asked = scratch.assertions(&place.cx).await.unwrap();
    scratch.close(&place.cx).await.unwrap();
    assert_eq!(
        told(&asked),
        "two-users: Passed\nconfig: Passed\nnone: Failed (it gave another value than 0)\n\
         missing: Failed (it gave NULL, not 0)\nseveral: Unavailable (it gave more than one row)\n\
         writes: Unavailable (it is no command of Redis that only reads)\n\
         unknown: Unavailable (it is no command of Redis that only reads)\n\
         quotes: Unavailable (its quotation marks do not match)\n\
         wrong-type: Unavailable (it failed with code WRONGTYPE)\nscript: Passed"
    );
    let beside =
        database.restore_beside(&place.cx, &mut &dump[..], Some(needs(&report)), "r1").await.unwrap();
    assert_eq!(database.assertions_beside(&place.cx, &beside).await.unwrap(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_has_not_is_refused_and_everything_goes_through_a_way() {
    let place = Place::with("SET a 1");
    let database = place.database(0);
    let folder = place.folder.path().join("migrations");
    kit_core::fs::create_folder(&folder).unwrap();
    kit_core::fs::write_atomic(&folder.join("1_a.sql"), b"SELECT 1;").unwrap();
    let set = crate::MigrationSet::read(&folder).await.unwrap();
    let error = database.migration_status(&place.cx, &set).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError);
    let error = database.restore_in_place(&place.cx, &mut &b""[..], None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UsageError);

    let via = ["socat", "-", "TCP:{host}:{port}"].map(str::to_owned).to_vec();
    let through = place.database_at(&place.server.url(0), OpenOptions { via, ..Default::default() });
    assert!(through.display().ends_with(" via socat"), "{}", through.display());
    through.can_be_dumped(&place.cx).await.unwrap();
    let (dump, report) = place.try_dump(&through).await.unwrap();
    let restored = place.restored_by(&through, &dump, needs(&report)).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    // In a folder whose path is too long for a socket.
    let folder = tempfile::Builder::new().prefix(&"x".repeat(90)).tempdir().unwrap();
    let deep = Place { folder, ..place };
    let restored = deep.restored_by(&deep.database(0), &dump, needs(&report)).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
    let place = deep;
    let gone = place.database_at("redis://:hunter2@127.0.0.1:1/0", OpenOptions::default());
    let error = gone.ping(&place.cx, std::time::Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable);
    assert!(!StepError::from(error).chain().contains("hunter2"));
}
