//! Test tools. Only ever a dev-dependency.
//!
//! - [`Sandbox`] runs a real binary in a folder and an environment of its own;
//! - [`runner`] reads what a binary printed and wrote exactly as a GitHub Actions runner would;
//! - [`git::Repository`] makes repositories whose commits have the same ids on every machine;
//! - [`artifact`] is one as a step would have left it;
//! - [`FakeRouter`] moves traffic, or fails to, behind the program `fake-router`;
//! - [`s3::Server`] is a real S3 server, and [`s3::Proxy`] stands before it and does what networks do;
//! - [`Terminal`] has a process at one end and a person at the other;
//! - [`http::Server`] answers what the test scripted and fails the test on anything else;
//! - [`postgres::Server`], [`mariadb::Server`] and [`redis::Server`] are real database servers, on ports of their own;
//! - [`containers::Engine`] is a real engine that runs containers, of images made from this machine's programs;
//! - [`ssh::Server`] is a real ssh server, which leads to them.
//!
//! The binary `rehearse` is a step whose every way to end can be chosen; `tests/frame` proves the frame
//! with it.
#![warn(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test harness starts processes, writes files and waits in real time: it is what the kits are tested with"
)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here is a failed test, and must say so loudly"
)]

mod artifacts;
pub mod containers;
mod database;
mod disk;
pub mod git;
pub mod http;
pub mod mariadb;
pub mod postgres;
mod process;
mod programs;
pub mod redis;
mod router;
pub mod runner;
pub mod s3;
mod sandbox;
mod snapshot;
pub mod ssh;
mod terminal;

pub use artifacts::{artifact, deployment};
pub use database::cache;
pub use disk::SmallDisk;
pub use process::{Ran, Started, signal};
pub use programs::programs_of;
pub use router::FakeRouter;
pub use rustix::process::Signal;
pub use sandbox::Sandbox;
pub use terminal::Terminal;
