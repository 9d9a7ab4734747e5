//! Overwriting the live database where it stands.

use super::{BINARY, CONFIG, NEW, OLD, USERS, back_up_of, describe, ended, shop, sql, stored, untouched};
use kit_contract::body::{DatabaseBackup, Restore};
use kit_testing::{Sandbox, mariadb, postgres};

const IN_PLACE: &[&str] = &["--deployment", OLD, "--in-place"];
const CONFIRMED: &[&str] = &["--deployment", OLD, "--in-place", "--confirm", "main"];
/// Much of what a database can hold, and what a dump of it must not trip over when it is put over another state.
const POSTGRES: &str = "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'ok');
    CREATE TABLE app.orders (id serial PRIMARY KEY, mood app.mood, note text);
    INSERT INTO app.orders (mood, note) VALUES ('ok', 'one'), ('sad', 'two');
    CREATE VIEW app.good AS SELECT * FROM app.orders WHERE mood = 'ok';
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
    CREATE TABLE doubled (n int CHECK (twice(n) > 0)); INSERT INTO doubled VALUES (1);
    CREATE PUBLICATION changes FOR TABLE app.orders;
    SELECT lo_from_bytea(4711, 'a large object');";

fn config(sandbox: &Sandbox, more: &str) {
    sandbox.write("deploy.toml", format!("{CONFIG}{more}"));
}

#[test]
fn postgres_is_overwritten_as_a_whole_or_not_at_all() {
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", POSTGRES);
    let sandbox = Sandbox::new().env("MAIN_URL", server.url("shop"));
    config(&sandbox, "");
    let backup = back_up_of(&sandbox, ("main", &server.url("shop")), OLD, "", "2026-01-01T00:00:00Z");
    let damage = "DELETE FROM app.orders; ALTER TABLE app.orders ADD COLUMN x int; DROP VIEW app.good;
        CREATE TABLE new_one (id int); CREATE SCHEMA other; SELECT lo_unlink(4711)";
    server.sql("shop", damage);
    let state = |server: &postgres::Server| {
        server.sql(
            "shop",
            "SELECT (SELECT count(*) FROM app.orders), to_regclass('new_one') IS NULL,
             (SELECT count(*) FROM pg_largeobject_metadata)",
        )
    };
    let damaged = "0|f|0";
    assert_eq!(state(&server), damaged);

    // Never without consent, which nobody can give here but by a flag.
    let ran = sandbox.run(BINARY, IN_PLACE);
    ended(&sandbox, &ran, 2, "consent_required");
    assert!(ran.stderr.contains("lost for good") && ran.stderr.contains("--confirm main"), "{}", ran.stderr);
    ended(
        &sandbox,
        &sandbox.run(BINARY, &[IN_PLACE, &["--confirm", "shop"]].concat()),
        2,
        "consent_required",
    );
    ended(&sandbox, &sandbox.run(BINARY, &[CONFIRMED, &["--no-swap"]].concat()), 2, "usage_error");

    // One that is not what was proved is found before anything is dropped.
    let object = stored(OLD, ".sql.gz");
    let whole = std::fs::read(sandbox.path().join(&object)).unwrap();
    let mut flipped = whole.clone();
    flipped[5] ^= 1;
    sandbox.write(&object, flipped);
    ended(&sandbox, &sandbox.run(BINARY, CONFIRMED), 10, "restore_mismatch");
    assert_eq!(state(&server), damaged);

    // One that the server does not take is rolled back, whatever was dropped before, and also behind the large objects,
    // around which a dump has a transaction of its own.
    for (good, broken) in
        [("CREATE VIEW app.good", "CREATE VIEW app.orders"), ("PRIMARY KEY (id)", "PRIMARY KEY (no_such)")]
    {
        let dump = gunzip(&whole);
        assert!(dump.contains(good), "{dump}");
        replace(&sandbox, &backup, &dump.replace(good, broken));
        let ran = sandbox.run(BINARY, CONFIRMED);
        ended(&sandbox, &ran, 10, "restore_mismatch");
        assert!(ran.stderr.contains("the live database is as it was"), "{}", ran.stderr);
        assert_eq!(state(&server), damaged, "{broken}");
    }

    // Somebody uses it; he is shown out.
    sandbox.write(&object, &whole);
    describe(&sandbox, &backup);
    let mut user = server.command("psql", "shop");
    let mut user =
        user.args(["-X", "-c", "BEGIN; LOCK TABLE app.orders; SELECT pg_sleep(60)"]).spawn().unwrap();
    while server.sql("shop", "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'") == "0" {}
    let ran = sandbox.run(BINARY, CONFIRMED);
    ended(&sandbox, &ran, 0, "restored");
    assert!(!user.wait().unwrap().success());
    assert!(ran.stderr.contains("what it held before is lost"), "{}", ran.stderr);
    assert_eq!(state(&server), "2|t|1");
    let body = sandbox.artifact::<Restore>("restore").body.unwrap();
    assert!(body.in_place && body.databases[0].kept.is_none() && body.databases[0].restore_ms.is_some());
    assert_eq!(body.databases[0].content_compared, Some(true));
    let beside = "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop_%'";
    assert_eq!(server.sql("postgres", beside), "0", "nothing was made beside it");
}

/// Who sits at a terminal is shown what is lost, and types the name of the database, or not.
#[test]
fn a_person_agrees_by_typing_the_name() {
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2)");
    let sandbox = Sandbox::new().env("MAIN_URL", server.url("shop"));
    config(&sandbox, "");
    back_up_of(&sandbox, ("main", &server.url("shop")), OLD, "", "2026-01-01T00:00:00Z");
    server.sql("shop", "INSERT INTO orders VALUES (3); CREATE TABLE later (id int)");
    let rows = || server.sql("shop", "SELECT count(*) FROM orders");
    let asked = |sandbox: &Sandbox| {
        let terminal = sandbox.start_at_terminal(BINARY, IN_PLACE);
        terminal.wait_for("Type main to overwrite it");
        terminal
    };
    for answer in ["yes", ""] {
        let mut terminal = asked(&sandbox);
        terminal.type_line(answer);
        let ran = terminal.wait();
        ended(&sandbox, &ran, 2, "consent_required");
        for shown in [
            "Lost for good: 3 rows in 2 tables",
            "public.orders: 3 rows, 2 in the backup",
            "public.later: 0 rows, not in the backup",
            "as it was at 2026-01-01T00:00:00Z, 2 rows in 1 table",
            "only main agrees: nothing was changed",
        ] {
            assert!(ran.stdout.contains(shown), "{shown}: {}", ran.stdout);
        }
        assert!(!ran.stdout.contains(server.password()), "{}", ran.stdout);
        assert_eq!(rows(), "3");
    }
    // Somebody thinks better of it, and is not kept waiting for a key.
    let terminal = asked(&sandbox);
    terminal.signal(kit_testing::Signal::INT);
    ended(&sandbox, &terminal.wait(), 130, "interrupted");
    assert_eq!(rows(), "3");
    // The streams of a CI may look like a terminal; nobody sits there.
    let ci = Sandbox::new().env("MAIN_URL", server.url("shop")).env("CI", "true");
    config(&ci, "[store]\npersistent = true\n");
    back_up_of(&ci, ("main", &server.url("shop")), OLD, "", "2026-01-01T00:00:00Z");
    ended(&ci, &ci.start_at_terminal(BINARY, IN_PLACE).wait(), 2, "consent_required");

    let mut terminal = asked(&sandbox);
    terminal.type_line("main");
    ended(&sandbox, &terminal.wait(), 0, "restored");
    assert_eq!((rows(), server.sql("shop", "SELECT to_regclass('later') IS NULL")), ("2".into(), "t".into()));
}

fn gunzip(packed: &[u8]) -> String {
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(packed), &mut plain).unwrap();
    plain
}

/// Puts another dump in the place of a backup, with metadata that vouches for it.
fn replace(sandbox: &Sandbox, backup: &DatabaseBackup, plain: &str) {
    use kit_contract::Sha256;
    let packed = super::pack(plain.as_bytes(), 1);
    sandbox.write(&stored(OLD, ".sql.gz"), &packed);
    describe(
        sandbox,
        &DatabaseBackup {
            sha256: Sha256::of(&packed),
            size_bytes: packed.len() as u64,
            uncompressed_bytes: plain.len() as u64,
            ..backup.clone()
        },
    );
}

#[test]
fn mariadb_is_overwritten_and_a_break_in_the_middle_calls_for_a_human() {
    let server = mariadb::Server::start();
    server.sql("mysql", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2);
         CREATE VIEW good AS SELECT * FROM orders; CREATE FUNCTION twice(x int) RETURNS int DETERMINISTIC RETURN x * 2;",
    );
    let sandbox = Sandbox::new().env("MAIN_URL", server.url("shop"));
    config(&sandbox, "");
    let backup = back_up_of(&sandbox, ("main", &server.url("shop")), OLD, "", "2026-01-01T00:00:00Z");
    let object = stored(OLD, ".sql.gz");
    let whole = std::fs::read(sandbox.path().join(&object)).unwrap();
    server.sql("shop", "DELETE FROM orders; CREATE TABLE new_one (id int)");
    ended(&sandbox, &sandbox.run(BINARY, CONFIRMED), 0, "restored");
    assert_eq!(server.sql("shop", "SELECT twice(COUNT(*)) FROM good"), "4");
    assert_eq!(server.sql("shop", "SHOW TABLES LIKE 'new_one'"), "");

    let broken = gunzip(&whole).replace("VALUES", "VALUEZ");
    replace(&sandbox, &backup, &broken);
    let ran = sandbox.run(BINARY, CONFIRMED);
    ended(&sandbox, &ran, 30, "left_changed");
    assert!(ran.stderr.contains("run the same command again"), "{}", ran.stderr);
    // Which is what puts it right, with a backup that is whole.
    sandbox.write(&object, &whole);
    describe(&sandbox, &backup);
    ended(&sandbox, &sandbox.run(BINARY, CONFIRMED), 0, "restored");
    assert_eq!(server.sql("shop", "SELECT twice(COUNT(*)) FROM good"), "4");
}

#[test]
fn files_and_several_at_once_are_not_overwritten() {
    let sandbox = shop();
    let ran = sandbox.run(BINARY, &["--deployment", NEW, "--in-place", "--confirm", "main"]);
    ended(&sandbox, &ran, 2, "usage_error");
    assert!(ran.stderr.contains("exchanged by a rename"), "{}", ran.stderr);
    untouched(&sandbox);
    config(&sandbox, USERS);
    sql(&sandbox.path().join("users.db"), "CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    for (database, part) in [("main", ".main"), ("users", ".users")] {
        super::back_up(&sandbox, database, "1763712000-0000003", part, "2026-01-03T00:00:00Z");
    }
    let ran = sandbox.run(BINARY, &["--deployment", "latest", "--in-place", "--confirm", "main"]);
    ended(&sandbox, &ran, 2, "usage_error");
    assert!(ran.stderr.contains("one database at a time"), "{}", ran.stderr);
}
