//! What a stored backup is made of, for whoever writes one and whoever reads it.
//!
//! It is gzip, and where the configuration names recipients, that gzip is sealed for them in the format of age
//! (<https://c2sp.org/age>), as it streams: [`Sealer`] on the way into the store, [`unpack()`] on the way back.
//! Whoever holds an [`Identity`] of one of the recipients opens it, with these programs or with `age -d`.
#![warn(missing_docs)]

mod identity;
mod promised;
mod recipients;
mod scratch;
mod seal;
mod unpack;

pub use identity::{Identity, key_for, opener};
pub use promised::{promised, promised_bundle};
pub use recipients::Recipients;
pub use scratch::scratch_folder;
pub use seal::Sealer;
pub use unpack::unpack;

/// The secret input that holds identities: `DEPLOY_KIT_BACKUP_IDENTITY`, `--backup-identity-file`.
pub const IDENTITY_INPUT: &str = "backup-identity";
/// The method that is written into the metadata.
pub const METHOD: &str = "age";
