//! What can stop an automation before it has an answer. A failed check is not an error: it is `false`.

use std::path::PathBuf;

/// Display is a fragment that names the thing at fault; the cause is its source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("could not start `{program}`")]
    Spawn { program: String, source: std::io::Error },
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: std::process::ExitStatus },
    #[error("could not read the dependency graph with `cargo metadata`")]
    Metadata { source: Box<cargo_metadata::Error> },
    #[error("`cargo metadata` gave no resolved graph")]
    NoResolve,
    #[error("could not read what `cargo tree` says of `{package}`")]
    Tree { package: String },
    #[error("could not {verb} `{}`", path.display())]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error("`{path}` is not valid TOML")]
    Toml { path: String, source: Box<toml::de::Error> },
    #[error("`{command}` did not print the expected JSON document")]
    Json { command: String, source: serde_json::Error },
    #[error("`{command}` answered {answer:?}, which nobody understands")]
    Answer { command: String, answer: String },
    #[error("`{}` holds no release: {reason}", folder.display())]
    Assets { folder: PathBuf, reason: String },
    #[error("refused to write the generated path `{path}`: {reason}")]
    Path { path: String, reason: &'static str },
}

impl Error {
    /// For `map_err` beside a file operation: `verb` is what was tried.
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }
}

impl From<cargo_metadata::Error> for Error {
    fn from(source: cargo_metadata::Error) -> Self {
        Self::Metadata { source: Box::new(source) }
    }
}
