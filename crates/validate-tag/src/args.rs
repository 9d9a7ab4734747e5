//! The inputs.

use clap::{ArgMatches, Command, ValueEnum};
use kit_contract::body::DeploymentKind;
use std::path::PathBuf;

/// The inputs of `validate-tag`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Release tag or version, for example v1.2.3 or 1.2.3; without this, the tag that started the run
    /// (GITHUB_REF)
    #[arg(long, value_name = "TAG", allow_hyphen_values = true)]
    pub tag: Option<String>,

    /// Branch or full commit id to deploy instead of a tag, with --kind branch; its version is 0.0.0-g<commit>
    #[arg(long, value_name = "COMMIT", allow_hyphen_values = true)]
    pub commit: Option<String>,

    /// Folder of the git repository
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub repository: PathBuf,

    /// Why this deployment is made
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Kind::Release)]
    pub kind: Kind,

    /// Accept pre-releases such as v1.2.3-rc.1
    #[arg(long)]
    pub allow_prerelease: bool,

    #[command(flatten)]
    pub(crate) given: GivenId,
}

/// The kinds that a person can ask for. A rollback is made by the step of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A planned release
    Release,
    /// A small release that repairs the one before
    Hotfix,
    /// A release that cannot wait for the usual checks
    Emergency,
    /// A version that ran before, deployed again
    Redeploy,
    /// A tag or commit of any branch; not for production
    Branch,
}

impl Kind {
    /// The kind as artifacts hold it.
    pub const fn to_contract(self) -> DeploymentKind {
        match self {
            Self::Release => DeploymentKind::Release,
            Self::Hotfix => DeploymentKind::Hotfix,
            Self::Emergency => DeploymentKind::Emergency,
            Self::Redeploy => DeploymentKind::Redeploy,
            Self::Branch => DeploymentKind::Branch,
        }
    }
}

/// The word for a kind, as it is typed.
pub(crate) fn kind_word(kind: DeploymentKind) -> &'static str {
    match kind {
        DeploymentKind::Release => "release",
        DeploymentKind::Hotfix => "hotfix",
        DeploymentKind::Emergency => "emergency",
        DeploymentKind::Redeploy => "redeploy",
        DeploymentKind::Branch => "branch",
        DeploymentKind::Rollback => "rollback",
        DeploymentKind::Unknown => "unknown",
    }
}

/// `--deployment-id`, which the frame declares for every command. Whether it was given decides here
/// whether an id is made.
#[derive(Debug)]
pub(crate) struct GivenId(pub(crate) bool);

impl clap::FromArgMatches for GivenId {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let id = matches.try_get_one::<String>("deployment-id").ok().flatten();
        Ok(Self(id.is_some_and(|id| !id.is_empty())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for GivenId {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
