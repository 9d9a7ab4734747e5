//! With a real PostgreSQL server: what goes wrong there leaves nothing that counts as a backup.

use super::{ID, deployment, ended};
use kit_contract::Sha256;
use kit_contract::body::{Backup, DatabaseBackup, Proof};
use kit_testing::postgres::Server;
use kit_testing::{Ran, Sandbox, Signal};
use std::io::Read as _;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const OBJECT: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.sql.gz";
const METADATA: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.json";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\n";
/// 13 MB of dump.
const SHOP: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, note text);
    INSERT INTO orders SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) AS i;
    CREATE TABLE users (name text); INSERT INTO users VALUES ('ada'), ('grace');";

struct Shop {
    server: Server,
    sandbox: Sandbox,
}

impl Shop {
    fn open(config: &str) -> Self {
        let server = Server::start();
        server.sql("postgres", "CREATE DATABASE shop");
        server.sql("shop", SHOP);
        let sandbox = Sandbox::new()
            .file("deploy.toml", &format!("{CONFIG}{config}"))
            .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"))
            .env("MAIN_URL", server.url("shop"));
        Self { server, sandbox }
    }

    fn metadata(&self) -> DatabaseBackup {
        serde_json::from_str(&self.sandbox.read(METADATA)).unwrap()
    }

    fn object(&self) -> Vec<u8> {
        std::fs::read(self.sandbox.path().join(OBJECT)).unwrap()
    }

    /// Nothing that anybody could take for a backup, and no secret anywhere.
    #[track_caller]
    fn assert_no_backup(&self, ran: &Ran) {
        assert!(!self.sandbox.has(METADATA), "{}", ran.stderr);
        assert!(!ran.printed().contains(self.server.password()), "{}", ran.printed());
        assert!(!self.sandbox.read(".deploy-kit/artifacts/backup.json").contains(self.server.password()));
    }
}

/// One database in two formats: each is proved in full and restored by the tool it is made for.
#[test]
fn a_backup_may_be_an_archive() {
    let shop = Shop::open(
        "format = \"custom\"\n[[databases]]\nname = \"twin\"\nurl = { env = \"MAIN_URL\" }\nformat = \"directory\"\n",
    );
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 0, "verified_full");
    let backups = shop.sandbox.artifact::<Backup>("backup").body.unwrap().databases;
    let found: Vec<_> = backups
        .iter()
        .map(|backup| (backup.key.rsplit_once(ID).unwrap().1, backup.details.format.as_deref()))
        .collect();
    assert_eq!(found, [(".main.dump.gz", Some("custom")), (".twin.tar.gz", Some("directory"))]);
    assert_eq!(backups[0].details.content, backups[1].details.content);
    let packed =
        std::fs::read(shop.sandbox.path().join(format!(".deploy-kit/store/{}", backups[0].key))).unwrap();
    let mut archive = Vec::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut archive).unwrap();
    shop.sandbox.write("archive", archive);
    shop.server.sql("postgres", "CREATE DATABASE by_hand TEMPLATE template0");
    let mut pg_restore = shop.server.command("pg_restore", "by_hand");
    pg_restore.args(["--exit-on-error", "--dbname=by_hand"]).arg(shop.sandbox.path().join("archive"));
    assert!(pg_restore.status().unwrap().success());
    assert_eq!(shop.server.sql("by_hand", "SELECT count(*) FROM orders"), "20000");
}

#[test]
fn a_backup_is_plain_sql_in_gzip_and_its_restore_was_tried() {
    let shop = Shop::open("");
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 0, "verified_full");
    let backup = shop.sandbox.artifact::<Backup>("backup").body.unwrap().databases.remove(0);
    assert_eq!(backup, shop.metadata());
    let rows: Vec<(&str, u64)> = backup.tables.iter().map(|t| (t.table.as_str(), t.rows)).collect();
    assert_eq!(rows, [("public.orders", 20000), ("public.users", 2)]);
    let details = &backup.details;
    assert!(details.client.as_ref().unwrap().starts_with("pg_dump "), "{details:?}");
    assert!(details.log_position.as_ref().unwrap().contains('/'), "{details:?}");
    assert!(details.restore_point.as_ref().unwrap().starts_with("deploy-kit-"), "{details:?}");
    assert_eq!(details.needs.as_ref().unwrap().roles, ["admin"]);
    let packed = shop.object();
    assert_eq!((&backup.sha256, backup.size_bytes), (&Sha256::of(&packed), packed.len() as u64));
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(backup.uncompressed_bytes, plain.len() as u64);
    assert!(!ran.printed().contains(shop.server.password()), "{}", ran.printed());

    // Again, in another format by now: what is finished is adopted, and not made anew.
    shop.sandbox.write("deploy.toml", format!("{CONFIG}format = \"custom\"\n"));
    ended(&shop.sandbox, &shop.sandbox.run(BINARY, &[]), 0, "verified_full");
    let backup = shop.sandbox.artifact::<Backup>("backup").body.unwrap().databases.remove(0);
    assert_eq!((backup.adopted, backup.details.format.as_deref()), (true, Some("plain")));
    assert_eq!(shop.object(), packed);
    shop.sandbox.write("deploy.toml", CONFIG);
    // Lost data shows in the size of the next backup.
    shop.server.sql("shop", "TRUNCATE orders");
    shop.sandbox
        .write(".deploy-kit/artifacts/deployment.json", deployment("1763799999-abc1234", "release_accepted"));
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("did it lose its data?"), "{}", ran.stderr);
}

#[test]
fn every_level_of_proof_is_reached_and_named() {
    let shop = Shop::open("");
    for (level, proof) in [
        ("stream", Proof::Stream),
        ("remote", Proof::Remote),
        ("schema", Proof::Schema),
        ("full", Proof::Full),
    ] {
        let ran = shop.sandbox.run(BINARY, &["--proof", level]);
        ended(&shop.sandbox, &ran, 0, &format!("verified_{level}"));
        assert_eq!(shop.metadata().proof, proof);
        assert!(ran.stderr.contains(&format!("proof: {level}")), "{}", ran.stderr);
        std::fs::remove_dir_all(shop.sandbox.path().join(".deploy-kit/store")).unwrap();
    }
    // No time for more, and it is said so.
    shop.sandbox.write("deploy.toml", format!("{CONFIG}[backup]\nproof_budget = \"0s\"\n"));
    shop.server.sql(
        "shop",
        "INSERT INTO orders SELECT i, repeat(md5(i::text), 20) FROM generate_series(20001, 80000) AS i",
    );
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 0, "verified_schema");
    let limit = shop.metadata().details.proof_limit.unwrap();
    assert!(limit.contains("backup.proof_budget is 0 s"), "{limit}");
}

#[test]
fn a_scratch_place_that_cannot_take_it_is_neither_a_pass_nor_a_fail() {
    let shop = Shop::open("tools = \"tools\"\n");
    // Clients without a server: no throw-away cluster can be made.
    let programs = Server::programs();
    std::fs::create_dir(shop.sandbox.path().join("tools")).unwrap();
    for program in ["pg_dump", "psql"] {
        std::os::unix::fs::symlink(programs.join(program), shop.sandbox.path().join("tools").join(program))
            .unwrap();
    }
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 20, "proof_unavailable");
    assert!(ran.stderr.contains("are not installed here"), "{}", ran.stderr);
    shop.assert_no_backup(&ran);
    // Who says that less is enough gets it, with its name.
    shop.sandbox
        .write("deploy.toml", format!("{CONFIG}tools = \"tools\"\n[backup]\nrequired_proof = \"remote\"\n"));
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 0, "verified_remote");
    assert!(shop.metadata().details.proof_limit.unwrap().contains("are not installed here"));
    // A scratch place that is too small.
    let disk = kit_testing::SmallDisk::new(20);
    let small = Shop::open("[backup]\nproof = \"full\"\n");
    let scratch = disk.path().join("scratch").display().to_string();
    let ran = small.sandbox.run(BINARY, &["--scratch", &scratch]);
    ended(&small.sandbox, &ran, 20, "proof_unavailable");
    small.assert_no_backup(&ran);
}

#[test]
fn what_cannot_be_dumped_leaves_nothing() {
    let mut shop = Shop::open("");
    let wrong = shop.server.url_as("admin", "hunter2-wrong", "shop");
    let sandbox = std::mem::take(&mut shop.sandbox).env("MAIN_URL", wrong);
    shop.sandbox = sandbox;
    let ran = shop.sandbox.run(BINARY, &[]);
    ended(&shop.sandbox, &ran, 20, "database_unreachable");
    assert!(
        ran.stderr.contains("password authentication failed") && !ran.stderr.contains("hunter2"),
        "{}",
        ran.stderr
    );
    shop.assert_no_backup(&ran);
    assert!(!shop.sandbox.has(OBJECT));
    // The server goes away in the middle, and with it everything that was copied.
    let url = shop.server.url("shop");
    shop.sandbox = std::mem::take(&mut shop.sandbox).env("MAIN_URL", url);
    shop.server.sql(
        "shop",
        "INSERT INTO orders SELECT i, repeat(md5(i::text), 20) FROM generate_series(20001, 300000) AS i",
    );
    let started = shop.sandbox.start(BINARY, &["--proof", "stream"]);
    while shop.server.sql("postgres", "SELECT count(*) FROM pg_stat_progress_copy") == "0" {}
    shop.server.stop();
    let ran = started.wait();
    ended(&shop.sandbox, &ran, 20, "dump_failed");
    shop.assert_no_backup(&ran);
    assert!(!shop.sandbox.has(OBJECT));
    ended(&shop.sandbox, &shop.sandbox.run(BINARY, &[]), 20, "database_unreachable");
}

/// Ended by signals while so many bytes are stored; then run again, which must find nothing in its way.
#[test]
fn ended_at_any_byte_it_leaves_no_backup_and_nothing_in_the_way() {
    let shop = Shop::open("");
    shop.server.sql(
        "shop",
        "INSERT INTO orders SELECT i, repeat(md5(i::text), 20) FROM generate_series(20001, 80000) AS i",
    );
    let copied =
        "SELECT coalesce(max(substring(query FROM 'ctid >= ''.([0-9]+),')::bigint), -1) * 8192 >= BYTES
        FROM pg_stat_activity";
    for (bytes, signal, code) in [(0, Signal::TERM, Some(143)), (25_000_000, Signal::KILL, None)] {
        let started = shop.sandbox.start(BINARY, &["--proof", "remote"]);
        let there = copied.replace("BYTES", &bytes.to_string());
        while shop.server.sql("postgres", &there) != "t" {}
        started.signal(signal);
        let ran = started.wait();
        assert_eq!(ran.code, code, "{bytes} {}", ran.stderr);
        shop.assert_no_backup(&ran);
        assert!(!shop.sandbox.has(OBJECT), "{bytes}");
        let artifact = shop.sandbox.artifact_json("backup");
        assert_ne!(artifact["result"], "success", "{bytes}");
    }
    let ran = shop.sandbox.run(BINARY, &["--proof", "remote"]);
    ended(&shop.sandbox, &ran, 0, "verified_remote");
    assert_eq!(shop.metadata().sha256, Sha256::of(&shop.object()));
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'deploy-kit'";
    assert_eq!(shop.server.sql("postgres", left), "0");
}
