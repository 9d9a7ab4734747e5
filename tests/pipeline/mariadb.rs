//! A shop that also has a MariaDB database: released, and that database brought back.

use crate::shop::Shop;
use kit_testing::Sandbox;
use kit_testing::mariadb::Server;
use serde_json::json;

const LEDGER: &str =
    "CREATE TABLE entries (id bigint AUTO_INCREMENT PRIMARY KEY, note text NOT NULL) ENGINE=InnoDB;
    INSERT INTO entries (note) SELECT CONCAT('entry ', seq) FROM seq_1_to_1000;
    CREATE TABLE log (what text) ENGINE=InnoDB;
    CREATE TRIGGER noted AFTER INSERT ON entries FOR EACH ROW INSERT INTO log VALUES (NEW.note);
    CREATE PROCEDURE forget() DELETE FROM log";

#[test]
fn a_release_backs_up_proves_migrates_and_the_database_comes_back() {
    let server = Server::start();
    server.sql("mysql", "CREATE DATABASE ledger");
    server.sql("ledger", LEDGER);
    let ledger =
        "[[databases]]\nname = \"ledger\"\nurl = { env = \"LEDGER_URL\" }\nmigrations = \"ledger\"\n";
    let sandbox = Sandbox::new().env("LEDGER_URL", server.url("ledger"));
    let shop = Shop::in_sandbox(sandbox, |config| format!("{config}\n{ledger}"), "0");
    shop.sandbox
        .write("ledger/1_amount.sql", "ALTER TABLE entries ADD amount_cents bigint NOT NULL DEFAULT 0");
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let backup = shop.artifact("backup").unwrap().body.unwrap();
    let ledger =
        backup["databases"].as_array().unwrap().iter().find(|one| one["database"] == "ledger").unwrap();
    assert_eq!((&ledger["engine"], &ledger["proof"]), (&json!("mysql"), &json!("full")));
    assert_eq!(ledger["tables"], json!([{"table": "entries", "rows": 1000}, {"table": "log", "rows": 0}]));
    assert_eq!(server.sql("ledger", "SELECT sum(amount_cents) FROM entries"), "0");

    server.sql("ledger", "TRUNCATE entries; DROP PROCEDURE forget");
    let restore = ["db-restore", "--deployment", "latest", "--database", "ledger", "--artifacts", "restored"];
    let restored = shop.run(&[&restore[..], &["--confirm", "ledger"]].concat());
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert_eq!(server.sql("ledger", "SELECT count(*), max(note) FROM entries"), "1000\tentry 999");
    server.sql("ledger", "INSERT INTO entries (note) VALUES ('new'); CALL forget()");
    for ran in [&ran, &restored] {
        assert!(!ran.printed().contains(server.password()), "{}", ran.printed());
    }
}
