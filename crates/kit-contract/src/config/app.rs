use super::address::{check_address, check_headers};
use super::{Assertion, ConfigError, SecretRef, Span, Tools};
use crate::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether pre-releases (`1.2.3-rc.1`) may be deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prereleases {
    /// They are refused.
    #[default]
    Refuse,
    /// They are deployed like any release.
    Allow,
}

/// Which tags are releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Release {
    /// What a release tag looks like; `{version}` stands for the semantic version.
    pub tag_pattern: String,
    /// The tagged commit must be on one of these branches. Empty: any commit will do.
    pub branches: Vec<String>,
    /// Whether pre-releases may be deployed.
    pub prereleases: Prereleases,
    /// True if only annotated tags are releases.
    pub require_annotated: bool,
}

impl Default for Release {
    fn default() -> Self {
        Self {
            tag_pattern: "v{version}".to_owned(),
            branches: Vec::new(),
            prereleases: Prereleases::Refuse,
            require_annotated: false,
        }
    }
}

impl Release {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.tag_pattern.matches("{version}").count() == 1 {
            return Ok(());
        }
        Err(ConfigError::rule(
            "release.tag_pattern",
            format!(
                "{:?} must hold {{version}} exactly once, for example \"v{{version}}\"",
                self.tag_pattern
            ),
        ))
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// Public address; checks and probes are relative to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the gate asks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<super::gate::ServiceProbe>,
    /// Who counts its requests, if the gate is not to probe it. Either this or `probe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<super::source::Source>,
}

impl Service {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let path = format!("services.{}", self.name);
        if let Some(url) = &self.url {
            check_address(&format!("{path}.url"), url)?;
        }
        if let Some(source) = &self.source {
            if self.probe.is_some() {
                let message = "probe and source are both given: the gate goes by one of them";
                return Err(ConfigError::rule(path, message));
            }
            source.check(&format!("{path}.source"))?;
        }
        let Some(probe) = &self.probe else { return Ok(()) };
        for (arm, target) in [("canary", Some(&probe.canary)), ("baseline", probe.baseline.as_ref())] {
            let Some(target) = target else { continue };
            let path = format!("{path}.probe.{arm}");
            check_address(&format!("{path}.url"), &target.url)?;
            check_headers(&path, &target.headers)?;
        }
        Ok(())
    }
}

/// A tool that applies migrations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationTool {
    /// Plain SQL files, `<version>_<description>.sql`, recorded in `_sqlx_migrations`.
    #[default]
    Sql,
}

/// Where the restore of a backup is tried, unless a server is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScratchKind {
    /// On a throw-away server, from the server programs that are installed where the step runs. SQLite needs
    /// none.
    #[default]
    Cluster,
    /// In another database on the server of the live one, which has to bear the load; for Redis, in one that is empty.
    Beside,
}

/// How a PostgreSQL database is dumped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DumpFormat {
    /// SQL, which `gunzip | psql` restores.
    #[default]
    Plain,
    /// An archive of `pg_dump --format=custom`, which `gunzip | pg_restore` restores, all of it or parts.
    Custom,
    /// A folder of `pg_dump --format=directory`, dumped and restored by several connections, as one tar. Either way
    /// it needs room for a second, uncompressed copy in the scratch folder.
    Directory,
}

impl DumpFormat {
    /// The word used in `deploy.toml` and artifacts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Custom => "custom",
            Self::Directory => "directory",
        }
    }
}

/// Another tool that makes the backups of a database: a cloud's snapshots, pgBackRest, WAL-G.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalCommand {
    /// Program and arguments, run in the folder of `deploy.toml`. No shell is involved. It makes the backup, waits
    /// until it is whole, and prints one JSON object (`deploy-kit/external-backup/v1`).
    pub command: Vec<String>,
    /// How long it may take.
    #[serde(default = "half_an_hour")]
    pub timeout: Span,
    /// What the tool must at least say that it did to know that the backup is good.
    #[serde(default)]
    pub least_claim: crate::body::Claim,
}

fn half_an_hour() -> Span {
    Span::from_secs(30 * 60)
}

/// One database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its name.
    pub name: Name,
    /// Where its connection URL is found. The scheme chooses the engine: `sqlite:`, `postgres:`,
    /// `mariadb:`, `mysql:`, `redis:`.
    pub url: SecretRef,
    /// What leads to its server where that cannot be reached directly: a program and its arguments, whose stdin and stdout
    /// are a connection to the server. `{host}` and `{port}` are those of the URL, as seen from there. No shell is
    /// involved: `["ssh", "-o", "BatchMode=yes", "-W", "{host}:{port}", "deploy@bastion"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// Where the restore of its backups is tried.
    #[serde(default)]
    pub scratch: ScratchKind,
    /// Where the URL of a server is found on which restores are tried; wins over `scratch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch_url: Option<SecretRef>,
    /// The engine's own programs (`pg_dump`, `mariadb-dump`, `redis-server`): a folder that has them, or an image in
    /// whose containers they run. Absent: those that are installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,
    /// PostgreSQL 14 and later: how many connections copy the rows of large tables side by side, all in the snapshot of
    /// the `pg_dump` that makes everything else. The dump stays one file of plain SQL. Absent: 1. With 0 `pg_dump` copies
    /// everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump_jobs: Option<u8>,
    /// Another tool that makes its backups, instead of `db-backup` itself. `backup.allow_external` must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<ExternalCommand>,
    /// How it is dumped. Other engines than PostgreSQL have one format only.
    #[serde(default)]
    pub format: DumpFormat,
    /// What must be true of it once it was restored. Asked of every backup that is proved in full, and of every
    /// restore and drill; read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// Folder of its migrations, relative to `deploy.toml`. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<String>,
    /// The tool that applies them.
    #[serde(default)]
    pub tool: MigrationTool,
}

impl Database {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.dump_jobs.is_some_and(|jobs| jobs > 1) && self.format == DumpFormat::Custom {
            let path = format!("databases.{}.dump_jobs", self.name);
            let message = "an archive in the custom format is written by one connection; use format = \"plain\" or \
                           \"directory\"";
            return Err(ConfigError::rule(path, message));
        }
        if let Some(tools) = &self.tools {
            tools.check(&format!("databases.{}.tools", self.name))?;
        }
        let path = format!("databases.{}.via", self.name);
        if self.via.first().is_some_and(String::is_empty) {
            return Err(ConfigError::rule(path, "it names no program"));
        }
        let unchecked = |word: &&String| {
            let word: String = word.to_ascii_lowercase().split_whitespace().collect();
            word.contains("stricthostkeychecking=no") || word.contains("stricthostkeychecking=off")
        };
        if let Some(word) = self.via.iter().find(unchecked) {
            let message = format!(
                "{word:?} has ssh lead to whoever answers; put the server's key into a known_hosts file, which \
                 UserKnownHostsFile names"
            );
            return Err(ConfigError::rule(path, message));
        }
        let path = format!("databases.{}.assertions", self.name);
        super::unique(&path, self.assertions.iter().map(|assertion| assertion.name.as_str()))?;
        if self.backup.is_some() && !self.assertions.is_empty() {
            let message = "they are asked of what is restored here, and another tool makes its backups";
            return Err(ConfigError::rule(path, message));
        }
        self.assertions.iter().try_for_each(|one| one.check(&format!("{path}.{}", one.name)))
    }
}

/// How far and how long a release can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// How long after the deploy a rollback is possible without being forced.
    pub window: Span,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { window: Span::from_secs(60 * 60) }
    }
}
