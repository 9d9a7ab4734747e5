//! Takes apart what comes after the rows, so that indexes can be made side by side. Pure.
//!
//! An index, and a constraint that is one (a primary key, for example), needs nothing of another one. Everything else
//! stays in its order. What is in any doubt stays in its order, too: names and texts may hold what looks like a comment
//! of `pg_dump`, or like the end of a statement.

/// Something that is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// After everything before it, and before everything behind it.
    InOrder(Vec<u8>),
    /// Before what is in order behind it; it needs nothing of its neighbours of this kind.
    AtOnce(String),
    /// A comment on what came before: may wait.
    Remark(Vec<u8>),
}

/// Reads it in whole lines.
pub(super) struct Entries {
    entry: Vec<u8>,
    kind: Kind,
    lexer: Lexer,
    /// Settings for whatever is made from here on; the last of each holds.
    settings: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    Index,
    Comment,
}

impl Entries {
    /// Those of a dump that begins with these settings.
    pub(super) fn of(prelude: &[u8]) -> Self {
        // Elsewhere, a backslash means something in every text.
        let conforming =
            memchr::memmem::find(prelude, b"\nSET standard_conforming_strings = on;\n").is_some();
        let lexer = Lexer { unsure: !conforming, ..Lexer::default() };
        Self { entry: Vec::new(), kind: Kind::Other, lexer, settings: Vec::new() }
    }

    /// The next lines; gives what they complete.
    pub(super) fn take(&mut self, lines: &[u8], out: &mut Vec<Step>) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let is_text = self.lexer.is_text();
            let framed = is_text && (self.entry.is_empty() || self.entry.ends_with(b"\n--\n"));
            if framed && line.starts_with(b"-- Name: ") {
                out.extend(self.finish());
                self.kind = kind(line);
            } else if is_text && line.starts_with(b"SET default_") {
                self.settings.extend_from_slice(line);
            }
            self.lexer.line(line);
            self.entry.extend_from_slice(line);
        }
    }

    /// What is left at the end.
    pub(super) fn finish(&mut self) -> Option<Step> {
        let entry = std::mem::take(&mut self.entry);
        let (kind, statements) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.lexer.statements));
        let certain = !self.lexer.unsure && self.lexer.is_text() && statements == 1;
        if entry.is_empty() {
            return None;
        }
        Some(match (kind, String::from_utf8(entry)) {
            (Kind::Index, Ok(entry)) if certain => Step::AtOnce(entry),
            (Kind::Comment, Ok(entry)) if certain => Step::Remark(entry.into_bytes()),
            (_, Ok(entry)) => Step::InOrder(entry.into_bytes()),
            (_, Err(error)) => Step::InOrder(error.into_bytes()),
        })
    }

    /// What a session needs that makes the next of them.
    pub(super) fn settings(&self) -> &[u8] {
        &self.settings
    }
}

/// What a comment of `pg_dump` announces.
fn kind(comment: &[u8]) -> Kind {
    let has = |needle: &[u8]| memchr::memmem::find(comment, needle).is_some();
    // `FK CONSTRAINT` and `CHECK CONSTRAINT` are none.
    match () {
        () if has(b"; Type: INDEX; ") || has(b"; Type: CONSTRAINT; ") => Kind::Index,
        () if has(b"; Type: COMMENT; ") => Kind::Comment,
        () => Kind::Other,
    }
}

/// Knows whether it is inside of a name or a text.
#[derive(Default)]
struct Lexer {
    /// The quote that will end it, and whether a backslash means something in it.
    inside: Option<(u8, bool)>,
    /// Ended by the last letter: the same quote again would go on with it.
    ended: Option<(u8, bool)>,
    /// The two letters before.
    before: [u8; 2],
    /// Statements that ended.
    statements: usize,
    /// There was what it does not know to read.
    unsure: bool,
}

impl Lexer {
    const fn is_text(&self) -> bool {
        self.inside.is_none()
    }

    fn line(&mut self, line: &[u8]) {
        let mut escaped = false;
        for byte in line.iter().copied() {
            match self.inside {
                Some(_) if std::mem::take(&mut escaped) => {}
                Some((_, true)) if byte == b'\\' => escaped = true,
                Some((quote, escapes)) if byte == quote => {
                    (self.inside, self.ended) = (None, Some((quote, escapes)));
                    self.before = [0, byte];
                    continue;
                }
                Some(_) => {}
                None => {
                    if self.text(byte) {
                        return;
                    }
                }
            }
            self.ended = None;
            self.before = [self.before[1], byte];
        }
        // A line end that a backslash precedes.
        self.unsure |= escaped;
    }

    /// One letter outside. True: the rest of the line is a comment.
    fn text(&mut self, byte: u8) -> bool {
        let is_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_' || !letter.is_ascii();
        let [first, second] = self.before;
        match byte {
            b'\'' | b'"' => {
                let escapes = byte == b'\'' && second.eq_ignore_ascii_case(&b'e') && !is_name(first);
                self.inside = Some(self.ended.filter(|(quote, _)| *quote == byte).unwrap_or((byte, escapes)));
            }
            b'-' if second == b'-' => {
                self.before = [0; 2];
                return true;
            }
            b'*' if second == b'/' => self.unsure = true,
            b'$' if !is_name(second) => self.unsure = true,
            b';' => self.statements += 1,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRELUDE: &[u8] = b"SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n";

    fn entry(kind: &str, text: &str) -> String {
        format!("-- Name: x; Type: {kind}; Schema: public; Owner: a\n--\n\n{text}\n\n\n--\n")
    }

    fn steps(entries: &[String]) -> (Vec<Step>, Vec<u8>) {
        let (mut parts, mut out) = (Entries::of(PRELUDE), Vec::new());
        entries.concat().split_inclusive('\n').for_each(|line| parts.take(line.as_bytes(), &mut out));
        out.extend(parts.finish());
        (out, parts.settings().to_vec())
    }

    #[test]
    fn indexes_need_nothing_of_each_other_and_everything_else_has_its_place() {
        let index =
            entry("INDEX", "CREATE INDEX i ON public.t USING btree (a) WHERE (b <> 'it''s; ok'::text);");
        let escaped =
            entry("INDEX", "CREATE INDEX \"a;\"\"b\" ON public.t (a) WHERE (b <> E'it''s \\'; \\\\');");
        let key = entry("CONSTRAINT", "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT p PRIMARY KEY (a);");
        let comment =
            entry("COMMENT", "COMMENT ON INDEX public.i IS 'one\n--\n-- Name: y; Type: INDEX; z\n--\n';");
        for (text, wanted) in [
            (index, "at once"),
            (escaped, "at once"),
            (key, "at once"),
            (comment, "remark"),
            (
                entry("FK CONSTRAINT", "ALTER TABLE ONLY public.t ADD FOREIGN KEY (a) REFERENCES u;"),
                "in order",
            ),
            (entry("TRIGGER", "CREATE TRIGGER t;"), "in order"),
            (entry("INDEX", "CREATE INDEX i ON t (a);\nALTER TABLE t CLUSTER ON i;"), "in order"),
            (entry("INDEX", "CREATE INDEX i ON t (a) WHERE b = $$;$$;"), "in order"),
            (entry("INDEX", "CREATE INDEX i ON t (a) /* ' */;"), "in order"),
            (entry("INDEX", "CREATE INDEX i ON t (a);\n\nSET default_tablespace = fast;"), "in order"),
        ] {
            let (found, settings) = steps(std::slice::from_ref(&text));
            let bytes = text.clone().into_bytes();
            let expected = match wanted {
                "at once" => Step::AtOnce(text.clone()),
                "remark" => Step::Remark(bytes),
                _ => Step::InOrder(bytes),
            };
            assert_eq!(found, [expected]);
            assert_eq!(settings.is_empty(), !text.contains("SET default_"));
        }
    }

    #[test]
    fn entries_are_told_apart_and_nothing_is_lost() {
        let all = [
            entry("CONSTRAINT", "ALTER TABLE ONLY t ADD CONSTRAINT p PRIMARY KEY (a);"),
            entry("INDEX", "CREATE INDEX i ON t (a);"),
            entry("TRIGGER", "CREATE TRIGGER t EXECUTE FUNCTION f('$x$');"),
            entry("INDEX", "CREATE INDEX j ON t (a);"),
        ];
        let (found, _) = steps(&all);
        let [one, two, three, four] = all;
        let three = three.into_bytes();
        assert_eq!(found, [Step::AtOnce(one), Step::AtOnce(two), Step::InOrder(three), Step::AtOnce(four)]);
        let doubtful = entry("RULE", "CREATE RULE r AS SELECT $1;");
        let (found, _) = steps(&[doubtful.clone(), entry("INDEX", "CREATE INDEX j ON t (a);")]);
        assert!(matches!(found.as_slice(), [Step::InOrder(_), Step::InOrder(_)]), "{found:?}");
        let mut other = Entries::of(b"SET standard_conforming_strings = off;\n");
        other.take(entry("INDEX", "CREATE INDEX j ON t (a);").as_bytes(), &mut Vec::new());
        assert!(matches!(other.finish(), Some(Step::InOrder(_))));
    }
}
