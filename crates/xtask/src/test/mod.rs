//! `cargo xtask test`: everything that must hold, part by part. A failed part does not hide the next ones.

mod summary;
mod tools;
mod workflows;

use std::time::Instant;

use clap::ValueEnum;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{generate, report, tidy};
use summary::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install the tools that are missing instead of only naming them
    #[arg(long)]
    install: bool,
    /// Run these parts alone, in the usual order
    #[arg(long, value_name = "PART", num_args = 1..)]
    only: Vec<Part>,
}

/// In the order of running: cheap before dear, and the tests last, so that the count of tests that ran
/// stands in the last lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The programs that the other parts need
    Tools,
    /// Formatting
    Fmt,
    /// House rules
    Tidy,
    /// Generated files are fresh
    Generate,
    /// Actions, workflows and the launcher: shellcheck, zizmor, GitHub's own parser
    Workflows,
    /// Lints, warnings denied
    Clippy,
    /// Documentation builds without warnings
    Doc,
    /// Doc tests, then all other tests
    Test,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self, workspace: &Workspace, install: bool) -> Result<bool, Error> {
        match self {
            Self::Tools => tools::run(workspace, install),
            Self::Fmt => workspace.show(&["cargo", "fmt", "--all", "--check"], &[]),
            Self::Tidy => tidy::run(workspace),
            Self::Generate => generate::run(workspace, generate::Args { check: true }),
            Self::Workflows => workflows::run(workspace),
            Self::Clippy => workspace.show(&CLIPPY, &[]),
            Self::Doc => workspace.show(&DOC, &[("RUSTDOCFLAGS", "-D warnings")]),
            Self::Test => {
                if workspace.programs()?.is_none() {
                    return Ok(false);
                }
                let doc_tests = workspace.show(&DOC_TESTS, &[])?;
                // They need not build what was just built.
                let threads = test_threads();
                let tests = [&TESTS[..], &["--test-threads", &threads]].concat();
                Ok(workspace.show(&tests, &[("DEPLOY_KIT_PROGRAMS_BUILT", "1")])? && doc_tests)
            }
        }
    }
}

const CLIPPY: [&str; 8] =
    ["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
const DOC: [&str; 6] = ["cargo", "doc", "--locked", "--workspace", "--no-deps", "--document-private-items"];
const DOC_TESTS: [&str; 5] = ["cargo", "test", "--locked", "--workspace", "--doc"];
const TESTS: [&str; 5] = ["cargo", "nextest", "run", "--locked", "--workspace"];

/// One more than there are cores: tests wait for servers, clocks and each other's programs a good part of their time.
fn test_threads() -> String {
    (std::thread::available_parallelism().map_or(1, std::num::NonZero::get) + 1).to_string()
}

/// True when every chosen part passed.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> bool {
    let mut outcomes = Vec::new();
    for part in chosen(args) {
        println!("\n=== {} ===", part.name());
        let started = Instant::now();
        let passed = report(part.run(workspace, args.install));
        outcomes.push(Outcome { part: part.name(), seconds: started.elapsed().as_secs_f64(), passed });
    }
    print!("\n{}", summary::table(&outcomes));
    outcomes.iter().all(|outcome| outcome.passed)
}

/// The parts to run, in order. Asking for an installation always brings in the tools.
fn chosen(args: &Args) -> Vec<Part> {
    Part::value_variants()
        .iter()
        .copied()
        .filter(|part| {
            args.only.is_empty() || args.only.contains(part) || (args.install && *part == Part::Tools)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order_whatever_the_order_asked() {
        let all = chosen(&Args { install: false, only: vec![] });
        assert_eq!(all.first(), Some(&Part::Tools));
        assert_eq!(all.last(), Some(&Part::Test), "the count of tests stands at the end of the log");
        let two = chosen(&Args { install: false, only: vec![Part::Tidy, Part::Fmt] });
        assert_eq!(two, [Part::Fmt, Part::Tidy]);
    }

    #[test]
    fn installing_brings_in_the_tools() {
        assert_eq!(chosen(&Args { install: true, only: vec![Part::Fmt] }), [Part::Tools, Part::Fmt]);
    }

    #[test]
    fn every_cargo_command_that_resolves_uses_the_lock_file() {
        for argv in [&CLIPPY[..], &DOC, &DOC_TESTS, &TESTS] {
            assert!(argv.contains(&"--locked"), "{argv:?}");
        }
    }
}
