//! `cargo xtask bench`: measured against what users run today, in one run, as ratios.

mod backup;
mod canary;
mod launcher;

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
    /// The verdicts of the canary gate against those of others, on simulated stages
    Canary(canary::Args),
    /// What an action adds before its program runs, and how many bytes a job downloads for it
    Launcher(launcher::Args),
}

/// Measures, prints, and writes the table into docs/benchmarks.md.
///
/// # Errors
/// If something that is compared cannot be run.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    match &args.what {
        What::Backup(args) => backup::run(workspace, args),
        What::Canary(args) => canary::run(workspace, args),
        What::Launcher(args) => launcher::run(workspace, args),
    }
}
