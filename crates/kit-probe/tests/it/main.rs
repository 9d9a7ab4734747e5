//! Probes against real servers on free loopback ports: an HTTP server for those that behave, bare
//! sockets for those that do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod answers;
mod hostile;
mod support;
mod tcp;
