//! Backups that are encrypted before they are stored, opened by the real `age`.

use super::{CONFIG, ID, METADATA, deployment, ended, metadata, orders, shop, sql};
use kit_contract::Sha256;
use kit_contract::body::{Backup, Proof};
use kit_testing::{Sandbox, postgres};
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const OBJECT: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.sqlite.gz.age";

/// Makes a key in the sandbox; gives its public part.
fn keygen(sandbox: &Sandbox, file: &str) -> String {
    let made = sandbox.command("age-keygen").args(["-o", file]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = sandbox.read(file);
    text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
}

/// Encrypted for whoever has `key.txt`.
pub(super) fn encrypted(sandbox: Sandbox) -> (Sandbox, String) {
    let key = keygen(&sandbox, "key.txt");
    sandbox.write("deploy.toml", format!("{CONFIG}[backup.encryption]\nrecipients = [{key:?}]\n"));
    (sandbox, key)
}

/// What `age -d | gunzip` makes of it.
fn by_hand(sandbox: &Sandbox, object: &str) -> Vec<u8> {
    let mut age = sandbox.command("age");
    let mut age = age.args(["-d", "-i", "key.txt", object]).stdout(Stdio::piped()).spawn().unwrap();
    let gunzip = Command::new("gunzip").stdin(age.stdout.take().unwrap()).output().unwrap();
    assert!(age.wait().unwrap().success() && gunzip.status.success());
    gunzip.stdout
}

#[test]
fn what_is_stored_is_for_its_recipients_alone_and_was_proved_all_the_same() {
    let (sandbox, key) = encrypted(shop());
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("before compression), encrypted, proof: full"), "{}", ran.stderr);
    let backup = sandbox.artifact::<Backup>("backup").body.unwrap().databases.remove(0);
    assert_eq!(backup, metadata(&sandbox));
    let sealed = backup.details.encryption.clone().unwrap();
    assert_eq!((sealed.method.as_str(), sealed.recipients), ("age", vec![key]));
    let stored = std::fs::read(sandbox.path().join(OBJECT)).unwrap();
    assert!(stored.starts_with(b"age-encryption.org/v1\n"));
    assert_eq!((&backup.sha256, backup.size_bytes), (&Sha256::of(&stored), stored.len() as u64));
    let plain = by_hand(&sandbox, OBJECT);
    assert_eq!(backup.uncompressed_bytes, plain.len() as u64);

    // Adopted by its bytes without the identity, and by another restore with it.
    std::fs::remove_file(sandbox.path().join("main.db")).unwrap();
    let with_key = ["--backup-identity-file", "key.txt"];
    for args in [&[][..], &with_key] {
        let ran = sandbox.run(BINARY, args);
        ended(&sandbox, &ran, 0, "verified_full");
        assert!(sandbox.artifact::<Backup>("backup").body.unwrap().databases[0].adopted);
        let printed = ran.printed();
        assert!(
            !printed
                .lines()
                .any(|line| line.contains("AGE-SECRET-KEY-1") && !line.starts_with("::add-mask::"))
        );
    }
    // Only who can open it sees that it does not hold what is said of it.
    let mut rows = backup.clone();
    rows.tables[0].rows = 84_310;
    sandbox.write(METADATA, serde_json::to_vec(&rows).unwrap());
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    ended(&sandbox, &sandbox.run(BINARY, &with_key), 10, "backup_mismatch");
    sandbox.write(METADATA, serde_json::to_vec(&backup).unwrap());
    let mut changed = stored.clone();
    changed[stored.len() / 2] ^= 1;
    sandbox.write(OBJECT, &changed);
    for args in [&[][..], &with_key] {
        ended(&sandbox, &sandbox.run(BINARY, args), 10, "backup_mismatch");
    }
}

#[test]
fn keys_that_cannot_be_meant_are_refused_before_anything_is_read() {
    let (sandbox, key) = encrypted(shop());
    let other = keygen(&sandbox, "other.txt");
    let ran = sandbox.run(BINARY, &["--backup-identity-file", "other.txt"]);
    ended(&sandbox, &ran, 2, "usage_error");
    assert!(ran.stderr.contains(&key) && ran.stderr.contains(&other), "{}", ran.stderr);
    let recipients = |text: &str| {
        sandbox.write("deploy.toml", format!("{CONFIG}[backup.encryption]\n{text}\n"));
        let ran = sandbox.run(BINARY, &[]);
        ended(&sandbox, &ran, 2, "config_invalid");
        ran.stderr
    };
    let mistyped = key.replace("age1", "age1q");
    assert!(recipients(&format!("recipients = [{mistyped:?}]")).contains(&mistyped));
    assert!(recipients("recipients_file = \"gone.txt\"").contains("gone.txt"));
    // The private file by mistake: its place is named, and nothing of it is shown.
    let said = recipients("recipients_file = \"key.txt\"");
    assert!(said.contains("line 3 of key.txt") && !said.contains("AGE-SECRET-KEY-1"), "{said}");
    assert!(!sandbox.has(OBJECT) && !sandbox.has(METADATA));

    // From a file, and for two.
    sandbox.write("recipients.txt", format!("# ours\n{key}\n{other}\n"));
    sandbox
        .write("deploy.toml", format!("{CONFIG}[backup.encryption]\nrecipients_file = \"recipients.txt\"\n"));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    assert_eq!(metadata(&sandbox).details.encryption.unwrap().recipients, [key, other]);
    assert!(!by_hand(&sandbox, OBJECT).is_empty());
}

#[test]
fn a_plain_backup_is_not_adopted_once_encryption_is_asked_for() {
    let sandbox = shop();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    let (sandbox, _) = encrypted(sandbox);
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 10, "backup_mismatch");
    assert!(ran.stderr.contains("without encryption"), "{}", ran.stderr);
    // The other way round it is as good as before.
    std::fs::remove_file(sandbox.path().join(METADATA)).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    sandbox.write("deploy.toml", CONFIG);
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    assert!(sandbox.artifact::<Backup>("backup").body.unwrap().databases[0].adopted);
}

/// `age -d | gunzip | psql` is a restore; and each level of proof is reached without anybody's identity.
#[test]
fn a_dump_of_postgres_comes_back_by_hand_and_every_level_is_reached() {
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE orders (id bigint PRIMARY KEY, note text);
         INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(1, 30000) AS i;",
    );
    let (sandbox, _) = encrypted(
        Sandbox::new()
            .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"))
            .env("MAIN_URL", server.url("shop")),
    );
    for (level, proof) in [("schema", Proof::Schema), ("remote", Proof::Remote), ("full", Proof::Full)] {
        let ran = sandbox.run(BINARY, &["--proof", level]);
        ended(&sandbox, &ran, 0, &format!("verified_{level}"));
        assert_eq!(metadata(&sandbox).proof, proof);
        if level != "full" {
            std::fs::remove_file(sandbox.path().join(METADATA)).unwrap();
        }
    }
    let plain = by_hand(&sandbox, &OBJECT.replace(".sqlite.", ".sql."));
    sandbox.write("plain.sql", plain);
    server.sql("postgres", "CREATE DATABASE by_hand");
    let mut psql = server.command("psql", "by_hand");
    let file = std::fs::File::open(sandbox.path().join("plain.sql")).unwrap();
    let loaded = psql.args(["-q", "-v", "ON_ERROR_STOP=1"]).stdin(file).output().unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let all = "SELECT md5(string_agg(orders::text, ',' ORDER BY id)) FROM orders";
    assert_eq!(server.sql("by_hand", all), server.sql("shop", all));
}

/// Several chunks of age: what is cut between them is found, too.
#[test]
fn a_store_that_gives_back_less_is_found_out() {
    let (sandbox, _) = encrypted(shop());
    sql(&sandbox.path().join("main.db"), &orders(300, 2000));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    let whole = std::fs::read(sandbox.path().join(OBJECT)).unwrap();
    let header = whole.windows(4).position(|four| four == b"\n---").unwrap();
    for at in [header, header + 200, header + 65_536 + 16, whole.len() - 1] {
        sandbox.write(OBJECT, &whole[..at]);
        let ran = sandbox.run(BINARY, &["--backup-identity-file", "key.txt"]);
        ended(&sandbox, &ran, 10, "backup_mismatch");
    }
}
