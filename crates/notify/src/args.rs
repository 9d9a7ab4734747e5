//! The inputs.

use kit_contract::Name;
use kit_contract::config::Span;

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum About {
    /// How the deploy ended: record.json
    Record,
    /// How the rollback ended: rollback.json
    Rollback,
    /// That a backup outside a deploy failed: backup.json
    Backup,
    /// That a restore drill failed: drill.json
    Drill,
}

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is announced; without this the record if there is one, else the rollback
    #[arg(long, value_enum)]
    pub(crate) about: Option<About>,
    /// A channel that must take the message, or this step fails; may be repeated
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) require: Vec<Name>,
    /// How long a channel may take, all tries together
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) within: Span,
    /// Print what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
