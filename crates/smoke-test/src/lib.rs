//! `smoke-test`: does the release do what it must?
//!
//! Settles which checks there are (`suite`), tries them side by side until all pass or one shared
//! deadline is over (`schedule`, `ask`), and judges them together (`verdict`). A check that
//! nobody could reach says nothing about the release; one that answered wrongly says no.
#![warn(missing_docs)]

mod args;
mod ask;
mod junit;
mod schedule;
mod suite;
mod verdict;

pub use args::Args;

use ask::Asker;
use kit_contract::body::{Smoke, SmokeCheck, SmokeOutcome};
use kit_contract::config::{Config, Span};
use kit_contract::{Artifact, ArtifactKind, Reason};
use kit_core::{ResultExt as _, StepError, fs};
use kit_probe::Vars;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, ReadSpec, Step, StepContext,
    markdown_escape,
};
use schedule::{Board, Times};
use suite::Suite;

/// The program.
pub fn program() -> Program {
    Program::new("smoke-test", "Does the release do what it must?").step::<SmokeTest>()
}

/// The step.
pub struct SmokeTest;

impl Step for SmokeTest {
    type Args = Args;
    type Body = Smoke;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Does the release do what it must?",
        details: "Runs the checks of deploy.toml ([[smoke.checks]]), or one check given by --url, side by \
                  side. Each is tried again until it passes or --within is over; none fails early. A check \
                  that passes at a later try passes, and is named. If some checks answer and others never \
                  do, those are down, and the verdict is no; if nothing answers at all, nothing is known. \
                  In addresses and expectations {version} and {sha} stand for those of the deployment. \
                  Writes smoke.junit.xml next to the artifact.",
        examples: &[
            Example { what: "the checks of deploy.toml", line: "smoke-test" },
            Example {
                what: "one check, by hand",
                line: "smoke-test --url https://shop.example/health --expect-json '$.status=healthy'",
            },
            Example {
                what: "wait for a version to come up",
                line: "smoke-test --url https://shop.example/version --expect-json '$.version={version}' \
                       --release-version 1.2.3 --within 5m",
            },
        ],
        reads: &[ReadSpec {
            kind: ArtifactKind::Deployment,
            required: false,
            what_for: "the version and commit that {version} and {sha} stand for",
        }],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "passed", help: "How many checks passed, at whichever try" },
            OutputSpec { name: "failed", help: "How many checks that are not advisory did not pass" },
        ],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "runs every check again",
        deadline: Span::from_secs(60 * 60),
    };

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        let smoke = &config.smoke;
        vec![
            ("within", smoke.deadline.to_string()),
            ("interval", smoke.interval.to_string()),
            ("timeout", smoke.timeout.to_string()),
        ]
    }

    async fn run(args: Args, cx: StepContext<Smoke>) -> Result<Outcome<Smoke>, StepError> {
        let vars = vars(&args, &cx)?;
        let configured = cx.has_config_file().then_some(cx.config().smoke.checks.as_slice());
        let Suite::Checks(checks) = suite::choose(&args, configured)? else {
            return Ok(Outcome::new(
                Reason::NotConfigured,
                "deploy.toml has no [[smoke.checks]], so nothing was checked",
                Smoke { checks: Vec::new(), deadline_ms: args.within.as_ms() },
            ));
        };
        suite::check_placeholders(&checks, &vars)?;
        let typed = args.url.as_ref().is_some_and(|url| !url.is_empty());
        let mistake = if typed { Reason::UsageError } else { Reason::ConfigInvalid };
        let asker = Asker::new(cx.context(), checks, vars, args.timeout.duration(), mistake)?;
        // The green report of an earlier run must not outlive this one.
        fs::remove(&cx.artifacts().path().join(junit::FILE))
            .or_reason(Reason::ArtifactUnwritable, "the report of an earlier run cannot be removed")?;

        let board = Board::new(asker.checks().count());
        let times = Times {
            within: args.within.duration(),
            interval: args.interval.duration(),
            timeout: args.timeout.duration(),
        };
        cx.save(body(&asker, &board, args.within));
        let on_try = |index| {
            cx.save(body(&asker, &board, args.within));
            say_progress(&cx, &asker, &board, index);
        };
        let ask = |index, limit| asker.ask(index, limit);
        let done = cx.cancel.unless(schedule::run(cx.clock, times, &board, ask, on_try)).await;
        let smoke = body(&asker, &board, args.within);
        if done.is_none() {
            let passed = smoke.checks.iter().filter(|check| verdict::passed(check)).count();
            let total = smoke.checks.len();
            return Err(StepError::new(
                Reason::Interrupted,
                format!("stopped when {passed} of {total} checks had passed"),
            ));
        }
        Ok(conclude(&cx, smoke, args.within))
    }

    fn outputs(artifact: &Artifact<Smoke>) -> Vec<(&'static str, String)> {
        let Some(body) = &artifact.body else { return Vec::new() };
        let count = |wanted: fn(&SmokeCheck) -> bool| {
            body.checks.iter().filter(|check| wanted(check)).count().to_string()
        };
        vec![
            ("passed", count(verdict::passed)),
            ("failed", count(|check| !check.advisory && !verdict::passed(check))),
        ]
    }

    fn summary(artifact: &Artifact<Smoke>) -> String {
        let checks = artifact.body.as_ref().map(|body| body.checks.as_slice()).unwrap_or_default();
        if checks.is_empty() {
            return String::new();
        }
        let mut table =
            "| Check | Asked | Outcome | Tries | Latency | Problem |\n|---|---|---|---|---|---|\n".to_owned();
        for check in checks {
            let latency = check.attempts.last().and_then(|attempt| attempt.latency_ms);
            let latency = latency.map(|ms| format!("{ms:.0} ms")).unwrap_or_default();
            let advisory = if check.advisory { " (advisory)" } else { "" };
            table.push_str(&format!(
                "| {}{advisory} | {} | {} | {} | {latency} | {} |\n",
                markdown_escape(&check.name),
                markdown_escape(&check.target),
                outcome_word(check.outcome),
                check.attempts_total,
                markdown_escape(verdict::problem(check).unwrap_or_default()),
            ));
        }
        table
    }
}

/// What the placeholders stand for: the inputs, else the deployment that this belongs to.
fn vars(args: &Args, cx: &StepContext<Smoke>) -> Result<Vars, StepError> {
    let deployment = cx.deployment()?.and_then(|artifact| artifact.body);
    let given = |input: &Option<String>| input.clone().filter(|text| !text.is_empty());
    Ok(Vars {
        version: given(&args.release_version)
            .or_else(|| deployment.as_ref().map(|body| body.version.to_string())),
        sha: given(&args.release_sha).or_else(|| deployment.as_ref().map(|body| body.commit.sha.clone())),
    })
}

/// What is known so far.
fn body(asker: &Asker, board: &Board, within: Span) -> Smoke {
    let checks = asker.checks().zip(board.tracks()).map(|((check, target), track)| SmokeCheck {
        name: check.name.clone(),
        target: target.to_owned(),
        advisory: check.advisory,
        outcome: verdict::outcome(&track),
        attempts_total: track.total,
        attempts: track.attempts.into(),
    });
    Smoke { checks: checks.collect(), deadline_ms: within.as_ms() }
}

/// Says what is new about a check: a problem that was not there at the try before, or that it passed.
fn say_progress(cx: &StepContext<Smoke>, asker: &Asker, board: &Board, index: usize) {
    let Some((check, _)) = asker.checks().nth(index) else { return };
    let tracks = board.tracks();
    let Some(track) = tracks.get(index) else { return };
    let mut newest = track.attempts.iter().rev().map(|attempt| attempt.problem.as_deref());
    match (newest.next(), newest.next()) {
        (Some(None), _) => cx.out.say(&format!("{}: passed (try {})", check.name, track.total)),
        (Some(Some(problem)), before) if before != Some(Some(problem)) => {
            cx.out.say(&format!("{}: {problem} (try {})", check.name, track.total));
        }
        _ => {}
    }
}

/// The verdict, and the report for CI systems. A report that cannot be written never changes it.
fn conclude(cx: &StepContext<Smoke>, smoke: Smoke, within: Span) -> Outcome<Smoke> {
    let verdict = verdict::judge(&smoke.checks, within);
    let identity = cx.identity();
    let xml = junit::render(&format!("{}/{}", identity.app, identity.environment), &smoke);
    let path = cx.artifacts().path().join(junit::FILE);
    let written = fs::write_atomic(&path, cx.redactor.redact(&xml).as_bytes());
    let mut outcome = Outcome::new(verdict.reason, verdict.message, smoke);
    outcome.hints = verdict.hints;
    match written {
        Ok(()) => outcome,
        Err(error) => outcome.hint(format!("{} is missing: {error}", junit::FILE)),
    }
}

fn outcome_word(outcome: SmokeOutcome) -> &'static str {
    match outcome {
        SmokeOutcome::Pass => "pass",
        SmokeOutcome::PassFlaky => "pass, flaky",
        SmokeOutcome::Fail => "fail",
        SmokeOutcome::Unreachable => "never answered",
        SmokeOutcome::Unknown => "unknown",
    }
}
