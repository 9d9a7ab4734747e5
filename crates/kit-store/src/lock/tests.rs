use super::*;
use crate::{Key, MemoryStore, Op};
use kit_contract::Reason;
use kit_core::StepError;

fn owner(deployment: &str, attempt: u32) -> LockOwner {
    LockOwner {
        deployment_id: deployment.parse().unwrap(),
        run_id: Some("77".into()),
        attempt,
        actor: Some("ada".into()),
    }
}

fn known(owner: LockOwner) -> Holder {
    Holder::Known(Box::new(owner))
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
}

fn lock() -> (MemoryStore, Lock, Key) {
    let store = MemoryStore::default();
    let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
    let key = layout.lock();
    (store.clone(), Lock::new(Arc::new(store), layout), key)
}

fn lost_to(error: &LockError) -> Option<&Holder> {
    match error {
        LockError::Lost { holder } => holder.as_ref(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn held_renewed_released() {
    let (store, lock, key) = lock();
    assert_eq!(lock.peek().await.unwrap(), None);
    let first = lock.acquire(&owner("deploy-1", 1), at(0)).await.unwrap();
    assert_eq!((first.how, first.lock.expires_at), (Acquisition::Created, at(60)));

    let error = lock.acquire(&owner("deploy-2", 1), at(59)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the lock is held by deploy-1 (run 77, attempt 1) of ada, since 2023-11-14T22:13:20Z and until \
         2023-11-14T23:13:20Z"
    );
    assert_eq!(StepError::from(error).reason, Reason::LockHeld);

    let again = lock.acquire(&owner("deploy-1", 1), at(30)).await.unwrap();
    assert_eq!((again.how, again.lock.acquired_at), (Acquisition::Renewed, at(0)));
    assert_eq!(lock.renew(&owner("deploy-1", 1), at(50)).await.unwrap().expires_at, at(110));
    lock.acquire(&owner("deploy-2", 1), at(109)).await.unwrap_err();
    lock.release(&owner("deploy-1", 1)).await.unwrap();
    assert_eq!(store.bytes(&key), None);
    let error = lock.release(&owner("deploy-1", 1)).await.unwrap_err();
    assert_eq!(lost_to(&error), None, "whoever releases twice is told that it is gone");
    lock.acquire(&owner("deploy-2", 1), at(110)).await.unwrap();
}

#[tokio::test]
async fn an_expired_lock_is_taken_over_and_its_owner_finds_out() {
    let (_, lock, _) = lock();
    let before = lock.acquire(&owner("deploy-1", 1), at(0)).await.unwrap().lock;
    let taken = lock.acquire(&owner("deploy-2", 1), at(60)).await.unwrap();
    assert_eq!(taken.how, Acquisition::TakenOver(before));
    let thief = known(owner("deploy-2", 1));
    for error in [
        lock.renew(&owner("deploy-1", 1), at(61)).await.unwrap_err(),
        lock.release(&owner("deploy-1", 1)).await.unwrap_err(),
        lock.hand_over(&owner("deploy-1", 1), &owner("rollback-1", 1), at(61)).await.unwrap_err(),
    ] {
        assert_eq!(lost_to(&error), Some(&thief));
        assert_eq!(StepError::from(error).reason, Reason::LockLost);
    }
    assert_eq!(lock.peek().await.unwrap().unwrap().holder(), thief, "nothing of it was touched");
}

#[tokio::test]
async fn a_later_attempt_follows_and_the_earlier_one_is_out() {
    let (_, lock, _) = lock();
    lock.acquire(&owner("deploy-1", 1), at(0)).await.unwrap();
    let second = lock.acquire(&owner("deploy-1", 2), at(5)).await.unwrap();
    assert_eq!((second.how, second.lock.owner.attempt), (Acquisition::Renewed, 2));
    assert!(matches!(lock.acquire(&owner("deploy-1", 1), at(6)).await, Err(LockError::Held { .. })));
    assert!(matches!(lock.renew(&owner("deploy-1", 1), at(6)).await, Err(LockError::Lost { .. })));
}

#[tokio::test]
async fn handed_over_without_a_gap() {
    let (_, lock, _) = lock();
    lock.acquire(&owner("deploy-1", 1), at(0)).await.unwrap();
    let handed = lock.hand_over(&owner("deploy-1", 1), &owner("rollback-1", 1), at(5)).await.unwrap();
    assert_eq!((handed.acquired_at, handed.expires_at), (at(5), at(65)));
    assert!(matches!(lock.release(&owner("deploy-1", 1)).await, Err(LockError::Lost { .. })));
    lock.release(&owner("rollback-1", 1)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_understood_is_held_until_a_person_breaks_it() {
    let (store, lock, key) = lock();
    for content in
        ["", "{}", "null", r#"{"schema":"deploy-kit/lock/v2"}"#, r#"{"schema":"deploy-kit/lock/v1"}"#]
    {
        store.overwrite(&key, content);
        let error = lock.acquire(&owner("deploy-1", 1), at(1_000_000)).await.unwrap_err();
        assert!(matches!(error, LockError::Held { holder: Holder::Unknown, .. }), "{content}: {error}");
        let error = lock.release(&owner("deploy-1", 1)).await.unwrap_err();
        assert_eq!(lost_to(&error), Some(&Holder::Unknown));
    }
    let error = lock.break_lock(&known(owner("deploy-1", 1))).await.unwrap_err();
    assert_eq!(lost_to(&error), Some(&Holder::Unknown));
    lock.break_lock(&Holder::Unknown).await.unwrap();
    assert_eq!(store.bytes(&key), None);
}

#[tokio::test]
async fn only_the_lock_that_was_seen_is_broken() {
    let (_, lock, _) = lock();
    let seen = known(owner("deploy-1", 1));
    assert_eq!(lost_to(&lock.break_lock(&seen).await.unwrap_err()), None);
    lock.acquire(&owner("deploy-2", 1), at(0)).await.unwrap();
    lock.break_lock(&seen).await.unwrap_err();
    lock.break_lock(&known(owner("deploy-2", 1))).await.unwrap();
    assert!(matches!(lock.renew(&owner("deploy-2", 1), at(1)).await, Err(LockError::Lost { holder: None })));
}

#[tokio::test]
async fn one_of_many_gets_it_also_when_it_has_expired() {
    let (_, lock, _) = lock();
    for minute in [0, 60, 120] {
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let lock = lock.clone();
                let me = owner(&format!("deploy-{minute}-{n}"), 1);
                tokio::spawn(async move { lock.acquire(&me, at(minute)).await })
            })
            .collect();
        let mut winners = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert!(matches!(error, LockError::Held { .. }), "{error}"),
            }
        }
        assert_eq!(winners, 1, "minute {minute}");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_a_lock_that_asking_again_finds() {
    let (store, lock, _) = lock();
    store.lose_answer_of_next(Op::Create, 1);
    let error = lock.acquire(&owner("deploy-1", 1), at(0)).await.unwrap_err();
    assert_eq!(StepError::from(error).reason, Reason::StoreUnreachable);
    let again = lock.acquire(&owner("deploy-1", 1), at(1)).await.unwrap();
    assert_eq!(again.how, Acquisition::Renewed);
}
