//! Counts of others: who counts the requests of a service, and what came of asking.
//!
//! Every source gives [readings](counters::Reading) of counters, at its own pace; [`counters`] makes of
//! them what came between two moments, which is all that the judge is told. A source that fails gives no
//! reading, so nothing is known: that is not zero errors.

mod command;
mod counters;
mod exposition;
mod fetch;
mod gauge;
mod haproxy;
mod json;
mod line;
mod metrics;
mod prometheus;
mod selector;

pub(crate) use counters::Role;
pub(crate) use gauge::{Asked, GaugeLook, Gauges, every as gauge_every};
pub(crate) use selector::Selector;

use crate::tick::{Arm, ArmTick};
use counters::{Counters, Reading};
use kit_contract::config::{JsonCounts, Selectors, Source};
use kit_contract::{Name, Reason};
use kit_core::{Clock, Context, StepError};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const MS: u64 = 1000;
/// A counter that was not read for so many looks is gone.
const STALE_LOOKS: u64 = 4;

/// What one look at one arm gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) arm: Arm,
    pub(crate) readings: Vec<Reading>,
    /// What of it could not be read, for people.
    pub(crate) trouble: Option<String>,
}

impl Look {
    fn failed(arm: Arm, trouble: String) -> Self {
        Self { arm, readings: Vec::new(), trouble: Some(trouble) }
    }

    fn from(arm: Arm, read: Result<Vec<Reading>, String>) -> Self {
        match read {
            Ok(readings) => Self { arm, readings, trouble: None },
            Err(trouble) => Self::failed(arm, trouble),
        }
    }

    /// One look per arm, where several instances were asked.
    fn joined(looks: Vec<Self>) -> Vec<Self> {
        let mut arms: BTreeMap<Arm, Self> = BTreeMap::new();
        for look in looks {
            match arms.get_mut(&look.arm) {
                None => {
                    arms.insert(look.arm, look);
                }
                Some(sum) => {
                    sum.readings.extend(look.readings);
                    sum.trouble = sum.trouble.take().or(look.trouble);
                }
            }
        }
        arms.into_values().collect()
    }
}

/// Whoever can look at both arms.
trait Reader: Send {
    /// One look. Ends by itself.
    fn look(&mut self) -> impl Future<Output = Vec<Look>> + Send;
}

/// The selectors of one version, read.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    requests: Selector,
    errors: Selector,
    latency: Option<Selector>,
}

/// The labels of a series as one text.
fn series(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(",")
}

/// What a source needs to know of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) cx: Context,
    /// Folder of deploy.toml.
    pub(crate) folder: PathBuf,
    /// What is deployed; `None` where that is not known.
    pub(crate) version: Option<String>,
    pub(crate) began: Duration,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Surroundings {
    /// Fills in the version.
    fn fill(&self, text: &str) -> Result<String, StepError> {
        const PLACE: &str = "{version}";
        match &self.version {
            _ if !text.contains(PLACE) => Ok(text.to_owned()),
            Some(version) => Ok(text.replace(PLACE, version)),
            None => Err(StepError::new(
                Reason::ConfigInvalid,
                format!("{text:?} asks for the version, and this run does not know it"),
            )
            .hint("run the gate with deployment.json in its artifact folder, or write the version out")),
        }
    }

    fn select(&self, selectors: &Selectors) -> Result<Select, StepError> {
        let parse = |text: &String| {
            Selector::parse(&self.fill(text)?).map_err(|what| StepError::new(Reason::ConfigInvalid, what))
        };
        Ok(Select {
            requests: parse(&selectors.requests)?,
            errors: parse(&selectors.errors)?,
            latency: selectors.latency.as_ref().map(parse).transpose()?,
        })
    }
}

/// How long the counts of a source may be behind without being late, in ms.
pub(crate) fn lag_ms(source: &Source, interval_ms: u64) -> u64 {
    let look_ms = match source {
        Source::Prometheus(source) => source.scrape_interval.as_ms().max(interval_ms),
        _ => interval_ms,
    };
    look_ms.saturating_mul(STALE_LOOKS)
}

/// Where looks are sent to.
#[derive(Clone, Debug)]
struct Post {
    feed: usize,
    clock: Clock,
    began: Duration,
    to: mpsc::UnboundedSender<Message>,
}

impl Post {
    fn now_ms(&self) -> i64 {
        let since = self.clock.elapsed().saturating_sub(self.began);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn send(&self, looks: Vec<Look>) {
        self.send_at(self.now_ms(), looks);
    }

    fn send_at(&self, at_ms: i64, looks: Vec<Look>) {
        // Nobody listens any more: the stage is over.
        let _ = self.to.send(Message { feed: self.feed, at_ms, looks });
    }
}

#[derive(Debug)]
struct Message {
    feed: usize,
    at_ms: i64,
    looks: Vec<Look>,
}

/// What a source could not say, or that it can again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) service: Name,
    pub(crate) arm: Arm,
    /// `None`: it is over.
    pub(crate) what: Option<String>,
}

/// One source, as far as it was read.
struct Feed {
    service: Name,
    canary: Counters,
    baseline: Option<Counters>,
    /// Moments up to which the canary was known, and the baseline is not yet.
    waiting: VecDeque<u64>,
    handed_ms: u64,
    trouble: BTreeMap<Arm, String>,
}

/// All sources of a stage. They are read for as long as this lives.
pub(crate) struct Feeds {
    feeds: Vec<Feed>,
    from: mpsc::UnboundedReceiver<Message>,
    _reading: JoinSet<()>,
}

impl Feeds {
    /// Begins to read.
    ///
    /// # Errors
    /// If a source cannot be asked as it is configured.
    pub(crate) fn start(sources: &[(Name, Source, bool)], around: &Surroundings) -> Result<Self, StepError> {
        let (to, from) = mpsc::unbounded_channel();
        let mut reading = JoinSet::new();
        let mut feeds = Vec::new();
        for (feed, (service, source, with_baseline)) in sources.iter().enumerate() {
            let post = Post { feed, clock: around.cx.clock, began: around.began, to: to.clone() };
            start(source, *with_baseline, around, post, &mut reading).map_err(|mut error| {
                error.message = format!("source of {service}: {}", error.message);
                error
            })?;
            let interval_ms = u64::try_from(around.interval.as_millis()).unwrap_or(u64::MAX);
            let stale_ms = i64::try_from(lag_ms(source, interval_ms)).unwrap_or(i64::MAX);
            feeds.push(Feed {
                service: service.clone(),
                canary: Counters::new(stale_ms),
                baseline: with_baseline.then(|| Counters::new(stale_ms)),
                waiting: VecDeque::new(),
                handed_ms: 0,
                trouble: BTreeMap::new(),
            });
        }
        Ok(Self { feeds, from, _reading: reading })
    }

    /// What came in since the last time.
    pub(crate) fn take(&mut self) -> (Vec<ArmTick>, Vec<Trouble>) {
        let mut troubles = Vec::new();
        while let Ok(message) = self.from.try_recv() {
            if let Some(feed) = self.feeds.get_mut(message.feed) {
                feed.absorb(message, &mut troubles);
            }
        }
        (self.feeds.iter_mut().flat_map(Feed::hand_over).collect(), troubles)
    }
}

impl Feed {
    fn absorb(&mut self, message: Message, troubles: &mut Vec<Trouble>) {
        for look in message.looks {
            let before = self.trouble.get(&look.arm);
            if before != look.trouble.as_ref() {
                troubles.push(Trouble {
                    service: self.service.clone(),
                    arm: look.arm,
                    what: look.trouble.clone(),
                });
            }
            match look.trouble {
                Some(what) => self.trouble.insert(look.arm, what),
                None => self.trouble.remove(&look.arm),
            };
            match look.arm {
                Arm::Canary => self.canary.absorb(message.at_ms, look.readings),
                Arm::Baseline => {
                    if let Some(baseline) = &mut self.baseline {
                        baseline.absorb(message.at_ms, look.readings);
                    }
                }
            }
        }
    }

    /// What the canary did up to a moment is told as soon as it is known; what the baseline did, up to the
    /// same moments.
    fn hand_over(&mut self) -> Vec<ArmTick> {
        let known =
            |counters: &Counters| counters.known_ms().and_then(|known_ms| u64::try_from(known_ms).ok());
        let mut ticks = Vec::new();
        let mut tick = |arm, counts| {
            let service = self.service.clone();
            ticks.push(ArmTick { service, arm, samples: Vec::new(), pending: 0, counts });
        };
        let mut counts = Vec::new();
        if let Some(known_ms) = known(&self.canary).filter(|known_ms| *known_ms > self.handed_ms) {
            self.handed_ms = known_ms;
            self.waiting.push_back(known_ms);
            counts.push(self.canary.cut(known_ms, None));
        }
        tick(Arm::Canary, counts);
        if let Some(baseline) = &mut self.baseline {
            let known_ms = known(baseline).unwrap_or_default();
            let mut counts = Vec::new();
            while let Some(moment_ms) = self.waiting.front().copied().filter(|moment| *moment <= known_ms) {
                self.waiting.pop_front();
                counts.push(baseline.cut(moment_ms, Some(&self.canary)));
            }
            tick(Arm::Baseline, counts);
        }
        ticks
    }
}

/// Begins to read one source.
fn start(
    source: &Source,
    with_baseline: bool,
    around: &Surroundings,
    post: Post,
    reading: &mut JoinSet<()>,
) -> Result<(), StepError> {
    let Surroundings { cx, folder, began, interval, timeout, .. } = around;
    let (clock, began, interval) = (cx.clock, *began, *interval);
    let fetcher = || fetch::Fetcher::new(cx, *timeout);
    let mut arms = vec![Arm::Canary];
    arms.extend(with_baseline.then_some(Arm::Baseline));
    match source {
        Source::Prometheus(source) => {
            let mut selects = vec![(Arm::Canary, around.select(&source.canary)?)];
            if let Some(baseline) = source.baseline.as_ref().filter(|_| with_baseline) {
                selects.push((Arm::Baseline, around.select(baseline)?));
            }
            let reader = prometheus::Prometheus::new(source, selects, fetcher()?, clock, began)?;
            let every = reader.every().max(interval);
            reading.spawn(poll(clock, every, post, reader));
        }
        Source::Metrics(source) => {
            let selectors = Selectors {
                requests: source.requests.clone(),
                errors: source.errors.clone(),
                latency: source.latency.clone(),
            };
            let reader =
                metrics::Metrics::new(source, around.select(&selectors)?, with_baseline, fetcher()?)?;
            reading.spawn(poll(clock, interval, post, reader));
        }
        Source::Haproxy(source) => {
            let reader = haproxy::Haproxy::new(source, with_baseline, fetcher()?, clock, *timeout)?;
            reading.spawn(poll(clock, interval, post, reader));
        }
        Source::Json(source) => {
            let mut places = vec![(Arm::Canary, filled(&source.canary, around)?)];
            if let Some(baseline) = source.baseline.as_ref().filter(|_| with_baseline) {
                places.push((Arm::Baseline, filled(baseline, around)?));
            }
            let reader = json::Json::new(places, fetcher()?, clock, began)?;
            reading.spawn(poll(clock, interval, post, reader));
        }
        Source::Command(source) => {
            let run = command::run(cx.clone(), source.command.clone(), folder.clone(), arms, interval, post);
            reading.spawn(run);
        }
        Source::File(source) => {
            let reader = command::Tail::new(folder.join(&source.path), arms);
            reading.spawn(poll(clock, interval, post, reader));
        }
    }
    Ok(())
}

fn filled(counts: &JsonCounts, around: &Surroundings) -> Result<JsonCounts, StepError> {
    Ok(JsonCounts { url: around.fill(&counts.url)?, ..counts.clone() })
}

/// Looks again and again. What was read counts as of the moment at which the look began, in both arms.
async fn poll(clock: Clock, every: Duration, post: Post, mut reader: impl Reader) {
    loop {
        let (started, at_ms) = (clock.elapsed(), post.now_ms());
        let looks = reader.look().await;
        post.send_at(at_ms, looks);
        clock.sleep_until(started + every).await;
    }
}

#[cfg(test)]
mod tests;
