//! The commands around the steps.

mod config;
mod deploy;
mod explain;
mod init;
mod memory;
mod status;
mod stop;
mod unlock;

pub(crate) use config::ConfigCommand;
pub(crate) use deploy::Deploy;
pub(crate) use explain::Explain;
pub(crate) use init::Init;
pub(crate) use status::Status;
pub(crate) use stop::StopCommand;
pub(crate) use unlock::Unlock;
