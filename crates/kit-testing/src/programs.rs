//! Programs under test that belong to other packages: cargo builds the binaries of a package only for its
//! own tests.

use std::path::PathBuf;
use std::process::Command;

/// Set by `cargo xtask test`, which builds every program before the first test, with the features that the
/// tests were built with: building them one by one would compile large dependencies a second time.
const BUILT: &str = "DEPLOY_KIT_PROGRAMS_BUILT";

/// The folder of the programs, with those of these packages built if nobody has done that before.
pub fn programs_of(packages: &[&str]) -> PathBuf {
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.ancestors().nth(2).expect("tests lie in the target folder").to_owned();
    if std::env::var_os(BUILT).is_some() {
        return folder;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    build.arg("--target-dir").arg(folder.parent().expect("a profile lies in the target folder"));
    build.args(packages.iter().flat_map(|package| ["-p", package]));
    assert!(build.status().expect("cargo can be started").success(), "the programs cannot be built");
    folder
}
