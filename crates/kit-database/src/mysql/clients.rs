//! Which `mariadb-dump` and `mariadb`, or `mysqldump` and `mysql`. Choosing is pure.
//!
//! The rule: of the server's own product if they are there. MariaDB's dump a MySQL server and the other way
//! round only up to a point (each asks the server for what the other does not have), so they are refused. A
//! client of another version of the same product talks to every server; what its dump is worth is shown by
//! the restore.

use crate::tools::{Program, ask_version};
use crate::{DatabaseError, Tools, ToolsImage};
use kit_core::Context;
use kit_exec::Command;
use std::path::Path;

/// Whose server or program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    MariaDb,
    Mysql,
}

impl Product {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "MariaDB",
            Self::Mysql => "MySQL",
        }
    }

    /// Of the text in which a server or a program tells its version.
    pub(super) fn of(text: &str) -> Self {
        if text.contains("MariaDB") { Self::MariaDb } else { Self::Mysql }
    }

    /// What its programs are called, newest name first.
    const fn programs(self, what: &str) -> &'static [&'static str] {
        match (self, what.as_bytes()) {
            (Self::MariaDb, b"dump") => &["mariadb-dump", "mysqldump"],
            (Self::MariaDb, b"server") => &["mariadbd", "mysqld"],
            (Self::MariaDb, b"install") => &["mariadb-install-db", "mysql_install_db"],
            (Self::MariaDb, _) => &["mariadb", "mysql"],
            (Self::Mysql, b"dump") => &["mysqldump"],
            (Self::Mysql, b"server") => &["mysqld"],
            (Self::Mysql, _) => &["mysql"],
        }
    }
}

/// Client programs of one version.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    dump: Program,
    client: Program,
    pub(super) product: Product,
    /// As the dump program says itself: `10.11.19-MariaDB`.
    pub(super) version: String,
}

impl Clients {
    /// Runs one of them: `dump`, or else the client.
    pub(super) fn command(&self, what: &str) -> Command {
        if what == "dump" { self.dump.command() } else { self.client.command() }
    }

    /// How digests of rows are made, which are those of what the dump program writes: one of another series may write
    /// equal values in other words. To be changed with the digests, since the metadata of backups holds them.
    pub(super) fn content_method(&self) -> String {
        format!("mysql/1 by {}", series(self.product, &self.version))
    }

    #[cfg(test)]
    pub(super) fn for_test(product: Product) -> Self {
        let here = |file: &str| Program::Here(file.into());
        Self { dump: here("/dump"), client: here("/client"), product, version: String::new() }
    }
}

/// Folders of servers, which are not on everybody's `PATH`.
const SERVER_FOLDERS: &[&str] = &["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/opt/homebrew/bin"];

/// A program by any of its names: in the folder that was given, or on `PATH` and where servers lie.
pub(super) fn program(cx: &Context, given: Option<&Path>, product: Product, what: &str) -> Option<Program> {
    let in_folder = |folder: &Path, name: &str| Some(folder.join(name)).filter(|file| file.is_file());
    let found = product.programs(what).iter().find_map(|name| match given {
        Some(folder) => in_folder(folder, name),
        None => kit_exec::which(&cx.env, name)
            .or_else(|| SERVER_FOLDERS.iter().find_map(|folder| in_folder(Path::new(folder), name))),
    });
    found.map(Program::Here)
}

/// A program of an image by any of its names, with what it says of its version.
pub(super) async fn program_of_image(
    cx: &Context,
    image: &ToolsImage,
    product: Product,
    what: &str,
) -> Result<Option<(Program, String)>, DatabaseError> {
    for name in product.programs(what) {
        if let Some(said) = image.version(cx, name).await? {
            return Ok(Some((image.program(cx, name).await?, said)));
        }
    }
    Ok(None)
}

/// The client programs for a server of this product.
pub(super) async fn find(
    cx: &Context,
    given: Option<&Tools>,
    product: Product,
) -> Result<Clients, DatabaseError> {
    let missing = |place: &str| DatabaseError::Tool {
        problem: format!(
            "the server is {}, and its client programs ({}, {}) are not {place}",
            product.name(),
            product.programs("dump").join(" or "),
            product.programs("client").join(" or ")
        ),
    };
    let (dump, client, said) = if let Some(Tools::Image(image)) = given {
        let not_there = || missing(&format!("in the image {}", image.name()));
        let dump = program_of_image(cx, image, product, "dump").await?;
        let (dump, said) = dump.ok_or_else(not_there)?;
        let client = program_of_image(cx, image, product, "client").await?;
        let (client, _) = client.ok_or_else(not_there)?;
        (dump, client, said)
    } else {
        let folder = given.and_then(Tools::folder);
        let (Some(dump), Some(client)) =
            (program(cx, folder, product, "dump"), program(cx, folder, product, "client"))
        else {
            return Err(missing("here"));
        };
        let said = ask_version(cx, &dump).await?;
        (dump, client, said)
    };
    if Product::of(&said) != product {
        return Err(DatabaseError::Tool {
            problem: format!(
                "the server is {}, and {} is that of {}, which cannot dump all of it",
                product.name(),
                dump,
                Product::of(&said).name()
            ),
        });
    }
    Ok(Clients { dump, client, product, version: version(&said) })
}

/// `mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)`,
/// `mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)`,
/// `mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)`.
fn version(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    let after = |word: &str| {
        let at = words.iter().position(|known| *known == word)?;
        words.get(at + 1).map(|version| version.trim_end_matches(',').to_owned())
    };
    after("Distrib").or_else(|| after("from")).or_else(|| after("Ver")).unwrap_or_default()
}

/// `10.11` of `10.11.19-MariaDB-0+deb12u1-log`: versions whose dumps and definitions read the same.
pub(super) fn series(product: Product, version: &str) -> String {
    let numbers: Vec<&str> = version.split(['.', '-']).take(2).collect();
    format!("{} {}", product.name(), numbers.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_say_them() {
        for (text, expected, product) in [
            (
                "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)",
                "10.11.19-MariaDB",
                Product::MariaDb,
            ),
            (
                "/usr/bin/mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)",
                "11.4.2-MariaDB",
                Product::MariaDb,
            ),
            (
                "mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)",
                "8.0.36",
                Product::Mysql,
            ),
        ] {
            assert_eq!((version(text).as_str(), Product::of(text)), (expected, product), "{text}");
        }
        assert_eq!(series(Product::MariaDb, "10.11.19-MariaDB-0+deb12u1-log"), "MariaDB 10.11");
        assert_eq!(series(Product::Mysql, "8.4.0"), "MySQL 8.4");
    }
}
