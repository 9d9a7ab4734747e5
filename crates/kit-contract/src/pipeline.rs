//! The pipeline as data: which step follows which, what it reads and writes, and what undoes it.
//!
//! `deploy-kit deploy` walks this table, and a test proves that the reusable workflow equals it.

use crate::config::Stage;
use crate::{ArtifactKind, ArtifactName, Name};

/// How often a step runs in one deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    Once,
    /// Once per stage of the rollout.
    PerStage,
}

/// What undoes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// It changes nothing.
    Nothing,
    /// What it made is kept on purpose, because it may be needed.
    Kept,
    /// The lock is handed back and the chain gets an entry that closes the deploy.
    CloseDeploy,
    /// It stays: expand-only changes suit the old version too, and data is never thrown away
    /// automatically. `db-restore` is the deliberate way back.
    Stays,
    /// The canary is taken to zero; once promoted, the old version is switched back.
    Withdraw,
}

impl Undo {
    /// For people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Nothing => "changes nothing",
            Self::Kept => "what it made is kept",
            Self::CloseDeploy => "the lock is handed back and the chain gets a closing entry",
            Self::Stays => "stays; `db-restore` is the deliberate way back",
            Self::Withdraw => "the canary is taken to zero; once promoted, the old version is switched back",
        }
    }
}

/// One line of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineStep {
    /// Unique name of this line.
    pub id: &'static str,
    /// The program.
    pub program: &'static str,
    /// Its command, where it has several.
    pub command: Option<&'static str>,
    /// The lines that must have succeeded before.
    pub needs: &'static [&'static str],
    /// The kinds of artifact that it reads.
    pub reads: &'static [ArtifactKind],
    /// The kind of artifact that it writes.
    pub writes: ArtifactKind,
    /// Qualifier of that artifact, where one deploy has several of the kind. Stages bring their own.
    pub qualifier: Option<&'static str>,
    /// How often it runs.
    pub repeat: Repeat,
    /// What undoes it.
    pub undo: Undo,
}

use ArtifactKind as Kind;

/// A production deploy, in order. Lines whose needs are the same may run side by side.
pub const PIPELINE: &[PipelineStep] = &[
    PipelineStep {
        id: "validate",
        program: "validate-tag",
        command: None,
        needs: &[],
        reads: &[],
        writes: Kind::Deployment,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "preflight",
        program: "preflight",
        command: None,
        needs: &["validate"],
        reads: &[Kind::Deployment],
        writes: Kind::Preflight,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "begin",
        program: "deploy-record",
        command: Some("begin"),
        needs: &["preflight"],
        reads: &[Kind::Deployment, Kind::Preflight],
        writes: Kind::Begin,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::CloseDeploy,
    },
    PipelineStep {
        id: "backup",
        program: "db-backup",
        command: None,
        needs: &["begin"],
        reads: &[Kind::Deployment],
        writes: Kind::Backup,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Kept,
    },
    PipelineStep {
        id: "readiness",
        program: "preflight",
        command: Some("readiness"),
        needs: &["backup"],
        reads: &[Kind::Deployment, Kind::Begin],
        writes: Kind::Readiness,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "measure",
        program: "canary-gate",
        command: Some("baseline"),
        needs: &["readiness"],
        reads: &[Kind::Deployment, Kind::Begin, Kind::Backup],
        writes: Kind::Gate,
        qualifier: Some("before-migration"),
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "migrate",
        program: "migrate",
        command: None,
        needs: &["measure"],
        reads: &[Kind::Deployment, Kind::Backup],
        writes: Kind::Migration,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Stays,
    },
    PipelineStep {
        id: "compare",
        program: "canary-gate",
        command: Some("baseline"),
        needs: &["migrate"],
        reads: &[Kind::Deployment, Kind::Begin, Kind::Migration],
        writes: Kind::Gate,
        qualifier: Some("after-migration"),
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "rollout",
        program: "rollout",
        command: None,
        needs: &["compare"],
        reads: &[Kind::Deployment],
        writes: Kind::Rollout,
        qualifier: None,
        repeat: Repeat::PerStage,
        undo: Undo::Withdraw,
    },
    PipelineStep {
        id: "gate",
        program: "canary-gate",
        command: None,
        needs: &["rollout"],
        reads: &[Kind::Deployment, Kind::Migration, Kind::Rollout],
        writes: Kind::Gate,
        qualifier: None,
        repeat: Repeat::PerStage,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "smoke",
        program: "smoke-test",
        command: None,
        needs: &["gate"],
        reads: &[Kind::Deployment],
        writes: Kind::Smoke,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "promote",
        program: "rollout",
        command: Some("promote"),
        needs: &["smoke"],
        reads: &[Kind::Deployment, Kind::Smoke],
        writes: Kind::Rollout,
        qualifier: Some("promote"),
        repeat: Repeat::Once,
        undo: Undo::Withdraw,
    },
    PipelineStep {
        id: "finish",
        program: "deploy-record",
        command: Some("finish"),
        needs: &["promote"],
        reads: Kind::ALL,
        writes: Kind::Record,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
    PipelineStep {
        id: "notify",
        program: "notify",
        command: None,
        needs: &["finish"],
        reads: &[Kind::Record],
        writes: Kind::Notice,
        qualifier: None,
        repeat: Repeat::Once,
        undo: Undo::Nothing,
    },
];

/// The line with this id.
pub fn find(id: &str) -> Option<&'static PipelineStep> {
    PIPELINE.iter().find(|step| step.id == id)
}

/// True for names that artifacts of the pipeline have beside the stages.
pub fn is_taken(name: &str) -> bool {
    // Of `rollout abort`, and of `deploy-record adopt`, which stand beside the table.
    matches!(name, "abort" | "adopt") || PIPELINE.iter().any(|step| step.qualifier == Some(name))
}

/// A line of the pipeline as one deploy has it: stages are spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line of the table.
    pub step: &'static PipelineStep,
    /// The stage, for lines that run once per stage.
    pub stage: Option<Name>,
    /// The artifact that it writes.
    pub artifact: ArtifactName,
}

/// Every line of a deploy with these stages, in order.
pub fn lines(stages: &[Stage]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut staged = false;
    for step in PIPELINE {
        match step.repeat {
            Repeat::Once => {
                let qualifier = step.qualifier.and_then(|text| text.parse::<Name>().ok());
                lines.push(Line {
                    step,
                    stage: None,
                    artifact: ArtifactName { kind: step.writes, qualifier },
                });
            }
            // Rollout and gate alternate: one pair per stage, at the place of the first of them.
            Repeat::PerStage if !staged => {
                staged = true;
                for stage in stages {
                    for step in PIPELINE.iter().filter(|step| step.repeat == Repeat::PerStage) {
                        let artifact = ArtifactName::qualified(step.writes, stage.name.clone());
                        lines.push(Line { step, stage: Some(stage.name.clone()), artifact });
                    }
                }
            }
            Repeat::PerStage => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rollout_and_gate_alternate_stage_by_stage() {
        let config = crate::config::Config::parse("app = \"a\"", &"production".parse().unwrap()).unwrap();
        let names: Vec<String> = lines(&config.stages).iter().map(|line| line.artifact.to_string()).collect();
        assert_eq!(
            names,
            [
                "deployment",
                "preflight",
                "begin",
                "backup",
                "readiness",
                "gate-before-migration",
                "migration",
                "gate-after-migration",
                "rollout-canary",
                "gate-canary",
                "rollout-progressive",
                "gate-progressive",
                "rollout-full",
                "gate-full",
                "smoke",
                "rollout-promote",
                "record",
                "notice"
            ]
        );
    }

    #[test]
    fn every_need_stands_before_its_user_and_every_reader_has_a_writer() {
        let mut ids = BTreeSet::new();
        let mut written = BTreeSet::new();
        for step in PIPELINE {
            for need in step.needs {
                assert!(ids.contains(need), "{} needs {need}, which does not come before it", step.id);
            }
            if step.reads != ArtifactKind::ALL {
                for kind in step.reads {
                    assert!(written.contains(kind), "{} reads {kind}, which nobody has written", step.id);
                }
            }
            assert!(ids.insert(step.id), "{} twice", step.id);
            written.insert(step.writes);
        }
    }

    #[test]
    fn nothing_is_changed_before_it_is_known_how_to_undo_it() {
        let position = |id: &str| PIPELINE.iter().position(|step| step.id == id).unwrap();
        assert!(position("begin") < position("backup"));
        assert!(position("backup") < position("migrate"));
        assert!(position("readiness") < position("migrate"));
    }
}
