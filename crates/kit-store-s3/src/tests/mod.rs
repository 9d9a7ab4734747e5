//! Against a real S3 server (moto), with a proxy before it that does what networks and servers do.

mod bucket;
mod conforming;
mod faults;
mod other_server;
mod streams;

use crate::address::Address;
use crate::connect;
use crate::store::S3Store;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use kit_contract::config::StoreConfig;
use kit_core::{Context, Env};
use kit_store::{Key, StoreError};
use kit_testing::s3::{Proxy, Server};
use std::time::Duration;

const BUCKET: &str = "deploys";
const MIB: usize = 1024 * 1024;

/// A server with a bucket, and a proxy before it.
struct Bench {
    server: Server,
    proxy: Proxy,
}

impl Bench {
    fn start() -> Self {
        let server = Server::start();
        server.make_bucket(BUCKET);
        let proxy = Proxy::before(server.port());
        Self { server, proxy }
    }

    /// A store behind the proxy, with nothing configured.
    async fn store(&self) -> S3Store {
        self.store_with(StoreConfig::default()).await
    }

    async fn store_with(&self, config: StoreConfig) -> S3Store {
        connected(&self.proxy.endpoint(), BUCKET, config).await
    }
}

/// Long enough for a server on a busy machine.
const PATIENT: Duration = Duration::from_secs(5);

async fn connected(endpoint: &str, bucket: &str, config: StoreConfig) -> S3Store {
    connected_for(endpoint, bucket, config, PATIENT).await
}

/// A store that gives up after four tries of so long, without waiting in between.
async fn connected_for(endpoint: &str, bucket: &str, config: StoreConfig, limit: Duration) -> S3Store {
    let (mut cx, _) = Context::for_test(Env::default());
    cx.clock = kit_core::Clock::system();
    let config = StoreConfig { endpoint: Some(endpoint.to_owned()), ..config };
    let retries = RetryConfig::standard().with_max_attempts(4).with_initial_backoff(Duration::from_millis(1));
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(limit).build();
    let loader = connect::loader(&cx)
        .retry_config(retries)
        .timeout_config(timeouts)
        .credentials_provider(Credentials::new("test", "hunter2", None, None, "test"));
    let connection = connect::connect(loader, &config, &cx).await.unwrap();
    let address = Address::parse(&format!("s3://{bucket}/prefix")).unwrap();
    S3Store::new(connection, address, config, cx.clock)
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// Bytes in which every part differs.
fn bytes(count: usize) -> Vec<u8> {
    let word = |index: usize| u64::try_from(index).unwrap().wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    (0..count.div_ceil(8)).flat_map(word).take(count).collect()
}

/// The error as a step shows it, with its hints.
fn shown(error: StoreError) -> String {
    let error = kit_core::StepError::from(error);
    let text = format!("{} | {}", error.chain(), error.hints.join(" | "));
    assert!(!text.contains("hunter2"), "{text}");
    text
}
