//! `cargo xtask generate`: writes the files that the product renders of itself, or checks that they are fresh.
//!
//! The product prints one JSON document, `{"files": [{"path": "…", "content": "…"}]}`; nothing is rendered here.

mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::workspace::Workspace;
use plan::Change;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Only compare: fail if a generated file is missing, different or stale
    #[arg(long)]
    pub(crate) check: bool,
}

/// Folders that hold nothing but generated files.
const GENERATED_FOLDERS: [&str; 2] = ["schemas", "docs/reference"];

const PRODUCT: &str = "deploy-kit";
const DESCRIBE: &str = "__describe";

#[derive(Debug, Deserialize)]
struct Description {
    files: Vec<DescribedFile>,
}

#[derive(Debug, Deserialize)]
struct DescribedFile {
    path: String,
    content: String,
}

/// True when the tree holds what the product describes: made so, or found so with `--check`.
pub(crate) fn run(workspace: &Workspace, args: Args) -> Result<bool, Error> {
    let metadata = workspace.metadata(false)?;
    if !metadata.packages.iter().any(|package| package.name.as_str() == PRODUCT) {
        println!("nothing to generate: the workspace has no package `{PRODUCT}` yet");
        return Ok(true);
    }
    let Some(programs) = workspace.programs()? else { return Ok(false) };
    let product = programs.join(PRODUCT).display().to_string();
    let wanted = parse(&workspace.output(&[&product, DESCRIBE])?)?;
    let present = read_present(&workspace.root, &wanted)?;
    let changes = plan::changes(&wanted, &present);
    if args.check {
        for change in &changes {
            print!("{}", change.describe());
        }
        if !changes.is_empty() {
            println!("hint: `cargo xtask generate` makes the generated files fresh");
        }
    } else {
        apply(&workspace.root, &changes)?;
    }
    println!("generated files: {} described, {} changed", wanted.len(), changes.len());
    Ok(changes.is_empty() || !args.check)
}

/// Path to content; refuses a path that could leave the tree or that is named twice.
fn parse(document: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    let description: Description = serde_json::from_slice(document)
        .map_err(|source| Error::Json { command: format!("{PRODUCT} {DESCRIBE}"), source })?;
    let mut wanted = BTreeMap::new();
    for DescribedFile { path, content } in description.files {
        if let Some(reason) = plan::refuse(&path) {
            return Err(Error::Path { path, reason });
        }
        if wanted.contains_key(&path) {
            return Err(Error::Path { path, reason: "it is described twice" });
        }
        wanted.insert(path, content);
    }
    Ok(wanted)
}

/// What is on disk of the wanted files, and everything in the generated folders.
fn read_present(root: &Path, wanted: &BTreeMap<String, String>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut paths: Vec<String> = wanted.keys().cloned().collect();
    for folder in GENERATED_FOLDERS {
        list(root, folder, &mut paths)?;
    }
    let mut present = BTreeMap::new();
    for path in paths {
        let full = root.join(&path);
        match fs::read(&full) {
            Ok(bytes) => {
                present.insert(path, bytes);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::File { verb: "read", path: full, source }),
        }
    }
    Ok(present)
}

/// Adds every file below `folder` to `paths`, relative to the root. A folder that is not there holds none.
fn list(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<(), Error> {
    let full = root.join(folder);
    let entries = match fs::read_dir(&full) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::File { verb: "list", path: full, source }),
    };
    for entry in entries {
        let entry = entry.map_err(Error::file("list", &full))?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(Error::file("inspect", entry.path()))?.is_dir() {
            list(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

fn apply(root: &Path, changes: &[Change<'_>]) -> Result<(), Error> {
    for change in changes {
        match change {
            Change::Write { path, content, .. } => {
                let full = root.join(path);
                if let Some(folder) = full.parent() {
                    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
                }
                fs::write(&full, content).map_err(Error::file("write", &full))?;
                println!("wrote {path}");
            }
            Change::Remove { path } => {
                let full = root.join(path);
                fs::remove_file(&full).map_err(Error::file("remove", &full))?;
                println!("removed {path}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_document_is_refused() {
        let twice = br#"{"files": [{"path": "a", "content": ""}, {"path": "a", "content": ""}]}"#;
        assert!(parse(twice).unwrap_err().to_string().contains("twice"));
        assert!(parse(br#"{"files": [{"path": "../a", "content": ""}]}"#).is_err());
        assert!(parse(br#"{"files": [{"path": "a"}]}"#).is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn applying_makes_the_tree_fresh_and_removes_what_is_stale() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("schemas/old")).unwrap();
        fs::write(tree.path().join("schemas/old/gone.json"), "{}").unwrap();
        let wanted = parse(br#"{"files": [{"path": "docs/reference/a.md", "content": "a\n"}]}"#).unwrap();

        let present = read_present(tree.path(), &wanted).unwrap();
        let changes = plan::changes(&wanted, &present);
        assert_eq!(changes.len(), 2);
        apply(tree.path(), &changes).unwrap();

        let present = read_present(tree.path(), &wanted).unwrap();
        assert!(plan::changes(&wanted, &present).is_empty());
        assert_eq!(fs::read_to_string(tree.path().join("docs/reference/a.md")).unwrap(), "a\n");
        assert!(!tree.path().join("schemas/old/gone.json").exists());
    }
}
