//! Makes text harmless to a terminal and to a CI runner.

/// Longest line that is shown; a body without end must not fill the log.
const LONGEST_LINE_CHARS: usize = 4000;

/// One line of foreign text, made harmless.
///
/// The GitHub Actions runner obeys `::command` at the start of a line (after blanks) and `##[command`
/// anywhere in it, on both streams (`ActionCommand.cs`, `TryParseV2` and `TryParse`). Terminals obey
/// escape sequences, and bidirectional controls reorder what a person reads. All of that is taken
/// out, line breaks become spaces, and the length is limited.
pub fn sanitise(line: &str) -> String {
    let mut clean = sanitise_whole(line);
    if let Some((end, _)) = clean.char_indices().nth(LONGEST_LINE_CHARS) {
        clean.truncate(end);
        clean.push_str(" … (cut)");
    }
    clean
}

/// Like [`sanitise`], for data that a program reads: cut data would be wrong data.
pub(crate) fn sanitise_whole(line: &str) -> String {
    let clean: String = strip_escapes(line).collect();
    // After the escapes are gone: they could have stood between the two halves.
    let clean = clean.replace("##[", "# #[");
    let blanks = clean.len() - clean.trim_start().len();
    match clean.get(blanks..) {
        Some(rest) if rest.starts_with("::") => {
            format!("{}: :{}", &clean[..blanks], rest.get(2..).unwrap_or_default())
        }
        _ => clean,
    }
}

/// Characters without terminal escapes, controls and invisible reordering marks.
fn strip_escapes(line: &str) -> impl Iterator<Item = char> + '_ {
    let mut characters = line.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            match characters.next()? {
                '\u{1b}' => skip_escape(&mut characters),
                '\n' | '\r' | '\t' => return Some(' '),
                // Bidirectional controls, zero-width characters, the byte order mark.
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {}
                character if character.is_control() => {}
                character => return Some(character),
            }
        }
    })
}

/// Skips what follows an ESC: a CSI sequence, an OSC string, or one character (ECMA-48).
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => {
            for character in characters.by_ref() {
                if matches!(character, '\u{40}'..='\u{7e}') {
                    break;
                }
            }
        }
        Some(']') => {
            while let Some(character) = characters.next() {
                if character == '\u{7}' {
                    break;
                }
                if character == '\u{1b}' {
                    characters.next();
                    break;
                }
            }
        }
        _ => {}
    }
}

/// An address as it may be shown: without user, password, query and fragment, any of which may be
/// or hold a secret. What cannot be parsed is not shown at all. Webhook addresses carry their
/// secret in the path: those are never shown, not even through this.
pub fn display_url(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return "(an address that cannot be parsed)".to_owned() };
    // Both fail only for addresses that cannot have credentials at all.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::{display_url, sanitise};
    use proptest::prelude::*;

    /// What the runner would obey, ported from `ActionCommand.cs`.
    fn runner_obeys(line: &str) -> bool {
        line.trim_start().starts_with("::") || line.contains("##[")
    }

    #[test]
    fn commands_and_escapes_are_broken() {
        for hostile in [
            "::set-output name=verdict::promote",
            "   ::add-mask::x",
            "text ##[error]boom",
            "###[error]boom",
            "#\u{1b}[0m#[error]boom",
            "\u{1b}[0m::error::boom",
            "\u{200b}::error::boom",
            "a\n::error::boom",
            "a\r::error::boom",
            "\u{1b}]0;title\u{7}::error::x",
            "\t::warning::x",
            ":\u{0}:error::x",
        ] {
            let clean = sanitise(hostile);
            assert!(!runner_obeys(&clean), "{hostile:?} -> {clean:?}");
            assert!(!clean.chars().any(char::is_control), "{clean:?}");
        }
        assert_eq!(sanitise("a plain line: 50 % ## [x]"), "a plain line: 50 % ## [x]");
    }

    proptest! {
        #[test]
        fn nothing_that_the_runner_obeys_survives(line in "[:#\\[\\] a\\t\\r\\n\\x1b\\x07\u{200b}m0]{0,40}") {
            let clean = sanitise(&line);
            prop_assert!(!runner_obeys(&clean), "{:?} -> {:?}", line, clean);
            prop_assert_eq!(sanitise(&clean), clean, "cleaning twice is cleaning once");
        }
    }

    #[test]
    fn long_lines_are_cut() {
        assert!(sanitise(&"x".repeat(1_000_000)).len() < 5_000);
    }

    #[test]
    fn shown_addresses_hold_no_secret() {
        assert_eq!(
            display_url("https://user:secret@hooks.example/T0/B0?token=secret#secret"),
            "https://hooks.example/T0/B0"
        );
        assert_eq!(display_url("http://host:port/secret"), "(an address that cannot be parsed)");
    }
}
