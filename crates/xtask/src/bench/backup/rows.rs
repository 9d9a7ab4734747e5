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
}

/// The first is R.
pub(super) const R: &str = "`pg_dump > /dev/null`";
/// What sizes are compared with.
pub(super) const GZIP: &str = "`pg_dump \\| gzip > file`";
/// What restores are compared with.
pub(super) const GUNZIP: &str = "`gunzip \\| psql`";

/// All of them, in the order of the table.
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
    };
    let mut rows = vec![
        Row { written: None, ..pipeline(R, "pg_dump > /dev/null") },
        pipeline(GZIP, "pg_dump | gzip > \"$OUT\""),
        pipeline("`pg_dump \\| pigz -1 > file`", "pg_dump | pigz -1 > \"$OUT\""),
        pipeline("`pg_dump -Fd -j2 -Z1`", "pg_dump -Fd -j2 -Z1 -f \"$OUT\""),
        Row {
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
        },
    ];
    let backup = |name, level| backup(workspace, server, sink, folder, name, level);
    rows.push(backup("`db-backup --proof stream`", "stream"));
    rows.push(Row {
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
    });
    rows.push(backup("`db-backup --proof schema`", "schema"));
    rows.push(restore_by_hand(server, folder));
    rows.push(restore(workspace, server, sink, folder, "`db-restore --no-swap`", "1"));
    rows.push(restore(workspace, server, sink, folder, "`db-restore --no-swap --jobs 2`", "2"));
    rows
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
                let status = shell(server, "bench", "pg_dump | pigz -1 > \"$OUT\"", &out).status();
                status.map_err(|source| Error::Spawn { program: "pg_dump".to_owned(), source })?;
            }
            server.sql("postgres", "DROP DATABASE IF EXISTS restored WITH (FORCE)")?;
            server.sql("postgres", "CREATE DATABASE restored TEMPLATE template0")
        }),
        after: Box::new(move || server.sql("postgres", "DROP DATABASE restored WITH (FORCE)")),
    }
}

/// Restores what the last row before it backed up, beside the source, and compares it.
fn restore<'a>(
    workspace: &'a Workspace,
    server: &'a Server,
    sink: &'a Sink,
    folder: &'a Path,
    name: &'static str,
    jobs: &'static str,
) -> Row<'a> {
    let args = ["--deployment", "latest", "--confirm", "main", "--no-swap", "--jobs", jobs];
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
    }
}
