use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn id(text: &str) -> DeploymentId {
    text.parse().unwrap()
}

/// Builds a chain whose links fit.
fn chain(events: Vec<(&str, ChainEvent)>) -> Vec<Vec<u8>> {
    let mut stored: Vec<Vec<u8>> = Vec::new();
    for (index, (deployment, event)) in events.into_iter().enumerate() {
        let entry = ChainEntry {
            schema: SCHEMA.to_owned(),
            sequence: index as u64 + 1,
            previous_sha256: stored.last().map(|bytes| Sha256::of(bytes)),
            app: name("shop"),
            environment: name("production"),
            deployment_id: id(deployment),
            at: Timestamp::from_second(1_700_000_000 + index as i64).unwrap(),
            actor: None,
            event,
        };
        stored.push(entry.to_bytes().unwrap());
    }
    stored
}

fn begun(version: &str) -> ChainEvent {
    ChainEvent::Begun {
        version: version.to_owned(),
        sha: "a".repeat(40),
        kind: DeploymentKind::Release,
        services: Vec::new(),
        config_sha256: Sha256::of(b""),
    }
}

fn deployed() -> ChainEvent {
    ChainEvent::Deployed {
        record_sha256: Sha256::of(b""),
        rollback_deadline: Timestamp::from_second(1_700_009_999).unwrap(),
    }
}

fn run(stored: &[Vec<u8>]) -> Result<State, ChainError> {
    fold(&name("shop"), &name("production"), stored.iter().map(Vec::as_slice))
}

#[test]
fn a_rollback_returns_to_the_good_version_before() {
    let undone =
        ChainEvent::RolledBack { subject: id("deploy-2"), target: Some(id("deploy-1")), why: "slow".into() };
    let bad = ChainEvent::MarkedBad { version: "2.0.0".into(), why: "slow".into() };
    let mut events = vec![
        ("deploy-1", begun("1.0.0")),
        ("deploy-1", deployed()),
        ("deploy-2", begun("2.0.0")),
        ("deploy-2", deployed()),
    ];
    let before = run(&chain(events.clone())).unwrap();
    assert_eq!(before.current().unwrap().version, "2.0.0");
    assert_eq!(before.target_of(&id("deploy-2")).unwrap().version, "1.0.0");
    events.push(("rollback-1", undone));
    events.push(("rollback-1", bad));
    let after = run(&chain(events)).unwrap();
    assert_eq!(after.current().unwrap().version, "1.0.0");
    assert!(after.bad_versions.contains_key("2.0.0"));
    assert_eq!(after.sequence, 6);
}

#[test]
fn a_failed_or_dead_deploy_never_becomes_a_target() {
    let failed = ChainEvent::Failed {
        status: RecordStatus::Failed,
        because: "gate-canary: error_rate_exceeded".into(),
        record_sha256: None,
    };
    let state = run(&chain(vec![
        ("deploy-1", begun("1.0.0")),
        ("deploy-1", deployed()),
        ("deploy-2", begun("2.0.0")),
        ("deploy-2", failed),
        ("deploy-3", begun("3.0.0")),
    ]))
    .unwrap();
    assert_eq!(state.current().unwrap().version, "1.0.0");
    assert_eq!(state.open.as_ref().unwrap().version, "3.0.0");
    assert_eq!(state.target_of(&id("deploy-3")).unwrap().version, "1.0.0");
}

#[test]
fn every_single_byte_of_an_entry_is_protected() {
    let stored = chain(vec![("deploy-1", begun("1.0.0")), ("deploy-1", deployed())]);
    assert!(run(&stored).is_ok());
    for index in 0..stored[0].len() {
        let mut changed = stored.clone();
        changed[0][index] ^= 1;
        assert!(run(&changed).is_err(), "byte {index} of the first entry can be changed unseen");
    }
    let removed = vec![stored[1].clone()];
    assert_eq!(run(&removed), Err(ChainError::WrongSequence { expected: 1, found: 2 }));
}

#[test]
fn the_first_deployment_has_nothing_to_return_to() {
    let state = run(&chain(vec![("deploy-1", begun("1.0.0")), ("deploy-1", deployed())])).unwrap();
    assert_eq!(state.target_of(&id("deploy-1")), None);
    assert_eq!(run(&[]).unwrap(), State::default());
}

#[test]
fn foreign_and_newer_entries_are_refused() {
    let stored = chain(vec![("deploy-1", begun("1.0.0"))]);
    let elsewhere = fold(&name("blog"), &name("production"), stored.iter().map(Vec::as_slice));
    assert!(matches!(elsewhere, Err(ChainError::Foreign { sequence: 1, .. })));
    let text = String::from_utf8(stored[0].clone()).unwrap().replace("\"begun\"", "\"invented\"");
    assert_eq!(run(&[text.into_bytes()]), Err(ChainError::Newer { sequence: 1 }));
}
