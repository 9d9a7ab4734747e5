//! Backup and restore: wall time, size and memory, each as a ratio to `pg_dump > /dev/null` of the same run.

mod mariadb;
mod measure;
mod report;
mod rows;
mod server;
mod sink;

use crate::error::Error;
use crate::workspace::Workspace;
use mariadb::MariaDb;
use measure::Sample;
use report::Line;
use rows::Row;
use server::Server;
use sink::Sink;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often everything is run; the medians count
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Rows of the largest table; the default makes a dump of more than 1 GB
    #[arg(long, default_value_t = 4_500_000)]
    accounts: u64,
    /// Rows of the table of the MariaDB server; the default makes a dump of about 300 MB
    #[arg(long, default_value_t = 480_000)]
    articles: u64,
    /// Where data, dumps and backups are put; needs about 8 GB
    #[arg(long, default_value = "/tmp/deploy-kit-bench")]
    folder: PathBuf,
    /// Take the programs in target/release as they are, instead of building them first
    #[arg(long)]
    built: bool,
}

/// With which people compress, and which no test needs.
const THEIRS: [&str; 2] = ["gzip", "pigz"];

/// Builds the programs, seeds a server, runs every row in turn, and writes the table.
pub(super) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    let build = ["cargo", "build", "--release", "--locked", "-p", "db-backup", "-p", "db-restore"];
    if !args.built && !workspace.show(&build, &[])? {
        return Ok(false);
    }
    for program in THEIRS {
        workspace.output(&[program, "--version"])?;
    }
    let server = Server::start(workspace, &args.folder)?;
    println!("seeding {} accounts and what belongs to them", args.accounts);
    server.seed(args.accounts)?;
    let mariadb = MariaDb::start(workspace, &args.folder)?;
    println!("seeding {} articles", args.articles);
    mariadb.seed(args.articles)?;
    let sink = Sink::start()?;
    sink::install_client(workspace, &args.folder)?;
    let mut rows = rows::all(workspace, &server, &sink, &args.folder);
    rows.extend(mariadb::rows(workspace, &mariadb, &sink, &args.folder));
    let mut samples: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
    // Once for nothing: afterwards everybody finds the tables in memory.
    for row in rows.iter().filter(|row| [rows::R, mariadb::DUMP].contains(&row.name)) {
        measure::run(row)?;
    }
    for round in 1..=args.runs {
        let mut of_round: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
        // In turn, so that what the machine does besides hits all of them.
        for row in &rows {
            let sample = measure::run(row)?;
            println!("{round}/{}  {}", args.runs, measure::line(row, &sample));
            of_round.entry(row.name).or_default().push(sample);
            if let Some((name, seconds)) = &row.part {
                let part = Sample::of_part(seconds()?);
                println!("{round}/{}  {:>7.2} s  {name}", args.runs, part.seconds);
                of_round.entry(name).or_default().push(part);
            }
        }
        for (name, of_row) in of_round {
            samples.entry(name).or_default().extend(measure::mean(&of_row));
        }
    }
    let mut shown = BTreeSet::new();
    let lines: Vec<Line> =
        rows.iter().filter(|row| shown.insert(row.name)).flat_map(|row| lines(row, &samples)).collect();
    let text = report::table(&lines, args, &report::Machine::here(workspace)?);
    println!("\n{text}");
    report::write(workspace, &text)?;
    Ok(true)
}

/// What the table says of a row, and of a part of it.
fn lines(row: &Row<'_>, samples: &BTreeMap<&'static str, Vec<Sample>>) -> Vec<Line> {
    let base = samples.get(row.against.name()).map_or(&[][..], Vec::as_slice);
    let line = |name: &'static str, sizes, memory| {
        let measured = measure::medians(samples.get(name)?, base)?;
        Some(Line { name, against: row.against, sizes, memory, measured })
    };
    let part = row.part.as_ref().and_then(|(name, _)| line(name, false, false));
    line(row.name, row.written.is_some(), row.ours).into_iter().chain(part).collect()
}
