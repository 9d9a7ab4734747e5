//! All automation of the workspace, behind one alias: `cargo xtask test`, `tidy` and `generate`.
//!
//! It depends on no other crate of the workspace, so that it still builds and can say what is wrong
//! when they do not.
#![allow(
    clippy::disallowed_methods,
    reason = "automation starts cargo and git and reads the tree; kit_exec and kit_core are what it checks"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is for the person who runs it")]

mod assemble;
mod bench;
mod demo;
mod error;
mod generate;
mod test;
mod tidy;
mod workspace;

use std::error::Error as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Automation of the deploy-kit workspace", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that must hold: tools, formatting, house rules, generated files, lints, docs, tests
    Test(test::Args),
    /// House rules: layers, manifests, banned words, sizes, licences of dependencies
    Tidy,
    /// Release the storefront through every step, on this machine, and observe the result
    Demo(demo::Args),
    /// Make the commit that a release tag points at, from a source commit and the programs
    Assemble(assemble::Args),
    /// Measure against what users run today, in one run, as ratios
    Bench(bench::Args),
    /// Write the schemas and reference pages that the product renders of itself
    Generate(generate::Args),
}

fn main() -> ExitCode {
    let workspace = Workspace::capture();
    let passed = match Cli::parse().command {
        Command::Test(args) => test::run(&workspace, &args),
        Command::Tidy => report(tidy::run(&workspace)),
        Command::Demo(args) => report(demo::run(&workspace, &args)),
        Command::Assemble(args) => report(assemble::run(&workspace, &args)),
        Command::Bench(args) => report(bench::run(&workspace, &args)),
        Command::Generate(args) => report(generate::run(&workspace, args)),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints an error with its chain of causes; what could not be checked has not passed.
fn report(outcome: Result<bool, Error>) -> bool {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            eprintln!("  caused by: {inner}");
            cause = inner.source();
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
