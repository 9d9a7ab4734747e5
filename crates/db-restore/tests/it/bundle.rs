//! Files that come back beside what is there.

use super::encrypted::{KEY, recipients};
use super::{BINARY, OLD, ended, shop, stored};
use kit_backup::Sealer;
use kit_contract::Sha256;
use kit_contract::body::{BundleBackup, BundleKind};
use kit_testing::Sandbox;
use std::os::unix::fs::PermissionsExt as _;

/// A bundle of the old deployment, with one file that only its owner may read.
fn bundled() -> Sandbox {
    let sandbox = shop().file("key.txt", KEY);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    header.set_mode(0o600);
    archive.append_data(&mut header, "certs/shop.key", b"hunter2".as_slice()).unwrap();
    let plain = archive.into_inner().unwrap();
    let mut sealer = Sealer::new(&recipients(), None).unwrap();
    let mut bytes = sealer.seal(&super::pack(&plain, 6)).unwrap();
    bytes.extend(sealer.finish().unwrap());
    let key = |rest: &str| format!("shop/production/backup-{OLD}.bundle.{rest}");
    let backup = BundleBackup {
        kind: BundleKind::Bundle,
        location: "file:store/bundle".to_owned(),
        key: key("tar.gz.age"),
        metadata_key: key("json"),
        sha256: Sha256::of(&bytes),
        size_bytes: bytes.len() as u64,
        uncompressed_bytes: plain.len() as u64,
        files: 1,
        encryption: Some(recipients().describe()),
        snapshot_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        verified_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        adopted: false,
    };
    sandbox.write(&stored(OLD, ".bundle.tar.gz.age"), bytes);
    sandbox.write(&stored(OLD, ".bundle.json"), serde_json::to_vec(&backup).unwrap());
    sandbox
}

#[test]
fn files_come_back_into_a_new_folder_and_over_nothing() {
    let sandbox = bundled();
    let bundle = |more: &[&str]| sandbox.run(BINARY, &[&["bundle", "--to", "back"], more].concat());
    let with_key = ["--backup-identity-file", "key.txt"];
    let ran = bundle(&[]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no identity is given") && !sandbox.has("back"), "{}", ran.stderr);
    let ran = bundle(&with_key);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("unpacked 1 file,") && !ran.printed().contains("hunter2"), "{}", ran.stdout);
    assert_eq!(sandbox.read("back/certs/shop.key"), "hunter2");
    let mode =
        |path: &str| std::fs::metadata(sandbox.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("back"), mode("back/certs/shop.key")), (0o700, 0o600));
    let ran = bundle(&with_key);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing is written over"), "{}", ran.stderr);
    // Restores of databases do not mind it.
    let ran = sandbox.run(BINARY, &["--deployment", OLD]);
    ended(&sandbox, &ran, 0, "restore_planned");
    assert!(!ran.stderr.contains("not offered"), "{}", ran.stderr);
}

#[test]
fn one_that_has_changed_is_refused_and_leaves_no_folder() {
    let sandbox = bundled();
    let object = stored(OLD, ".bundle.tar.gz.age");
    let whole = std::fs::read(sandbox.path().join(&object)).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 1], b""] {
        sandbox.write(&object, bytes);
        let ran = sandbox.run(BINARY, &["bundle", "--to", "back", "--backup-identity-file", "key.txt"]);
        assert_eq!(ran.code, Some(10), "{}", ran.stderr);
        assert!(!sandbox.has("back"));
    }
    std::fs::remove_file(sandbox.path().join(stored(OLD, ".bundle.json"))).unwrap();
    let ran = sandbox.run(BINARY, &["bundle", "--to", "back"]);
    assert_eq!(ran.code, Some(10), "{}", ran.stderr);
    assert!(ran.stderr.contains("there is no finished bundle"), "{}", ran.stderr);
}
