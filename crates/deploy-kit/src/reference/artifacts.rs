//! Artifacts and the pipeline table.

use super::GENERATED;
use kit_contract::ArtifactKind;
use kit_contract::pipeline::{PIPELINE, Repeat};

pub(super) fn artifacts() -> String {
    let mut text = format!(
        "{GENERATED}\n# Artifacts\n\nEvery step writes one artifact, whatever happens: on success, on failure, when it \
         is cancelled, when its time is up, and when it crashes. A step that is killed leaves one with the reason \
         `unfinished`. Earlier attempts are kept in `history/` beside it.\n\nThe shapes are `v1` and may still change \
         until the first release.\n\n| kind | schema | file |\n|---|---|---|\n"
    );
    for kind in ArtifactKind::ALL {
        let per_stage = PIPELINE.iter().any(|step| step.writes == *kind && step.repeat == Repeat::PerStage);
        let file = if per_stage { format!("{kind}-<stage>.json") } else { format!("{kind}.json") };
        text.push_str(&format!(
            "| `{kind}` | [`{}`](../../schemas/{kind}.v1.json) | `{file}` |\n",
            kind.schema()
        ));
    }
    text
}

pub(super) fn pipeline() -> String {
    let mut text = format!(
        "{GENERATED}\n# Pipeline\n\nA production deploy, in order. Lines with the same needs may run side by side.\n\n\
         | step | program | needs | reads | writes | how often | undone by |\n|---|---|---|---|---|---|---|\n"
    );
    for step in PIPELINE {
        let command = step.command.map(|command| format!(" {command}")).unwrap_or_default();
        let reads = if step.reads == ArtifactKind::ALL {
            "all of them".to_owned()
        } else {
            step.reads.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ")
        };
        let often = match step.repeat {
            Repeat::Once => "once",
            Repeat::PerStage => "per stage",
        };
        text.push_str(&format!(
            "| {} | `{}{command}` | {} | {reads} | `{}` | {often} | {} |\n",
            step.id,
            step.program,
            step.needs.join(", "),
            step.writes,
            step.undo.meaning()
        ));
    }
    text
}
