//! The inputs.

/// The inputs of both commands.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A check that may fail this time, by its id; may be repeated. Needs --override-reason
    #[arg(long = "override", value_name = "CHECK")]
    pub(crate) overrides: Vec<String>,
    /// Why, for the record, which keeps it open until it is made good
    #[arg(long, value_name = "TEXT")]
    pub(crate) override_reason: Option<String>,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    pub(crate) store: Option<String>,
}

/// The inputs of `preflight`.
#[derive(clap::Args)]
pub(crate) struct GoArgs {
    #[command(flatten)]
    pub(crate) both: Args,
    /// An image of the release that is built already and must be in its registry; {version} and {tag} stand
    /// for those of the release; may be repeated
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Vec<String>,
    /// Who asks the registry, with the secret registry-password
    #[arg(long, value_name = "NAME")]
    pub(crate) registry_username: Option<String>,
    /// For how many days GitHub is asked to keep the artifacts
    #[arg(long, value_name = "DAYS")]
    pub(crate) retention_days: Option<u32>,
}
