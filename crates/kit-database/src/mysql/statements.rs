//! How many statements a migration has. Pure.
//!
//! MariaDB and MySQL take no DDL back: of a migration that fails, everything before the statement that failed
//! stays. Only if there is none before it, the database is as it was. Bodies of routines count as many.

/// Counts statements: texts between semicolons outside of quotes and comments.
pub(super) fn count(sql: &str) -> usize {
    let bytes = sql.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let (mut index, mut statements, mut has_text) = (0, 0, false);
    while index < bytes.len() {
        let rest = bytes.get(index..).unwrap_or_default();
        let byte = at(index);
        let is_comment = byte == b'#'
            || rest.starts_with(b"--") && (at(index + 2).is_ascii_whitespace() || index + 2 == bytes.len());
        if is_comment {
            index += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") && !rest.starts_with(b"/*!") && !rest.starts_with(b"/*M!") {
            index += memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2);
        } else if matches!(byte, b'\'' | b'"' | b'`') {
            index += quoted(rest, byte);
            has_text = true;
        } else {
            if byte == b';' {
                statements += usize::from(has_text);
                has_text = false;
            } else if !byte.is_ascii_whitespace() {
                has_text = true;
            }
            index += 1;
        }
    }
    statements + usize::from(has_text)
}

/// How long a quoted text is, with its quotes.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut index = 1;
    while let Some(byte) = text.get(index) {
        index += 1;
        if *byte == b'\\' && quote != b'`' {
            index += 1;
        } else if *byte == quote {
            return index;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn statements_are_counted() {
        for (sql, expected) in [
            ("", 0),
            ("-- nothing\n# nothing\n/* ; */ ;;", 0),
            ("SELECT 1", 1),
            ("SELECT 1;\n-- the end;", 1),
            ("SELECT 1; SELECT 2", 2),
            ("INSERT INTO t VALUES ('a;b', \"c;d\", 'it''s;', 'x\\';')", 1),
            ("ALTER TABLE `a;b` ADD c int; --", 1),
            ("SELECT 1 --1; 2", 2),
            ("/*! SELECT 1 */; SELECT 2", 2),
            ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", 3),
            ("SELECT 'unfinished;", 1),
        ] {
            assert_eq!(count(sql), expected, "{sql}");
        }
    }
}
