//! The databases of `deploy.toml` that have migrations, and how they stand.

use kit_contract::body::{AppliedMigration, DatabaseMigration};
use kit_contract::{Name, Reason};
use kit_core::StepError;
use kit_database::{Database, MigrationSet, MigrationStatus, OpenOptions};
use kit_step::ToolContext;

/// One database with its folder of migrations.
pub(crate) struct Opened {
    /// Its name.
    pub(crate) name: Name,
    pub(crate) database: Box<dyn Database>,
    pub(crate) set: MigrationSet,
    /// How the two compare, as it was found.
    pub(crate) status: MigrationStatus,
}

impl Opened {
    /// What the artifact says of it before anything is applied.
    pub(crate) fn body(&self) -> DatabaseMigration {
        DatabaseMigration {
            database: self.name.clone(),
            before: self.status.applied.clone(),
            applied: Vec::<AppliedMigration>::new(),
            pending: self.status.pending_versions(),
            failed: None,
        }
    }
}

/// Opens every database that has migrations and asks how it stands. Read-only.
pub(crate) async fn open_all(cx: &ToolContext) -> Result<Vec<Opened>, StepError> {
    if !cx.has_config_file() {
        return Err(StepError::new(Reason::UsageError, "nobody says which database to migrate")
            .hint("name it in deploy.toml: [[databases]] with url and migrations"));
    }
    let mut opened = Vec::new();
    for config in &cx.config().databases {
        let Some(folder) = &config.migrations else { continue };
        let url = cx.secret_ref(&config.url)?;
        let input = format!("{} of database {}", config.url.env, config.name);
        let database = kit_database::open(&url, &input, OpenOptions::of(config), cx.context()).await?;
        let set = MigrationSet::read(&cx.resolve(folder)).await?;
        let status = database.migration_status(cx.context(), &set).await?;
        opened.push(Opened { name: config.name.clone(), database, set, status });
    }
    Ok(opened)
}
