//! Where the workspace is and how its children are started; captured once.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cargo_metadata::{Metadata, MetadataCommand};

use crate::error::Error;

/// Every program, and the tests, whose features are the union of all.
const BUILD: [&str; 7] = ["cargo", "build", "--locked", "--quiet", "--workspace", "--bins", "--tests"];

/// The surroundings of one run.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    cargo: OsString,
    colourless: bool,
}

impl Workspace {
    /// `cargo run` tells where this crate lies and which cargo runs it; both have a fallback for a binary
    /// that is started directly.
    pub(crate) fn capture() -> Self {
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from);
        Self {
            root,
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            colourless: std::env::var_os("CI").is_some_and(|value| !value.is_empty()),
        }
    }

    /// A child that starts in the root of the workspace. `cargo` means the one that runs this program.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match program {
            "cargo" => Command::new(&self.cargo),
            _ => Command::new(program),
        };
        command.current_dir(&self.root);
        if self.colourless {
            command.env("CARGO_TERM_COLOR", "never");
        }
        command
    }

    /// Runs a child with its output shown, after printing the command so that it can be repeated by hand.
    ///
    /// # Errors
    /// The program could not be started; ending with a failure is `Ok(false)`.
    pub(crate) fn show(&self, argv: &[&str], env: &[(&str, &str)]) -> Result<bool, Error> {
        let Some((program, args)) = argv.split_first() else { return Ok(true) };
        let assignments: String = env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
        println!("$ {assignments}{}", argv.join(" "));
        let status = self
            .command(program)
            .args(args)
            .envs(env.iter().copied())
            .status()
            .map_err(|source| Error::Spawn { program: (*program).to_owned(), source })?;
        Ok(status.success())
    }

    /// Whether a program is there and answers; its output is discarded.
    ///
    /// # Errors
    /// It is there but could not be started: that is not the same as missing.
    pub(crate) fn answers(&self, argv: &[&str]) -> Result<bool, Error> {
        let Some((program, args)) = argv.split_first() else { return Ok(true) };
        let status = self
            .command(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match status {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Spawn { program: (*program).to_owned(), source }),
        }
    }

    /// The standard output of a child that must succeed; its standard error is shown.
    ///
    /// # Errors
    /// It could not be started, or failed.
    pub(crate) fn output(&self, argv: &[&str]) -> Result<Vec<u8>, Error> {
        let Some((program, args)) = argv.split_first() else { return Ok(Vec::new()) };
        let output = self
            .command(program)
            .args(args)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| Error::Spawn { program: (*program).to_owned(), source })?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Error::Failed { command: argv.join(" "), status: output.status })
        }
    }

    /// Builds every program, with the features that the tests are built with: other features would compile
    /// the large dependencies once more. Gives the folder that the programs lie in, or `None` if that failed.
    ///
    /// # Errors
    /// Cargo could not be started, or does not say where it builds.
    pub(crate) fn programs(&self) -> Result<Option<PathBuf>, Error> {
        if !self.show(&BUILD, &[])? {
            return Ok(None);
        }
        Ok(Some(self.metadata(false)?.target_directory.into_std_path_buf().join("debug")))
    }

    /// `cargo metadata` of the whole workspace, for every platform, from the committed lock file.
    pub(crate) fn metadata(&self, with_dependencies: bool) -> Result<Metadata, Error> {
        let mut command = MetadataCommand::new();
        command.cargo_path(&self.cargo).current_dir(&self.root).other_options(vec!["--locked".to_owned()]);
        if !with_dependencies {
            command.no_deps();
        }
        Ok(command.exec()?)
    }
}
