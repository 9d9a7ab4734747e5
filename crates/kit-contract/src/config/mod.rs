//! `deploy.toml`: what it may hold, and how it is read.
//!
//! Reading is pure: text in, [`Config`] or [`ConfigError`] out. Unknown keys are errors with line,
//! column and the nearest known key, inside overlays too; every overlay is checked whichever
//! environment is asked for.

mod address;
mod app;
mod assertion;
mod backup;
mod channel;
mod de;
mod error;
mod gate;
mod preflight;
mod restore;
mod rule;
mod secret;
mod smoke;
mod source;
mod span;
mod store;
mod tools;
mod traffic;
mod tree;

pub use address::{HeaderValue, Headers};
pub use app::{
    Database, DumpFormat, ExternalCommand, MigrationTool, Prereleases, Release, Rollback, ScratchKind,
    Service,
};
pub use assertion::{Assertion, Expected};
pub use backup::{
    BUNDLE, Backup, BackupEncryption, Bundle, DrillLimits, Keep, RequiredProof, WantedProof, When,
};
pub use channel::{Channel, ChannelKind, Event};
pub use error::{ConfigError, nearest};
pub use gate::{Gate, HoldAction, InconclusiveAction, ProbeTarget, ServiceProbe, Stage};
pub use preflight::Preflight;
pub use restore::{Hook, Restore};
pub use rule::{CommandGauge, Gauge as GaugeSource, JsonGauge, PrometheusGauge, Rule, RuleAction};
pub use secret::SecretRef;
pub use smoke::{Expect, Smoke, SmokeCheck};
pub use source::{
    CommandSource, FileSource, HaproxySource, JsonCounts, JsonSource, MetricsSource, PrometheusSource,
    Selectors, Source,
};
pub use span::{ParseSpanError, Span};
pub use store::{Encryption, ObjectLock, ObjectLockMode, StorageClass, StoreConfig};
pub use tools::{ContainerEngine, Tools, ToolsImage};
pub use traffic::{Driver, Traffic};
pub use tree::Position;

use crate::{Name, Sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole of `deploy.toml`, with one environment's overlay applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The app: a name for what is deployed together. A monorepo has one file per app.
    pub app: Name,
    /// Where the memory between deploys lies.
    #[serde(default)]
    pub store: StoreConfig,
    /// Which tags are releases.
    #[serde(default)]
    pub release: Release,
    /// What is deployed together, in this order; undone in reverse.
    #[serde(default)]
    pub services: Vec<Service>,
    /// The databases that belong to the app.
    #[serde(default)]
    pub databases: Vec<Database>,
    /// How backups are made and proved.
    #[serde(default)]
    pub backup: Backup,
    /// What is done around a restore.
    #[serde(default)]
    pub restore: Restore,
    /// How traffic is moved.
    #[serde(default)]
    pub traffic: Traffic,
    /// The stages of the rollout, in order. The last is 100 %.
    #[serde(default = "gate::default_stages")]
    pub stages: Vec<Stage>,
    /// How a stage is judged, unless it says otherwise.
    #[serde(default)]
    pub gate: Gate,
    /// What must be true before anything is touched.
    #[serde(default)]
    pub preflight: Preflight,
    /// What must be true of the release.
    #[serde(default)]
    pub smoke: Smoke,
    /// Who is told.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// How far and how long a release can be undone.
    #[serde(default)]
    pub rollback: Rollback,
}

/// The file as it is written: the base, and one overlay per environment.
///
/// Only the schema is made from this type; reading goes through the tree.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "describes the file for its JSON Schema")]
pub(crate) struct File {
    #[schemars(flatten)]
    base: Config,
    /// Overlays by environment: any table of the file, laid over it. Arrays are replaced whole.
    env: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
}

impl Config {
    /// Reads `text` for `environment`.
    ///
    /// # Errors
    /// The first thing that is wrong in the base, in any overlay, or between values.
    pub fn parse(text: &str, environment: &Name) -> Result<Self, ConfigError> {
        let mut base = tree::parse(text).map_err(|(message, at)| ConfigError::at(message, at))?;
        let overlays = take_overlays(&mut base)?;
        let mut chosen = None;
        for (name, overlay) in overlays {
            let mut merged = base.clone();
            tree::merge(&mut merged, overlay);
            let config = Self::from_tree(merged)?;
            if name == environment.as_str() {
                chosen = Some(config);
            }
        }
        match chosen {
            Some(config) => Ok(config),
            None => Self::from_tree(base),
        }
    }

    fn from_tree(node: tree::Node) -> Result<Self, ConfigError> {
        let config = Self::deserialize(node)?;
        config.check()?;
        Ok(config)
    }

    /// The effective configuration as canonical TOML: what the record keeps. Holds no secret, since
    /// the file can only name them.
    ///
    /// # Errors
    /// Never for a configuration that was read by [`Config::parse`].
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Digest of the effective configuration.
    ///
    /// # Errors
    /// As [`Config::to_toml`].
    pub fn sha256(&self) -> Result<Sha256, toml::ser::Error> {
        Ok(Sha256::of(self.to_toml()?.as_bytes()))
    }

    /// Every secret that the file names, once each, in the order in which a reader meets them.
    pub fn secret_refs(&self) -> Vec<&SecretRef> {
        let databases = self
            .databases
            .iter()
            .flat_map(|database| std::iter::once(&database.url).chain(&database.scratch_url));
        let channels =
            self.channels.iter().flat_map(|channel| channel.url.iter().chain(channel.signing_secret.iter()));
        let mut references: Vec<&SecretRef> = Vec::new();
        for reference in
            databases.chain(channels).chain(self.secret_headers()).chain(self.preflight.secrets.iter())
        {
            if !references.contains(&reference) {
                references.push(reference);
            }
        }
        references
    }

    /// The secrets that headers of probes, sources and checks name.
    pub fn secret_headers(&self) -> impl Iterator<Item = &SecretRef> {
        let probes = self.services.iter().filter_map(|service| service.probe.as_ref());
        let targets = probes.flat_map(|probe| std::iter::once(&probe.canary).chain(&probe.baseline));
        let headers = targets.map(|target| &target.headers);
        let sources = self.services.iter().filter_map(|service| service.source.as_ref());
        headers
            .chain(self.smoke.checks.iter().map(|check| &check.headers))
            .flat_map(address::secrets_of)
            .chain(sources.flat_map(source::Source::secrets))
            .chain(self.gate.rules.iter().flat_map(rule::Rule::secrets))
    }

    /// The rules over several values, in the order in which a reader meets them.
    fn check(&self) -> Result<(), ConfigError> {
        unique("services", self.services.iter().map(|service| service.name.as_str()))?;
        unique("databases", self.databases.iter().map(|database| database.name.as_str()))?;
        unique("stages", self.stages.iter().map(|stage| stage.name.as_str()))?;
        unique("channels", self.channels.iter().map(|channel| channel.name.as_str()))?;
        unique("smoke.checks", self.smoke.checks.iter().map(|check| check.name.as_str()))?;
        gate::check_stages(&self.stages)?;
        self.store.check()?;
        self.release.check()?;
        self.backup.check(&self.databases)?;
        for database in &self.databases {
            database.check()?;
        }
        self.restore.check()?;
        self.traffic.check()?;
        for service in &self.services {
            service.check()?;
        }
        self.check_rules()?;
        self.smoke.check()
    }

    fn check_rules(&self) -> Result<(), ConfigError> {
        let services: Vec<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
        let rules = self.gate.rules.iter().map(|rule| rule.name.as_str());
        // Both are told by their names alone.
        unique("gate.rules", rules.chain(services.iter().copied()))?;
        for rule in &self.gate.rules {
            rule.check()?;
            let Some(service) = rule.service.as_ref().map(Name::as_str) else { continue };
            if !services.contains(&service) {
                let near = nearest(service, &services).map(|near| format!("; did you mean {near:?}?"));
                let message = format!("there is no service {service:?}{}", near.unwrap_or_default());
                return Err(ConfigError::rule(format!("gate.rules.{}.service", rule.name), message));
            }
        }
        Ok(())
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ConfigError::rule(what, format!("the name {name:?} stands there twice")));
        }
    }
    Ok(())
}

/// Takes the `env` table out of the document.
fn take_overlays(base: &mut tree::Node) -> Result<Vec<(String, tree::Node)>, ConfigError> {
    let tree::Value::Table(root) = &mut base.value else { return Ok(Vec::new()) };
    let Some(env) = root.remove("env") else { return Ok(Vec::new()) };
    let tree::Value::Table(environments) = env.node.value else {
        return Err(ConfigError::at("env holds one table per environment: [env.staging]", env.node.at));
    };
    let mut overlays = Vec::new();
    for (name, entry) in environments {
        if let Err(error) = name.parse::<Name>() {
            return Err(ConfigError::at(error.to_string(), entry.key_at));
        }
        if !matches!(entry.node.value, tree::Value::Table(_)) {
            return Err(ConfigError::at(format!("env.{name} must be a table"), entry.node.at));
        }
        overlays.push((name, entry.node));
    }
    Ok(overlays)
}

#[cfg(test)]
mod tests;
