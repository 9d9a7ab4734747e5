//! The inputs, and which databases they mean.

use kit_contract::{Name, Reason};
use kit_core::{Secret, StepError};
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
}

/// One database that is to be backed up.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: Name,
    /// Where it is; may hold a password.
    pub(crate) url: Secret,
    /// Where the URL came from, for messages.
    pub(crate) input: String,
}

impl Args {
    /// The databases: the one of the secret input, or those of `deploy.toml`. None, only if `deploy.toml`
    /// says so.
    pub(crate) fn targets(&self, cx: &ToolContext) -> Result<Vec<Target>, StepError> {
        if let Some(url) = cx.secret("database-url") {
            let input = "database-url".to_owned();
            return Ok(vec![Target { name: self.database_name.clone(), url, input }]);
        }
        if !cx.has_config_file() {
            return Err(StepError::new(Reason::UsageError, "nobody says which database to back up").hint(
                "name it in deploy.toml ([[databases]]), or give its URL with --database-url-file or \
                 DEPLOY_KIT_DATABASE_URL",
            ));
        }
        let target = |database: &kit_contract::config::Database| {
            let url = cx.secret_ref(&database.url)?;
            let input = format!("{} of database {}", database.url.env, database.name);
            Ok(Target { name: database.name.clone(), url, input })
        };
        cx.config().databases.iter().map(target).collect()
    }
}
