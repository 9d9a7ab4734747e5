//! What is compared with what.

use super::measure::size;
use super::server::Server;
use super::sink::{BUCKET, Sink};
use crate::error::Error;
use crate::workspace::Workspace;
use std::path::Path;
use std::process::Command;

type Make<'a> = Box<dyn Fn() -> Command + 'a>;
type Act<'a> = Box<dyn Fn() -> Result<(), Error> + 'a>;
pub(super) type SizeBytes<'a> = Box<dyn Fn() -> u64 + 'a>;
pub(super) type Seconds<'a> = Box<dyn Fn() -> Result<f64, Error> + 'a>;

/// To what a row's time and size are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    /// `pg_dump > /dev/null`.
    Dump,
    /// `gunzip | psql`.
    Restore,
    /// `mariadb-dump > /dev/null`.
    MariaDbDump,
}

impl Against {
    /// The row that it is.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dump => R,
            Self::Restore => GUNZIP,
            Self::MariaDbDump => super::mariadb::DUMP,
        }
    }
}

/// One thing that is measured.
pub(super) struct Row<'a> {
    pub(super) name: &'static str,
    /// True for ours.
    pub(super) ours: bool,
    pub(super) against: Against,
    pub(super) command: Make<'a>,
    /// What it writes.
    pub(super) written: Option<SizeBytes<'a>>,
    pub(super) before: Act<'a>,
    pub(super) after: Act<'a>,
    /// Something that is a part of it, and how many seconds that took, as the program says itself.
    pub(super) part: Option<(&'static str, Seconds<'a>)>,
}

/// The first is R.
pub(super) const R: &str = "`pg_dump > /dev/null`";
/// What sizes are compared with.
pub(super) const GZIP: &str = "`pg_dump \\| gzip > file`";
/// What restores are compared with.
pub(super) const GUNZIP: &str = "`gunzip \\| psql`";

/// All of them, in the order of the table: next to each other what is compared with each other, because a machine is
/// seldom as fast as it was a minute ago. What ours are compared with comes before each of them, since it varies most.
pub(super) fn all<'a>(
    workspace: &'a Workspace,
    server: &'a Server,
    sink: &'a Sink,
    folder: &'a Path,
) -> Vec<Row<'a>> {
    let out = folder.join("out");
    let pipeline = |name, text: &'static str| Row {
        name,
        ours: false,
        against: Against::Dump,
        command: Box::new({
            let out = out.clone();
            move || shell(server, "bench", text, &out)
        }),
        written: Some(Box::new({
            let out = out.clone();
            move || size(&out)
        })),
        before: Box::new({
            let out = out.clone();
            move || remove(&out)
        }),
        after: Box::new(|| Ok(())),
        part: None,
    };
    let backup = |name, level| backup(workspace, server, sink, folder, name, level);
    let with_aws = Row {
        written: Some(Box::new(|| sink.size_bytes())),
        command: Box::new(move || {
            let text = "pg_dump | gzip | aws s3 cp --only-show-errors - \"$TARGET\"";
            let mut command = shell(server, "bench", text, folder);
            let path = std::env::var("PATH").unwrap_or_default();
            let programs = format!("{}:{}", server.programs.display(), folder.join("venv/bin").display());
            command.envs(sink.env()).env("TARGET", format!("s3://{BUCKET}/backup.sql.gz"));
            command.env("PATH", format!("{programs}:{path}"));
            command
        }),
        before: Box::new(|| sink.empty()),
        ..pipeline("`pg_dump \\| gzip \\| aws s3 cp -`", "")
    };
    let side_by_side = Row {
        command: Box::new(move || {
            let mut command =
                ours(workspace, (&server.url(), sink, folder), "db-backup", &["--proof", "stream"]);
            command.current_dir(folder.join("several")).env_remove("DEPLOY_KIT_DATABASE_URL");
            command.env("MAIN_URL", server.url());
            command
        }),
        before: Box::new(move || {
            sink.empty()?;
            several(folder).map_err(|source| Error::Spawn { program: "db-backup".to_owned(), source })
        }),
        ..backup("`db-backup --proof stream`, `dump_jobs = 2`", "stream")
    };
    let by_schema = Row {
        part: Some((
            "of which the proof",
            Box::new(|| part_seconds(folder, "backup.json", "details/proof_ms")),
        )),
        ..backup("`db-backup --proof schema`", "schema")
    };
    let alone = || Row { written: None, ..pipeline(R, "pg_dump > /dev/null") };
    vec![
        alone(),
        backup("`db-backup --proof stream`", "stream"),
        alone(),
        side_by_side,
        alone(),
        by_schema,
        restore_by_hand(server, folder),
        restore((workspace, server, sink, folder), ("`db-restore --no-swap`", "of which restoring"), &[]),
        restore_by_hand(server, folder),
        restore(
            (workspace, server, sink, folder),
            ("`db-restore --no-swap --jobs 1`", "of which restoring, `--jobs 1`"),
            &["--jobs", "1"],
        ),
        pipeline("`pg_dump \\| pigz -1 > file`", "pg_dump | pigz -1 > \"$OUT\""),
        pipeline("`pg_dump -Fd -j2 -Z1`", "pg_dump -Fd -j2 -Z1 -f \"$OUT\""),
        pipeline(GZIP, "pg_dump | gzip > \"$OUT\""),
        with_aws,
    ]
}

/// How long a part of the last run took, in milliseconds as its artifact says.
fn part_seconds(folder: &Path, artifact: &str, field: &str) -> Result<f64, Error> {
    let path = folder.join("artifacts").join(artifact);
    let failed = |source| Error::Spawn { program: path.display().to_string(), source };
    let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).map_err(failed)?)
        .map_err(|error| failed(error.into()))?;
    let part_ms = artifact.pointer(&format!("/body/databases/0/{field}")).and_then(serde_json::Value::as_f64);
    part_ms.map(|ms| ms / 1000.0).ok_or_else(|| failed(std::io::Error::other(format!("no {field} in it"))))
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let _ = std::fs::remove_dir_all(path);
    let _ = std::fs::remove_file(path);
    Ok(())
}

/// A line as people write it.
fn shell(server: &Server, database: &str, text: &str, out: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("set -o pipefail; {text}")).envs(server.env(database)).env("OUT", out);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", server.programs.display()));
    command
}

/// A program of ours, on its own: without a deployment and without configuration.
pub(super) fn ours(
    workspace: &Workspace,
    (url, sink, folder): (&str, &Sink, &Path),
    program: &str,
    args: &[&str],
) -> Command {
    let mut command = Command::new(workspace.root.join("target/release").join(program));
    command
        .args(args)
        .args(["--store", &format!("s3://{BUCKET}")])
        .args(["--artifacts", &folder.join("artifacts").display().to_string()])
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("HOME", folder)
        .envs(sink.env())
        .env("DEPLOY_KIT_DATABASE_URL", url)
        .stderr(std::process::Stdio::null());
    command
}

fn backup<'a>(
    workspace: &'a Workspace,
    server: &'a Server,
    sink: &'a Sink,
    folder: &'a Path,
    name: &'static str,
    level: &'static str,
) -> Row<'a> {
    Row {
        name,
        ours: true,
        against: Against::Dump,
        command: Box::new(move || {
            ours(workspace, (&server.url(), sink, folder), "db-backup", &["--proof", level])
        }),
        written: Some(Box::new(|| sink.size_bytes())),
        before: Box::new(|| sink.empty()),
        after: Box::new(|| Ok(())),
        part: None,
    }
}

/// A configuration with which several connections copy the rows.
fn several(folder: &Path) -> std::io::Result<()> {
    let config =
        "app = \"bench\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\ndump_jobs = 2\n";
    std::fs::create_dir_all(folder.join("several"))?;
    std::fs::write(folder.join("several/deploy.toml"), config)
}

fn restore_by_hand<'a>(server: &'a Server, folder: &'a Path) -> Row<'a> {
    let out = folder.join("out.gz");
    Row {
        name: GUNZIP,
        ours: false,
        against: Against::Restore,
        command: Box::new({
            let out = out.clone();
            move || {
                shell(
                    server,
                    "restored",
                    "gunzip < \"$OUT\" | psql -X -q -v ON_ERROR_STOP=1 > /dev/null",
                    &out,
                )
            }
        }),
        written: None,
        before: Box::new(move || {
            if !out.exists() {
                let mut pipeline = shell(server, "bench", "pg_dump | pigz -1 > \"$OUT\"", &out);
                let spawn = |source| Error::Spawn { program: "pg_dump".to_owned(), source };
                let status = pipeline.status().map_err(spawn)?;
                if !status.success() {
                    // What is there by now is half of one, and the next run would take it.
                    remove(&out)?;
                    return Err(Error::Failed { command: format!("{pipeline:?}"), status });
                }
            }
            server.sql("postgres", "DROP DATABASE IF EXISTS restored WITH (FORCE)")?;
            server.sql("postgres", "CREATE DATABASE restored TEMPLATE template0")
        }),
        after: Box::new(move || server.sql("postgres", "DROP DATABASE restored WITH (FORCE)")),
        part: None,
    }
}

/// Restores what the last row before it backed up, beside the source, and compares it.
fn restore<'a>(
    (workspace, server, sink, folder): (&'a Workspace, &'a Server, &'a Sink, &'a Path),
    (name, part): (&'static str, &'static str),
    more: &'static [&'static str],
) -> Row<'a> {
    let args = [&["--deployment", "latest", "--confirm", "main", "--no-swap"], more].concat();
    Row {
        name,
        ours: true,
        against: Against::Restore,
        command: Box::new(move || ours(workspace, (&server.url(), sink, folder), "db-restore", &args)),
        written: None,
        before: Box::new(|| Ok(())),
        after: Box::new(move || {
            let drop = "SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
                WHERE datname LIKE 'bench\\_restore\\_%' \\gexec";
            let mut psql = server.command("psql", "postgres");
            psql.args(["-X", "-q"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
            let spawn = |source| Error::Spawn { program: "psql".to_owned(), source };
            let mut child = psql.spawn().map_err(spawn)?;
            if let Some(stdin) = &mut child.stdin {
                std::io::Write::write_all(stdin, drop.as_bytes()).map_err(spawn)?;
            }
            child.wait().map_err(spawn).map(|_| ())
        }),
        part: Some((part, Box::new(|| part_seconds(folder, "restore.json", "restore_ms")))),
    }
}
