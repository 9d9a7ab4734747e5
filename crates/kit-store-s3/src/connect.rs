//! From the configuration to a client of the SDK.

use aws_config::{AppName, BehaviorVersion, ConfigLoader};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Region, ResponseChecksumValidation};
use kit_contract::config::StoreConfig;
use kit_core::Context;
use kit_store::StoreError;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long one request for a small object may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How often a request is tried, unless `AWS_MAX_ATTEMPTS` or a profile says otherwise.
const ATTEMPTS: u32 = 4;
/// What a server other than AWS is told, which seldom cares.
const ANY_REGION: &str = "us-east-1";
/// What the environment may hold of the SDK's own secrets.
const SECRETS: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// A client, and what the store has to know about its connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// True if what is sent is protected by TLS on its way.
    pub(crate) encrypted: bool,
}

/// The loader with what is the same for everybody: credentials by the SDK's own chain.
pub(crate) fn loader(cx: &Context) -> ConfigLoader {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).operation_attempt_timeout(ANSWER_LIMIT);
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts.build());
    if cx.env.get("AWS_MAX_ATTEMPTS").is_none() {
        loader = loader.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    }
    // Shown in the access logs of the bucket. The name is valid.
    match AppName::new("deploy-kit") {
        Ok(name) => loader.app_name(name),
        Err(_) => loader,
    }
}

/// Makes a client. Talks to nobody but where the SDK looks for region and credentials.
pub(crate) async fn connect(
    mut loader: ConfigLoader,
    config: &StoreConfig,
    cx: &Context,
) -> Result<Connection, StoreError> {
    for secret in SECRETS.iter().filter_map(|name| cx.env.get(name)) {
        cx.redactor.learn(secret);
    }
    let set = |names: &[&str]| names.iter().find_map(|name| cx.env.get(name));
    let endpoint = config.endpoint.as_deref().or_else(|| set(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    } else if endpoint.is_some() && set(&["AWS_REGION", "AWS_DEFAULT_REGION"]).is_none() {
        loader = loader.region(Region::new(ANY_REGION));
    }
    let sdk = loader.load().await;
    if sdk.region().is_none() {
        return Err(StoreError::Address {
            message: "nobody says in which region the bucket is".to_owned(),
            hint: Some("set store.region in deploy.toml, or AWS_REGION".to_owned()),
        });
    }
    let endpoint = endpoint.or_else(|| sdk.endpoint_url());
    // Reads say themselves what is checked: the SDK warns of every object that came in parts, since it
    // cannot check those, and whoever reads a stream compares its digest.
    let mut builder = aws_sdk_s3::config::Builder::from(&sdk)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let builder = builder.force_path_style(config.path_style.unwrap_or(endpoint.is_some()));
    let encrypted = endpoint.is_none_or(|endpoint| endpoint.starts_with("https://"));
    Ok(Connection { client: Client::from_conf(builder.build()), encrypted })
}
