//! Reads the tree for the rules: what git tracks, and what it would track.

use std::fs;

use crate::error::Error;
use crate::workspace::Workspace;

/// What a listed path holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(String),
    Binary {
        size_bytes: u64,
    },
    /// Deleted but still in the index, or a symbolic link, whose target is listed by itself.
    Absent,
}

/// Paths from the root, with `/`, each once: tracked files, and new ones that are not ignored.
pub(crate) fn list(workspace: &Workspace) -> Result<Vec<String>, Error> {
    let stdout =
        workspace.output(&["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let mut paths: Vec<String> =
        String::from_utf8_lossy(&stdout).split_terminator('\0').map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

pub(crate) fn read(workspace: &Workspace, path: &str) -> Result<Content, Error> {
    let full = workspace.root.join(path);
    match fs::symlink_metadata(&full) {
        Ok(metadata) if metadata.is_file() => {
            Ok(classify(fs::read(&full).map_err(Error::file("read", full))?))
        }
        Ok(_) => Ok(Content::Absent),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Content::Absent),
        Err(source) => Err(Error::File { verb: "inspect", path: full, source }),
    }
}

/// Text is UTF-8 without a NUL.
fn classify(bytes: Vec<u8>) -> Content {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Content::Text(text),
        Ok(text) => Content::Binary { size_bytes: text.len() as u64 },
        Err(error) => Content::Binary { size_bytes: error.as_bytes().len() as u64 },
    }
}

/// Whether a path lies in a folder of test data, which must be free to look like anything.
pub(crate) fn is_fixture(path: &str) -> bool {
    path.split('/').any(|part| part == "fixtures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_binary_are_told_apart() {
        assert_eq!(classify(b"text\n".to_vec()), Content::Text("text\n".to_owned()));
        assert_eq!(classify(b"a\0b".to_vec()), Content::Binary { size_bytes: 3 });
        assert_eq!(classify(vec![0xff, 0xfe]), Content::Binary { size_bytes: 2 });
    }

    #[test]
    fn only_a_folder_of_that_name_holds_fixtures() {
        assert!(is_fixture("tests/fixtures/a.sql"));
        assert!(!is_fixture("tests/fixtures.rs"));
    }
}
