//! The inputs.

use kit_contract::config::Span;

/// The inputs of `smoke-test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run this one check instead of those of deploy.toml; the --expect inputs belong to it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Status that --url must answer with; may be repeated, one of them is enough (200 if not given)
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..=599), action = clap::ArgAction::Append)]
    pub expect_status: Vec<u16>,

    /// JSON field that --url must answer with, for example '$.status=healthy' or '$.ready=true'; a text
    /// that looks like another kind of JSON is quoted: '$.version="1.0"'; may be repeated
    #[arg(long, value_name = "PATH=VALUE", action = clap::ArgAction::Append)]
    pub expect_json: Vec<String>,

    /// Header that --url must answer with, for example 'content-type: application/json'; may be repeated
    #[arg(long, value_name = "NAME: VALUE", action = clap::ArgAction::Append)]
    pub expect_header: Vec<String>,

    /// Text that the body of --url must hold
    #[arg(long, value_name = "TEXT")]
    pub expect_body: Option<String>,

    /// Longest time that an answer of --url may take, for example 500ms
    #[arg(long, value_name = "TIME")]
    pub max_latency: Option<Span>,

    /// Every check must have passed within this time; each is tried again until then
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub within: Span,

    /// Pause between two tries of one check
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub interval: Span,

    /// How long one try may take
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub timeout: Span,

    /// Version that {version} stands for; without this, the one of deployment.json
    #[arg(long, value_name = "VERSION")]
    pub release_version: Option<String>,

    /// Commit that {sha} stands for; without this, the one of deployment.json
    #[arg(long, value_name = "SHA")]
    pub release_sha: Option<String>,
}

impl Args {
    /// The name of an input that means nothing without `--url`, if one is given.
    pub(crate) fn belongs_to_url(&self) -> Option<&'static str> {
        [
            ("--expect-status", !self.expect_status.is_empty()),
            ("--expect-json", !self.expect_json.is_empty()),
            ("--expect-header", !self.expect_header.is_empty()),
            ("--expect-body", self.expect_body.is_some()),
            ("--max-latency", self.max_latency.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}
