//! Disks that take nothing, or take nothing more.

use crate::REHEARSE;
use kit_testing::{Ran, Sandbox};

/// Runs the step in a mount namespace of its own, with a small file system at `disk` whose content is
/// kept in `kept` afterwards. It begins with what is in `earlier`.
///
/// Permission bits do not bind root, so only a real file system proves anything. A machine that does not
/// permit mounting fails the test: skipping it would prove nothing.
fn on_disk(sandbox: &Sandbox, options: &str, args: &[&str]) -> Ran {
    sandbox.write("disk/.keep", "");
    std::fs::create_dir_all(sandbox.path().join("earlier")).unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs disk && cp -R earlier/. disk || exit 99\n\
         \"$@\"; code=$?\n\
         rm -f disk/artifacts/filler; cp -R disk kept; exit $code"
    );
    let root = is_root(sandbox);
    let namespace = if root { "--mount" } else { "--map-root-user --user --mount" };
    let shell =
        [namespace.split(' ').collect::<Vec<_>>(), vec!["sh", "-c", &script, "sh", REHEARSE]].concat();
    let ran = sandbox.run("unshare", &[&shell, args].concat());
    assert!(
        !matches!(ran.code, Some(99 | 125..=127)) && !ran.stderr.contains("unshare: "),
        "this test must mount a tmpfs, and this machine does not permit that (run it as root, or allow \
         unprivileged user namespaces):\n{}",
        ran.stderr
    );
    ran
}

fn is_root(sandbox: &Sandbox) -> bool {
    sandbox.run("id", &["-u"]).stdout.trim() == "0"
}

#[test]
fn a_folder_that_cannot_be_written_stops_the_step_before_it_begins() {
    let sandbox = Sandbox::new().file("file", "not a folder");
    for args in [["--artifacts", "file/x"], ["--artifacts", "file"], ["--artifacts=file/x/y", "--json"]] {
        let ran = sandbox.run(REHEARSE, &[&["--do", "ok", "--marker", "marker"], args.as_slice()].concat());
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(!sandbox.has("marker"), "the step has begun");
        assert_eq!(sandbox.files(), ["file"]);
    }
}

#[test]
fn a_read_only_disk_stops_the_step_before_it_begins() {
    let sandbox = Sandbox::new();
    let marker = sandbox.path().join("marker");
    let marker = marker.to_str().unwrap();
    let args = ["--do", "ok", "--artifacts", "disk/artifacts", "--marker", marker];
    let ran = on_disk(&sandbox, "ro", &args);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("artifact_unwritable"), "{}", ran.stderr);
    assert!(!sandbox.has("marker"), "the step has begun");
}

#[test]
fn a_disk_that_is_full_from_the_start_stops_the_step_before_it_begins() {
    let sandbox = Sandbox::new();
    let args = ["--do", "ok", "--artifacts", "disk/artifacts", "--marker", "marker"];
    let ran = on_disk(&sandbox, "size=64k,nr_inodes=2", &args);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(!sandbox.has("marker"), "the step has begun");
}

#[test]
fn an_artifact_that_cannot_be_replaced_stays_where_it_was() {
    let sandbox = Sandbox::new();
    let args = ["--do", "ok", "--artifacts", "earlier/artifacts"];
    assert_eq!(sandbox.run(REHEARSE, &args).code, Some(0));
    let before = sandbox.read("earlier/artifacts/smoke-one.json");
    // Root, folder, artifact and history have an inode each; the new artifact would be the fifth.
    let args = ["--do", "ok", "--artifacts", "disk/artifacts", "--marker", "marker"];
    let ran = on_disk(&sandbox, "size=64k,nr_inodes=4", &args);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("artifact_unwritable"), "{}", ran.stderr);
    assert!(!sandbox.has("marker"), "the step has begun");
    assert!(sandbox.has("kept/artifacts/history"), "it was moved aside at first");
    assert_eq!(sandbox.read("kept/artifacts/smoke-one.json"), before);
}

#[test]
fn a_disk_that_fills_up_loses_neither_verdict_nor_instruction() {
    let sandbox = Sandbox::new();
    let ran = on_disk(&sandbox, "size=64k", &["--do", "fill-disk", "--artifacts", "disk/artifacts"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("artifact_unwritable"), "{}", ran.stderr);
    for told in ["smoke_failed", "1 of 3 checks failed", "look at it"] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    let left = sandbox.read("kept/artifacts/smoke-one.json");
    assert!(left.contains("\"unfinished\""), "what is left is whole and not green: {left}");

    let sandbox = Sandbox::new();
    let ran = on_disk(&sandbox, "size=64k", &["--do", "danger-fill-disk", "--artifacts", "disk/artifacts"]);
    assert_eq!(ran.code, Some(30), "{}", ran.stderr);
    for told in ["the table is half renamed: the rename failed", "rename it back by hand"] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
}

#[test]
fn a_report_that_cannot_be_written_changes_no_verdict() {
    for (act, code) in [("ok", 0), ("verdict", 10)] {
        let sandbox = Sandbox::new()
            .github_actions()
            .env("GITHUB_OUTPUT", "/dev/full")
            .env("GITHUB_STEP_SUMMARY", "/nowhere/at/all");
        let ran = sandbox.run(REHEARSE, &["--do", act]);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.contains("the outputs cannot be written"), "{}", ran.stderr);
        assert!(ran.stderr.contains("the job summary cannot be written"), "{}", ran.stderr);
    }
}
