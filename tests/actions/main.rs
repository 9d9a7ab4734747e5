//! The actions as a runner meets them: a release of this tree, its launcher, its real `action.yml` files.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests drive processes and files, and fail loudly"
)]

mod agree;
mod assembled;
mod azora;
mod contract;
mod https;
mod launcher;
mod release;
mod runner;
mod steps;
mod workflow;
