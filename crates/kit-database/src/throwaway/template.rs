//! Data folders of throw-away servers, kept from run to run: unpacking one takes a fraction of making it.
//!
//! Whoever can write such a file decides what a server of ours runs, so a place that is not ours alone is not used.
//! What is kept can always be made anew, so nothing here is ever an error.

use super::User;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kit_core::Env;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How the name of a file begins that is being written; it is locked by who writes it.
const UNFINISHED: &str = ".new-";
/// Bits of the mode by which others could write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// One kind of data folder, of one version, for one user.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    file: PathBuf,
    /// Who must own everything: we.
    owner: u32,
    user: User,
}

impl Template {
    /// Where the folder of this name is kept, or would be. `None` if there is no place for it.
    pub(super) fn of(env: &Env, name: &str, owner: u32, user: User) -> Option<Self> {
        let whose = user.other.map_or(owner, |(number, _)| number);
        let folder = place(env)?.join("servers");
        Some(Self { file: folder.join(format!("{name}-{whose}.tar.gz")), owner, user })
    }

    /// Fills a new folder with what is kept. `false`: nothing usable is, and the folder does not exist.
    pub(super) async fn unpack(&self, into: &Path) -> bool {
        let (this, folder) = (self.clone(), into.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || this.try_unpack(&folder)).await;
        if matches!(unpacked, Ok(Some(()))) {
            return true;
        }
        let _ = std::fs::remove_dir_all(into);
        false
    }

    /// Keeps a folder that no server uses. Whoever does so at the same time keeps the same.
    pub(super) async fn keep(&self, data: &Path) {
        let (this, data) = (self.clone(), data.to_owned());
        let _ = tokio::task::spawn_blocking(move || this.try_keep(&data)).await;
    }

    /// Removes what turned out to be unusable.
    pub(super) fn forget(&self) {
        let _ = kit_core::fs::remove(&self.file);
    }

    #[allow(clippy::disallowed_methods, reason = "what was opened is judged, not what has its name by then")]
    fn try_unpack(&self, folder: &Path) -> Option<()> {
        if !self.is_ours(&std::fs::symlink_metadata(self.file.parent()?).ok()?) {
            return None;
        }
        self.remove_abandoned();
        let file = std::fs::File::open(&self.file).ok()?;
        if !self.is_ours(&file.metadata().ok()?) {
            return None;
        }
        std::fs::DirBuilder::new().mode(0o700).create(folder).ok()?;
        self.user.give(folder).ok()?;
        let mut archive = tar::Archive::new(GzDecoder::new(std::io::BufReader::new(file)));
        archive.set_preserve_mtime(false);
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(self.user.other.is_some());
        archive.unpack(folder).ok()?;
        // Only at its very end does it tell whether it is whole.
        let mut rest = archive.into_inner();
        while rest.read(&mut [0_u8; 4096]).ok()? > 0 {}
        Some(())
    }

    fn try_keep(&self, data: &Path) -> Option<()> {
        let folder = self.file.parent()?;
        kit_core::fs::create_folder(folder.parent()?).ok()?;
        // It may be there already.
        let _ = std::fs::DirBuilder::new().mode(0o700).create(folder);
        if !self.is_ours(&std::fs::symlink_metadata(folder).ok()?) {
            return None;
        }
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder).ok()?;
        file.as_file().try_lock().ok()?;
        // Not compressed: the sum at its end is what is wanted of this format.
        let mut archive =
            tar::Builder::new(GzEncoder::new(std::io::BufWriter::new(file), Compression::none()));
        archive.append_dir_all(".", data).ok()?;
        let mut written = archive.into_inner().ok()?.finish().ok()?;
        written.flush().ok()?;
        written.into_inner().ok()?.persist(&self.file).ok()?;
        Some(())
    }

    /// Removes what was being written by processes that were killed. Who has just begun and holds no lock yet loses
    /// his copy, which costs him no more than making it again.
    fn remove_abandoned(&self) {
        let Some(folder) = self.file.parent() else { return };
        let names = kit_core::fs::list(folder).ok().flatten().unwrap_or_default();
        for path in names.iter().filter(|name| name.starts_with(UNFINISHED)).map(|name| folder.join(name)) {
            if let Ok(Some(_lock)) = kit_core::fs::try_lock(&path) {
                let _ = kit_core::fs::remove(&path);
            }
        }
    }

    fn is_ours(&self, found: &std::fs::Metadata) -> bool {
        !found.is_symlink()
            && found.uid() == self.owner
            && found.permissions().mode() & WRITABLE_BY_OTHERS == 0
    }
}

/// The cache of this user: `DEPLOY_KIT_CACHE`, else by the XDG Base Directory Specification, which has it ignore
/// relative paths.
fn place(env: &Env) -> Option<PathBuf> {
    let path = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    path("DEPLOY_KIT_CACHE")
        .or_else(|| Some(path("XDG_CACHE_HOME")?.join("deploy-kit")))
        .or_else(|| Some(path("HOME")?.join(".cache/deploy-kit")))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files are damaged on purpose")]
mod tests {
    use super::*;
    use std::fs::Permissions;

    /// A folder to keep, and where.
    struct Kept {
        root: tempfile::TempDir,
        template: Template,
    }

    impl Kept {
        async fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let data = root.path().join("data");
            std::fs::create_dir_all(data.join("base/1")).unwrap();
            std::fs::write(data.join("base/1/table"), vec![7_u8; 100_000]).unwrap();
            std::fs::write(data.join("version"), "15").unwrap();
            std::fs::set_permissions(data.join("version"), Permissions::from_mode(0o600)).unwrap();
            let cache = root.path().join("cache").display().to_string();
            let env = Env::from([("DEPLOY_KIT_CACHE", cache.as_str())]);
            let owner = std::fs::metadata(root.path()).unwrap().uid();
            let template = Template::of(&env, "engine-15", owner, User { other: None }).unwrap();
            assert!(!template.unpack(&root.path().join("before")).await, "nothing is kept yet");
            template.keep(&data).await;
            Self { root, template }
        }

        async fn comes_back(&self) -> bool {
            let copy = self.root.path().join("copy");
            let came = self.template.unpack(&copy).await;
            assert_eq!(copy.exists(), came, "a part of it is never left");
            if came {
                assert_eq!(std::fs::read(copy.join("base/1/table")).unwrap(), [7_u8; 100_000]);
                let mode = |name: &str| std::fs::metadata(copy.join(name)).unwrap().permissions().mode();
                assert_eq!((mode(".") & 0o777, mode("version") & 0o777), (0o700, 0o600));
                std::fs::remove_dir_all(copy).unwrap();
            }
            came
        }

        fn folder(&self) -> &Path {
            self.template.file.parent().unwrap()
        }
    }

    #[tokio::test]
    async fn what_is_kept_comes_back() {
        let kept = Kept::new().await;
        assert!(kept.comes_back().await);
        let mode = std::fs::metadata(kept.folder()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(kit_core::fs::list(kept.folder()).unwrap().unwrap().len(), 1, "nothing temporary stays");
        kept.template.forget();
        assert!(!kept.comes_back().await);
    }

    #[tokio::test]
    async fn one_that_is_not_whole_is_none() {
        let kept = Kept::new().await;
        let whole = std::fs::read(&kept.template.file).unwrap();
        for length in [0, 1, 600, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            std::fs::write(&kept.template.file, &whole[..length]).unwrap();
            assert!(!kept.comes_back().await, "{length} of {} bytes", whole.len());
        }
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        std::fs::write(&kept.template.file, changed).unwrap();
        assert!(!kept.comes_back().await, "a byte was changed");
        std::fs::write(&kept.template.file, whole).unwrap();
        assert!(kept.comes_back().await);
    }

    #[tokio::test]
    async fn what_others_can_write_is_not_used() {
        let kept = Kept::new().await;
        for (path, mode, back) in [(kept.folder(), 0o770, 0o700), (&kept.template.file, 0o666, 0o600)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            assert!(!kept.comes_back().await, "{} with {mode:o}", path.display());
            std::fs::set_permissions(path, Permissions::from_mode(back)).unwrap();
            assert!(kept.comes_back().await);
        }
        let of_others = Template { owner: kept.template.owner + 1, ..kept.template.clone() };
        assert!(!of_others.unpack(&kept.root.path().join("theirs")).await);
        // Nor is anything put there.
        let before = std::fs::metadata(&kept.template.file).unwrap().modified().unwrap();
        of_others.keep(&kept.root.path().join("data")).await;
        assert_eq!(std::fs::metadata(&kept.template.file).unwrap().modified().unwrap(), before);
        // A link to a folder of ours could be anybody's.
        let moved = kept.root.path().join("moved");
        std::fs::rename(kept.folder(), &moved).unwrap();
        std::os::unix::fs::symlink(&moved, kept.folder()).unwrap();
        assert!(!kept.comes_back().await);
    }

    #[tokio::test]
    async fn many_may_keep_it_at_once() {
        let kept = Kept::new().await;
        let data = kept.root.path().join("data");
        let copy = kept.root.path().join("meanwhile");
        for _ in 0..10 {
            let (.., whole) = tokio::join!(
                kept.template.keep(&data),
                kept.template.keep(&data),
                kept.template.unpack(&copy)
            );
            assert!(whole);
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_killed_process_was_writing_goes_and_what_is_being_written_stays() {
        let kept = Kept::new().await;
        let (dead, living) = (kept.folder().join(".new-dead"), kept.folder().join(".new-living"));
        std::fs::write(&dead, "half of it").unwrap();
        let lock = kit_core::fs::try_lock(&living).unwrap().unwrap();
        assert!(kept.comes_back().await);
        assert!(!dead.exists() && living.exists());
        drop(lock);
        assert!(kept.comes_back().await);
        assert_eq!(kit_core::fs::list(kept.folder()).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn the_place_is_the_users_own() {
        for (variables, expected) in [
            (&[("DEPLOY_KIT_CACHE", "/a"), ("HOME", "/h")][..], Some("/a")),
            (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/deploy-kit")),
            (&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")], Some("/h/.cache/deploy-kit")),
            (&[("DEPLOY_KIT_CACHE", ""), ("HOME", "/h")], Some("/h/.cache/deploy-kit")),
            (&[("HOME", "h")], None),
            (&[], None),
        ] {
            let env: Env =
                variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(place(&env), expected.map(PathBuf::from), "{variables:?}");
        }
    }
}
