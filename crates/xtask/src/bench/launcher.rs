//! What an action adds before its program runs, and what a job downloads for it.

use crate::error::Error;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Its inputs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the programs of a release lie, each by its name; without this, they are built
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
    /// Medians, in milliseconds.
    direct_ms: f64,
    launched_ms: f64,
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
    let mut rows = Vec::new();
    for program in programs(root)? {
        rows.push(measure(workspace, scratch.path(), &folder, &program)?);
    }
    let measured = table(&rows, &load());
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
    let step = [
        "env",
        &format!("RUNNER_TOOL_CACHE={cache}"),
        "bash",
        "--noprofile",
        "--norc",
        "-e",
        "-o",
        "pipefail",
        &script,
    ];
    let direct = ["env", &shown, "--version"];
    let (mut launched, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        launched.push(timed_ms(workspace, &step)?);
        alone.push(timed_ms(workspace, &direct)?);
    }
    let (launched_ms, direct_ms) = (median(launched), median(alone));
    Ok(Row { program: program.to_owned(), size_bytes, direct_ms, launched_ms })
}

fn timed_ms(workspace: &Workspace, argv: &[&str]) -> Result<f64, Error> {
    let started = Instant::now();
    workspace.output(argv)?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
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
        "| action | a job downloads, once per runner | added before the program runs |\n|---|---:|---:|\n"
            .to_owned();
    for Row { program, size_bytes, direct_ms, launched_ms } in rows {
        let added_ms = launched_ms - direct_ms;
        #[allow(clippy::cast_precision_loss, reason = "sizes of programs are far below 2^52")]
        let size_mb = *size_bytes as f64 / 1e6;
        text.push_str(&format!("| `{program}` | {size_mb:.1} MB | {added_ms:.0} ms |\n"));
    }
    text.push_str(&format!("\nMedians of {STARTS} starts with a warm tool cache, {load}: bash, the launcher, the SHA-256 of the program. Measured by `cargo xtask bench launcher`.\n"));
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
        let row =
            Row { program: "rollout".into(), size_bytes: 12_340_000, direct_ms: 3.0, launched_ms: 44.4 };
        let text = table(&[row], "load 0.1 on 2 processors");
        assert!(text.contains("| `rollout` | 12.3 MB | 41 ms |") && text.contains("load 0.1"), "{text}");
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(Vec::new())), (2.0, 0.0));
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        assert_eq!(between(&page, "new").unwrap(), format!("a\n{BEGIN}\nnew\n\n{END}\nb\n"));
    }
}
