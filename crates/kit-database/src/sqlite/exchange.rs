//! The file moves of a swap. At no moment is the live name without a database, unless the file system
//! has no hard links; after a failure everything is put back.

use super::restore::SIDE_FILES;
use super::with_suffix;
use crate::DatabaseError;
use kit_core::fs::FsError;
use std::path::{Path, PathBuf};

/// How files are moved; tests put failing ones here.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileMoves {
    /// Gives a file a second name; never over another file.
    pub(super) link: fn(&Path, &Path) -> std::io::Result<()>,
    /// Moves a file, durably.
    pub(super) rename: fn(&Path, &Path) -> Result<(), FsError>,
}

impl Default for FileMoves {
    fn default() -> Self {
        Self { link: |from, to| std::fs::hard_link(from, to), rename: kit_core::fs::rename }
    }
}

/// What is moved where.
pub(super) struct Exchange<'a> {
    pub(super) live: &'a Path,
    pub(super) restored: &'a Path,
    pub(super) kept: &'a Path,
    pub(super) moves: FileMoves,
}

impl Exchange<'_> {
    /// Puts `restored` in the place of `live`, which is kept. Gives whether there was one to keep.
    pub(super) fn run(&self) -> Result<bool, DatabaseError> {
        let had_live = there(self.live)?;
        let mut done = Done::default();
        match self.steps(had_live, &mut done) {
            Ok(()) => Ok(had_live),
            Err(error) => {
                self.undo(&done).map_err(|source| DatabaseError::Stuck {
                    state: format!(
                        "the database that was live is {}, the restored one is {}, and {} has to be the one or the other",
                        self.kept.display(),
                        self.restored.display(),
                        self.live.display()
                    ),
                    source: source.into(),
                })?;
                Err(error.into())
            }
        }
    }

    fn steps(&self, had_live: bool, done: &mut Done) -> Result<(), FsError> {
        // First the side files of the live database: whatever happens then, they never meet another one.
        for suffix in SIDE_FILES {
            let (from, to) = (with_suffix(self.live, suffix), with_suffix(self.kept, suffix));
            if there(&from)? {
                self.rename(&from, &to)?;
                done.side_files.push((from, to));
            }
        }
        if had_live {
            self.keep()?;
            done.kept = true;
        }
        self.rename(self.restored, self.live)
    }

    fn keep(&self) -> Result<(), FsError> {
        match (self.moves.link)(self.live, self.kept) {
            Ok(()) => Ok(()),
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(FsError { action: "keep the live database as", path: self.kept.to_owned(), source })
            }
            // A file system without hard links. There is a moment without a live database then.
            Err(_) => self.rename(self.live, self.kept),
        }
    }

    /// Renames; what counts is where the file is, since a failure to sync comes after the move.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FsError> {
        match (self.moves.rename)(from, to) {
            Err(_) if !there(from)? && there(to)? => Ok(()),
            other => other,
        }
    }

    fn undo(&self, done: &Done) -> Result<(), FsError> {
        if done.kept {
            if there(self.live)? {
                // Only ever the second name of a file that keeps its first one.
                self.same_file()?;
                kit_core::fs::remove(self.kept)?;
            } else {
                self.rename(self.kept, self.live)?;
            }
        }
        for (from, to) in done.side_files.iter().rev() {
            self.rename(to, from)?;
        }
        Ok(())
    }

    fn same_file(&self) -> Result<(), FsError> {
        if is_same_file(self.live, self.kept)? {
            return Ok(());
        }
        let source = std::io::Error::other("another database has taken its name");
        Err(FsError { action: "put back", path: self.kept.to_owned(), source })
    }
}

/// Whether two names, both there, are names of one file.
pub(super) fn is_same_file(one: &Path, two: &Path) -> Result<bool, FsError> {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
        Err(source) => Err(FsError { action: "look at", path: path.to_owned(), source }),
    };
    Ok(identity(one)? == identity(two)?)
}

/// What has been done so far and would have to be undone.
#[derive(Default)]
struct Done {
    kept: bool,
    side_files: Vec<(PathBuf, PathBuf)>,
}

/// Whether something has this name. Could not ask is an error, not a no.
pub(super) fn there(path: &Path) -> Result<bool, FsError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FsError { action: "look at", path: path.to_owned(), source }),
    }
}
