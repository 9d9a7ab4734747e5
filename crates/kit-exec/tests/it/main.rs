//! Real children. The shell is used here only; the crate itself never starts one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod ending;
mod output;
mod streams;
mod support;
