//! The verdicts of the canary gate, beside those of others, on simulated stages.

use crate::error::Error;
use crate::workspace::Workspace;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;

/// Its inputs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run a hundredth of it, and leave docs/benchmarks.md alone
    #[arg(long)]
    quick: bool,
    /// Only this part; without it all but the pace, which depends on what else the machine does
    #[arg(long, value_enum)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Healthy streams: false rollbacks
    Healthy,
    /// Healthy streams that nothing was tuned on
    HeldOut,
    /// Outages of both versions, and rollouts of three stages
    Together,
    /// Healthy streams, judged by the rules of others
    Peers,
    /// Bad streams: detection and delay
    Bad,
    /// Early pass, certificates, silence
    Proofs,
    /// Ticks per second
    Pace,
}

/// The dependencies are those of the tests; only the judge is optimised, as kit-sequential always is.
const COMMAND: [&str; 11] = [
    "cargo",
    "bench",
    "--locked",
    "--quiet",
    "--profile",
    "dev",
    "--config",
    "profile.dev.package.canary-gate.opt-level=3",
    "--package",
    "canary-gate",
    "--bench=canary",
];
const PARTIAL: &str =
    "**Not the whole part:** it was ended before its last table. The rows that are here were measured.\n";

pub(super) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    let one = args.part.map(|part| [part]);
    for part in one.as_ref().map_or(&ALL[..], |one| &one[..]) {
        if !part.run(workspace, args.quick)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Everything that is the same every time.
const ALL: [Part; 6] = [Part::Healthy, Part::HeldOut, Part::Together, Part::Peers, Part::Bad, Part::Proofs];

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::HeldOut => "held-out",
            Self::Together => "together",
            Self::Peers => "peers",
            Self::Bad => "bad",
            Self::Proofs => "proofs",
            Self::Pace => "pace",
        }
    }

    fn run(self, workspace: &Workspace, quick: bool) -> Result<bool, Error> {
        let name = format!("--part={}", self.name());
        let mut argv = COMMAND.to_vec();
        argv.extend(["--", &name]);
        argv.extend(quick.then_some("--scale=100"));
        let path = workspace.root.join("docs/benchmarks.md");
        let mut measured =
            if self == Self::Pace { format!("{}\n\n", surroundings()?) } else { String::new() };
        println!("$ {}", argv.join(" "));
        let finished = stream(workspace, &argv, |line| {
            println!("{line}");
            measured.push_str(line);
            measured.push('\n');
            // Row by row: a run that is interrupted still says what it has.
            if quick { Ok(true) } else { self.write(&path, &format!("{PARTIAL}\n{}", measured.trim())) }
        })?;
        if quick || !finished {
            return Ok(finished);
        }
        self.write(&path, measured.trim())
    }

    /// Puts it into the page. `false` if the page has no markers for it.
    fn write(self, path: &Path, measured: &str) -> Result<bool, Error> {
        // Parts may run side by side: each changes only what is its own, one after the other.
        let mut page =
            File::options().read(true).write(true).open(path).map_err(Error::file("open", path))?;
        page.lock().map_err(Error::file("lock", path))?;
        let mut text = String::new();
        page.read_to_string(&mut text).map_err(Error::file("read", path))?;
        let Some(text) = self.between(&text, measured) else {
            println!("{} has no markers for this benchmark", path.display());
            return Ok(false);
        };
        let written =
            page.set_len(0).and_then(|()| page.rewind()).and_then(|()| page.write_all(text.as_bytes()));
        written.map_err(Error::file("write", path))?;
        Ok(true)
    }

    /// The text with what stands between the markers replaced; `None` without markers.
    fn between(self, text: &str, measured: &str) -> Option<String> {
        let marker = |what: &str| format!("<!-- canary {}: {what} -->\n", self.name());
        let (begin, end) = (marker("begin"), marker("end"));
        let from = text.find(&begin)? + begin.len();
        let to = from + text.get(from..)?.find(&end)?;
        Some(format!("{}\n{}\n\n{}", text.get(..from)?, measured.trim(), text.get(to..)?))
    }
}

/// Runs a child, and hands over each line of its output as it comes. `false`: there was no place for one.
fn stream(
    workspace: &Workspace,
    argv: &[&str],
    mut to: impl FnMut(&str) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let Some((program, args)) = argv.split_first() else { return Ok(true) };
    let failed = |source| Error::Spawn { program: (*program).to_owned(), source };
    let mut child = workspace.command(program).args(args).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            if !to(&line.map_err(failed)?)? {
                child.kill().map_err(failed)?;
                child.wait().map_err(failed)?;
                return Ok(false);
            }
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(true) } else { Err(Error::Failed { command: argv.join(" "), status }) }
}

/// On what it is measured, and what else the machine does.
fn surroundings() -> Result<String, Error> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(Error::file("read", Path::new(path)));
    let (cpus, load) = (read("/proc/cpuinfo")?, read("/proc/loadavg")?);
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(format!(
        "{}, {cores} cores; load average over the minute before: {}.",
        model.map_or("unknown processor", |(_, model)| model),
        load.split_whitespace().next().unwrap_or("unknown")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = |bad: &str| {
            format!(
                "a\n<!-- canary bad: begin -->\n{bad}<!-- canary bad: end -->\nb\n<!-- canary pace: begin -->\n3\n\
                 <!-- canary pace: end -->\n"
            )
        };
        let new = Part::Bad.between(&page("old\n"), "new\n").unwrap();
        assert_eq!(new, page("\nnew\n\n"));
        assert_eq!(Part::Bad.between(&new, "new").as_deref(), Some(new.as_str()), "twice is once");
        assert!(Part::Pace.between(&new, "4").unwrap().contains("new\n\n"));
        assert_eq!(Part::Healthy.between(&new, "new"), None);
    }
}
