//! The commands around the steps.

mod config;
mod explain;

pub(crate) use config::ConfigCommand;
pub(crate) use explain::Explain;
