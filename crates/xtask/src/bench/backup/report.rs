//! The table, and where it stands.

use super::Args;
use super::mariadb;
use super::measure::Measured;
use super::rows::{Against, GUNZIP, GZIP, R, Row};
use crate::error::Error;
use crate::workspace::Workspace;
use std::fmt::Write as _;

const BEGIN: &str = "<!-- bench backup: written by `cargo xtask bench backup` -->";
const END: &str = "<!-- bench backup: end -->";

/// On what it was measured.
pub(super) struct Machine {
    cores: usize,
    model: String,
    server: String,
}

impl Machine {
    pub(super) fn here(workspace: &Workspace) -> Result<Self, Error> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let version = workspace.output(&["pg_dump", "--version"])?;
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model: model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned()),
            server: String::from_utf8_lossy(&version).trim().to_owned(),
        })
    }
}

/// The whole section.
pub(super) fn table(measured: &[(&Row<'_>, Measured)], args: &Args, machine: &Machine) -> String {
    let of = |name: &str| measured.iter().find(|(row, _)| row.name == name).map(|(_, measured)| *measured);
    let seconds = |name| of(name).map_or(f64::NAN, |measured| measured.seconds);
    let bytes = |name| of(name).map_or(f64::NAN, |measured| measured.bytes as f64);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "`cargo xtask bench backup --runs {} --accounts {} --articles {}`: medians of {} runs, all rows in turn, on {} cores ({}), \
         server and programs on one machine, {}. The programs of this repository and \
         `aws s3 cp` write to an S3 server in the process that measures, which keeps what it gets in memory and checks nothing; \
         the others to the disk. Those of this repository also digest, inflate and compare every member, and count rows.\n",
        args.runs, args.accounts, args.articles, args.runs, machine.cores, machine.model, machine.server
    );
    text.push_str("| | wall, s | fastest – slowest | ratio | size, MB | of gzip -6 | peak memory, MiB |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for (row, measured) in measured {
        let (base, unit, gzip) = match row.against {
            Against::Dump => (seconds(R), "R", bytes(GZIP)),
            Against::Restore => (seconds(GUNZIP), "× gunzip", bytes(GZIP)),
            Against::MariaDbDump => (seconds(mariadb::DUMP), "× mariadb-dump", bytes(mariadb::GZIP)),
        };
        let (size, of_gzip) = match row.written {
            Some(_) => (
                format!("{:.0}", measured.bytes as f64 / 1e6),
                format!("{:.2}", measured.bytes as f64 / gzip),
            ),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let memory = if row.ours { format!("{}", measured.peak_kib / 1024) } else { "–".to_owned() };
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} – {:.2} | {:.2} {unit} | {size} | {of_gzip} | {memory} |",
            row.name,
            measured.seconds,
            measured.fastest,
            measured.slowest,
            measured.seconds / base,
        );
    }
    text
}

/// Puts the section between its markers in docs/benchmarks.md.
pub(super) fn write(workspace: &Workspace, section: &str) -> Result<(), Error> {
    let path = workspace.root.join("docs/benchmarks.md");
    let old = std::fs::read_to_string(&path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
    let failed = |source| Error::Spawn { program: path.display().to_string(), source };
    std::fs::write(&path, place(&old, section)).map_err(failed)
}

fn place(page: &str, section: &str) -> String {
    let block = format!("{BEGIN}\n\n{section}\n{END}");
    match (page.split_once(BEGIN), page.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{block}{after}"),
        _ => format!("{}\n\n## Backup and restore\n\n{block}\n", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_put_where_the_last_one_was() {
        let first = place("# Benchmarks\n", "one");
        assert_eq!(first, format!("# Benchmarks\n\n## Backup and restore\n\n{BEGIN}\n\none\n{END}\n"));
        let second = place(&format!("{first}\n## Other\n"), "two");
        assert!(
            second.contains("two") && !second.contains("one\n") && second.ends_with("## Other\n"),
            "{second}"
        );
    }
}
