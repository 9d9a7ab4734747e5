//! Which `pg_dump` and `psql`. Choosing is pure.
//!
//! The rule: of the server's major version if there is one, else the oldest that is newer. An older one
//! refuses to dump (pg_dump: "aborting because of server version mismatch"); a newer one writes settings
//! that the server may not know, which the dump then leaves out (see `header`).

use crate::tools::{Program, ask_version};
use crate::{DatabaseError, Tools, ToolsImage};
use kit_core::Context;
use kit_exec::{Command, ExecError};
use std::path::{Path, PathBuf};

/// Folders of installed versions: Debian, Red Hat, Homebrew on both kinds of Mac.
const ROOTS: &[(&str, &str)] = &[
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
];

/// Client programs of one version.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    /// `pg_dump`, which has the others beside it.
    pg_dump: Program,
    /// As it says itself, `15.18`.
    pub(super) version: String,
    pub(super) major: u32,
}

impl Clients {
    /// One of them.
    pub(super) fn program(&self, name: &str) -> Program {
        match &self.pg_dump {
            Program::Here(file) => Program::Here(file.with_file_name(name)),
            Program::InImage { container, .. } => {
                Program::InImage { name: name.to_owned(), container: container.clone() }
            }
        }
    }

    /// Runs one of them.
    pub(super) fn command(&self, name: &str) -> Command {
        self.program(name).command()
    }
}

/// The best client programs for a server: those in `given` alone, or those that are installed.
pub(super) async fn find(
    cx: &Context,
    given: Option<&Tools>,
    server_major: u32,
) -> Result<Clients, DatabaseError> {
    if let Some(Tools::Image(image)) = given {
        return of_image(cx, image, server_major).await;
    }
    let mut found = Vec::new();
    for folder in folders(cx, given.and_then(Tools::folder))? {
        let Some((version, major)) = ask(cx, &folder).await? else { continue };
        found.push(Clients { pg_dump: Program::in_folder(&folder, "pg_dump"), version, major });
        if major == server_major {
            // Nothing fits better, and Debian's script on PATH takes as long to answer as all the others.
            break;
        }
    }
    choose(&found, server_major).cloned().map_err(|problem| DatabaseError::Tool { problem })
}

/// Those of an image, by the same rule.
async fn of_image(cx: &Context, image: &ToolsImage, server_major: u32) -> Result<Clients, DatabaseError> {
    let refuse = |problem| Err(DatabaseError::Tool { problem });
    let name = image.name();
    let Some(said) = image.version(cx, "pg_dump").await? else {
        return refuse(format!(
            "the image {name} has no pg_dump, and the server is PostgreSQL {server_major}"
        ));
    };
    let Some((version, major)) = parse(&said) else {
        return refuse(format!("the pg_dump of the image {name} does not say which version it is"));
    };
    if major < server_major {
        return refuse(format!(
            "the server is PostgreSQL {server_major}, and the image {name} has pg_dump {version}: an older one cannot \
             dump a newer server"
        ));
    }
    Ok(Clients { pg_dump: image.program(cx, "pg_dump").await?, version, major })
}

/// The installed server programs of exactly this major version, for a cluster of our own.
pub(super) async fn find_server(
    cx: &Context,
    given: Option<&Tools>,
    server_major: u32,
) -> Result<Option<Clients>, DatabaseError> {
    if let Some(Tools::Image(image)) = given
        && let Some(said) = image.version(cx, "postgres").await?
        && let Some((version, major)) = parse(&said).filter(|(_, major)| *major == server_major)
    {
        return Ok(Some(Clients { pg_dump: image.program(cx, "pg_dump").await?, version, major }));
    }
    for folder in folders(cx, given.and_then(Tools::folder))? {
        if !folder.join("initdb").is_file() || !folder.join("postgres").is_file() {
            continue;
        }
        let Some((version, major)) = ask(cx, &folder).await? else { continue };
        if major == server_major {
            return Ok(Some(Clients { pg_dump: Program::in_folder(&folder, "pg_dump"), version, major }));
        }
    }
    Ok(None)
}

fn folders(cx: &Context, given: Option<&Path>) -> Result<Vec<PathBuf>, DatabaseError> {
    if let Some(folder) = given {
        return Ok(vec![folder.to_owned()]);
    }
    let mut folders = Vec::new();
    for (root, below) in ROOTS {
        let root = Path::new(root);
        for name in kit_core::fs::list(root)?.unwrap_or_default() {
            let versioned = name.starts_with("pgsql-") || name.starts_with("postgresql@") || name == "libpq";
            if versioned || root.ends_with("postgresql") {
                folders.push(root.join(name).join(below));
            }
        }
    }
    // Last: on Debian the one on PATH is a script that chooses by a local cluster.
    let on_path = kit_exec::which(&cx.env, "pg_dump").and_then(|file| file.parent().map(Path::to_owned));
    folders.extend(on_path);
    folders.retain(|folder| folder.join("pg_dump").is_file());
    folders.dedup();
    Ok(folders)
}

async fn ask(cx: &Context, folder: &Path) -> Result<Option<(String, u32)>, DatabaseError> {
    if !folder.join("pg_dump").is_file() {
        return Ok(None);
    }
    match ask_version(cx, &Program::in_folder(folder, "pg_dump")).await {
        Ok(said) => Ok(parse(&said)),
        Err(error @ ExecError::Cancelled { .. }) => Err(error.into()),
        // One that cannot run is none.
        Err(_) => Ok(None),
    }
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn parse(text: &str) -> Option<(String, u32)> {
    let version = text.split_whitespace().nth(2)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((version.to_owned(), digits.parse().ok()?))
}

fn choose(found: &[Clients], server_major: u32) -> Result<&Clients, String> {
    let fits = found.iter().filter(|clients| clients.major >= server_major);
    let best = fits.min_by_key(|clients| clients.major);
    best.ok_or_else(|| {
        let versions: Vec<String> = found.iter().map(|clients| clients.major.to_string()).collect();
        match versions.as_slice() {
            [] => format!("there is no pg_dump here, and the server is PostgreSQL {server_major}"),
            _ => format!(
                "the server is PostgreSQL {server_major}, and pg_dump is here only in version {}: an older one \
                 cannot dump a newer server",
                versions.join(", ")
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_say_them() {
        for (text, expected) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(("15.18", 15))),
            ("pg_dump (PostgreSQL) 18.6", Some(("18.6", 18))),
            ("pg_dump (PostgreSQL) 19devel", Some(("19devel", 19))),
            ("pg_dump (PostgreSQL) new", None),
            ("command not found", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected.map(|(text, major)| (text.to_owned(), major)), "{text}");
        }
    }

    #[test]
    fn the_servers_own_version_first_then_the_oldest_newer_one_and_never_an_older_one() {
        let found = |majors: &[u32]| -> Vec<Clients> {
            let pg_dump = Program::Here(PathBuf::new());
            let one =
                |major: &u32| Clients { pg_dump: pg_dump.clone(), version: String::new(), major: *major };
            majors.iter().map(one).collect()
        };
        for (installed, server, expected) in [
            (&[14, 15, 16][..], 15, Ok(15)),
            (&[18, 16, 14], 15, Ok(16)),
            (&[15], 15, Ok(15)),
            (&[13, 14], 15, Err("only in version 13, 14")),
            (&[], 15, Err("there is no pg_dump here")),
        ] {
            let found = found(installed);
            let chosen = choose(&found, server).map(|clients| clients.major);
            match expected {
                Ok(major) => assert_eq!(chosen, Ok(major)),
                Err(text) => assert!(chosen.as_ref().unwrap_err().contains(text), "{chosen:?}"),
            }
        }
    }
}
