//! The URL forms of SQLite: `sqlite:<path>`, `sqlite://<path>`, with `%` escapes and `?mode=`.

use super::{FileMoves, PATIENCE, SqliteDatabase};
use crate::OpenOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

impl SqliteDatabase {
    /// Parses what follows `sqlite:`. The error is a fragment about the URL that never repeats it.
    pub(crate) fn parse(rest: &str, options: OpenOptions) -> Result<Self, String> {
        let (file, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let file = file.strip_prefix("//").unwrap_or(file);
        let writable = check_parameters(parameters)?;
        if file.is_empty() {
            return Err("names no file".to_owned());
        }
        if file == ":memory:" {
            return Err(IN_MEMORY.to_owned());
        }
        // For its percent-decoding: the same paths as every other user of sqlx.
        let parsed = SqliteConnectOptions::from_str(&format!("sqlite:{file}"))
            .map_err(|_| "is not UTF-8 once decoded".to_owned())?;
        let path = resolve(parsed.get_filename()).map_err(|error| format!("cannot be resolved: {error}"))?;
        Ok(Self {
            path,
            writable,
            patience: PATIENCE,
            moves: FileMoves::default(),
            questions: options.assertions,
        })
    }
}

const IN_MEMORY: &str = "names a database in memory, which ends with the process";

/// Gives whether the database may be written. `rwc` counts as `rw`: we never create one.
fn check_parameters(parameters: &str) -> Result<bool, String> {
    let mut writable = true;
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("mode", "memory")) => return Err(IN_MEMORY.to_owned()),
            Some(("mode", "ro")) => writable = false,
            Some(("mode", "rw" | "rwc")) => {}
            Some(("mode", _)) => return Err("has a parameter `mode` that is none of ro, rw, rwc".to_owned()),
            _ => return Err("has a parameter that is not known; known is mode".to_owned()),
        }
    }
    Ok(writable)
}

/// Absolute and without symbolic links; the last component need not exist.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if let Ok(resolved) = path.canonicalize() {
        return Ok(resolved);
    }
    Ok(match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let plain = folder.join("a b?.db");
        let shown = folder.display();
        for rest in [format!("{shown}/a b%3F.db"), format!("//{shown}/a%20b%3f.db?mode=ro")] {
            let database = SqliteDatabase::parse(&rest, OpenOptions::default()).unwrap();
            assert_eq!(database.path, plain);
            assert_eq!(database.writable, !rest.contains("ro"));
        }
        let relative = SqliteDatabase::parse("//shop.db", OpenOptions::default()).unwrap();
        assert_eq!(relative.path, std::path::absolute("shop.db").unwrap());
    }

    #[test]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let real = folder.join("real.db");
        kit_core::fs::create_new(&real, b"").unwrap();
        std::os::unix::fs::symlink(&real, folder.join("link.db")).unwrap();
        let database =
            SqliteDatabase::parse(&folder.join("link.db").display().to_string(), OpenOptions::default())
                .unwrap();
        assert_eq!(database.path, real);
    }
}
