//! With a real MariaDB server.

use super::{ID, deployment, ended};
use kit_contract::body::{Backup, Engine, Proof};
use kit_testing::Sandbox;
use kit_testing::mariadb::Server;
use std::io::Read as _;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const OBJECT: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.sql.gz";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\n";
const SHOP: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, note text);
    INSERT INTO orders SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_5000;
    CREATE FUNCTION twice(x int) RETURNS int DETERMINISTIC RETURN x * 2;";

#[test]
fn a_backup_is_plain_sql_in_gzip_and_its_restore_was_tried() {
    let server = Server::start();
    server.sql("mysql", "CREATE DATABASE shop");
    server.sql("shop", SHOP);
    let sandbox = Sandbox::new()
        .file("deploy.toml", CONFIG)
        .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"));

    // `mariadb-dump` alone says nothing of the routine that it leaves out for this user, and ends with 0.
    server.sql("mysql", "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.* TO half@'%' IDENTIFIED BY 'half'");
    let sandbox = sandbox.env("MAIN_URL", server.url_as("half", "half", "shop"));
    let half = sandbox.run(BINARY, &[]);
    ended(&sandbox, &half, 20, "dump_failed");
    assert!(half.stderr.contains("GRANT EXECUTE ON `shop`.*"), "{}", half.stderr);
    assert!(!sandbox.has(OBJECT));

    let sandbox = sandbox.env("MAIN_URL", server.url("shop"));
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    let backup = sandbox.artifact::<Backup>("backup").body.unwrap().databases.remove(0);
    assert_eq!((backup.engine, backup.proof), (Engine::Mysql, Proof::Full));
    assert_eq!((backup.tables[0].table.as_str(), backup.tables[0].rows), ("orders", 5000));
    let packed = std::fs::read(sandbox.path().join(OBJECT)).unwrap();
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
    server.sql("mysql", "CREATE DATABASE by_hand");
    server.load("by_hand", &plain);
    assert_eq!(server.sql("by_hand", "SELECT twice(COUNT(*)) FROM orders"), "10000");
    for ran in [&half, &ran] {
        assert!(!ran.printed().contains(server.password()), "{}", ran.printed());
    }
    let schema = sandbox.run(BINARY, &["--proof", "schema"]);
    ended(&sandbox, &schema, 0, "verified_full");
    assert!(schema.stderr.contains("made by an earlier run and proved again"), "{}", schema.stderr);
}
