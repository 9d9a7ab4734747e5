//! Who of a process group still runs, as far as the system tells.

use kit_core::fs;
use std::path::{Path, PathBuf};

/// Whether a member of `group` runs that has not ended yet. `None` where `/proc` does not tell, as on
/// macOS; there the first process reaps everybody at once.
pub(crate) fn any_runs(group: i32) -> Option<bool> {
    let folder = Path::new("/proc");
    let names = fs::list(folder).ok()??;
    let mut seen = false;
    for name in names.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let path: PathBuf = [folder, Path::new(name), Path::new("stat")].iter().collect();
        // A process that went away in between runs no more.
        let Ok(bytes) = fs::read(&path, 8192) else { continue };
        let Some((state, member_of)) = parse(&String::from_utf8_lossy(&bytes)) else { continue };
        seen = true;
        if member_of == group && !matches!(state, 'Z' | 'X') {
            return Some(true);
        }
    }
    // At least we ourselves are there; else this is no `/proc` that tells anything.
    seen.then_some(false)
}

/// State and process group out of `/proc/<pid>/stat` (proc(5)): `pid (name) state parent group …`.
/// The name may hold blanks and brackets.
fn parse(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((state, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_group_are_found_behind_any_name() {
        for (stat, wanted) in [
            ("7 (sh) S 1 5 5 0 -1 4194560", Some(('S', 5))),
            ("7 (a) Z 1 9) Z 1 5 5 0 -1", Some(('Z', 5))),
            ("7 (sh) S 1", None),
            ("", None),
        ] {
            assert_eq!(parse(stat), wanted, "{stat}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_group_runs_and_no_other_does() {
        let ours = rustix::process::getpgrp().as_raw_nonzero().get();
        assert_eq!(any_runs(ours), Some(true));
        assert_eq!(any_runs(i32::MAX), Some(false));
    }
}
