//! A release of what lies in the work tree, for this machine, made once: the programs, the assembled tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version that the tests release.
pub(crate) const VERSION: &str = "1.2.3";
/// The repository that compatible workflows refer to.
pub(crate) const REPOSITORY: &str = "org/deploy-kit";

/// A release on disk.
#[derive(Debug)]
pub(crate) struct Release {
    folder: PathBuf,
}

/// The programs of a release.
pub(crate) fn programs() -> Vec<String> {
    let folder = root().join("actions");
    let entries =
        std::fs::read_dir(&folder).expect("the actions").map(|entry| entry.expect("an action").path());
    let actions = entries.filter(|path| path.join("action.yml").exists());
    let mut names: Vec<String> = actions
        .map(|path| path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned())
        .collect();
    names.push("deploy-kit".to_owned());
    names.sort();
    names
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// This machine as the launcher names it.
pub(crate) fn platform() -> String {
    let system = if cfg!(target_os = "macos") { "macos" } else { "linux" };
    format!("{system}-{}", std::env::consts::ARCH)
}

/// The release of the tree as GitHub would have it. Every test is a process of its own: the first one of a
/// run makes it, the others find it.
pub(crate) fn release() -> &'static Release {
    static MADE: OnceLock<Release> = OnceLock::new();
    MADE.get_or_init(|| {
        let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
        let folder = built().join("releases").join(run);
        std::fs::create_dir_all(built().join("releases")).expect("a folder of releases");
        let lock = std::fs::File::create(built().join("releases.lock")).expect("a file to lock");
        lock.lock().expect("a lock");
        let release = Release { folder };
        if !release.at("made").exists() {
            release.make();
            std::fs::write(release.at("made"), "").expect("a mark");
        }
        release
    })
}

/// The folder of the programs under test.
pub(crate) fn built() -> PathBuf {
    // target/debug/deps/actions-… lies two below.
    let test = std::env::current_exe().expect("this test knows where it is");
    test.ancestors().nth(2).expect("a target folder").to_owned()
}

impl Release {
    /// Builds the programs, lays them out as assets, assembles; releases of earlier runs go.
    fn make(&self) {
        let releases = built().join("releases");
        std::fs::remove_dir_all(&releases).expect("releases of earlier runs");
        std::fs::create_dir_all(self.assets()).expect("a folder of assets");
        let names = programs();
        let packages: Vec<&str> = names.iter().map(String::as_str).chain(["xtask", "storefront"]).collect();
        kit_testing::programs_of(&packages);
        for name in &names {
            let asset = self.assets().join(format!("{name}-{}", platform()));
            // A link is enough: an asset is only read.
            std::fs::hard_link(built().join(name), &asset).expect("an asset");
        }
        let printed = self.assemble("tree", &[]);
        std::fs::write(self.at("printed"), printed).expect("what was printed");
    }

    /// Assembles the tree into another folder; gives what was printed.
    pub(crate) fn assemble(&self, name: &str, extra: &[&str]) -> String {
        let output = xtask()
            .args(["assemble", "--worktree", "--version", VERSION, "--assets"])
            .arg(self.assets())
            .arg("--into")
            .arg(self.at(name))
            .args(extra)
            .output()
            .expect("xtask can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The tree for a runner that does not know the newest syntax.
    pub(crate) fn compat_tree(&self, runner: &str) -> PathBuf {
        let lock = std::fs::File::create(built().join("releases.lock")).expect("a file to lock");
        lock.lock().expect("a lock");
        let name = format!("tree-{runner}");
        if !self.at(&name).exists() {
            self.assemble(&name, &["--compat", runner, "--repository", REPOSITORY]);
        }
        self.at(&name)
    }

    pub(crate) fn assets(&self) -> PathBuf {
        self.folder.join("assets")
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.at("tree")
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of an action.
    pub(crate) fn action(&self, name: &str) -> PathBuf {
        self.tree().join(name)
    }
}

/// The automation, which is not run by cargo here and must not take this crate for itself.
pub(crate) fn xtask() -> Command {
    let mut command = Command::new(built().join("xtask"));
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}
