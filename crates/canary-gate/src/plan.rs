//! What is watched, for how long, and by which criteria. Pure: settled before the first probe.

use crate::args::Args;
use crate::judge::{Counted, Settings, Statistics, Watched, alpha};
use crate::rules;
use crate::source::{self, Asked};
use kit_contract::body::{Rollout, RolloutAction};
use kit_contract::config::{
    Config, Gate, Headers, HoldAction, InconclusiveAction, ProbeTarget, Service, ServiceProbe, Source, Span,
    Stage, nearest,
};
use kit_contract::{Artifact, Name, Reason};
use kit_core::StepError;
use std::collections::BTreeMap;

/// Faster than this, the probes would be a load of their own.
const SHORTEST_INTERVAL_MS: u64 = 10;

/// How it is known how a service is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    /// The gate asks.
    Probe(ServiceProbe),
    /// Others count. True: there is a baseline, and it has traffic.
    Source(Source, bool),
}

/// One service and how its arms are watched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) service: Name,
    pub(crate) how: How,
}

impl Target {
    /// True if there is something to compare with.
    pub(crate) fn has_baseline(&self) -> bool {
        match &self.how {
            How::Probe(probe) => probe.baseline.is_some(),
            How::Source(_, with_baseline) => *with_baseline,
        }
    }
}

/// What is watched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) stage: Name,
    pub(crate) share_percent: Option<f64>,
    pub(crate) settings: Settings,
    pub(crate) targets: Vec<Target>,
    /// True if a human is called for while both versions fail together.
    pub(crate) asks: bool,
    /// The gauges that rules ask for.
    pub(crate) gauges: Vec<Asked>,
    /// The events that rules ask for, by rule.
    pub(crate) events: Vec<(Name, Source)>,
    /// What is to be said of the rules before the stage.
    pub(crate) remarks: Vec<String>,
}

impl Plan {
    /// One version of each service, held against an error rate of its own (0 to 1) where one is given.
    pub(crate) fn of_one_arm(
        stage: Name,
        gate: &Gate,
        duration: Span,
        targets: Vec<Target>,
        tolerated: &BTreeMap<Name, f64>,
    ) -> Self {
        let alpha = alpha(gate.max_false_rollback_percent, 0, 1, targets.len());
        let mut settings = Settings::new(gate, duration).with(Statistics::new(gate, alpha));
        let least = gate.tolerated_error_percent / 100.0;
        // A rate of 1 would tolerate everything, and none that is measured is as high.
        settings.tolerated =
            tolerated.iter().map(|(name, rate)| (name.clone(), rate.clamp(least, 0.99))).collect();
        for target in &targets {
            if let How::Source(source, _) = &target.how {
                let counted = Counted { share: None, lag_ms: source::lag_ms(source, gate.interval.as_ms()) };
                settings.sources.insert(target.service.clone(), counted);
            }
        }
        Self {
            stage,
            share_percent: None,
            settings,
            targets,
            asks: false,
            gauges: Vec::new(),
            events: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// What the judge must know of the services.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let watched =
            |target: &Target| Watched { service: target.service.clone(), baseline: target.has_baseline() };
        self.targets.iter().map(watched).collect()
    }
}

/// Settles it. `rollout` is what moved the traffic of this stage; `None` where the gate runs alone.
pub(crate) fn plan(
    args: &Args,
    config: &Config,
    app: &Name,
    rollout: Option<&Artifact<Rollout>>,
) -> Result<Plan, StepError> {
    let share_percent = rollout.map(|rollout| share_of(rollout, &args.stage)).transpose()?;
    let gate = args.criteria.to_gate(&config.gate);
    let duration = duration(args, config)?;
    check(&gate, duration)?;
    let known = config.stages.iter().find(|stage| stage.name == args.stage);
    let on_hold = known.and_then(|stage| stage.on_hold).unwrap_or(gate.on_hold);
    let on_inconclusive = known.and_then(|stage| stage.on_inconclusive).unwrap_or(gate.on_inconclusive);
    let known = known.map(|stage| stage.percent);
    // At 100 % nobody is left to compare with, whatever is still counted there.
    let share = share_percent.filter(|percent| *percent > 0.0).or(known).map(|percent| percent / 100.0);
    let targets = targets(args, config, app, share.is_none_or(|share| share < 1.0))?;
    let mut settings = settings(&gate, duration, config, &args.stage, targets.len());
    settings.holds_on = on_hold != HoldAction::Withdraw;
    settings.extends = on_inconclusive == InconclusiveAction::Extend;
    for target in &targets {
        if let How::Source(source, _) = &target.how {
            let counted = Counted { share, lag_ms: source::lag_ms(source, gate.interval.as_ms()) };
            settings.sources.insert(target.service.clone(), counted);
        }
    }
    let compares = share.is_none_or(|share| share < 1.0);
    let rules = rules::resolve(&gate, &settings, &targets, compares);
    settings.rules = rules.settings;
    Ok(Plan {
        stage: args.stage.clone(),
        share_percent,
        settings,
        targets,
        asks: on_hold == HoldAction::Ask,
        gauges: rules.gauges,
        events: rules.events,
        remarks: rules.remarks,
    })
}

/// What the judge of this stage goes by. A stage that deploy.toml does not know counts as the first.
pub(crate) fn settings(
    gate: &Gate,
    duration: Span,
    config: &Config,
    stage: &Name,
    services: usize,
) -> Settings {
    let at = config.stages.iter().position(|known| known.name == *stage).unwrap_or_default();
    // What can prove a fall of events can blame a healthy canary as well as any service.
    let tests = services + gate.rules.iter().filter(|rule| rule.events.is_some()).count();
    let alpha = alpha(gate.max_false_rollback_percent, at, config.stages.len(), tests);
    Settings::new(gate, duration).with(Statistics::new(gate, alpha))
}

/// The smallest share observed over all services. 0 if traffic is not ours to move: nobody observed one.
fn share_of(rollout: &Artifact<Rollout>, stage: &Name) -> Result<f64, StepError> {
    let body = rollout
        .body
        .as_ref()
        .ok_or_else(|| StepError::new(Reason::ArtifactInvalid, format!("rollout-{stage} has no body")))?;
    if body.dry_run || body.withdrawn || body.action != RolloutAction::Shift {
        return Err(StepError::new(
            Reason::ArtifactNotGo,
            format!("rollout-{stage} shifted no traffic: there is nothing to judge"),
        )
        .hint(format!("run `rollout --stage {stage}` without --dry-run first")));
    }
    if body.stage.as_ref() != Some(stage) {
        let message = format!("rollout-{stage} is about another stage");
        return Err(StepError::new(Reason::ArtifactInvalid, message));
    }
    let shares = body.services.iter().filter_map(|share| share.observed_percent);
    Ok(shares.reduce(f64::min).unwrap_or_default())
}

fn duration(args: &Args, config: &Config) -> Result<Span, StepError> {
    let stage = config.stages.iter().find(|stage| stage.name == args.stage);
    if let Some(duration) = args.duration.or_else(|| stage.map(|stage| stage.duration)) {
        return Ok(duration);
    }
    let names: Vec<&str> = config.stages.iter().map(|stage| stage.name.as_str()).collect();
    let message = format!(
        "--stage {:?} is no stage of deploy.toml, so how long to watch is not known: use one of {}, or give \
         --duration",
        args.stage.as_str(),
        names.join(", ")
    );
    let error = StepError::new(Reason::UsageError, message);
    Err(match nearest(args.stage.as_str(), &names) {
        Some(near) => error.hint(format!("did you mean {near:?}?")),
        None => error,
    })
}

pub(crate) fn check(gate: &Gate, duration: Span) -> Result<(), StepError> {
    let fail = |message: String| {
        Err(StepError::new(Reason::UsageError, message)
            .hint("the value comes from the input of that name, or from [gate] in deploy.toml"))
    };
    if gate.interval.as_ms() < SHORTEST_INTERVAL_MS {
        return fail(format!("interval is {}: at least {SHORTEST_INTERVAL_MS}ms is needed", gate.interval));
    }
    if duration < gate.interval {
        return fail(format!("duration is {duration}: that is less than one interval of {}", gate.interval));
    }
    if gate.timeout.as_ms() == 0 {
        return fail("timeout is 0s: no probe could ever be answered".to_owned());
    }
    let percents = [
        ("max-error-percent", gate.max_error_percent, 0.0, 100.0),
        ("max-false-rollback-percent", Some(gate.max_false_rollback_percent), 0.0, 50.0),
        ("detect-error-percent", gate.detect_error_percent, 0.001, 100.0),
        ("early-pass-error-percent", gate.early_pass_error_percent, 0.001, 99.0),
        ("tolerated-error-percent", Some(gate.tolerated_error_percent), 0.0001, 90.0),
        ("latency-margin-percent", Some(gate.latency_margin_percent), 0.0, 10_000.0),
    ];
    for (name, percent, least, most) in percents {
        if let Some(percent) = percent.filter(|percent| !(least..=most).contains(percent)) {
            return fail(format!("{name} is {percent}: use {least} to {most}"));
        }
    }
    if !(gate.tolerated_odds >= 1.0 && gate.tolerated_odds <= 100.0) {
        return fail(format!("tolerated-odds is {}: use 1 to 100", gate.tolerated_odds));
    }
    Ok(())
}

fn targets(args: &Args, config: &Config, app: &Name, compares: bool) -> Result<Vec<Target>, StepError> {
    let at = |url: &String| ProbeTarget { url: url.clone(), headers: Headers::new() };
    match (&args.canary_url, &args.baseline_url) {
        (Some(canary), baseline) => {
            let probe = ServiceProbe { canary: at(canary), baseline: baseline.as_ref().map(at) };
            return Ok(vec![Target { service: app.clone(), how: How::Probe(probe) }]);
        }
        (None, Some(_)) => {
            let message = "--baseline-url is given without --canary-url: there is nothing to compare";
            return Err(StepError::new(Reason::UsageError, message));
        }
        (None, None) => {}
    }
    if config.services.is_empty() {
        return Err(StepError::new(Reason::ConfigInvalid, "there is no service to watch")
            .hint("add [[services]] with a probe or a source each to deploy.toml, or give --canary-url"));
    }
    config.services.iter().map(|service| target(service, compares)).collect()
}

/// True if the canary of this service has something to be compared with in this stage.
pub(crate) fn has_baseline(service: &Service, stage: &Stage) -> bool {
    match (&service.probe, &service.source) {
        (Some(probe), _) => probe.baseline.is_some(),
        (None, Some(source)) => stage.percent < 100.0 && source.has_baseline(),
        (None, None) => false,
    }
}

/// A service that cannot be asked is an error: unknown is never healthy.
fn target(service: &Service, compares: bool) -> Result<Target, StepError> {
    let how = match (&service.probe, &service.source) {
        (Some(probe), _) => How::Probe(probe.clone()),
        (None, Some(source)) => How::Source(source.clone(), compares && source.has_baseline()),
        (None, None) => {
            let name = service.name.as_str();
            let message = format!("service {name:?} has no probe and no source, so nobody can say how it is");
            return Err(StepError::new(Reason::ConfigInvalid, message).hint(format!(
                "add probe.canary and probe.baseline with a url each to service {name:?} in deploy.toml, or a \
                 source that counts its requests"
            )));
        }
    };
    Ok(Target { service: service.name.clone(), how })
}
