//! Routers behind one trait: who gets which share of the traffic.
//!
//! A router is asked to change something, and then asked what is so. Only the second answer counts:
//! [`settle()`], [`switch()`] and [`withdraw()`] watch until what was asked for is observed, for every service,
//! or say what is not.
#![warn(missing_docs)]

mod command;
mod protocol;
mod reached;
mod router;
mod settle;
mod switch;
#[cfg(test)]
mod tests;
mod withdraw;

pub use command::CommandRouter;
pub use protocol::{Action, Answer, Request, RequestedService, SCHEMA, Service};
pub use reached::{Shortfall, shortfalls};
pub use router::{Router, TrafficError, Want};
pub use settle::{Settled, settle};
pub use switch::{switch, unswitched};
pub use withdraw::withdraw;

use kit_contract::config::{Driver, Traffic};
use std::path::Path;
use std::sync::Arc;

/// The router that the configuration names; `None` if it says that there is none.
///
/// `folder` is the one that `deploy.toml` lies in: relative programs and paths are relative to it.
pub fn open(traffic: &Traffic, folder: &Path) -> Option<Arc<dyn Router>> {
    match traffic.driver {
        Driver::None => None,
        Driver::Command => Some(Arc::new(CommandRouter::new(traffic, folder))),
    }
}
