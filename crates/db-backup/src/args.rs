//! The inputs, and which databases they mean.

use crate::ladder::Rules;
use kit_contract::config::{ExternalCommand, ScratchKind, WantedProof};
use kit_contract::{Name, Reason};
use kit_core::{Secret, StepError};
use kit_database::{OpenOptions, ScratchPlace, Tools};
use kit_step::ToolContext;
use std::path::PathBuf;

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    pub(crate) store: Option<String>,
    /// What the database of --database-url-file is called
    #[arg(long, value_name = "NAME", default_value = "main")]
    database_name: Name,
    /// Folder for scratch copies, with room for two copies of the largest database; without this, the
    /// system's folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    pub(crate) scratch: Option<PathBuf>,
    /// How far to prove the backup; without this, backup.proof of deploy.toml
    #[arg(long, value_enum)]
    proof: Option<WantedLevel>,
}

/// The levels of proof that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum WantedLevel {
    /// As far as time and place allow, and at least as far as migrate asks
    Auto,
    /// Checked while it is written
    Stream,
    /// Read back from the store and compared
    Remote,
    /// Its schema restored and compared, its rows counted
    Schema,
    /// All of it restored and compared
    Full,
}

impl WantedLevel {
    const fn of_contract(self) -> WantedProof {
        match self {
            Self::Auto => WantedProof::Auto,
            Self::Stream => WantedProof::Stream,
            Self::Remote => WantedProof::Remote,
            Self::Schema => WantedProof::Schema,
            Self::Full => WantedProof::Full,
        }
    }
}

/// How the backup of one database comes about.
pub(crate) enum Wanted {
    /// It is dumped here.
    Dump(Target),
    /// Another tool makes it.
    External(Name, ExternalCommand),
}

impl Wanted {
    /// The database.
    pub(crate) const fn name(&self) -> &Name {
        match self {
            Self::Dump(target) => &target.name,
            Self::External(name, _) => name,
        }
    }
}

/// One database that is to be dumped.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: Name,
    /// Where it is; may hold a password.
    pub(crate) url: Secret,
    /// Where the URL came from, for messages.
    pub(crate) input: String,
    /// Where its restore is tried, and with which programs.
    pub(crate) options: OpenOptions,
}

impl Args {
    /// The databases: the one of the secret input, or those of `deploy.toml`. None, only if `deploy.toml`
    /// says so.
    pub(crate) fn targets(&self, cx: &ToolContext) -> Result<Vec<Wanted>, StepError> {
        if let Some(url) = cx.secret("database-url") {
            let input = "database-url".to_owned();
            let options = OpenOptions::default();
            return Ok(vec![Wanted::Dump(Target { name: self.database_name.clone(), url, input, options })]);
        }
        if !cx.has_config_file() {
            return Err(StepError::new(Reason::UsageError, "nobody says which database to back up").hint(
                "name it in deploy.toml ([[databases]]), or give its URL with --database-url-file or \
                 DEPLOY_KIT_DATABASE_URL",
            ));
        }
        let target = |database: &kit_contract::config::Database| {
            if let Some(command) = &database.backup {
                return Ok(Wanted::External(database.name.clone(), command.clone()));
            }
            let url = cx.secret_ref(&database.url)?;
            let input = format!("{} of database {}", database.url.env, database.name);
            Ok(Wanted::Dump(Target {
                name: database.name.clone(),
                url,
                input,
                options: options(database, cx)?,
            }))
        };
        cx.config().databases.iter().map(target).collect()
    }

    /// How far each backup is to be proved.
    pub(crate) fn rules(&self, cx: &ToolContext) -> Rules {
        let config = &cx.config().backup;
        Rules {
            wanted: self.proof.map_or(config.proof, WantedLevel::of_contract),
            budget: config.proof_budget.duration(),
            required: config.required_proof.level(),
        }
    }
}

fn options(database: &kit_contract::config::Database, cx: &ToolContext) -> Result<OpenOptions, StepError> {
    let scratch = match (&database.scratch_url, database.scratch) {
        (Some(reference), _) => ScratchPlace::Server(cx.secret_ref(reference)?),
        (None, ScratchKind::Cluster) => ScratchPlace::Auto,
        (None, ScratchKind::Beside) => ScratchPlace::Beside,
    };
    let tools = database.tools.as_ref().map(|tools| Tools::of(tools, |folder| cx.resolve(folder)));
    Ok(OpenOptions { scratch, tools, ..OpenOptions::of(database) })
}
