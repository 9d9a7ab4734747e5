//! The checks, one file each.

mod database;
mod endpoint;
mod memory;
mod secret;
mod undo;

pub(crate) use database::databases;
pub(crate) use endpoint::endpoints;
pub(crate) use memory::{memory, opened};
pub(crate) use secret::secrets;
pub(crate) use undo::undo;
