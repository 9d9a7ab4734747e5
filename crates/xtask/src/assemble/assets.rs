//! The programs of a release: which there must be, and their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// The systems that programs are released for, as the launcher names them.
const PLATFORMS: [&str; 4] = ["linux-aarch64", "linux-x86_64", "macos-aarch64", "macos-x86_64"];

/// The text of SHA256SUMS, sorted by name, after checking that the set is whole.
pub(super) fn sums(folder: &Path, root: &Path) -> Result<String, Error> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let entry = entry.map_err(Error::file("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.insert(name, digest(&entry.path())?);
    }
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    let programs = programs(root)?;
    if let Some(reason) = refuse(&names, &programs) {
        return Err(Error::Assets { folder: folder.to_owned(), reason });
    }
    Ok(found.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect())
}

/// Every action, and the program that is all of them.
fn programs(root: &Path) -> Result<BTreeSet<String>, Error> {
    let folder = root.join("actions");
    let mut programs: BTreeSet<String> = ["deploy-kit".to_owned()].into();
    for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
        let entry = entry.map_err(Error::file("list", &folder))?;
        if entry.path().join("action.yml").exists() {
            programs.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(programs)
}

/// Why this is no release, if it is none: a file that nobody fetches, or a program that one of the systems
/// lacks.
fn refuse(found: &BTreeSet<&str>, programs: &BTreeSet<String>) -> Option<String> {
    let asset = |program: &String, platform: &str| format!("{program}-{platform}");
    let known: BTreeSet<String> = programs
        .iter()
        .flat_map(|program| PLATFORMS.iter().map(move |platform| asset(program, platform)))
        .collect();
    if let Some(foreign) = found.iter().find(|name| !known.contains(**name)) {
        return Some(format!("{foreign} is no program of a known system ({})", PLATFORMS.join(", ")));
    }
    let released: Vec<&str> = PLATFORMS
        .into_iter()
        .filter(|platform| found.iter().any(|name| name.ends_with(&format!("-{platform}"))))
        .collect();
    if released.is_empty() {
        return Some("there is no program in it".to_owned());
    }
    let missing = programs
        .iter()
        .flat_map(|program| released.iter().map(move |platform| asset(program, platform)))
        .find(|name| !found.contains(name.as_str()))?;
    Some(format!("{missing} is missing"))
}

fn digest(path: &Path) -> Result<String, Error> {
    let mut file = fs::File::open(path).map_err(Error::file("open", path))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0_u8; 1 << 16];
    loop {
        let count = file.read(&mut chunk).map_err(Error::file("read", path))?;
        if count == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(chunk.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(found: &[&str]) -> Option<String> {
        let programs = ["deploy-kit", "rollout"].map(str::to_owned).into();
        refuse(&found.iter().copied().collect(), &programs)
    }

    #[test]
    fn a_release_is_whole_or_none() {
        let linux = ["deploy-kit-linux-x86_64", "rollout-linux-x86_64"];
        assert_eq!(verdict(&linux), None);
        assert!(verdict(&[]).unwrap().contains("no program"));
        assert_eq!(verdict(&linux[..1]).unwrap(), "rollout-linux-x86_64 is missing");
        let half: Vec<&str> = linux.into_iter().chain(["rollout-macos-aarch64"]).collect();
        assert_eq!(verdict(&half).unwrap(), "deploy-kit-macos-aarch64 is missing");
        for foreign in ["rollout-windows-x86_64", "notes.txt", "stranger-linux-x86_64"] {
            let with: Vec<&str> = linux.into_iter().chain([foreign]).collect();
            assert!(verdict(&with).unwrap().starts_with(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_digest_is_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            digest(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
