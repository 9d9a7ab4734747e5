//! Folders for temporary files, which are found again if the process dies before it can remove them.
//!
//! Each holds a file that its process keeps locked. The system lets go of the lock however the process ends, so a
//! folder whose lock nobody holds belongs to nobody who lives.

use crate::fs::FsError;
use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The locked file.
const LOCK: &str = ".lock";
/// It gets its name only once it is locked, so that whoever finds it unlocked knows that nobody lives.
const NEW_LOCK: &str = ".lock-new";

/// A folder of this process, readable by its owner alone, removed with this value.
#[derive(Debug)]
pub struct ScratchFolder {
    folder: tempfile::TempDir,
    _lock: File,
}

impl ScratchFolder {
    /// Makes one in `within` whose name begins with `prefix`, and removes those of this prefix that processes left
    /// which were killed. Gives what was removed, too.
    ///
    /// # Errors
    /// If it cannot be made. That something old cannot be removed is no error: it may be removed by the next one.
    pub fn new(within: &Path, prefix: &str) -> Result<(Self, Vec<PathBuf>), FsError> {
        let made = Self::make(within, prefix)?;
        let abandoned = made.abandoned(prefix).into_iter();
        let removed = abandoned
            .filter_map(|folder| {
                let path = folder.path.clone();
                folder.remove().then_some(path)
            })
            .collect();
        Ok((made, removed))
    }

    /// Makes one, and removes nothing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(within: &Path, prefix: &str) -> Result<Self, FsError> {
        let failed = |source| FsError { action: "make a folder in", path: within.to_owned(), source };
        // Without this, whoever may look into `within` could look into it, too.
        let ours = std::fs::Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix(prefix).permissions(ours).tempdir_in(within).map_err(failed)?;
        let made = folder.path().join(NEW_LOCK);
        let lock =
            crate::fs::try_lock(&made)?.ok_or_else(|| failed(std::io::ErrorKind::WouldBlock.into()))?;
        crate::fs::rename(&made, &folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Those beside it, of this prefix, that processes left which were killed. Nobody else gets them as long as they are
    /// held here.
    pub fn abandoned(&self, prefix: &str) -> Vec<Abandoned> {
        let Some(within) = self.path().parent() else { return Vec::new() };
        let owner = |path: &Path| std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_dir);
        let Some(us) = owner(self.path()).map(|found| found.uid()) else { return Vec::new() };
        let names = crate::fs::list(within).ok().flatten().unwrap_or_default();
        let others = names.into_iter().filter(|name| name.starts_with(prefix)).map(|name| within.join(name));
        let hold = |path: PathBuf| {
            let file = path.join(LOCK);
            // Only what is ours, and not what a link leads to; a folder without the file is just being made.
            let is_ours = owner(&path).is_some_and(|found| found.uid() == us)
                && std::fs::symlink_metadata(&file).is_ok_and(|found| found.is_file());
            let lock = is_ours.then(|| crate::fs::try_lock(&file).ok().flatten()).flatten()?;
            Some(Abandoned { path, _lock: lock })
        };
        others.filter(|path| path != self.path()).filter_map(hold).collect()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The folder of a process that lives no more.
#[derive(Debug)]
pub struct Abandoned {
    path: PathBuf,
    _lock: File,
}

impl Abandoned {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it. False: it is still there, or part of it.
    pub fn remove(self) -> bool {
        std::fs::remove_dir_all(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_any_more_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let within = root.path();
        let (living, removed) = ScratchFolder::new(within, "step-").unwrap();
        assert!(removed.is_empty(), "{removed:?}");
        let mode = std::fs::metadata(living.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "it is its owner's alone");
        // As a killed process leaves it: the folder and the file, and no lock.
        let left = |name: &str, files: &[&str]| {
            let folder = within.join(name);
            crate::fs::create_folder(&folder).unwrap();
            for file in files {
                crate::fs::create_new(&folder.join(file), b"rows of a database").unwrap();
            }
            folder
        };
        let dead = left("step-dead", &[LOCK, "copy"]);
        let kept = [
            left("step-just-begun", &[NEW_LOCK]),
            left("step-somebody-elses", &["copy"]),
            left("other-dead", &[LOCK]),
        ];
        std::os::unix::fs::symlink(&kept[2], within.join("step-link")).unwrap();
        let (second, removed) = ScratchFolder::new(within, "step-").unwrap();
        assert_eq!(removed, [dead.as_path()]);
        assert!(!dead.exists() && kept.iter().all(|folder| folder.exists()));
        assert!(living.path().exists() && second.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
