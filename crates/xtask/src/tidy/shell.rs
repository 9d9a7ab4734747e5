//! Shell is written in two places: the launcher of the actions, and the one line that CI calls.

use super::finding::Finding;

const RULE: &str = "shell";
const ALLOWED: [&str; 2] = ["actions/launch.sh", ".ci/run"];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "fish"];

pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    if ALLOWED.contains(&path) || !(has_extension(path) || has_shebang(text)) {
        return Vec::new();
    }
    let message = format!("a shell script; only {} may be: write it in Rust", ALLOWED.join(" and "));
    vec![Finding::violation(RULE, path, message)]
}

fn has_extension(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').is_some_and(|(_, extension)| SHELLS.contains(&extension))
}

/// `#!/bin/sh`, `#!/usr/bin/env bash`, `#!/usr/bin/env -S bash -e`.
fn has_shebang(text: &str) -> bool {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else { return false };
    line.split_whitespace()
        .map(|word| word.rsplit('/').next().unwrap_or(word))
        .find(|word| *word != "env" && !word.starts_with('-'))
        .is_some_and(|program| SHELLS.contains(&program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_caught_by_name_and_by_first_line() {
        assert_eq!(check("scripts/a.sh", "").len(), 1);
        for first in ["#!/bin/sh", "#!/usr/bin/env bash", "#!/usr/bin/env -S bash -e", "#! /bin/dash"] {
            assert_eq!(check("scripts/a", &format!("{first}\nls\n")).len(), 1, "{first}");
        }
    }

    #[test]
    fn the_two_scripts_and_all_else_pass() {
        assert_eq!(check("actions/launch.sh", "#!/bin/sh\n"), []);
        assert_eq!(check(".ci/run", "#!/usr/bin/env bash\n"), []);
        assert_eq!(check("src/main.rs", "#![allow(x)]\n"), []);
        assert_eq!(check("tools/a.py", "#!/usr/bin/env python3\n"), []);
        assert_eq!(check("finish", "a\n#!/bin/sh\n"), []);
    }
}
