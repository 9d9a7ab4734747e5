//! The reusable workflows, run: a caller's repository, a tag push, every job, artifacts between them, by act.
//!
//! What act does otherwise than GitHub is tested in `tests/actions`.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests drive processes and files, and fail loudly"
)]

#[allow(dead_code, reason = "shared with the tests of the actions, which use more of it")]
#[path = "../actions/release.rs"]
mod release;
#[allow(dead_code, unused_imports, reason = "shared with the tests of the actions, which use more of it")]
#[path = "../actions/runner/mod.rs"]
mod runner;
mod scenarios;
mod schedules;
#[allow(dead_code, reason = "shared with the tests of the pipeline, which use more of it")]
#[path = "../pipeline/shop.rs"]
mod shop;
mod world;
