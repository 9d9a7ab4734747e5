//! The pipeline as a whole: `deploy-kit deploy` over a real shop, with real processes and artifacts.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests drive processes and files, and fail loudly"
)]

mod cli;
mod crashed;
mod failed;
mod happy;
mod least_privilege;
mod mariadb;
mod object_store;
mod postgres;
mod refused;
mod shop;
mod workflow;
