//! The neutral message: what happened, what is where now, what to do. Pure.

mod alone;
mod record;
mod rollback;
mod unrecorded;

pub(crate) use alone::of_alone;
pub(crate) use record::of_record;
pub(crate) use rollback::of_rollback;
pub(crate) use unrecorded::of_nothing;

use jiff::Timestamp;
use kit_contract::config::Event;
use kit_contract::{DeploymentId, Name, RunInfo};

/// What people are told, before it takes the form of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// What happened.
    pub(crate) event: Event,
    /// The app.
    pub(crate) app: Name,
    /// The environment.
    pub(crate) environment: Name,
    /// The deployment that it is about.
    pub(crate) deployment_id: DeploymentId,
    /// The version that was deployed or undone, where known.
    pub(crate) version: Option<String>,
    /// The stable code of what ended it.
    pub(crate) reason: String,
    /// One line.
    pub(crate) title: String,
    /// Facts by name.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Sentences: what failed, what is where now, what to do.
    pub(crate) lines: Vec<String>,
    /// Where to look; http or https.
    pub(crate) url: Option<String>,
    /// When it happened.
    pub(crate) at: Timestamp,
    /// Attempt of the artifact that is announced: the same event of a later attempt is news.
    pub(crate) attempt: u32,
    /// Until when a rollback is possible.
    pub(crate) rollback_until: Option<Timestamp>,
}

impl Message {
    /// The same, each text as `clean` gives it back.
    pub(crate) fn cleaned(mut self, clean: impl Fn(&str) -> String) -> Self {
        self.title = clean(&self.title);
        self.version = self.version.as_deref().map(&clean);
        for (_, value) in &mut self.fields {
            *value = clean(value);
        }
        for line in &mut self.lines {
            *line = clean(line);
        }
        self.url = self.url.as_deref().map(&clean);
        self
    }
}

/// `Production deployment successful`.
fn title(environment: &Name, rest: &str) -> String {
    let text = environment.as_str();
    let mut letters = text.chars();
    let first: String = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().collect();
    format!("{first}{} {rest}", letters.as_str())
}

/// The fields that every message has, in the order of the guide.
fn fields(
    version: Option<&str>,
    deployment_id: &DeploymentId,
    app: &Name,
    environment: &Name,
    run: &RunInfo,
) -> Vec<(&'static str, String)> {
    let mut fields = vec![("App", app.to_string())];
    fields.extend(version.map(|version| ("Version", version.to_owned())));
    fields.push(("Deployment ID", deployment_id.to_string()));
    fields.push(("Environment", environment.to_string()));
    fields.extend(run.actor.clone().map(|actor| ("Started by", actor)));
    fields
}

/// The address of the run, if it is one that may become a link.
fn link(run: &RunInfo) -> Option<String> {
    let text = run.url.as_deref()?;
    let parsed = url::Url::parse(text).ok()?;
    matches!(parsed.scheme(), "http" | "https").then(|| parsed.to_string())
}

/// A moment as people read it.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
