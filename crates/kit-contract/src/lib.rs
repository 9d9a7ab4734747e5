//! The contract of deploy-kit: everything that one step writes and another reads.
//!
//! Pure data. No I/O, no clock, no environment, no async runtime, no argument parser: a type in this
//! crate can be built, compared and serialised anywhere, and every decision here is a pure function.
//!
//! Until the first release the shapes are marked `v1` but may still change; from then on every
//! published shape is kept readable for ever by the golden files in `tests/golden/`.
#![warn(missing_docs)]

mod artifact;
pub mod body;
pub mod chain;
pub mod config;
pub mod continuation;
mod digest;
mod envelope;
mod identity;
pub mod pipeline;
mod reason;
mod result;
mod schema;

pub use artifact::{ArtifactKind, ArtifactName, Body, ParseArtifactNameError};
pub use digest::{ParseDigestError, Sha256};
pub use envelope::{AnyArtifact, Artifact, Evidence, RunInfo, ToolInfo};
pub use identity::{DeploymentId, IdentityError, Name};
pub use reason::{Class, Reason};
pub use result::StepResult;
pub use schema::{SchemaDocument, schemas};
