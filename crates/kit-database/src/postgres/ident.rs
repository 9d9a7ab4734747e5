//! Names of PostgreSQL as SQL, and back. Pure.

/// A name inside a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Qualified {
    pub(super) schema: String,
    pub(super) name: String,
}

impl Qualified {
    /// Parses `schema.name` as `pg_dump` writes it; gives what stands behind it, too.
    pub(super) fn parse(text: &str) -> Option<(Self, &str)> {
        let (schema, rest) = identifier(text)?;
        let (name, rest) = identifier(rest.strip_prefix('.')?)?;
        Some((Self { schema, name }, rest))
    }

    /// As SQL, every part quoted.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

/// For people and artifacts: quoted only where it must be. Does not depend on anybody's list of keywords,
/// as the quoting of `pg_dump` does.
impl std::fmt::Display for Qualified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", Shown(&self.schema), Shown(&self.name))
    }
}

struct Shown<'a>(&'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'$';
        let begins = self.0.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if begins && self.0.bytes().all(plain) { f.write_str(self.0) } else { f.write_str(&quote(self.0)) }
    }
}

/// A name as a quoted identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal.
pub(super) fn literal(text: &str) -> String {
    // Two backslashes and `E` mean the same whatever `standard_conforming_strings` says.
    if text.contains('\\') {
        return format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// One identifier at the beginning of `text`, without its quotes, and what stands behind it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$'))
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (piece, after) = rest.split_once('"')?;
        name.push_str(piece);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        for (sql, schema, name, shown) in [
            ("public.orders", "public", "orders", "public.orders"),
            ("public.\"Orders\"", "public", "Orders", "public.\"Orders\""),
            ("\"a.b\".\"c \"\"d\"\" --\"", "a.b", "c \"d\" --", "\"a.b\".\"c \"\"d\"\" --\""),
            ("public.\"user\"", "public", "user", "public.user"),
            ("\"ü\".t1$", "ü", "t1$", "\"ü\".t1$"),
            ("public.\"two\nlines\"", "public", "two\nlines", "public.\"two\nlines\""),
        ] {
            let (parsed, rest) = Qualified::parse(sql).unwrap();
            assert_eq!((parsed.schema.as_str(), parsed.name.as_str(), rest), (schema, name, ""), "{sql}");
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(Qualified::parse(&parsed.sql()).unwrap().0, parsed);
        }
        assert_eq!(Qualified::parse("public.t (a) FROM").unwrap().1, " (a) FROM");
        for broken in ["", "public", "public.", ".t", "\"public.t", "public.\"t"] {
            assert_eq!(Qualified::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn literals() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
