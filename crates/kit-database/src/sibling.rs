//! Names for what stands beside a live database.

use crate::DatabaseError;
use kit_contract::Sha256;
use kit_core::{Context, StepError};

/// Longer ids are shortened, so that the name of the live database keeps some room. Those of our own are shorter.
const MOST_OF_ID: usize = 30;
/// Of the digest that tells apart what looks the same once it is cut.
const DIGEST_CHARS: usize = 8;

/// The name under which something of the live database stands beside it, `shop_restore_1763712000-abc1234`, no longer
/// than `most` in the way of the server to measure names.
pub(crate) fn sibling(
    (live, role, id): (&str, &str, &str),
    (most, length): (usize, fn(&str) -> usize),
) -> String {
    let tail = format!("_{role}_{}", fitted(id, (MOST_OF_ID, length)));
    format!("{}{tail}", fitted(live, (most.saturating_sub(length(&tail)), length)))
}

/// The text, or its beginning and a digest of all of it: two long names that begin alike are still two.
fn fitted(text: &str, (room, length): (usize, fn(&str) -> usize)) -> String {
    if length(text) <= room {
        return text.to_owned();
    }
    let digest: String = Sha256::of(text.as_bytes()).to_string().chars().take(DIGEST_CHARS).collect();
    let mut head = text.to_owned();
    while length(&head) + 1 + DIGEST_CHARS > room && head.pop().is_some() {}
    format!("{head}-{digest}")
}

/// Says what earlier restores have left unfinished, which nobody else would ever miss. Who cannot look restores all the
/// same.
pub(crate) fn say_left(cx: &Context, names: Result<Vec<String>, DatabaseError>) {
    let names = names.unwrap_or_else(|error| {
        let why = StepError::from(error).chain();
        cx.out.say(&format!("note: nobody knows whether an earlier restore has left something here: {why}"));
        Vec::new()
    });
    for name in names.iter().map(|name| cx.out.clean(name)) {
        cx.out.say(&format!(
            "warning: {name} holds a part of a backup at most: a restore that was killed has left it; remove it unless one \
             runs now"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_apart() {
        let bytes = |live: &str, role: &str, id: &str| sibling((live, role, id), (63, str::len));
        assert_eq!(bytes("shop", "restore", "1763712000-abc1234"), "shop_restore_1763712000-abc1234");
        let long = "ü".repeat(31);
        for (one, other) in [
            ((long.as_str(), "1763712000-abc1234"), (format!("{long}x"), "1763712000-abc1234".to_owned())),
            (("shop", &"a".repeat(63)), ("shop".to_owned(), format!("{}b", "a".repeat(62)))),
            ((&"s".repeat(63), &"a".repeat(63)), (format!("{}t", "s".repeat(62)), "a".repeat(63))),
        ] {
            let names = [bytes(one.0, "unfinished", one.1), bytes(&other.0, "unfinished", &other.1)];
            assert!(names.iter().all(|name| name.len() <= 63 && name.contains("_unfinished_")), "{names:?}");
            assert_ne!(names[0], names[1]);
        }
        let chars =
            |live: &str| sibling((live, "before", "1763712000-abc1234"), (64, |text| text.chars().count()));
        assert_eq!(chars(&"ü".repeat(64)).chars().count(), 64);
        assert_eq!(chars(&"ü".repeat(38)), format!("{}_before_1763712000-abc1234", "ü".repeat(38)));
    }
}
