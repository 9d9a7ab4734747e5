//! What others say of the actions, the workflows and the launcher, without running them.

use crate::error::Error;
use crate::workspace::Workspace;

const SHELLCHECK: [&str; 3] = ["target/venv/bin/shellcheck", "actions/launch.sh", ".ci/run"];

/// Offline: what it would ask GitHub for, nobody can check here. Pedantic: what is left unsaid is a finding.
const ZIZMOR: [&str; 13] = [
    "target/venv/bin/zizmor",
    "--offline",
    "--quiet",
    "--no-progress",
    "--persona",
    "pedantic",
    "--config",
    ".github/zizmor.yml",
    "action.yml",
    "actions",
    ".github/workflows",
    "examples/azora/.github/workflows",
    "examples/storefront/.github/workflows",
];

const PARSE: [&str; 2] = ["node", "tests/actions/parse.mjs"];

/// True when nobody finds fault. One fault does not hide the next.
pub(super) fn run(workspace: &Workspace) -> Result<bool, Error> {
    let shell = workspace.show(&SHELLCHECK, &[])?;
    let zizmor = workspace.show(&ZIZMOR, &[])?;
    Ok(workspace.show(&PARSE, &[])? && shell && zizmor)
}
