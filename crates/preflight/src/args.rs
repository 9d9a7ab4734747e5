//! The inputs of both commands.

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
