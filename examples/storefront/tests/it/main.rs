//! The demo shop as it is used: real processes on free ports, one database file, the driver as a program.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests of an example application: they start its programs themselves"
)]

mod ctl;
mod processes;
mod router;
mod services;
mod shop;
