//! The memory between deploys.
//!
//! A [`Store`] keeps objects and honours two conditions: create-if-absent and compare-and-swap.
//! Everything else rests on these two: the [`Chain`] of what happened, the [`Lock`] that lets one
//! deploy in, the [`Stop`] request that calls it back ([`Hold`] looks after both while something long
//! runs), and the [`Journal`] of a step that changes something. [`Layout`] says where each of them lies.
//!
//! "Could not ask" is always an error here, never "not there". Nothing in this crate reads a clock:
//! whoever calls says what time it is.
#![warn(missing_docs)]

mod chain;
mod document;
mod error;
mod file;
mod hold;
mod journal;
mod key;
mod layout;
mod lock;
mod open;
mod proof;
mod stop;
mod store;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
mod memory;

pub use chain::{Appended, Chain, ChainFault, HeadPosition, Loaded, Problem, Verification};
pub use error::StoreError;
pub use file::FileStore;
pub use hold::Hold;
pub use journal::{Journal, JournalEntry, JournalPhase};
pub use key::{Key, KeyError, check_prefix};
pub use layout::{Layout, Role};
pub use lock::{
    Acquisition, Decision, Existing, Holder, LOCK_TTL, Lock, LockDocument, LockError, LockGuardInfo,
    LockOwner, decide,
};
#[cfg(any(test, feature = "testing"))]
pub use memory::{MemoryStore, Op};
pub use open::{Opener, open};
pub use proof::self_proof;
pub use stop::{Stop, StopRequest, StopSubject};
pub use store::{
    ByteReader, Meta, OBJECT_LIMIT_BYTES, Object, Remark, Store, Uploaded, Version, check_size, digest_of,
    must_be_there,
};
