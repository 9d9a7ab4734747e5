//! Text of strangers, made fit for one line.

/// Longest value that is shown, in characters.
const LONGEST_VALUE_CHARS: usize = 200;

/// One line of at most 200 characters, without controls.
pub(crate) fn short_line(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(LONGEST_VALUE_CHARS).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    one_line(&short)
}

/// One line without controls. Some readers also break lines at the separators of Unicode.
pub(crate) fn one_line(text: &str) -> String {
    kit_core::sanitise(&text.replace(['\u{2028}', '\u{2029}'], " "))
}

#[cfg(test)]
mod tests {
    use super::short_line;

    #[test]
    fn long_and_hostile_text_becomes_one_short_line() {
        assert_eq!(short_line("a\nb\u{2028}c\u{1b}[2Jd"), "a b cd");
        let cut = short_line(&"ä".repeat(201));
        assert_eq!(cut.chars().count(), 201);
        assert!(cut.ends_with("ä…"));
        assert_eq!(short_line(&"x".repeat(200)), "x".repeat(200));
    }
}
