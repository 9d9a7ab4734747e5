//! The forms that a message takes. Pure: a message in, bytes or text out.

pub(crate) mod slack;
pub(crate) mod summary;
pub(crate) mod webhook;

use kit_contract::config::Event;

/// Said where something had to be left out.
pub(crate) const CUT: &str = "… (cut: the artifacts hold all of it)";

/// The word that artifacts and receivers use.
pub(crate) const fn event_word(event: Event) -> &'static str {
    match event {
        Event::Deployed => "deployed",
        Event::Failed => "failed",
        Event::RolledBack => "rolled_back",
        Event::Inconclusive => "inconclusive",
        Event::Stuck => "stuck",
    }
}

/// Length as the receivers count it: UTF-16 units, as JavaScript does. Never fewer than the characters.
pub(crate) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text, cut to at most `limit` units at a character's edge; the cut is said. `escape` is applied to
/// every character, so that no escape is ever cut in two.
pub(crate) fn fit(text: &str, limit: usize, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut whole = String::new();
    // Where to cut if the whole turns out too long.
    let mut cut_at = 0;
    let room = limit.saturating_sub(length(CUT));
    let mut used = 0;
    for character in text.chars() {
        match escape(character) {
            Some(escaped) => {
                whole.push_str(escaped);
                used += length(escaped);
            }
            None => {
                whole.push(character);
                used += character.len_utf16();
            }
        }
        if used <= room {
            cut_at = whole.len();
        }
        if used > limit {
            whole.truncate(cut_at);
            whole.push_str(CUT);
            return whole;
        }
    }
    whole
}

/// As many lines as fit into `limit` units, each at most `longest`; what is left out is said.
pub(crate) fn fit_lines(
    lines: &[String],
    longest: usize,
    limit: usize,
    escape: impl Fn(char) -> Option<&'static str> + Copy,
) -> Vec<String> {
    let room = limit.saturating_sub(length(CUT) + 1);
    let mut fitted = Vec::new();
    let mut used = 0;
    for line in lines {
        let line = fit(line, longest, escape);
        used += length(&line) + 1;
        if used > room {
            fitted.push(CUT.to_owned());
            break;
        }
        fitted.push(line);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amp(character: char) -> Option<&'static str> {
        (character == '&').then_some("&amp;")
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(fit("a&b", 7, amp), "a&amp;b");
        let limit = 60;
        for text in ["x".repeat(61), "&".repeat(13), "😀".repeat(31), "ä&😀".repeat(20)] {
            let cut = fit(&text, limit, amp);
            assert!(length(&cut) <= limit, "{cut}");
            assert!(cut.ends_with(CUT), "{cut}");
            let kept = cut.strip_suffix(CUT).unwrap();
            assert!(!kept.replace("&amp;", "").contains('&'), "an escape was cut in two: {cut}");
        }
        assert_eq!(fit(&"x".repeat(60), limit, amp), "x".repeat(60));
    }

    #[test]
    fn lines_that_do_not_fit_are_left_out_and_that_is_said() {
        let lines: Vec<String> = (0..100).map(|number| format!("line {number:02}")).collect();
        let fitted = fit_lines(&lines, 50, 120, amp);
        assert!(fitted.join("\n").len() <= 120 + CUT.len(), "{fitted:?}");
        assert_eq!(fitted.last().map(String::as_str), Some(CUT));
        assert_eq!(fit_lines(&lines[..3], 50, 120, amp).len(), 3);
    }
}
