//! With a real Redis server.

use super::{ID, deployment, ended};
use kit_contract::body::{Backup, Engine, Proof};
use kit_testing::Sandbox;
use kit_testing::redis::Server;
use std::io::Read as _;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const OBJECT: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.rdb.gz";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"cache\"\nurl = { env = \"CACHE_URL\" }\n";

#[test]
fn a_backup_is_a_snapshot_in_gzip_and_its_restore_was_tried() {
    let server = Server::start();
    server.run(0, "RPUSH list a b\nHSET hash a 1\nSET key value");
    server.run(2, "SET other 1\nACL SETUSER half on >half ~* +@all -psync");
    let sandbox = Sandbox::new()
        .file("deploy.toml", CONFIG)
        .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"));
    let sandbox = sandbox.env("CACHE_URL", server.url_as("half", "half", 0));
    let half = sandbox.run(BINARY, &[]);
    ended(&sandbox, &half, 20, "dump_failed");
    assert!(half.stderr.contains("+psync"), "{}", half.stderr);
    assert!(!sandbox.has(OBJECT));

    let sandbox = sandbox.env("CACHE_URL", server.url(0));
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("holds db2 (1 keys), too"), "{}", ran.stderr);
    let backup = sandbox.artifact::<Backup>("backup").body.unwrap().databases.remove(0);
    assert_eq!((backup.engine, backup.proof), (Engine::Redis, Proof::Full));
    assert_eq!((backup.tables[0].table.as_str(), backup.tables[0].rows), ("db0", 3));
    assert!(backup.details.log_position.is_some());
    let packed = std::fs::read(sandbox.path().join(OBJECT)).unwrap();
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
    assert!(plain.starts_with(b"REDIS0010"));
    for ran in [&half, &ran] {
        assert!(!ran.printed().contains(server.password()), "{}", ran.printed());
    }
    // Proved again.
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
}
