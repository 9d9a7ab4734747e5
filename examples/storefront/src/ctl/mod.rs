//! `storefront-ctl`: what the owner of the shop wrote to operate it.
//!
//! Without a subcommand it is the traffic driver that a deploy calls (`traffic`); the subcommands set the
//! stage: processes and data.

mod admin;
mod health;
mod processes;
mod start;
mod stop;
mod traffic;

use crate::error::{Context, Result, exit};
use crate::{database, service};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Traffic driver of the demo shop: reads a request (JSON) on stdin, answers (JSON) on stdout.
///
/// Exit code 0 only if the router confirmed what was asked.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    driver: Option<Driver>,
}

/// Where the router and the list of processes are.
#[derive(Debug, Args)]
struct Driver {
    /// Admin API of the router, http://127.0.0.1:PORT
    #[arg(long)]
    admin: String,
    /// File that lists the processes that were started
    #[arg(long)]
    processes: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start one version of a service and make it the canary at 0 %, or the stable one if there is none
    Start(start::Start),
    /// Start the router
    StartRouter(start::StartRouter),
    /// End processes that were started here, and no others
    Stop(stop::Stop),
    /// Create the database of version 1, with products and orders
    Seed {
        /// SQLite file
        #[arg(long)]
        database: PathBuf,
    },
}

/// Runs one command.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.driver) {
        (Some(Command::Start(start)), _) => start::start(start).await,
        (Some(Command::StartRouter(start)), _) => start::start_router(start).await,
        (Some(Command::Stop(stop)), _) => stop::stop(stop).await,
        (Some(Command::Seed { database }), _) => seed(database).await,
        (None, Some(driver)) => return traffic::drive(driver).await,
        // Clap asks for the flags of the driver when there is no subcommand.
        (None, None) => Err(crate::error::Error::new("--admin and --processes are required")),
    };
    exit(done)
}

async fn seed(path: PathBuf) -> Result<()> {
    print_json(&database::seed(&path).await?)
}

/// One line on stdout.
fn print_json<T: serde::Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string(value).context("write JSON")?;
    writeln!(std::io::stdout(), "{text}").context("write to stdout")
}

/// The program of a service.
fn program_of(service: service::Service) -> String {
    format!("storefront-{}", service.name())
}
