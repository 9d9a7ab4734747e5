//! What an action adds before its program runs, and what a job downloads for it.

use crate::error::Error;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// Its inputs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where programs of a release lie, each by its name; without this, they are built
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// So many starts each, by turns.
const STARTS: usize = 31;
const PAGE: &str = "docs/github-actions.md";
const BEGIN: &str = "<!-- launcher: begin -->\n";
const END: &str = "<!-- launcher: end -->";

struct Row {
    program: String,
    size_bytes: u64,
    /// What the launcher adds.
    added: Time,
}

/// Medians, in milliseconds: of the processors, which does not depend on what else the machine does, and on
/// the wall.
#[derive(Clone, Copy)]
struct Time {
    processor_ms: f64,
    wall_ms: f64,
}

pub(super) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    let root = &workspace.root;
    let folder = match &args.programs {
        Some(folder) => folder.clone(),
        None if workspace
            .show(&["cargo", "build", "--release", "--locked", "--workspace", "--bins"], &[])? =>
        {
            root.join("target/release")
        }
        None => return Ok(false),
    };
    let scratch = tempfile::tempdir().map_err(Error::file("make", Path::new("a scratch folder")))?;
    let (there, missing): (Vec<String>, Vec<String>) =
        programs(root)?.into_iter().partition(|program| folder.join(program).is_file());
    let mut rows = Vec::new();
    for program in &there {
        rows.push(measure(workspace, scratch.path(), &folder, program)?);
    }
    let mut measured = table(&rows, &load());
    if !missing.is_empty() {
        measured.push_str(&format!("Not measured in that run: {}.\n", missing.join(", ")));
    }
    println!("{measured}");
    let path = root.join(PAGE);
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let Some(text) = between(&text, &measured) else {
        println!("{PAGE} has no markers for this benchmark");
        return Ok(false);
    };
    std::fs::write(&path, text).map_err(Error::file("write", &path))?;
    Ok(true)
}

/// Every program that an action runs.
fn programs(root: &Path) -> Result<Vec<String>, Error> {
    let folder = root.join("actions");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
        let entry = entry.map_err(Error::file("list", &folder))?;
        if entry.path().join("action.yml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A warm tool cache: what is fetched lies there already, and is hashed at every start.
fn measure(workspace: &Workspace, scratch: &Path, folder: &Path, program: &str) -> Result<Row, Error> {
    let file = folder.join(program);
    let size_bytes = std::fs::metadata(&file).map_err(Error::file("look at", &file))?.len();
    let shown = file.display().to_string();
    let sum = String::from_utf8_lossy(&workspace.output(&["sha256sum", &shown])?).into_owned();
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let at = |name: &str| scratch.join(name);
    let cached = at("cache/deploy-kit").join(format!("sha256-{sum}"));
    std::fs::create_dir_all(&cached).map_err(Error::file("make", &cached))?;
    for (from, into) in
        [(&file, cached.join(program)), (&workspace.root.join("actions/launch.sh"), at("launch.sh"))]
    {
        std::fs::copy(from, &into).map_err(Error::file("copy", from))?;
    }
    let sums: String = ["linux-x86_64", "linux-aarch64", "macos-x86_64", "macos-aarch64"]
        .iter()
        .map(|platform| format!("{sum}  {program}-{platform}\n"))
        .collect();
    std::fs::write(at("SHA256SUMS"), sums).map_err(Error::file("write", &at("SHA256SUMS")))?;
    std::fs::write(at("VERSION"), "0.0.0\n").map_err(Error::file("write", &at("VERSION")))?;
    let launcher = at("launch.sh").display().to_string();
    // As an action starts it: bash, a script of one line, which becomes the launcher, which becomes the program.
    let script = at("step.sh");
    std::fs::write(&script, format!("exec \"{launcher}\" {program} --version --version\n"))
        .map_err(Error::file("write", &script))?;
    let (cache, script) = (at("cache").display().to_string(), script.display().to_string());
    let step = format!("env RUNNER_TOOL_CACHE='{cache}' bash --noprofile --norc -e -o pipefail '{script}'");
    let direct = format!("env '{shown}' --version");
    let (mut launched, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        launched.push(timed(workspace, &step)?);
        alone.push(timed(workspace, &direct)?);
    }
    let (launched, alone) = (median(&launched), median(&alone));
    let added = Time {
        processor_ms: launched.processor_ms - alone.processor_ms,
        wall_ms: launched.wall_ms - alone.wall_ms,
    };
    Ok(Row { program: program.to_owned(), size_bytes, added })
}

/// bash knows what its children took, to the millisecond.
fn timed(workspace: &Workspace, command: &str) -> Result<Time, Error> {
    let script = format!("TIMEFORMAT='%3R %3U %3S'; {{ time {command} >/dev/null; }} 2>&1");
    let answer = String::from_utf8_lossy(&workspace.output(&["bash", "-c", &script])?).into_owned();
    let seconds: Vec<f64> = answer.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system] = seconds[..] else {
        return Err(Error::Answer { command: command.to_owned(), answer });
    };
    Ok(Time { processor_ms: (user + system) * 1000.0, wall_ms: wall * 1000.0 })
}

fn median(times: &[Time]) -> Time {
    let of = |part: fn(&Time) -> f64| {
        let mut values: Vec<f64> = times.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Time { processor_ms: of(|time| time.processor_ms), wall_ms: of(|time| time.wall_ms) }
}

/// What else the machine does: the load of the last minute, and how many processors it has.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!("load {load} on {processors} processors")
}

fn table(rows: &[Row], load: &str) -> String {
    let mut text =
        "| action | a job downloads, once per runner | added, of processor time | added, on the wall |\n|---|---:|---:|---:|\n"
            .to_owned();
    for Row { program, size_bytes, added } in rows {
        #[allow(clippy::cast_precision_loss, reason = "sizes of programs are far below 2^52")]
        let size_mb = *size_bytes as f64 / 1e6;
        let Time { processor_ms, wall_ms } = added;
        text.push_str(&format!(
            "| `{program}` | {size_mb:.1} MB | {processor_ms:.0} ms | {wall_ms:.0} ms |\n"
        ));
    }
    text.push_str(&format!(
        "\nMedians of {STARTS} starts with a warm tool cache, {load}: bash, the launcher, the SHA-256 of the program. \
         Measured by `cargo xtask bench launcher`.\n"
    ));
    text
}

/// The text with what stands between the markers replaced; `None` without markers.
fn between(text: &str, measured: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n\n{END}{after}", measured.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_said_with_the_load() {
        let time = |processor_ms, wall_ms| Time { processor_ms, wall_ms };
        let row = Row { program: "rollout".into(), size_bytes: 12_340_000, added: time(20.4, 40.6) };
        let text = table(&[row], "load 0.1 on 2 processors");
        assert!(
            text.contains("| `rollout` | 12.3 MB | 20 ms | 41 ms |") && text.contains("load 0.1"),
            "{text}"
        );
        let middle = median(&[time(3.0, 1.0), time(1.0, 3.0), time(2.0, 2.0)]);
        assert!((middle.processor_ms - 2.0).abs() < 1e-9 && (middle.wall_ms - 2.0).abs() < 1e-9);
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        assert_eq!(between(&page, "new").unwrap(), format!("a\n{BEGIN}\nnew\n\n{END}\nb\n"));
    }
}
