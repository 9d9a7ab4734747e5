//! A shop that also has a PostgreSQL database: released, and that database brought back.

use crate::shop::Shop;
use kit_testing::Sandbox;
use kit_testing::postgres::Server;
use serde_json::json;

const LEDGER: &str =
    "CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
    INSERT INTO entries (note) SELECT 'entry ' || i FROM generate_series(1, 1000) AS i;
    CREATE VIEW last_entry AS SELECT max(id) FROM entries;";

fn shop(server: &Server) -> Shop {
    server.sql("postgres", "CREATE DATABASE ledger");
    server.sql("ledger", LEDGER);
    let ledger =
        "[[databases]]\nname = \"ledger\"\nurl = { env = \"LEDGER_URL\" }\nmigrations = \"ledger\"\n";
    let sandbox = Sandbox::new().env("LEDGER_URL", server.url("ledger"));
    let shop = Shop::in_sandbox(sandbox, |config| format!("{config}\n{ledger}"), "0");
    shop.sandbox.write(
        "ledger/1_amount.sql",
        "ALTER TABLE entries ADD amount_cents bigint NOT NULL DEFAULT 0; CREATE INDEX ON entries (amount_cents);",
    );
    shop
}

#[test]
fn a_release_backs_up_proves_migrates_and_the_database_comes_back() {
    let server = Server::start();
    let shop = shop(&server);
    let ran = shop.deploy();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let backup = shop.artifact("backup").unwrap().body.unwrap();
    let ledger =
        backup["databases"].as_array().unwrap().iter().find(|one| one["database"] == "ledger").unwrap();
    assert_eq!((&ledger["engine"], &ledger["proof"]), (&json!("postgres"), &json!("full")));
    assert_eq!(ledger["tables"], json!([{"table": "public.entries", "rows": 1000}]));
    let migration = shop.artifact("migration").unwrap().body.unwrap();
    let migrated =
        migration["databases"].as_array().unwrap().iter().find(|one| one["database"] == "ledger").unwrap();
    assert_eq!(migrated["applied"][0]["description"], "amount");
    assert_eq!(server.sql("ledger", "SELECT sum(amount_cents) FROM entries"), "0");

    // A bad day: somebody deletes the ledger, and it is brought back as it was before the release.
    server.sql("ledger", "TRUNCATE entries");
    let restore = |args: &[&str]| {
        let mut all =
            vec!["db-restore", "--deployment", "latest", "--database", "ledger", "--artifacts", "restored"];
        all.extend(args);
        shop.run(&all)
    };
    let planned = restore(&[]);
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    assert_eq!(server.sql("ledger", "SELECT count(*) FROM entries"), "0", "nothing without consent");
    let restored = restore(&["--confirm", "ledger"]);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert_eq!(server.sql("ledger", "SELECT count(*), max(note) FROM entries"), "1000|entry 999");
    let kept = server.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'ledger_before_%'");
    assert!(restored.stderr.contains(&kept) && !kept.is_empty(), "{kept}: {}", restored.stderr);
    assert_eq!(server.sql(&kept, "SELECT count(*) FROM entries"), "0");
    for ran in [&ran, &planned, &restored] {
        assert!(!ran.printed().contains(server.password()), "{}", ran.printed());
    }
    for file in shop.sandbox.files().iter().filter(|file| file.ends_with(".json") || file.ends_with(".md")) {
        assert!(!shop.sandbox.read(file).contains(server.password()), "{file}");
    }
}
