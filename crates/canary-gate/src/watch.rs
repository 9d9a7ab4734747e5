//! `canary-gate --stage <name>`: watches until there is a verdict.

use crate::args::{self, Args};
use crate::hold;
use crate::journal::{Header, Journal};
use crate::judge::{Decision, Judge};
use crate::live;
use crate::plan::{How, Plan, Target, plan};
use crate::probe::Http;
use crate::report::{self, Progress};
use crate::sample::Sampler;
use crate::source::{Feeds, GaugeLook, Gauges, Surroundings, Trouble};
use crate::stop;
use crate::tick::Tick;
use kit_contract::body::{Gate, Migration, Rollout, RuleState};
use kit_contract::config::{Config, RuleAction, Source};
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Name, Reason};
use kit_core::{Level, StepError};
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Qualifier, ReadSpec, Step, StepContext,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// What is known so far is kept for the artifact every so many ticks.
const SAVE_EVERY_TICKS: u64 = 5;
/// A view on a terminal is drawn anew after this time.
const REDRAW_MS: u64 = 500;
/// So long it is no news that a rule knows nothing yet.
const RULES_ARE_QUIET_MS: u64 = 10_000;
/// The file that stops the gate, in the artifact folder.
pub(crate) const STOP_FILE: &str = "stop.json";

/// The step.
pub(crate) struct Watch;

impl Step for Watch {
    type Args = Args;
    type Body = Gate;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Watches the canary of one stage and says whether it may go on",
        details: "Probes canary and baseline of every service side by side for as long as the stage lasts. \
                  Promotes a canary that kept every criterion; rolls back one that broke a criterion which its \
                  baseline kept, as soon as that is seen; holds while both fail together, and waits for them to \
                  recover; is inconclusive where it saw too little or nothing at all. A probe is a GET request \
                  on a connection of its own; every answer but a status of 200 to 299 is a failure. A service \
                  with a source is not probed: what others count is judged, and a source that fails is unknown, \
                  not healthy. Every tick is written beside the artifact, so that `canary-gate replay` can check the verdict.",
        examples: &[
            Example { what: "judge a stage of deploy.toml", line: "canary-gate --stage canary" },
            Example {
                what: "judge any two addresses, without deploy.toml",
                line: "canary-gate --stage try --canary-url http://127.0.0.1:8081/health --baseline-url \
                       http://127.0.0.1:8080/health --duration 1m --interval 500ms",
            },
        ],
        reads: &[
            ReadSpec {
                kind: ArtifactKind::Rollout,
                required: false,
                what_for: "the share that was observed; of the same stage, and required inside a deployment",
            },
            ReadSpec {
                kind: ArtifactKind::Deployment,
                required: false,
                what_for: "the version, for a source that asks for {version}",
            },
            ReadSpec {
                kind: ArtifactKind::Migration,
                required: false,
                what_for: "what was migrated: named first where both versions fail together",
            },
        ],
        qualifier: Some(Qualifier::Input("stage")),
        outputs: &[OutputSpec { name: "verdict", help: "promote, rollback, hold, inconclusive or unknown" }],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "watches the whole stage again; the ticks of the run before move to the history",
        deadline: args::DEADLINE,
    };

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        args::from_config(config)
    }

    async fn run(args: Args, cx: StepContext<Gate>) -> Result<Outcome<Gate>, StepError> {
        let rollout = rollout(&args, &cx)?;
        let plan = plan(&args, cx.config(), &cx.identity().app, rollout.as_ref())?;
        let stop_file = args.stop_file.unwrap_or_else(|| cx.artifacts().path().join(STOP_FILE));
        let hold = hold::keep(&cx, args.hold_with.as_deref(), &stop_file);
        let mut run = Run::start(&cx, &plan, stop_file.clone(), args.shadow)?;
        let decision = tokio::select! {
            decision = run.until_decided() => decision?,
            never = hold => match never {},
        };
        if args.shadow && decision.reason != Reason::StopRequested {
            let (_, told) = run.header.told(&decision);
            let message = format!("would have been {}: {told}", report::word(decision.verdict));
            return Ok(Outcome::new(Reason::Shadowed, message, run.header.body(&decision)));
        }
        let (reason, message) = run.header.told(&decision);
        Ok(Outcome::new(reason, message, run.header.body(&decision)))
    }

    fn outputs(artifact: &Artifact<Gate>) -> Vec<(&'static str, String)> {
        let verdict = artifact.body.as_ref().map_or("unknown", |body| report::word(body.verdict));
        vec![("verdict", verdict.to_owned())]
    }

    fn summary(artifact: &Artifact<Gate>) -> String {
        artifact.body.as_ref().map(report::summary).unwrap_or_default()
    }
}

/// The migrations that this deploy applied, if it did.
fn migrated(cx: &StepContext<Gate>) -> Result<Vec<String>, StepError> {
    let artifact = cx.read_if_there::<Migration>(&ArtifactName::only(ArtifactKind::Migration))?;
    let databases = artifact.and_then(|artifact| artifact.body).filter(|body| !body.dry_run);
    let databases = databases.map(|body| body.databases).unwrap_or_default();
    let names = databases.into_iter().flat_map(|one| {
        let name = one.database;
        one.applied.into_iter().map(move |applied| format!("{name} to {}", applied.version))
    });
    Ok(names.collect())
}

/// The version that is deployed, if this belongs to a deployment.
fn version(cx: &StepContext<Gate>) -> Result<Option<String>, StepError> {
    let deployment =
        cx.read_if_there::<kit_contract::body::Deployment>(&ArtifactName::only(ArtifactKind::Deployment))?;
    Ok(deployment.and_then(|artifact| artifact.body).map(|body| body.version.to_string()))
}

/// Longest piece of foreign text that is repeated.
const LONGEST_CHARS: usize = 300;

fn source(target: &Target) -> Option<(Name, Source, bool)> {
    match &target.how {
        How::Source(source, with_baseline) => Some((target.service.clone(), source.clone(), *with_baseline)),
        How::Probe(_) => None,
    }
}

/// What moved the traffic of this stage, which must say go. `None` for a gate that runs alone.
fn rollout(args: &Args, cx: &StepContext<Gate>) -> Result<Option<Artifact<Rollout>>, StepError> {
    if cx.identity().standalone {
        return Ok(None);
    }
    let name = ArtifactName::qualified(ArtifactKind::Rollout, args.stage.clone());
    cx.read_go(&name).map(Some)
}

/// One stage under way.
pub(crate) struct Run<'a> {
    cx: &'a StepContext<Gate>,
    pub(crate) header: Header,
    judge: Judge,
    sampler: Sampler<Http>,
    feeds: Feeds,
    gauges: Gauges,
    told: BTreeSet<(Name, RuleState)>,
    journal: Journal,
    progress: Progress,
    stop_file: PathBuf,
    /// Lines of the view that is on the terminal.
    drawn: usize,
    redraw_at_ms: u64,
    asks: bool,
    was_holding: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn start(
        cx: &'a StepContext<Gate>,
        plan: &Plan,
        stop_file: PathBuf,
        shadow: bool,
    ) -> Result<Self, StepError> {
        let settings = plan.settings.clone();
        let (http, arms) = Http::new(cx.context(), plan)?;
        let header = Header::new(plan.stage.clone(), plan.share_percent, settings.clone(), plan.watched());
        let header = Header { shadow, migrated: migrated(cx)?, ..header };
        let journal = Journal::start(cx.artifacts().path(), &header, cx.attempt())?;
        for line in report::start(&header).iter().chain(&plan.remarks) {
            cx.out.say(line);
        }
        let events = plan.events.iter().map(|(rule, source)| (rule.clone(), source.clone(), true));
        let sources: Vec<_> = plan.targets.iter().filter_map(source).chain(events).collect();
        let interval = Duration::from_millis(settings.interval_ms);
        let timeout = Duration::from_millis(settings.timeout_ms);
        let around = Surroundings {
            cx: cx.context().clone(),
            folder: cx.resolve("."),
            version: version(cx)?,
            began: cx.clock.elapsed(),
            interval,
            timeout,
        };
        let sampler = Sampler::new(http, cx.clock, arms, interval, timeout);
        Ok(Self {
            cx,
            feeds: Feeds::start(&sources, &around)?,
            gauges: Gauges::start(&plan.gauges, &around)?,
            told: BTreeSet::new(),
            judge: Judge::new(settings.clone(), &header.services),
            sampler,
            journal,
            progress: Progress::new(&settings),
            stop_file,
            asks: plan.asks,
            was_holding: false,
            drawn: 0,
            redraw_at_ms: 0,
            header,
        })
    }

    /// Round after round: look for a stop request, probe, write down, judge.
    pub(crate) async fn until_decided(&mut self) -> Result<Decision, StepError> {
        loop {
            if let Some(why) = stop::requested(&self.stop_file) {
                let (now_ms, why) = (self.sampler.now_ms(), self.cx.out.clean(&why));
                self.journal.stop(now_ms, &why)?;
                return Ok(self.judge.stop(now_ms, &why));
            }
            let round = self.sampler.round(self.judge.wants_more());
            let Some(tick) = self.cx.cancel.unless(round).await else { return Err(self.cancelled()) };
            let mut tick = tick?;
            self.read_sources(&mut tick)?;
            self.read_gauges(tick.t_ms)?;
            self.journal.tick(&tick)?;
            if let Some(decision) = self.judge.feed(&tick) {
                return Ok(decision);
            }
            if self.judge.ticks() % SAVE_EVERY_TICKS == 1 {
                self.save();
            }
            self.tell_of_a_hold();
            self.tell_of_rules();
            self.show();
        }
    }

    /// Says it when a hold begins that nobody but a human ends before its time.
    fn tell_of_a_hold(&mut self) {
        let is_holding = self.judge.is_holding();
        if is_holding && !self.was_holding && self.header.settings.holds_on {
            let message = "canary and baseline fail together: the canary keeps its share and is watched until both \
                           recover or the deadline is over; `deploy-kit stop` withdraws it now";
            self.cx.out.say(message);
            if self.asks {
                self.cx.out.annotate(Level::Warning, "canary-gate asks for a human", message);
            }
            self.drawn = 0;
        }
        self.was_holding = is_holding;
    }

    /// A view that is redrawn on a terminal, a line now and then elsewhere.
    fn show(&mut self) {
        if !self.cx.out.is_terminal() {
            for line in self.progress.lines(&self.judge, &self.header.settings) {
                self.cx.out.say(&line);
            }
            return;
        }
        let now_ms = self.judge.watched_ms();
        if now_ms >= self.redraw_at_ms {
            self.redraw_at_ms = now_ms + REDRAW_MS;
            let view = live::view(&self.header, &self.judge.standing(), now_ms);
            self.cx.out.redraw(self.drawn, &view);
            self.drawn = view.len();
        }
    }

    /// Adds what others counted meanwhile.
    fn read_sources(&mut self, tick: &mut Tick) -> Result<(), StepError> {
        let (arms, troubles) = self.feeds.take();
        tick.arms.extend(arms);
        for mut trouble in troubles {
            let Trouble { service, arm, .. } = &trouble;
            // A line that is said moves the view: the next one is drawn below.
            self.drawn = 0;
            let whom = format!("{service}, {}", arm.as_str());
            trouble.what =
                trouble.what.map(|what| self.cx.out.clean(&what).chars().take(LONGEST_CHARS).collect());
            match &trouble.what {
                Some(what) => self.cx.out.say(&format!("{whom}: not counted: {what}")),
                None => self.cx.out.say(&format!("{whom}: counted again")),
            }
            self.journal.trouble(tick.t_ms, &trouble)?;
            self.judge.note_trouble(&trouble.service, trouble.arm, trouble.what.as_deref());
        }
        Ok(())
    }

    /// Adds what the gauges of rules show.
    fn read_gauges(&mut self, t_ms: u64) -> Result<(), StepError> {
        for GaugeLook { rule, read } in self.gauges.take() {
            let read = read.map_err(|what| self.cx.out.clean(&what).chars().take(LONGEST_CHARS).collect());
            let look = GaugeLook { rule, read };
            self.journal.gauge(t_ms, &look)?;
            self.judge.note_gauge(t_ms, &look.rule, look.read.as_ref().copied().map_err(String::as_str));
        }
        Ok(())
    }

    /// Says it once when a rule that only warns holds, or when it is no longer known how a rule stands.
    fn tell_of_rules(&mut self) {
        for rule in self.judge.rules() {
            let warns = rule.action == RuleAction::Warn && rule.state == RuleState::Holds;
            let unknown = rule.state == RuleState::Unknown && self.judge.watched_ms() >= RULES_ARE_QUIET_MS;
            let key = (rule.rule.clone(), rule.state);
            if (warns || unknown) && self.told.insert(key) {
                let message = format!("rule {}: {}", rule.rule, rule.message);
                self.cx.out.say(&message);
                self.cx.out.annotate(Level::Warning, "canary-gate, a rule of yours", &message);
                self.drawn = 0;
            }
        }
    }

    /// Keeps what is known, should this be killed.
    fn save(&self) {
        self.cx.save(self.header.body(&self.judge.standing()));
    }

    fn cancelled(&mut self) -> StepError {
        let now_ms = self.sampler.now_ms();
        let decision = self.judge.abandon(now_ms);
        self.cx.save(self.header.body(&decision));
        // The frame knows why; a file that cannot be written now changes nothing about that.
        let _ = self.journal.end(now_ms);
        StepError::new(
            Reason::Interrupted,
            format!("cancelled before there was a verdict: {}", decision.message),
        )
    }
}
