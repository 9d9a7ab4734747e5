//! Encrypted backups: opened with the identity, refused without it before anything is touched.

use super::{BINARY, NEW, OLD, describe, ended, orders, shop, stored, untouched};
use kit_backup::{Identity, Recipients, Sealer};
use kit_contract::Sha256;
use kit_contract::body::DatabaseBackup;
use kit_contract::config::BackupEncryption;
use kit_core::Secret;
use kit_testing::Sandbox;

/// Of nothing but these tests.
pub(super) const KEY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

const OTHER: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

pub(super) fn recipients() -> Recipients {
    let identity = Identity::parse(&Secret::new(KEY)).unwrap();
    let config = BackupEncryption { recipients: identity.public_keys(), recipients_file: None };
    Recipients::new(&config, None).unwrap()
}

/// The newest backup, encrypted.
fn sealed() -> Sandbox {
    let sandbox = shop().file("key.txt", &format!("# made for a test\n{KEY}\n"));
    let recipients = recipients();
    let plain = std::fs::read(sandbox.path().join(stored(NEW, ".sqlite.gz"))).unwrap();
    let mut sealer = Sealer::new(&recipients, None).unwrap();
    let mut bytes = sealer.seal(&plain).unwrap();
    bytes.extend(sealer.finish().unwrap());
    let mut backup: DatabaseBackup = serde_json::from_str(&sandbox.read(&stored(NEW, ".json"))).unwrap();
    backup.key = format!("{}.age", backup.key);
    backup.sha256 = Sha256::of(&bytes);
    backup.size_bytes = bytes.len() as u64;
    backup.details.encryption = Some(recipients.describe());
    std::fs::remove_file(sandbox.path().join(stored(NEW, ".sqlite.gz"))).unwrap();
    sandbox.write(&stored(NEW, ".sqlite.gz.age"), bytes);
    describe(&sandbox, &backup);
    sandbox
}

#[test]
fn without_its_identity_nothing_is_touched_and_with_it_all_comes_back() {
    let sandbox = sealed();
    let confirmed = ["--deployment", NEW, "--confirm", "main"];
    let ran = sandbox.run(BINARY, &confirmed);
    ended(&sandbox, &ran, 2, "secret_missing");
    assert!(ran.stderr.contains("--backup-identity-file") && ran.stderr.contains("age1"), "{}", ran.stderr);
    untouched(&sandbox);
    // A plan needs no identity, and says what the restore will need.
    let ran = sandbox.run(BINARY, &["--deployment", NEW]);
    ended(&sandbox, &ran, 0, "restore_planned");
    assert!(ran.stderr.contains("no identity is given that could open it"), "{}", ran.stderr);
    // Somebody else's.
    sandbox.write("other.txt", OTHER);
    let ran = sandbox.run(BINARY, &[&confirmed[..], &["--backup-identity-file", "other.txt"]].concat());
    ended(&sandbox, &ran, 2, "usage_error");
    sandbox.write("other.txt", "hunter2");
    let ran = sandbox.run(BINARY, &[&confirmed[..], &["--backup-identity-file", "other.txt"]].concat());
    ended(&sandbox, &ran, 2, "usage_error");
    assert!(ran.stderr.contains("on line 1") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    untouched(&sandbox);

    let sandbox = sandbox.env("DEPLOY_KIT_BACKUP_IDENTITY", KEY);
    let ran = sandbox.run(BINARY, &confirmed);
    let artifact = ended(&sandbox, &ran, 0, "restored");
    assert_eq!(artifact["body"]["databases"][0]["content_compared"], true);
    assert_eq!(orders(&sandbox.path().join("main.db")), 2);
    assert!(!format!("{}{artifact}", ran.printed().replace("::add-mask::", "")).contains(KEY));
}

#[test]
fn a_drill_opens_it_too_and_a_changed_one_is_refused() {
    let sandbox = sealed();
    let drill = |sandbox: &Sandbox, args: &[&str]| {
        let ran = sandbox.run(BINARY, &[&["drill"], args].concat());
        (ran.code, sandbox.artifact_json("drill")["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(drill(&sandbox, &[]), (Some(2), "secret_missing".to_owned()));
    let with_key = ["--backup-identity-file", "key.txt"];
    assert_eq!(drill(&sandbox, &with_key), (Some(0), "drilled".to_owned()));
    // One that is not encrypted needs none, and minds none.
    assert_eq!(drill(&sandbox, &["--deployment", OLD]).0, Some(0));
    assert_eq!(drill(&sandbox, &[&["--deployment", OLD], &with_key[..]].concat()).0, Some(0));
    let object = stored(NEW, ".sqlite.gz.age");
    let whole = std::fs::read(sandbox.path().join(&object)).unwrap();
    for at in [30, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        sandbox.write(&object, &changed);
        assert_eq!(drill(&sandbox, &with_key), (Some(10), "restore_mismatch".to_owned()), "byte {at}");
        let confirmed = [&["--deployment", NEW, "--confirm", "main"], &with_key[..]].concat();
        ended(&sandbox, &sandbox.run(BINARY, &confirmed), 10, "restore_mismatch");
        untouched(&sandbox);
    }
    // Encrypted by something that this version does not know.
    sandbox.write(&object, &whole);
    let mut backup: DatabaseBackup = serde_json::from_str(&sandbox.read(&stored(NEW, ".json"))).unwrap();
    backup.details.encryption.as_mut().unwrap().method = "gpg".to_owned();
    describe(&sandbox, &backup);
    assert_eq!(drill(&sandbox, &with_key), (Some(3), "artifact_invalid".to_owned()));
}
