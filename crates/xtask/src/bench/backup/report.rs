//! The table, and where it stands.

use super::Args;
use super::mariadb;
use super::measure::Measured;
use super::rows::{Against, GZIP};
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

/// A line of the table.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) against: Against,
    /// True if it wrote something whose size counts.
    pub(super) sizes: bool,
    /// True if its memory counts.
    pub(super) memory: bool,
    pub(super) measured: Measured,
}

/// The whole section.
pub(super) fn table(lines: &[Line], args: &Args, machine: &Machine) -> String {
    let of = |name: &str| lines.iter().find(|line| line.name == name).map(|line| line.measured);
    let bytes = |name| of(name).map_or(f64::NAN, |measured| measured.bytes as f64);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "`cargo xtask bench backup --runs {} --accounts {} --articles {}`: medians of {} runs, all rows in turn, ratios those within a run (to the mean of `pg_dump`'s three there, and of the two of `gunzip \\| psql`), on {} cores ({}), \
         server and programs on one machine, {}. The programs of this repository and \
         `aws s3 cp` write to an S3 server in the process that measures, which keeps what it gets in memory and checks nothing; \
         the others to the disk. Those of this repository also digest, inflate and compare every member, and count rows.\n",
        args.runs, args.accounts, args.articles, args.runs, machine.cores, machine.model, machine.server
    );
    text.push_str("| | wall, s | fastest – slowest | ratio | size, MB | of gzip -6 | peak memory, MiB |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for Line { name, against, sizes, memory, measured } in lines {
        let (unit, gzip) = match against {
            Against::Dump => ("R", bytes(GZIP)),
            Against::Restore => ("× gunzip", bytes(GZIP)),
            Against::MariaDbDump => ("× mariadb-dump", bytes(mariadb::GZIP)),
        };
        let (size, of_gzip) = match sizes {
            true => (
                format!("{:.0}", measured.bytes as f64 / 1e6),
                format!("{:.2}", measured.bytes as f64 / gzip),
            ),
            false => ("–".to_owned(), "–".to_owned()),
        };
        let peak = if *memory { format!("{}", measured.peak_kib / 1024) } else { "–".to_owned() };
        let _ = writeln!(
            text,
            "| {name} | {:.2} | {:.2} – {:.2} | {:.2} {unit} | {size} | {of_gzip} | {peak} |",
            measured.seconds, measured.fastest, measured.slowest, measured.ratio,
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
