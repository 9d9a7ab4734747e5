//! What a step leaves that was killed without a word (`kill -9`, out of memory), and what the next one makes of it.

use super::{BINARY, CONFIG, OLD, back_up_of, ended};
use kit_testing::{Sandbox, Signal, mariadb, postgres};
use std::time::Instant;

const IN_PLACE: &[&str] = &["--deployment", OLD, "--in-place", "--confirm", "main"];
/// Under an id that the next run has, too.
const BESIDE: &[&str] =
    &["--deployment", OLD, "--confirm", "main", "--no-swap", "--deployment-id", "again-01"];

/// Kills the step as soon as it is among the rows.
fn kill_among_rows(sandbox: &Sandbox, args: &[&str], is_among: impl Fn() -> bool) {
    let step = sandbox.start(BINARY, args);
    let began = Instant::now();
    while !is_among() {
        assert!(began.elapsed().as_secs() < 60, "it never came to the rows, or was quicker than we are");
    }
    step.signal(Signal::KILL);
    step.wait();
}

/// `psql` takes the end of its input for the end of the script, which is the end of a step that was killed, too.
#[test]
fn postgres_holds_no_part_of_a_backup_or_says_so_by_its_name() {
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    let notes =
        "CREATE TABLE notes AS SELECT n AS id, repeat(n::text, 50) AS note FROM generate_series(1, 60000) n";
    server.sql("shop", notes);
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG).env("MAIN_URL", server.url("shop"));
    back_up_of(&sandbox, ("main", &server.url("shop")), OLD, "", "2026-01-01T00:00:00Z");
    server.sql("shop", "DELETE FROM notes; INSERT INTO notes VALUES (0, 'of today')");
    // What asks must not wait for what is being replaced, and so asks elsewhere.
    let number = |sql: &str| server.sql("postgres", &format!("SELECT count(*) FROM {sql}"));
    for args in [IN_PLACE, BESIDE] {
        let among = || number("pg_stat_progress_copy WHERE tuples_processed > 100") != "0";
        kill_among_rows(&sandbox, args, among);
        while number("pg_stat_activity WHERE datname LIKE 'shop%'") != "0" {}
        assert_eq!(server.sql("shop", "SELECT count(*), min(note) FROM notes"), "1|of today");
    }
    let names =
        || server.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'shop%' ORDER BY 1");
    assert_eq!(names(), "shop\nshop_unfinished_again-01");
    // Of a run with another id.
    server.sql("postgres", "CREATE DATABASE \"shop_unfinished_other-01\"");
    let ran = sandbox.run(BINARY, BESIDE);
    ended(&sandbox, &ran, 0, "restored");
    assert!(
        ran.stderr.contains("warning: shop_unfinished_other-01 holds a part of a backup"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("warning: shop_unfinished_again-01"), "{}", ran.stderr);
    assert_eq!(names(), "shop\nshop_restore_again-01\nshop_unfinished_other-01");
    assert_eq!(server.sql("shop_restore_again-01", "SELECT count(*) FROM notes"), "60000");
}

#[test]
fn mariadb_has_a_database_beside_it_that_says_so() {
    let server = mariadb::Server::start();
    server.sql("mysql", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE notes (id int PRIMARY KEY, note text);
         INSERT INTO notes SELECT seq, REPEAT(seq, 50) FROM seq_1_to_40000",
    );
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG).env("MAIN_URL", server.url("shop"));
    back_up_of(&sandbox, ("main", &server.url("shop")), OLD, "", "2026-01-01T00:00:00Z");
    let among = "SELECT COUNT(*) FROM information_schema.processlist WHERE db LIKE 'shop_restore%' AND info LIKE 'INSERT%'";
    kill_among_rows(&sandbox, BESIDE, || server.sql("mysql", among) != "0");
    let names = || server.sql("mysql", "SHOW DATABASES LIKE 'shop%'");
    assert_eq!(names(), "shop\nshop_restore_again-01\nshop_restore_again-01_unfinished");
    // Of a run with another id.
    server.sql("mysql", "CREATE DATABASE `shop_restore_other-01_unfinished`");
    let ran = sandbox.run(BINARY, BESIDE);
    ended(&sandbox, &ran, 0, "restored");
    assert!(ran.stderr.contains("warning: shop_restore_other-01 holds a part of a backup"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("warning: shop_restore_again-01"), "{}", ran.stderr);
    assert_eq!(names(), "shop\nshop_restore_again-01\nshop_restore_other-01_unfinished");
    assert_eq!(server.sql("shop_restore_again-01", "SELECT COUNT(*) FROM notes"), "40000");
}
