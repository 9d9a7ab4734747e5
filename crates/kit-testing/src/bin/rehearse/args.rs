//! The inputs.

use kit_contract::config::Config;
use kit_contract::{Name, Reason, Sha256, body};
use kit_core::{ResultExt as _, StepError};
use std::path::PathBuf;

/// A way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Act {
    /// Well.
    Ok,
    /// The verdict is no.
    Verdict,
    /// The answer is not known.
    Inconclusive,
    /// With an error that has a cause below it.
    Error,
    /// With a panic.
    Panic,
    /// With a panic while the summary is made.
    SummaryPanic,
    /// When it is told to stop.
    Hang,
    /// Never: every worker thread is blocked.
    HangDeaf,
    /// When it is told to stop; until then every worker thread is busy.
    Spin,
    /// As `hang`, with something known.
    SaveThenHang,
    /// As `error`, in the middle of a change.
    DangerError,
    /// As `panic`, in the middle of a change.
    DangerPanic,
    /// As `hang`, in the middle of a change.
    DangerHang,
    /// Verdict no, on a disk that it has filled.
    FillDisk,
    /// As `fill-disk`, in the middle of a change.
    DangerFillDisk,
    /// Repeats hostile text of others everywhere.
    ForeignHostile,
    /// Panics with hostile text.
    HostilePanic,
    /// Repeats its secrets everywhere.
    SecretEverywhere,
    /// Fails with its secrets in the error.
    SecretError,
    /// Panics with its secrets.
    SecretPanic,
    /// Well, with a summary that is too long.
    BigSummary,
}

/// What `rehearse` and `rehearse show` take.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to end
    #[arg(long = "do", value_enum, value_name = "ACT")]
    pub(crate) act: Act,
    /// Stage that is rehearsed
    #[arg(long, default_value = "one")]
    pub(crate) stage: String,
    /// File to write before anything else
    #[arg(long)]
    pub(crate) marker: Option<PathBuf>,
    /// A number
    #[arg(long, default_value_t = 1)]
    pub(crate) speed: u64,
    /// A switch
    #[arg(long)]
    pub(crate) careful: bool,
    /// A list
    #[arg(long)]
    pub(crate) label: Vec<String>,
    /// Rehearsal to rest on; may be repeated
    #[arg(long)]
    pub(crate) reads: Vec<String>,
    /// Rehearsal to rest on if it is there; may be repeated
    #[arg(long)]
    pub(crate) glances: Vec<String>,
    /// What follows is for others
    #[arg(last = true)]
    pub(crate) rest: Vec<String>,
}

/// What `rehearse release` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    /// Version to deploy
    #[arg(long, default_value = "1.2.3")]
    pub(crate) release: String,
}

/// Three values of a configuration that have nothing to do with a rehearsal.
pub(crate) fn from_config(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        ("speed", config.gate.min_samples.to_string()),
        ("careful", config.store.persistent.to_string()),
        ("label", config.release.branches.join("\n")),
    ]
}

pub(crate) fn deployment(args: &ReleaseArgs, config: &Config) -> Result<body::Deployment, StepError> {
    let bug = |what: &str| format!("the rehearsal has a bad {what}");
    let version = args.release.parse().or_reason(Reason::UsageError, "--release is not a version")?;
    let digest = config.sha256().or_reason(Reason::InternalError, bug("digest"))?;
    let service: Name = "api".parse().or_reason(Reason::InternalError, bug("name"))?;
    Ok(body::Deployment {
        tag: format!("v{}", args.release),
        commit: body::Commit { sha: "0".repeat(40), committed_at: jiff::Timestamp::UNIX_EPOCH },
        git_ref: format!("refs/tags/v{}", args.release),
        annotated: true,
        branch: None,
        kind: body::DeploymentKind::Release,
        services: vec![body::ServiceVersion {
            name: service,
            version: args.release.clone(),
            digest: Some(format!("sha256:{}", Sha256::of(b""))),
        }],
        stages: config.stages.iter().map(|stage| stage.name.clone()).collect(),
        config_sha256: digest,
        version,
    })
}
