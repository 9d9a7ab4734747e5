//! A Redis database: restored beside, exchanged, tried.

use super::{BINARY, CONFIG, OLD, back_up_of, ended, stored};
use kit_contract::body::{Drill, Restore};
use kit_testing::{Sandbox, redis};

#[test]
fn the_restored_database_is_exchanged_for_the_live_one_which_is_kept() {
    let server = redis::Server::start();
    server.run(0, "SET orders 3\nHSET hash a 1\nSET going 1 PX 1");
    let sandbox = Sandbox::new().file("deploy.toml", CONFIG).env("MAIN_URL", server.url(0));
    back_up_of(&sandbox, ("main", &server.url(0)), OLD, "", "2026-01-01T00:00:00Z");
    server.run(0, "SET orders 0\nDEL hash\nSET new 1");
    let confirmed = ["--deployment", OLD, "--confirm", "main"];
    ended(&sandbox, &sandbox.run(BINARY, &[&confirmed[..], &["--in-place"]].concat()), 2, "usage_error");
    let ran = sandbox.run(BINARY, &confirmed);
    ended(&sandbox, &ran, 0, "restored");
    let entry = sandbox.artifact::<Restore>("restore").body.unwrap().databases.remove(0);
    assert!(entry.kept.unwrap().starts_with("Redis db15 at "));
    assert_eq!(entry.content_compared, Some(true));
    assert_eq!(server.run(0, "GET orders\nHGET hash a\nDBSIZE"), "3\n1\n2");
    assert_eq!(server.run(15, "GET orders\nDBSIZE"), "0\n2");
    assert!(!ran.printed().contains(server.password()), "{}", ran.printed());

    // Without the server: the drill needs none of it.
    let ran = sandbox.run(BINARY, &["drill"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let entry = sandbox.artifact::<Drill>("drill").body.unwrap().databases.remove(0);
    assert_eq!(entry.tables[0].table, "db0");
    let object = stored(OLD, ".rdb.gz");
    let whole = std::fs::read(sandbox.path().join(&object)).unwrap();
    sandbox.write(&object, &whole[..whole.len() / 2]);
    ended(&sandbox, &sandbox.run(BINARY, &confirmed), 10, "restore_mismatch");
    assert_eq!(server.run(0, "DBSIZE"), "2", "the live one is as it was");
}
