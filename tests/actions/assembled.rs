//! The assembled tree: the same for everybody, and different only where it says so.

use crate::release::{REPOSITORY, VERSION, release, root};
use std::collections::BTreeMap;
use std::path::Path;

/// Every file below a folder, by path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn assembling_twice_gives_the_same_commit() {
    let again = release().assemble("again", &[]);
    assert_eq!(again, std::fs::read_to_string(release().at("printed")).unwrap());
    assert!(again.starts_with("commit ") && again.contains("\ntree "), "{again}");
    assert_eq!(files(&release().at("again")), files(&release().tree()));
}

#[test]
fn an_action_lies_at_the_root_beside_what_pins_it() {
    let tree = files(&release().tree());
    assert_eq!(tree["VERSION"], format!("{VERSION}\n").into_bytes());
    for program in crate::release::programs() {
        let sums = String::from_utf8(tree["SHA256SUMS"].clone()).unwrap();
        assert!(sums.contains(&format!("  {program}-")), "{program}");
        if program != "deploy-kit" {
            let source = std::fs::read(root().join(format!("actions/{program}/action.yml"))).unwrap();
            assert_eq!(tree[&format!("{program}/action.yml")], source);
        }
    }
    assert_eq!(tree["launch.sh"], std::fs::read(root().join("actions/launch.sh")).unwrap());
    assert!(!tree.keys().any(|path| path.starts_with("actions/") || path.starts_with("crates/")));
    let size: usize = tree.values().map(Vec::len).sum();
    assert!(size < 1 << 20, "every job of every user downloads this: {size} bytes");
}

#[test]
fn trees_for_other_runners_differ_in_the_listed_lines_and_in_nothing_else() {
    let plain = files(&release().tree());
    for compat in ["act", "ghes"] {
        let other = files(&release().compat_tree(compat));
        assert_eq!(plain.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (path, bytes) in &plain {
            if *bytes == other[path] {
                continue;
            }
            assert!(path.starts_with(".github/workflows/"), "{path}");
            let expected: String = String::from_utf8_lossy(bytes)
                .split_inclusive('\n')
                .filter(|line| !["deployment: false", "queue: max"].contains(&line.trim()))
                .map(|line| match line.trim_end().split_once("uses: $/") {
                    Some((before, action)) => format!("{before}uses: {REPOSITORY}/{action}@v{VERSION}\n"),
                    None => line.to_owned(),
                })
                .collect();
            assert_eq!(expected, String::from_utf8_lossy(&other[path]), "{path}");
        }
    }
}

#[test]
fn what_is_no_release_is_refused() {
    for (damage, because) in [("missing", "is missing"), ("foreign", "no program of a known system")] {
        let folder = tempfile::tempdir_in(release().at("")).unwrap();
        for entry in std::fs::read_dir(release().assets()).unwrap() {
            let entry = entry.unwrap();
            if damage == "missing" && entry.file_name().to_str().unwrap().starts_with("rollback-") {
                continue;
            }
            std::fs::hard_link(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        if damage == "foreign" {
            std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        }
        let ran = crate::release::xtask()
            .args(["assemble", "--worktree", "--version", VERSION, "--assets"])
            .arg(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && said.contains(because), "{damage}: {said}");
    }
}
