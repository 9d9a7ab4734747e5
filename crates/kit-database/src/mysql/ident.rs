//! Names and texts as SQL, for MariaDB and MySQL.

/// A name as a quoted identifier.
pub(super) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as a literal.
pub(super) fn literal(text: &str) -> String {
    // Hexadecimal means the same whatever `NO_BACKSLASH_ESCAPES` says.
    if text.is_empty() {
        return "''".to_owned();
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(x'{hex}' USING utf8mb4)")
}

/// A quoted identifier at the beginning of `text`, without its quotes, and what stands behind it.
pub(super) fn identifier(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let (piece, after) = rest.split_once('`')?;
        name.push_str(piece);
        match after.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

/// Longer names are refused by the server (identifiers of databases have at most 64 characters).
const NAME_CHARS: usize = 64;

/// The name under which something of the live database stands beside it: `shop_restore_1763712000-abc1234`.
pub(super) fn sibling(live: &str, role: &str, id: &str) -> String {
    sibling_with(live, role, id, "")
}

/// The same, with something behind it.
pub(super) fn sibling_with(live: &str, role: &str, id: &str, suffix: &str) -> String {
    let chars = |text: &str| text.chars().count();
    let name = crate::sibling::sibling((live, role, id), (NAME_CHARS - chars(suffix), chars));
    format!("{name}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        for name in ["orders", "odd `name", "select", "a.b", "ü ☃", "``"] {
            let sql = quote(name);
            assert_eq!(identifier(&format!("{sql} VALUES")), Some((name.to_owned(), " VALUES")), "{name}");
        }
        for broken in ["", "orders", "`orders", "``", "`a``"] {
            assert_eq!(identifier(broken), None, "{broken}");
        }
    }

    #[test]
    fn texts_need_no_escaping() {
        assert_eq!(literal("a'\\"), "CONVERT(x'61275c' USING utf8mb4)");
        assert_eq!(literal(""), "''");
    }

    #[test]
    fn names_fit_and_keep_their_id() {
        assert_eq!(sibling("shop", "restore", "1763712000-abc1234"), "shop_restore_1763712000-abc1234");
        let long = sibling(&"ü".repeat(64), "before", "1763712000-abc1234");
        assert!(long.chars().count() == 64 && long.ends_with("_before_1763712000-abc1234"), "{long}");
        let mark = sibling_with(&"s".repeat(64), "restore", &"a".repeat(63), "_unfinished");
        assert!(mark.len() == 64 && mark.ends_with("_unfinished"), "{mark}");
    }
}
