//! The verdicts of the canary gate, beside those of others, on simulated stages.

use crate::error::Error;
use crate::workspace::Workspace;

/// Its inputs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run a hundredth of it, and leave docs/benchmarks.md alone
    #[arg(long)]
    quick: bool,
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
const BEGIN: &str = "<!-- canary: begin -->\n";
const END: &str = "<!-- canary: end -->";

pub(super) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    let mut argv = COMMAND.to_vec();
    if args.quick {
        argv.extend(["--", "--scale=100"]);
    }
    println!("$ {}", argv.join(" "));
    let output = workspace.output(&argv)?;
    let measured = String::from_utf8_lossy(&output);
    println!("{measured}");
    if args.quick {
        return Ok(true);
    }
    let path = workspace.root.join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let Some(text) = between(&text, &measured) else {
        println!("docs/benchmarks.md has no markers for this benchmark");
        return Ok(false);
    };
    std::fs::write(&path, text).map_err(Error::file("write", &path))?;
    Ok(true)
}

/// The text with what stands between the markers replaced; `None` without markers.
fn between(text: &str, measured: &str) -> Option<String> {
    let from = text.find(BEGIN)? + BEGIN.len();
    let to = from + text.get(from..)?.find(END)?;
    Some(format!("{}\n{}\n\n{}", text.get(..from)?, measured.trim(), text.get(to..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let text = format!("a\n{BEGIN}old\n{END}\nb\n");
        let new = between(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}\nb\n"));
        assert_eq!(between(&new, "new").as_deref(), Some(new.as_str()), "twice is once");
        assert_eq!(between("a\n", "new"), None);
    }
}
