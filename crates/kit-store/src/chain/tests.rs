use super::*;
use crate::{FileStore, MemoryStore, Op};
use kit_contract::chain::ChainError;
use std::path::Path;

fn layout() -> Layout {
    Layout::new("shop".parse().unwrap(), "production".parse().unwrap())
}

fn chain() -> (MemoryStore, Chain) {
    let store = MemoryStore::default();
    (store.clone(), Chain::new(Arc::new(store), layout()))
}

fn bad(version: &str) -> ChainEvent {
    ChainEvent::MarkedBad { version: version.into(), why: "slow".into() }
}

async fn append(chain: &Chain, version: &str) -> Result<Appended, ChainFault> {
    append_as(chain, "deploy-1", version).await
}

async fn append_as(chain: &Chain, deployment: &str, version: &str) -> Result<Appended, ChainFault> {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    chain.append(bad(version), deployment.parse().unwrap(), at, Some("ada".into())).await
}

async fn of_length(length: u64) -> (MemoryStore, Chain) {
    let (store, chain) = chain();
    for n in 1..=length {
        let appended = append(&chain, &format!("1.0.{n}")).await.unwrap();
        assert_eq!((appended.sequence, appended.head), (n, HeadPosition::InStep));
    }
    (store, chain)
}

fn problems(loaded: Result<Loaded, ChainFault>) -> Vec<Problem> {
    match loaded {
        Err(ChainFault::Broken { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_empty_chain_and_a_grown_one() {
    let (_, empty) = chain();
    let loaded = empty.load().await.unwrap();
    assert_eq!((loaded.state, loaded.head), (State::default(), HeadPosition::InStep));
    let (_, chain) = of_length(3).await;
    let loaded = chain.load().await.unwrap();
    assert_eq!(loaded.state.sequence, 3);
    assert_eq!(loaded.state.bad_versions.len(), 3);
    assert_eq!(loaded.entries.last().map(|(_, digest)| digest.clone()), loaded.state.head_sha256);
    assert_eq!(chain.verify().await.unwrap(), Verification { entries: 3, problems: Vec::new() });
}

#[tokio::test]
async fn a_crash_between_entry_and_head_is_put_right() {
    for length in 0..3 {
        let (store, chain) = of_length(length).await;
        store.crash_after_writes(1);
        let appended = append(&chain, "2.0.0").await.unwrap();
        assert!(matches!(appended.head, HeadPosition::Behind { .. }), "{appended:?}");
        store.revive();
        assert_eq!(chain.verify().await.unwrap().problems, [], "one behind is no damage");
        let loaded = chain.load().await.unwrap();
        assert_eq!((loaded.state.sequence, loaded.head), (length + 1, HeadPosition::MovedForward));
        assert_eq!(chain.load().await.unwrap().head, HeadPosition::InStep);
    }
}

#[tokio::test]
async fn an_append_repairs_the_head_before_it_goes_on() {
    let (store, chain) = of_length(1).await;
    store.crash_after_writes(1);
    append(&chain, "2.0.0").await.unwrap();
    store.revive();
    let appended = append(&chain, "2.0.1").await.unwrap();
    assert_eq!((appended.sequence, appended.head), (3, HeadPosition::InStep));
    assert_eq!(chain.load().await.unwrap().head, HeadPosition::InStep);
    // If the head cannot be moved, it must not fall two behind.
    store.fail_next(Op::Replace, 2);
    assert!(matches!(append(&chain, "2.0.2").await.unwrap().head, HeadPosition::Behind { .. }));
    assert!(matches!(append(&chain, "2.0.3").await, Err(ChainFault::Store { .. })));
    assert_eq!(chain.load().await.unwrap().state.sequence, 4);
}

#[tokio::test]
async fn a_reader_who_may_not_write_still_reads() {
    let (store, chain) = of_length(2).await;
    store.fail_next(Op::Replace, 2);
    append(&chain, "2.0.0").await.unwrap();
    let loaded = chain.load().await.unwrap();
    assert_eq!(loaded.state.sequence, 3);
    assert!(matches!(&loaded.head, HeadPosition::Behind { why } if why.contains("head.json")), "{loaded:?}");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_entry() {
    let (store, chain) = of_length(1).await;
    store.lose_answer_of_next(Op::Create, 1);
    assert_eq!(append(&chain, "2.0.0").await.unwrap().sequence, 2);
    assert_eq!(append(&chain, "2.0.0").await.unwrap().sequence, 2, "asked again, added once");
    store.fail_next(Op::Create, 1);
    let fault = append(&chain, "3.0.0").await.unwrap_err();
    assert_eq!(StepError::from(fault).reason, Reason::StoreUnreachable);
    assert_eq!(chain.load().await.unwrap().state.sequence, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_the_same_time_all_find_their_place() {
    const EACH: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryStore::default();
    let open: [&dyn Fn() -> Arc<dyn Store>; 2] =
        [&|| Arc::new(memory.clone()), &|| Arc::new(FileStore::new(folder.path()))];
    for open in open {
        let writers: Vec<_> = ["writer-a", "writer-b"]
            .map(|writer| {
                let chain = Chain::new(open(), layout());
                tokio::spawn(async move {
                    for n in 0..EACH {
                        append_as(&chain, writer, &format!("{n}")).await.unwrap();
                    }
                })
            })
            .into_iter()
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let chain = Chain::new(open(), layout());
        let loaded = chain.load().await.unwrap();
        assert_eq!(loaded.entries.len(), 2 * EACH);
        for writer in ["writer-a", "writer-b"] {
            let own = loaded.entries.iter().filter(|(entry, _)| entry.deployment_id.as_str() == writer);
            assert_eq!(own.count(), EACH);
        }
        assert_eq!(chain.verify().await.unwrap().problems, []);
    }
}

type Tamper = fn(&MemoryStore, &Layout);

#[tokio::test]
async fn tampering_with_entries_is_found_and_named() {
    let table: [(&str, Tamper, Vec<Problem>); 5] = [
        (
            "an entry changed",
            |store, layout| edit(store, &layout.chain_entry(2), "slow", "fast"),
            vec![ChainError::BrokenLink { sequence: 3 }.into()],
        ),
        (
            "the newest entry changed",
            |store, layout| edit(store, &layout.chain_entry(4), "slow", "fast"),
            vec![Problem::HeadMismatch { sequence: 4 }],
        ),
        (
            "an entry removed",
            |store, layout| store.remove(&layout.chain_entry(2)),
            vec![Problem::Missing { first: 2, last: 2 }],
        ),
        (
            "an entry of another environment put in its place",
            |store, layout| edit(store, &layout.chain_entry(4), "\"production\"", "\"staging\""),
            vec![
                ChainError::Foreign {
                    sequence: 4,
                    found: "shop/staging".into(),
                    expected: "shop/production".into(),
                }
                .into(),
                Problem::HeadMismatch { sequence: 4 },
            ],
        ),
        (
            "something else among the entries, and far away",
            |store, layout| {
                store.overwrite(&format!("{}notes.txt", layout.chain_prefix()).parse().unwrap(), "x");
                store.overwrite(&layout.chain_entry(u64::MAX), "x");
            },
            vec![
                Problem::Stray { name: "shop/production/chain/notes.txt".into() },
                Problem::Missing { first: 5, last: u64::MAX - 1 },
                ChainError::Unreadable {
                    sequence: u64::MAX,
                    message: "expected value at line 1 column 1".into(),
                }
                .into(),
                Problem::HeadBehind { head: 4, entries: u64::MAX },
            ],
        ),
    ];
    for (name, tamper, expected) in table {
        assert_found(name, tamper, &expected).await;
    }
}

#[tokio::test]
async fn tampering_at_the_head_is_found_and_named() {
    let table: [(&str, Tamper, Vec<Problem>); 4] = [
        (
            "the newest entries removed",
            |store, layout| {
                store.remove(&layout.chain_entry(3));
                store.remove(&layout.chain_entry(4));
            },
            vec![Problem::HeadBeyond { head: 4, entries: 2 }],
        ),
        (
            "everything but the head removed",
            |store, layout| (1..=4).for_each(|n| store.remove(&layout.chain_entry(n))),
            vec![Problem::HeadBeyond { head: 4, entries: 0 }],
        ),
        (
            "the head removed",
            |store, layout| store.remove(&layout.head()),
            vec![Problem::HeadMissing { entries: 4 }],
        ),
        (
            "the head cannot be understood",
            |store, layout| store.overwrite(&layout.head(), "{}"),
            vec![Problem::HeadUnreadable { message: "it names no schema".into() }],
        ),
    ];
    for (name, tamper, expected) in table {
        assert_found(name, tamper, &expected).await;
    }
}

/// Tampers with a chain of four entries: every problem is named, and nothing is repaired.
async fn assert_found(name: &str, tamper: Tamper, expected: &[Problem]) {
    let (store, chain) = of_length(4).await;
    tamper(&store, &layout());
    let head = store.bytes(&layout().head());
    assert_eq!(chain.verify().await.unwrap().problems, expected, "{name}");
    assert_eq!(problems(chain.load().await), expected, "{name}");
    let fault = append(&chain, "9.9.9").await.unwrap_err();
    assert_eq!(StepError::from(fault).reason, Reason::ChainBroken, "{name}");
    assert_eq!(store.bytes(&layout().head()), head, "{name}: nothing may be repaired");
    assert_eq!(store.bytes(&layout().chain_entry(5)), None, "{name}");
}

fn edit(store: &MemoryStore, key: &Key, from: &str, to: &str) {
    let text = String::from_utf8(store.bytes(key).unwrap()).unwrap();
    assert!(text.contains(from));
    store.overwrite(key, text.replace(from, to));
}

#[tokio::test]
async fn a_head_that_was_set_back_is_found() {
    let (store, chain) = of_length(1).await;
    let old = store.bytes(&layout().head()).unwrap();
    for n in 2..=4 {
        append(&chain, &format!("1.0.{n}")).await.unwrap();
    }
    store.overwrite(&layout().head(), old);
    assert_eq!(problems(chain.load().await), [Problem::HeadBehind { head: 1, entries: 4 }]);
}

#[tokio::test]
async fn not_being_able_to_ask_is_never_an_empty_chain() {
    for op in [Op::Get, Op::List] {
        let (store, chain) = of_length(2).await;
        store.fail_next(op, 1);
        assert!(matches!(chain.load().await, Err(ChainFault::Store { .. })), "{op:?}");
        store.fail_next(op, 1);
        assert!(matches!(chain.verify().await, Err(ChainFault::Store { .. })), "{op:?}");
    }
}

#[tokio::test]
async fn one_flipped_byte_in_a_folder_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::new(Arc::new(FileStore::new(folder.path())), layout());
    for version in ["1", "2"] {
        append(&chain, version).await.unwrap();
    }
    let path = Path::new(folder.path()).join(layout().chain_entry(1).as_str());
    let mut bytes = kit_core::fs::read(&path, 10_000).unwrap();
    bytes[20] ^= 1;
    kit_core::fs::write_atomic(&path, &bytes).unwrap();
    assert!(!problems(chain.load().await).is_empty());
}
