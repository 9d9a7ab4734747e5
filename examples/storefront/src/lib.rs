//! A small shop, released by the demo of deploy-kit. It is a user's application: it depends on no crate of
//! deploy-kit and knows only the traffic protocol, described in `README.md`.
//!
//! - [`service`]: the two HTTP services, catalog and checkout, over one SQLite file.
//! - [`router`]: a weighted reverse proxy in front of them, with an admin API.
//! - [`ctl`]: the owner's driver script: moves traffic, starts and stops processes, seeds the database.
#![allow(
    clippy::disallowed_methods,
    reason = "an example application, not part of deploy-kit: it owns its clock, files and processes"
)]

pub mod ctl;
mod database;
mod error;
mod faults;
mod files;
mod http;
mod metrics;
pub mod router;
mod serve;
pub mod service;
