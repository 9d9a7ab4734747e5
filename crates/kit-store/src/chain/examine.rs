//! Pure: does what was found in the store make a chain?

use super::Head;
use jiff::Timestamp;
use kit_contract::Sha256;
use kit_contract::chain::{ChainEntry, ChainError, ChainEvent, SCHEMA, State, fold};
use std::collections::BTreeMap;

use crate::{Layout, Version};

/// One thing that is wrong with a chain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An entry does not fit.
    #[error(transparent)]
    Entry(#[from] ChainError),
    /// Entries are gone, although later ones are there.
    #[error("{} missing", span(*.first, *.last))]
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// An entry is of another schema.
    #[error("entry {sequence} is of schema {found:?}")]
    Schema {
        /// Its place.
        sequence: u64,
        /// What it says.
        found: String,
    },
    /// Something lies among the entries that is none.
    #[error("{name} lies among the entries and is none")]
    Stray {
        /// Its key.
        name: String,
    },
    /// The head cannot be understood.
    #[error("the head cannot be understood: {message}")]
    HeadUnreadable {
        /// Why.
        message: String,
    },
    /// There are entries and no head.
    #[error("there are {entries} entries and no head")]
    HeadMissing {
        /// The newest entry.
        entries: u64,
    },
    /// The head names an entry that is not there: the newest entries were removed.
    #[error("the head names entry {head}, and the newest entry is {entries}")]
    HeadBeyond {
        /// The entry that the head names.
        head: u64,
        /// The newest entry; 0 if there is none.
        entries: u64,
    },
    /// The head is further behind than any crash explains.
    #[error("the head names entry {head}, and there are {entries} entries: it was set back")]
    HeadBehind {
        /// The entry that the head names.
        head: u64,
        /// The newest entry.
        entries: u64,
    },
    /// The head names another content of its entry.
    #[error("entry {sequence} is not the one that the head names: one of them was changed or replaced")]
    HeadMismatch {
        /// The entry.
        sequence: u64,
    },
}

fn span(first: u64, last: u64) -> String {
    if first == last { format!("entry {first} is") } else { format!("entries {first} to {last} are") }
}

impl Problem {
    /// The entry that it is about, if it is about one.
    pub const fn sequence(&self) -> Option<u64> {
        match self {
            Self::Entry(
                ChainError::Unreadable { sequence, .. }
                | ChainError::BrokenLink { sequence }
                | ChainError::Foreign { sequence, .. }
                | ChainError::Newer { sequence },
            )
            | Self::Entry(ChainError::WrongSequence { expected: sequence, .. })
            | Self::Missing { first: sequence, .. }
            | Self::Schema { sequence, .. }
            | Self::HeadMismatch { sequence } => Some(*sequence),
            Self::Stray { .. }
            | Self::HeadUnreadable { .. }
            | Self::HeadMissing { .. }
            | Self::HeadBeyond { .. }
            | Self::HeadBehind { .. } => None,
        }
    }
}

/// The head as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeadFound {
    Absent,
    Unreadable(String),
    At(Head, Version),
}

impl HeadFound {
    /// The entry that it names; 0 if there is no head.
    pub(super) const fn sequence(&self) -> u64 {
        match self {
            Self::At(head, _) => head.sequence,
            Self::Absent | Self::Unreadable(_) => 0,
        }
    }
}

/// What was found in the store, in the order in which it was asked for. Others may have appended in
/// the meantime: the head then moved between the two looks at it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head_before: HeadFound,
    /// `None`: listed, but gone when it was to be read.
    pub(super) entries: BTreeMap<u64, Option<Vec<u8>>>,
    pub(super) strays: Vec<String>,
    pub(super) head_after: HeadFound,
}

impl Found {
    /// The newest entry; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }
}

/// A chain that fits together.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) state: State,
    pub(super) entries: Vec<(ChainEntry, Sha256)>,
}

/// Looks at everything and lists every problem, or gives the chain if there is none.
pub(super) fn examine(layout: &Layout, found: &Found) -> Result<Whole, Vec<Problem>> {
    let mut problems: Vec<Problem> =
        found.strays.iter().map(|name| Problem::Stray { name: name.clone() }).collect();
    let mut whole = Vec::new();
    let mut previous: Option<Sha256> = None;
    let mut expected = 1;
    for (&sequence, bytes) in &found.entries {
        if sequence > expected {
            problems.push(Problem::Missing { first: expected, last: sequence - 1 });
            previous = None;
        }
        expected = sequence.saturating_add(1);
        let Some(bytes) = bytes else {
            problems.push(Problem::Missing { first: sequence, last: sequence });
            previous = None;
            continue;
        };
        let digest = Sha256::of(bytes);
        // After a gap the link cannot be checked; the gap itself is reported.
        let linked = sequence == 1 || previous.is_some();
        match check_entry(layout, sequence, bytes, linked.then_some(previous.as_ref())) {
            Ok(entry) => whole.push((entry, digest.clone())),
            Err(found) => problems.extend(found),
        }
        previous = Some(digest);
    }
    check_heads(found, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let bytes = found.entries.values().flatten().map(Vec::as_slice);
    let state = fold(&layout.app, &layout.environment, bytes).map_err(|error| vec![error.into()])?;
    Ok(Whole { state, entries: whole })
}

/// `previous` is `None` if the entry before is not known.
fn check_entry(
    layout: &Layout,
    sequence: u64,
    bytes: &[u8],
    previous: Option<Option<&Sha256>>,
) -> Result<ChainEntry, Vec<Problem>> {
    let entry: ChainEntry = serde_json::from_slice(bytes)
        .map_err(|error| vec![ChainError::Unreadable { sequence, message: error.to_string() }.into()])?;
    let mut problems: Vec<Problem> = Vec::new();
    if entry.schema != SCHEMA {
        problems.push(Problem::Schema { sequence, found: entry.schema.chars().take(80).collect() });
    }
    if entry.sequence != sequence {
        problems.push(ChainError::WrongSequence { expected: sequence, found: entry.sequence }.into());
    }
    if previous.is_some_and(|previous| entry.previous_sha256.as_ref() != previous) {
        problems.push(ChainError::BrokenLink { sequence }.into());
    }
    if entry.app != layout.app || entry.environment != layout.environment {
        let found = format!("{}/{}", entry.app, entry.environment);
        let expected = format!("{}/{}", layout.app, layout.environment);
        problems.push(ChainError::Foreign { sequence, found, expected }.into());
    }
    if entry.event == ChainEvent::Unknown {
        problems.push(ChainError::Newer { sequence }.into());
    }
    if problems.is_empty() { Ok(entry) } else { Err(problems) }
}

/// Entries are created before the head moves to them, and the next one only when it has moved: when
/// the entries were listed, the head named the newest one or the one before it.
fn check_heads(found: &Found, problems: &mut Vec<Problem>) {
    let newest = found.newest();
    let before = check_head(found, &found.head_before);
    let after = check_head(found, &found.head_after);
    let same = before == after;
    problems.extend(before);
    if !same {
        problems.extend(after);
    }
    if found.head_before.sequence() > newest {
        problems.push(Problem::HeadBeyond { head: found.head_before.sequence(), entries: newest });
    }
    match &found.head_after {
        HeadFound::Absent if newest > 1 => problems.push(Problem::HeadMissing { entries: newest }),
        HeadFound::At(head, _) if head.sequence.saturating_add(1) < newest => {
            problems.push(Problem::HeadBehind { head: head.sequence, entries: newest });
        }
        _ => {}
    }
}

fn check_head(found: &Found, head: &HeadFound) -> Option<Problem> {
    match head {
        HeadFound::Absent => None,
        HeadFound::Unreadable(message) => Some(Problem::HeadUnreadable { message: message.clone() }),
        HeadFound::At(head, _) => {
            let bytes = found.entries.get(&head.sequence).and_then(Option::as_ref);
            let differs = bytes.is_some_and(|bytes| Sha256::of(bytes) != head.sha256);
            (differs || head.sequence == 0).then_some(Problem::HeadMismatch { sequence: head.sequence })
        }
    }
}

/// The entry that follows `state`.
pub(super) fn next_entry(
    layout: &Layout,
    state: &State,
    event: ChainEvent,
    deployment_id: kit_contract::DeploymentId,
    at: Timestamp,
    actor: Option<String>,
) -> ChainEntry {
    ChainEntry {
        schema: SCHEMA.to_owned(),
        sequence: state.sequence + 1,
        previous_sha256: state.head_sha256.clone(),
        app: layout.app.clone(),
        environment: layout.environment.clone(),
        deployment_id,
        at,
        actor,
        event,
    }
}
