use super::*;

fn feed(with_baseline: bool) -> Feed {
    Feed {
        service: "api".parse().unwrap(),
        canary: Counters::new(4000),
        baseline: with_baseline.then(|| Counters::new(4000)),
        waiting: VecDeque::new(),
        handed_ms: 0,
        trouble: BTreeMap::new(),
    }
}

fn look(arm: Arm, requests: f64, errors: f64) -> Look {
    let reading =
        |role, value| Reading { role, whose: String::new(), series: String::new(), at_ms: None, value };
    Look {
        arm,
        readings: vec![reading(Role::Requests, requests), reading(Role::Errors, errors)],
        trouble: None,
    }
}

/// Until when, requests, errors.
type Told = Vec<(u64, u64, u64)>;

fn told(feed: &mut Feed, at_ms: i64, looks: Vec<Look>) -> (Told, Told, usize) {
    let mut troubles = Vec::new();
    feed.absorb(Message { feed: 0, at_ms, looks }, &mut troubles);
    let ticks = feed.hand_over();
    let of = |arm| {
        let counts = ticks.iter().filter(|tick| tick.arm == arm).flat_map(|tick| &tick.counts);
        counts.map(|counts| (counts.until_ms, counts.requests, counts.errors)).collect::<Vec<_>>()
    };
    (of(Arm::Canary), of(Arm::Baseline), troubles.len())
}

#[test]
fn both_arms_are_told_up_to_the_same_moments() {
    let mut feed = feed(true);
    let both = |a, b| vec![look(Arm::Canary, a, 0.0), look(Arm::Baseline, b, 0.0)];
    assert_eq!(told(&mut feed, 5, both(100.0, 1000.0)), (vec![(5, 0, 0)], vec![(5, 0, 0)], 0));
    assert_eq!(told(&mut feed, 1000, both(103.0, 1050.0)), (vec![(1000, 3, 0)], vec![(1000, 50, 0)], 0));
    // The baseline is late: what the canary did is told, and the baseline follows.
    let late = vec![look(Arm::Canary, 106.0, 1.0), Look::failed(Arm::Baseline, "refused".into())];
    assert_eq!(told(&mut feed, 2000, late), (vec![(2000, 3, 1)], vec![], 1));
    let (canary, baseline, troubles) = told(&mut feed, 3000, both(109.0, 1150.0));
    assert_eq!((canary, troubles), (vec![(3000, 3, 0)], 1), "it is over");
    assert_eq!(baseline, [(2000, 50, 0), (3000, 50, 0)]);
}

#[test]
fn what_cannot_be_read_is_not_zero_and_is_told_once() {
    let mut feed = feed(false);
    let down = || vec![Look::failed(Arm::Canary, "refused".into())];
    assert_eq!(told(&mut feed, 5, down()), (vec![], vec![], 1));
    assert_eq!(told(&mut feed, 1000, down()), (vec![], vec![], 0));
    assert_eq!(told(&mut feed, 2000, vec![look(Arm::Canary, 7.0, 7.0)]), (vec![(2000, 0, 0)], vec![], 1));
}

#[test]
fn instances_of_one_arm_are_one_look_and_one_that_fails_is_told() {
    let looks = Look::joined(vec![
        look(Arm::Canary, 1.0, 0.0),
        Look::failed(Arm::Canary, "refused".into()),
        look(Arm::Baseline, 1.0, 0.0),
    ]);
    assert_eq!(looks.len(), 2);
    assert_eq!((looks[0].readings.len(), looks[0].trouble.as_deref()), (2, Some("refused")));
}

#[test]
fn the_version_is_filled_in_or_its_lack_is_told() {
    let around = |version: Option<&str>| Surroundings {
        cx: kit_core::Context::for_test(kit_core::Env::default()).0,
        folder: PathBuf::new(),
        version: version.map(str::to_owned),
        began: Duration::ZERO,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    let text = "r{version=\"{version}\"}";
    assert_eq!(around(Some("2.0.0")).fill(text).unwrap(), "r{version=\"2.0.0\"}");
    assert!(around(None).fill(text).unwrap_err().message.contains("does not know it"));
    assert_eq!(around(None).fill("r").unwrap(), "r");
}
