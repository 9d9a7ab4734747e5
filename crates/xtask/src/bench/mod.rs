//! `cargo xtask bench`: measured against what users run today, in one run, as ratios.

mod backup;

use crate::error::Error;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Backup and restore of PostgreSQL against the pipelines that people write
    Backup(backup::Args),
}

/// Measures, prints, and writes the table into docs/benchmarks.md.
///
/// # Errors
/// If something that is compared cannot be run.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    match &args.what {
        What::Backup(args) => backup::run(workspace, args),
    }
}
