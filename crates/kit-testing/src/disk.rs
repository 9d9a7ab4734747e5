//! A file system that is too small.

use crate::database::must;
use std::path::Path;
use std::process::Command;

/// A folder with room for so much and no more; gone when dropped. Needs root.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// With room for `size_mib` MiB.
    pub fn new(size_mib: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("dk-").tempdir_in("/tmp").expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size_mib}m,mode=755"), "tmpfs"]).arg(folder.path());
        must(mount);
        Self { folder }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failed test must not fail again here; the mount ends with the machine.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
