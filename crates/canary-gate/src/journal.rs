//! The file of ticks: everything the judge was told, one JSON object per line, written before it judged.

use crate::judge::{Decision, Settings, Watched};
use crate::source::{GaugeLook, Trouble};
use crate::tick::{Arm, ArmTick, Counts, Kind, Sample, Tick};
use kit_contract::body::{Gate, GateVerdict};
use kit_contract::{Name, Reason};
use kit_core::fs::{self, FsError};
use kit_core::{ResultExt as _, StepError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Kind and version of the file.
const SCHEMA: &str = "deploy-kit/gate-ticks/v1";
/// The stages in which the version that serves now is measured.
const BEFORE: &str = "before-migration";
const AFTER: &str = "after-migration";
/// A stage of a day, probed ten times a second, stays below this.
const LIMIT_BYTES: u64 = 512 << 20;

/// The first line: what the verdict depends on besides the ticks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) schema: String,
    pub(crate) stage: Name,
    pub(crate) share_percent: Option<f64>,
    pub(crate) settings: Settings,
    pub(crate) services: Vec<Watched>,
    pub(crate) ticks_file: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shadow: bool,
    /// The migrations that this deploy applied, by database and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) migrated: Vec<String>,
}

impl Header {
    pub(crate) fn new(
        stage: Name,
        share_percent: Option<f64>,
        settings: Settings,
        services: Vec<Watched>,
    ) -> Self {
        let ticks_file = format!("gate-{stage}.ticks.jsonl");
        Self {
            schema: SCHEMA.to_owned(),
            stage,
            share_percent,
            settings,
            services,
            ticks_file,
            shadow: false,
            migrated: Vec::new(),
        }
    }

    /// True if the version that serves now was measured, and no canary.
    pub(crate) fn is_baseline(&self) -> bool {
        matches!(self.stage.as_str(), BEFORE | AFTER) && self.services.iter().all(|watched| !watched.baseline)
    }

    /// What is concluded from a decision, and said of it.
    pub(crate) fn told(&self, decision: &Decision) -> (Reason, String) {
        let stopped = decision.reason == Reason::StopRequested;
        let decided = matches!(decision.verdict, GateVerdict::Promote | GateVerdict::Rollback);
        if !self.is_baseline() || stopped {
            return (decision.reason, self.message(decision));
        }
        // The judge speaks of a canary beside a baseline; here is one version alone.
        let text =
            decision.message.replace("canary ", "").replace(", and there is no baseline to compare with", "");
        let text = text.replace(", no baseline to compare with", "");
        let migrated = match self.migrated.as_slice() {
            [] => "the migration".to_owned(),
            names => format!("this deploy migrated {}", names.join(", ")),
        };
        match (self.stage.as_str(), decision.verdict) {
            // The first run never stops a deploy: it may be the one that repairs what is down.
            (BEFORE, _) if !decided => {
                (Reason::BaselineNotCompared, format!("what is normal is not known: {text}"))
            }
            _ if !decided => (decision.reason, text),
            (BEFORE, _) => (Reason::BaselineMeasured, text),
            (_, GateVerdict::Rollback) => (
                Reason::BaselineWorse,
                format!("{migrated}, and the version that serves now is worse since: {text}"),
            ),
            _ => (Reason::BaselineKept, text),
        }
    }

    /// What is said of a decision. Where both versions fail together after a migration of this deploy,
    /// that comes first: it is what changed for both.
    fn message(&self, decision: &Decision) -> String {
        if decision.reason != Reason::CommonMode || self.migrated.is_empty() {
            return decision.message.clone();
        }
        format!(
            "this deploy migrated {}, so look there first: {}",
            self.migrated.join(", "),
            decision.message
        )
    }

    /// The body of the artifact.
    pub(crate) fn body(&self, decision: &Decision) -> Gate {
        Gate {
            stage: self.stage.clone(),
            share_percent: self.share_percent,
            verdict: decision.verdict,
            services: decision.services.clone(),
            rules: decision.rules.clone(),
            planned_ms: self.settings.planned_ms,
            watched_ms: decision.watched_ms,
            ticks: decision.ticks,
            ticks_file: Some(self.ticks_file.clone()),
            shadow: self.shadow,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Start(Box<Header>),
    Tick(ArmLine),
    /// What a source cannot say of an arm, or, without `what`, that it can again.
    Trouble {
        t_ms: u64,
        service: Name,
        arm: Arm,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    },
    /// What a gauge of a rule shows, or, without a value, why nobody knows.
    Gauge {
        t_ms: u64,
        rule: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    },
    /// Somebody asked for a stop.
    Stop {
        t_ms: u64,
        why: String,
    },
    /// The gate was cancelled.
    End {
        t_ms: u64,
    },
}

/// One arm of one service in one tick. The three lists belong together, item by item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ArmLine {
    tick: u64,
    t_ms: u64,
    service: Name,
    arm: Arm,
    /// For readers; they follow from `kinds`.
    n: u64,
    errors: u64,
    pending: u64,
    kinds: Vec<Kind>,
    sent_ms: Vec<u64>,
    latencies_ms: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    counts: Vec<Counts>,
}

impl ArmLine {
    fn new(tick: u64, t_ms: u64, arm: &ArmTick) -> Self {
        let samples = &arm.samples;
        Self {
            tick,
            t_ms,
            service: arm.service.clone(),
            arm: arm.arm,
            n: samples.len() as u64,
            errors: samples.iter().filter(|sample| sample.kind.is_failure()).count() as u64,
            pending: arm.pending,
            kinds: samples.iter().map(|sample| sample.kind).collect(),
            sent_ms: samples.iter().map(|sample| sample.sent_ms).collect(),
            latencies_ms: samples.iter().map(|sample| sample.latency_ms).collect(),
            counts: arm.counts.clone(),
        }
    }

    /// `None` if the line contradicts itself.
    fn into_arm(self) -> Option<ArmTick> {
        let n = self.kinds.len();
        let samples: Vec<Sample> = self
            .kinds
            .iter()
            .zip(&self.sent_ms)
            .zip(&self.latencies_ms)
            .map(|((kind, sent_ms), latency_ms)| Sample {
                kind: *kind,
                sent_ms: *sent_ms,
                latency_ms: *latency_ms,
            })
            .collect();
        let (service, counts) = (self.service, self.counts);
        let arm = ArmTick { service, arm: self.arm, samples, pending: self.pending, counts };
        let errors = arm.samples.iter().filter(|sample| sample.kind.is_failure()).count();
        let whole = arm.samples.len() == n
            && (self.sent_ms.len(), self.latencies_ms.len()) == (n, n)
            && (self.n, self.errors) == (n as u64, errors as u64);
        whole.then_some(arm)
    }
}

/// Writes the file as the stage goes on.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    ticks: u64,
}

impl Journal {
    /// Starts the file in `folder`. What an earlier attempt left is moved to the history there.
    ///
    /// # Errors
    /// If it cannot be written: a verdict without its ticks could not be checked.
    pub(crate) fn start(folder: &Path, header: &Header, attempt: u32) -> Result<Self, StepError> {
        let path = folder.join(&header.ticks_file);
        set_aside(folder, header, attempt).or_reason(Reason::ArtifactUnwritable, unwritable())?;
        fs::create_new(&path, &bytes(&Line::Start(Box::new(header.clone())))?)
            .or_reason(Reason::ArtifactUnwritable, unwritable())?;
        Ok(Self { path, ticks: 0 })
    }

    pub(crate) fn tick(&mut self, tick: &Tick) -> Result<(), StepError> {
        self.ticks += 1;
        let mut text = Vec::new();
        for arm in &tick.arms {
            text.extend(bytes(&Line::Tick(ArmLine::new(self.ticks, tick.t_ms, arm)))?);
        }
        self.append(&text)
    }

    pub(crate) fn trouble(&self, t_ms: u64, trouble: &Trouble) -> Result<(), StepError> {
        let Trouble { service, arm, what } = trouble.clone();
        self.append(&bytes(&Line::Trouble { t_ms, service, arm, what })?)
    }

    pub(crate) fn gauge(&self, t_ms: u64, look: &GaugeLook) -> Result<(), StepError> {
        let (value, what) = match &look.read {
            Ok(value) => (Some(*value), None),
            Err(what) => (None, Some(what.clone())),
        };
        self.append(&bytes(&Line::Gauge { t_ms, rule: look.rule.clone(), value, what })?)
    }

    pub(crate) fn stop(&self, t_ms: u64, why: &str) -> Result<(), StepError> {
        self.append(&bytes(&Line::Stop { t_ms, why: why.to_owned() })?)
    }

    pub(crate) fn end(&self, t_ms: u64) -> Result<(), StepError> {
        self.append(&bytes(&Line::End { t_ms })?)
    }

    fn append(&self, text: &[u8]) -> Result<(), StepError> {
        fs::append(&self.path, text).or_reason(Reason::ArtifactUnwritable, unwritable())
    }
}

fn unwritable() -> &'static str {
    "the ticks cannot be written"
}

fn bytes(line: &Line) -> Result<Vec<u8>, StepError> {
    let mut bytes = serde_json::to_vec(line).or_reason(Reason::InternalError, "a tick is no JSON")?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn set_aside(folder: &Path, header: &Header, attempt: u32) -> Result<(), FsError> {
    let path = folder.join(&header.ticks_file);
    let history = folder.join("history");
    fs::create_folder(folder)?;
    let names = fs::list(folder)?.unwrap_or_default();
    if !names.contains(&header.ticks_file) {
        return Ok(());
    }
    fs::create_folder(&history)?;
    let earlier = attempt.saturating_sub(1);
    fs::rename(&path, &history.join(format!("gate-{}.{earlier}.ticks.jsonl", header.stage)))
}

/// What the file tells, after its head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Tick(Tick),
    Trouble(Trouble),
    Gauge { t_ms: u64, look: GaugeLook },
    Stop { t_ms: u64, why: String },
    End { t_ms: u64 },
}

/// Reads a file of ticks.
///
/// # Errors
/// If it cannot be read, or a line of it is not one that the gate writes.
pub(crate) fn read(path: &Path) -> Result<(Header, Vec<Event>), StepError> {
    let text =
        fs::read_text(path, LIMIT_BYTES).or_reason(Reason::ArtifactMissing, "the ticks cannot be read")?;
    let invalid = |number: usize, what: &str| {
        StepError::new(Reason::ArtifactInvalid, format!("{}, line {number}: {what}", path.display()))
    };
    let mut lines = text.lines().enumerate();
    let first = lines.next().and_then(|(_, line)| serde_json::from_str(line).ok());
    let Some(Line::Start(header)) = first else {
        return Err(invalid(1, "it is not the head of a file of ticks"));
    };
    let header = *header;
    if header.schema != SCHEMA {
        return Err(invalid(1, "it was written by another version"));
    }
    let mut events: Vec<Event> = Vec::new();
    let mut current = None;
    for (at, line) in lines {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| invalid(at + 1, "it is not one that the gate writes").because(error))?;
        match line {
            Line::Start(_) => return Err(invalid(at + 1, "there is a second head")),
            Line::Trouble { service, arm, what, .. } => {
                events.push(Event::Trouble(Trouble { service, arm, what }));
                current = None;
            }
            Line::Gauge { t_ms, rule, value, what } => {
                let read = value.ok_or_else(|| what.unwrap_or_default());
                events.push(Event::Gauge { t_ms, look: GaugeLook { rule, read } });
                current = None;
            }
            Line::Stop { t_ms, why } => events.push(Event::Stop { t_ms, why }),
            Line::End { t_ms } => events.push(Event::End { t_ms }),
            Line::Tick(line) => {
                let (number, t_ms) = (line.tick, line.t_ms);
                let arm = line.into_arm().ok_or_else(|| invalid(at + 1, "it contradicts itself"))?;
                match events.last_mut() {
                    Some(Event::Tick(tick)) if current == Some(number) => tick.arms.push(arm),
                    _ => events.push(Event::Tick(Tick { t_ms, arms: vec![arm] })),
                }
                current = Some(number);
            }
        }
    }
    Ok((header, events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::config::{Gate as Criteria, Span};

    fn header() -> Header {
        let settings = Settings::new(&Criteria::default(), Span::from_secs(60));
        let services = vec![Watched { service: "api".parse().unwrap(), baseline: true }];
        Header::new("half".parse().unwrap(), Some(12.5), settings, services)
    }

    fn tick(t_ms: u64) -> Tick {
        let sample = |kind, latency_ms| Sample { kind, sent_ms: t_ms - 1, latency_ms };
        let arm = |arm, samples| ArmTick {
            service: "api".parse().unwrap(),
            arm,
            samples,
            pending: 3,
            counts: vec![Counts { until_ms: t_ms, requests: 7, errors: 1, latencies: None }],
        };
        Tick {
            t_ms,
            arms: vec![
                arm(Arm::Canary, vec![sample(Kind::Ok, 0.1), sample(Kind::Timeout, 5000.017)]),
                arm(Arm::Baseline, Vec::new()),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_an_earlier_attempt_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let what = Some("refused".to_owned());
        let trouble = Trouble { service: "api".parse().unwrap(), arm: Arm::Baseline, what };
        for attempt in 1..=2 {
            let mut journal = Journal::start(folder.path(), &header(), attempt).unwrap();
            journal.tick(&tick(1000)).unwrap();
            journal.tick(&tick(2000)).unwrap();
            journal.trouble(2000, &trouble).unwrap();
            journal.stop(2001, "ada").unwrap();
            journal.end(2002).unwrap();
        }
        let (head, events) = read(&folder.path().join("gate-half.ticks.jsonl")).unwrap();
        assert_eq!(head, header());
        assert_eq!(events[..2], [Event::Tick(tick(1000)), Event::Tick(tick(2000))]);
        assert_eq!(events[2], Event::Trouble(trouble));
        assert_eq!(events[3..], [Event::Stop { t_ms: 2001, why: "ada".into() }, Event::End { t_ms: 2002 }]);
        assert!(read(&folder.path().join("history/gate-half.1.ticks.jsonl")).is_ok());
    }

    #[test]
    fn a_file_that_was_touched_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate-half.ticks.jsonl");
        let mut journal = Journal::start(folder.path(), &header(), 1).unwrap();
        journal.tick(&tick(1000)).unwrap();
        let good = fs::read_text(&path, LIMIT_BYTES).unwrap();
        for (from, to, message) in [
            ("\"errors\":1", "\"errors\":0", "line 2: it contradicts itself"),
            ("\"timeout\"", "\"ok\"", "line 2: it contradicts itself"),
            ("[0.1,5000.017]", "[0.1]", "line 2: it contradicts itself"),
            ("\"timeout\"", "\"nap\"", "line 2: it is not one"),
            ("gate-ticks/v1", "gate-ticks/v2", "line 1: it was written by another version"),
            ("\"start\"", "\"tick\"", "line 1: it is not the head"),
        ] {
            fs::write_atomic(&path, good.replacen(from, to, 1).as_bytes()).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.message.contains(message), "{error}");
            assert_eq!(error.reason, Reason::ArtifactInvalid);
        }
        assert_eq!(read(&folder.path().join("none")).unwrap_err().reason, Reason::ArtifactMissing);
    }
}
