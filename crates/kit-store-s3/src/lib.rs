//! Stores in S3 and in what speaks its protocol.
//!
//! [`open`] opens any store that a step can be configured with. An `s3://` store rests on four conditional
//! requests: `If-None-Match: *` on `PutObject` and `CompleteMultipartUpload` (create-if-absent), `If-Match`
//! on `PutObject` (compare-and-swap) and on `DeleteObject` (compare-and-delete). A server that ignores one
//! of the three that lock and chain rest on is found out by `kit_store::self_proof`.
//!
//! The SDK asks again after failures, so a write may happen and its second try be refused. Every write
//! carries a random mark in its metadata; when in doubt, the object is looked at, and whoever finds his own
//! mark has written it.
#![warn(missing_docs)]

mod address;
mod connect;
mod download;
mod examine;
mod fault;
mod marks;
mod parts;
mod store;
#[cfg(test)]
mod tests;
mod unfinished;
mod upload;

use address::Address;
use async_trait::async_trait;
use kit_contract::config::StoreConfig;
use kit_core::Context;
use kit_store::{Opener, Store, StoreError};
use std::path::Path;
use std::sync::Arc;
use store::S3Store;

/// Opens `s3://` stores.
#[derive(Clone, Copy, Debug)]
pub struct S3;

#[async_trait]
impl Opener for S3 {
    fn scheme(&self) -> &'static str {
        "s3"
    }

    async fn open(
        &self,
        url: &str,
        config: &StoreConfig,
        cx: &Context,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let address = Address::parse(url)?;
        let connection = connect::connect(connect::loader(cx), config, cx).await?;
        Ok(Arc::new(S3Store::new(connection, address, config.clone(), cx.clock)))
    }
}

/// Opens the store that flag or configuration name, of whatever kind. A folder is relative to `base`.
///
/// # Errors
/// As [`kit_store::open`].
pub async fn open(
    flag: Option<&str>,
    config: &StoreConfig,
    cx: &Context,
    base: &Path,
) -> Result<Arc<dyn Store>, StoreError> {
    kit_store::open(flag, config, cx, base, &[&S3]).await
}
