//! Replaces what differs from run to run.

/// Tells how many bytes at the start of a text are of one kind; `None` if they are not.
type Matcher = fn(&[u8]) -> Option<usize>;

const MATCHERS: &[(Matcher, &str)] =
    &[(time, "[TIME]"), (sha256, "[SHA256]"), (id, "[ID]"), (version, "[VERSION]")];

/// Hosts whose port is chosen by the machine.
const LOOPBACK: &[&str] = &["127.0.0.1:", "localhost:", "[::1]:"];

/// The text with placeholders for times, digests, made ids, our version and loopback ports.
pub(crate) fn placeholders(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut shown: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let starts_word = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let found = MATCHERS.iter().filter(|_| starts_word).find_map(|(matcher, placeholder)| {
            let length = matcher(rest)?;
            let ends_word = !rest.get(length).is_some_and(u8::is_ascii_alphanumeric);
            ends_word.then_some((length, *placeholder))
        });
        let host = LOOPBACK.iter().find(|host| starts_word && rest.starts_with(host.as_bytes()));
        if let Some((length, placeholder)) = found {
            shown.extend_from_slice(placeholder.as_bytes());
            at += length;
        } else if let Some(host) = host {
            let digits = rest[host.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            shown.extend_from_slice(host.as_bytes());
            shown.extend_from_slice(if digits == 0 { b"" } else { b"[PORT]" });
            at += host.len() + digits;
        } else {
            shown.push(byte);
            at += 1;
        }
    }
    String::from_utf8(shown).expect("only ASCII was replaced")
}

/// `pattern` with `0` for a digit and `x` for a lower-case hexadecimal digit; the rest stands for itself.
fn shape(bytes: &[u8], pattern: &str) -> Option<usize> {
    let fits = bytes.len() >= pattern.len()
        && pattern.bytes().zip(bytes).all(|(wanted, &byte)| match wanted {
            b'0' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            _ => wanted == byte,
        });
    fits.then_some(pattern.len())
}

/// RFC 3339 in UTC, with or without a fraction.
fn time(bytes: &[u8]) -> Option<usize> {
    let whole = shape(bytes, "0000-00-00T00:00:00")?;
    let rest = &bytes[whole..];
    let fraction = match rest.first() {
        Some(b'.') => 1 + rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    (rest.get(fraction) == Some(&b'Z')).then_some(whole + fraction + 1)
}

fn sha256(bytes: &[u8]) -> Option<usize> {
    shape(bytes, &"x".repeat(64))
}

/// Ids as the frame and `validate-tag` make them.
fn id(bytes: &[u8]) -> Option<usize> {
    let prefix = if bytes.starts_with(b"local-") { 6 } else { 0 };
    let seconds = shape(&bytes[prefix..], "0000000000-")?;
    let suffix =
        bytes[prefix + seconds..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    (7..=12).contains(&suffix).then_some(prefix + seconds + suffix)
}

fn version(bytes: &[u8]) -> Option<usize> {
    let version = env!("CARGO_PKG_VERSION");
    bytes.starts_with(version.as_bytes()).then_some(version.len())
}

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn only_what_differs_is_replaced() {
        let digest = "0123456789abcdef".repeat(4);
        let version = env!("CARGO_PKG_VERSION");
        let cases = [
            ("at 2026-01-02T03:04:05.678Z, yes".to_owned(), "at [TIME], yes".to_owned()),
            ("2026-01-02 is a day".to_owned(), "2026-01-02 is a day".to_owned()),
            (format!("sha256:{digest}."), "sha256:[SHA256].".to_owned()),
            (format!("{digest}0"), format!("{digest}0")),
            ("local-1763712000-abcd1234 1763712000-abc1234".to_owned(), "[ID] [ID]".to_owned()),
            ("backup-1763712000-abc1234.sql.gz".to_owned(), "backup-[ID].sql.gz".to_owned()),
            (format!("rehearse {version}, not 1{version}"), format!("rehearse [VERSION], not 1{version}")),
            (
                "http://127.0.0.1:49152/ at localhost:x".to_owned(),
                "http://127.0.0.1:[PORT]/ at localhost:x".to_owned(),
            ),
            ("ä 127.0.0.1: ö".to_owned(), "ä 127.0.0.1: ö".to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(placeholders(&text), expected);
        }
    }
}
