//! Every published shape stays readable: the files in `golden/` were written by real runs, and every
//! later version reads them.
//!
//! `unstable/` may still be written anew until the first release; from then on there is one folder per
//! version, and nothing in it is ever changed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests read files and fail loudly"
)]

use kit_contract::chain::ChainEntry;
use kit_contract::{AnyArtifact, Artifact, ArtifactKind, Body, body, schemas};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn round_trip<B: Body>(name: &str, json: &Value) {
    let artifact: Artifact<B> = serde_json::from_value(json.clone())
        .unwrap_or_else(|error| panic!("{name} can no longer be read: {error}"));
    assert_eq!(serde_json::to_value(&artifact).unwrap(), *json, "{name} is not written as it was read");
}

fn check_artifact(name: &str, json: &Value) -> ArtifactKind {
    let any: AnyArtifact = serde_json::from_value(json.clone()).unwrap();
    let kind = *ArtifactKind::ALL.iter().find(|kind| kind.schema() == any.schema).unwrap();
    match kind {
        ArtifactKind::Deployment => round_trip::<body::Deployment>(name, json),
        ArtifactKind::Preflight => round_trip::<body::Preflight>(name, json),
        ArtifactKind::Readiness => round_trip::<body::Readiness>(name, json),
        ArtifactKind::Backup => round_trip::<body::Backup>(name, json),
        ArtifactKind::Migration => round_trip::<body::Migration>(name, json),
        ArtifactKind::Rollout => round_trip::<body::Rollout>(name, json),
        ArtifactKind::Gate => round_trip::<body::Gate>(name, json),
        ArtifactKind::Smoke => round_trip::<body::Smoke>(name, json),
        ArtifactKind::Begin => round_trip::<body::Begin>(name, json),
        ArtifactKind::Record => round_trip::<body::Record>(name, json),
        ArtifactKind::Rollback => round_trip::<body::Rollback>(name, json),
        ArtifactKind::Restore => round_trip::<body::Restore>(name, json),
        ArtifactKind::Drill => round_trip::<body::Drill>(name, json),
        ArtifactKind::Notice => round_trip::<body::Notice>(name, json),
    }
    kind
}

#[test]
fn every_golden_file_is_read_valid_and_written_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/unstable");
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let schema_file = if name.starts_with("chain-") {
            let entry: ChainEntry = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(&entry).unwrap(), json, "{name}");
            "chain.v1.json".to_owned()
        } else {
            let kind = check_artifact(&name, &json);
            seen.insert(kind);
            format!("{kind}.v1.json")
        };
        let schema = schemas().into_iter().find(|schema| schema.file_name == schema_file).unwrap();
        let validator = jsonschema::validator_for(&schema.json).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    let missing: Vec<_> = ArtifactKind::ALL.iter().filter(|kind| !seen.contains(kind)).collect();
    assert!(missing.is_empty(), "no golden file of {missing:?}");
}
