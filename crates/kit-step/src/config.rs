//! Reads `deploy.toml`.

use crate::raw::DEFAULT_CONFIG;
use kit_contract::config::Config;
use kit_contract::{Name, Reason};
use kit_core::{ResultExt as _, StepError, fs};
use std::path::{Path, PathBuf};

/// The configuration and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The folder that relative paths in it are relative to.
    pub(crate) folder: PathBuf,
    /// The file, whether it is there or not.
    pub(crate) file: PathBuf,
    /// False if there is no file, and these are the defaults.
    pub(crate) from_file: bool,
}

/// Longer files are refused: a configuration is written by people.
const LIMIT_BYTES: u64 = 1 << 20;

/// Reads the file that was named, or `deploy.toml` where it is there, or gives the defaults: single
/// steps run without a file.
pub(crate) fn load(path: Option<&Path>, environment: &Name) -> Result<Loaded, StepError> {
    let chosen = path.unwrap_or(Path::new(DEFAULT_CONFIG));
    let bytes = fs::read_if_there(chosen, LIMIT_BYTES)
        .or_reason(Reason::ConfigInvalid, "the configuration cannot be read")?;
    let folder = match chosen.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let shown = chosen.display();
    let Some(bytes) = bytes else {
        if path.is_some() {
            return Err(StepError::new(Reason::ConfigInvalid, format!("there is no file {shown}"))
                .hint("`deploy-kit init` writes a first deploy.toml"));
        }
        let config = Config::parse("app = \"app\"", environment)
            .or_reason(Reason::InternalError, "the default configuration is invalid")?;
        return Ok(Loaded { config, folder, file: chosen.to_owned(), from_file: false });
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| StepError::new(Reason::ConfigInvalid, format!("{shown} is not UTF-8 text")))?;
    match Config::parse(&text, environment) {
        Ok(config) => Ok(Loaded { config, folder, file: chosen.to_owned(), from_file: true }),
        Err(error) => {
            let mut failure = StepError::new(Reason::ConfigInvalid, format!("{shown}, {error}"));
            failure.hints.extend(error.hint);
            Err(failure)
        }
    }
}
