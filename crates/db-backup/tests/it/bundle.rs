//! Files beside the databases.

use super::encrypted::encrypted;
use super::{CONFIG, ID, ended, shop};
use kit_contract::Sha256;
use kit_contract::body::{Backup, BundleBackup};
use kit_testing::Sandbox;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const OBJECT: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.bundle.tar.gz.age";
const METADATA: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.bundle.json";
const FILES: &str = "[backup.bundle]\nfiles = [\"prod.env\", \"certs\"]\n";

fn with_files(sandbox: &Sandbox) {
    sandbox.write("prod.env", "PASSWORD=hunter2-of-the-bundle\n");
    sandbox.write("certs/shop.pem", "a certificate");
    sandbox.write("certs/private/shop.key", "a key");
}

fn stored(sandbox: &Sandbox) -> BundleBackup {
    serde_json::from_str(&sandbox.read(METADATA)).unwrap()
}

#[test]
fn files_are_kept_encrypted_beside_the_databases_and_shown_to_nobody() {
    let (sandbox, _) = encrypted(shop());
    with_files(&sandbox);
    let config = sandbox.read("deploy.toml");
    sandbox.write("deploy.toml", format!("{config}{FILES}"));
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 0, "verified_full");
    assert!(ran.stderr.contains("bundle: 3 files") && ran.stderr.contains(", encrypted,"), "{}", ran.stderr);
    let bundle = sandbox.artifact::<Backup>("backup").body.unwrap().bundle.unwrap();
    assert_eq!(bundle, stored(&sandbox));
    let bytes = std::fs::read(sandbox.path().join(OBJECT)).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n"));
    assert_eq!((&bundle.sha256, bundle.size_bytes), (&Sha256::of(&bytes), bytes.len() as u64));
    let everything = format!("{}{}", ran.printed(), sandbox.read(METADATA));
    assert!(!everything.contains("hunter2") && !everything.contains("shop.pem"), "{everything}");
    // By hand, with what everybody has.
    let listed = sandbox
        .command("sh")
        .args([
            "-c",
            &format!("age -d -i key.txt {OBJECT} | gunzip | tar -xO prod.env certs/private/shop.key"),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "PASSWORD=hunter2-of-the-bundle\na key");

    // Again: adopted, also if the files are gone; and found out if it has changed.
    std::fs::remove_file(sandbox.path().join("prod.env")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    assert!(sandbox.artifact::<Backup>("backup").body.unwrap().bundle.unwrap().adopted);
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    sandbox.write(OBJECT, &changed);
    ended(&sandbox, &sandbox.run(BINARY, &[]), 10, "backup_mismatch");
    sandbox.write(OBJECT, &bytes);
    // Its time comes like that of others.
    let prune = sandbox.run(BINARY, &["prune", "--keep-days", "0", "--keep-least", "0"]);
    assert!(prune.code == Some(0) && !prune.stdout.contains("left alone"), "{}", prune.stdout);
    assert!(prune.stdout.contains("nothing of 2 backups"), "the last one stays: {}", prune.stdout);
}

#[test]
fn without_encryption_only_if_that_was_said_and_what_is_not_there_is_named() {
    let sandbox = shop();
    with_files(&sandbox);
    sandbox.write("deploy.toml", format!("{CONFIG}{FILES}"));
    let ran = sandbox.run(BINARY, &[]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("backup.encryption is missing"), "{}", ran.stderr);
    sandbox.write("deploy.toml", format!("{CONFIG}{FILES}unencrypted = true\n"));
    std::fs::remove_file(sandbox.path().join("prod.env")).unwrap();
    let ran = sandbox.run(BINARY, &[]);
    ended(&sandbox, &ran, 2, "config_invalid");
    assert!(ran.stderr.contains("prod.env of backup.bundle cannot be read"), "{}", ran.stderr);
    assert!(!sandbox.has(METADATA));
    with_files(&sandbox);
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "verified_full");
    assert!(stored(&sandbox).encryption.is_none() && sandbox.has(&OBJECT.replace(".age", "")));
    assert!(METADATA.contains(ID));
}
