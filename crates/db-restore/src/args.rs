//! The inputs, and which databases they mean.

use crate::catalogue::Wanted;
use kit_contract::{Name, Reason};
use kit_core::{Secret, StepError};
use kit_database::{OpenOptions, Tools};
use kit_step::ToolContext;
use std::num::NonZeroU8;

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The deployment whose backup to restore, or `latest` for the newest proved backup
    #[arg(long, value_name = "ID|latest")]
    pub(crate) deployment: Wanted,
    /// Database to restore; may be repeated; without this, all of deploy.toml
    #[arg(long, value_name = "NAME")]
    database: Vec<Name>,
    /// Consent: the name of each database that is to be restored
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Vec<Name>,
    /// Leave what was restored beside the live database, which stays in its place
    #[arg(long)]
    pub(crate) no_swap: bool,
    /// Overwrite the live database where it stands: what it holds is lost. For a server without room for two. One
    /// database at a time; on a terminal, its name has to be typed, elsewhere --confirm is needed
    #[arg(long, conflicts_with = "no_swap")]
    pub(crate) in_place: bool,
    /// Sessions that load rows side by side (PostgreSQL); without this, as many as this machine has cores, at most 4;
    /// with 1, and always with --in-place, all of it is one transaction
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    pub(crate) store: Option<String>,
}

/// One database that is to be restored.
pub(crate) struct Target {
    /// Its name, by which its backups are known.
    pub(crate) name: Name,
    /// Where it is; may hold a password.
    pub(crate) url: Secret,
    /// Where the URL came from, for messages.
    pub(crate) input: String,
    /// With which programs it is restored.
    pub(crate) options: OpenOptions,
}

/// What the only database is called that is known by a URL alone; as db-backup calls it.
const UNNAMED: &str = "main";

impl Args {
    /// The databases: the one of the secret input, or those of `deploy.toml` that were asked for.
    pub(crate) fn targets(&self, cx: &ToolContext) -> Result<Vec<Target>, StepError> {
        if let Some(url) = cx.secret("database-url") {
            return Ok(vec![Target {
                name: self.only()?,
                url,
                input: "database-url".to_owned(),
                options: OpenOptions { restore_jobs: self.jobs(), ..OpenOptions::default() },
            }]);
        }
        let configured = &cx.config().databases;
        let unknown = self.database.iter().find(|name| !configured.iter().any(|one| one.name == **name));
        if let Some(name) = unknown {
            let known: Vec<&str> = configured.iter().map(|database| database.name.as_str()).collect();
            return Err(StepError::new(Reason::UsageError, format!("deploy.toml has no database {name}"))
                .hint(format!(
                    "it has: {}",
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                )));
        }
        if configured.is_empty() {
            return Err(StepError::new(Reason::UsageError, "nobody says which database to restore").hint(
                "name it in deploy.toml ([[databases]]), or give its URL with --database-url-file or \
                 DEPLOY_KIT_DATABASE_URL",
            ));
        }
        let asked_for = |name: &Name| self.database.is_empty() || self.database.contains(name);
        let target = |database: &kit_contract::config::Database| {
            let url = cx.secret_ref(&database.url)?;
            let input = format!("{} of database {}", database.url.env, database.name);
            let tools = database.tools.as_ref().map(|tools| Tools::of(tools, |folder| cx.resolve(folder)));
            let options = OpenOptions { tools, restore_jobs: self.jobs(), ..OpenOptions::of(database) };
            Ok(Target { name: database.name.clone(), url, input, options })
        };
        configured.iter().filter(|database| asked_for(&database.name)).map(target).collect()
    }

    fn jobs(&self) -> Option<NonZeroU8> {
        self.jobs.and_then(NonZeroU8::new)
    }

    fn only(&self) -> Result<Name, StepError> {
        match self.database.as_slice() {
            [] => UNNAMED.parse().map_err(|error: kit_contract::IdentityError| {
                StepError::new(Reason::InternalError, "a name of our own is invalid").because(error)
            }),
            [name] => Ok(name.clone()),
            _ => {
                Err(StepError::new(Reason::UsageError, "one URL is given, and several databases to restore"))
            }
        }
    }
}
