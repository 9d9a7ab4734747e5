//! A Slack incoming webhook: blocks (docs.slack.dev, reference/block-kit).
//!
//! Limits: a header has 150 characters, a section's text 3000, a field 2000 (we stay far below), ten fields, 50 blocks; the
//! undocumented whole is about 13 200 (`msg_blocks_too_long`).

use super::{CUT, fit, fit_lines};
use crate::message::Message;
use serde_json::{Value, json};

const HEADER_LIMIT: usize = 150;
const SECTION_LIMIT: usize = 3000;
const FIELD_LIMIT: usize = 250;
const FIELDS_LIMIT: usize = 10;
/// All lines together; header, fields and fallback fit beside them below 12 000.
const LINES_LIMIT: usize = 8000;
const LINE_LIMIT: usize = 1500;
const FALLBACK_LIMIT: usize = 500;
const URL_LIMIT: usize = 1000;

/// The request body.
pub(crate) fn payload(message: &Message) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": fit(&message.title, HEADER_LIMIT, escape), "emoji": false },
    })];
    let fields: Vec<Value> = message
        .fields
        .iter()
        .take(FIELDS_LIMIT)
        .map(|(name, value)| markdown(format!("*{name}*\n{}", quiet(&fit(value, FIELD_LIMIT, escape)))))
        .collect();
    blocks.push(json!({ "type": "section", "fields": fields }));
    for text in sections(&message.lines) {
        blocks.push(json!({ "type": "section", "text": markdown(text) }));
    }
    if let Some(url) = link(message) {
        let text = format!("<{url}|Open the run>");
        blocks.push(json!({ "type": "context", "elements": [markdown(text)] }));
    }
    json!({ "text": fallback(message), "blocks": blocks })
}

/// What a notification shows, where there is no room for blocks.
fn fallback(message: &Message) -> String {
    let version = message.version.as_deref().map(|version| format!(" ({version})")).unwrap_or_default();
    let text = format!("{}: {}{version}", message.app, message.title);
    quiet(&fit(&text, FALLBACK_LIMIT, escape))
}

/// The lines, in as many sections as they need.
fn sections(lines: &[String]) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in fit_lines(lines, LINE_LIMIT, LINES_LIMIT, escape) {
        let line = quiet(&line);
        match sections.last_mut() {
            Some(section) if super::length(section) + super::length(&line) < SECTION_LIMIT => {
                section.push('\n');
                section.push_str(&line);
            }
            _ => sections.push(line),
        }
    }
    // A section must not be empty.
    sections.retain(|section| !section.trim().is_empty());
    sections
}

/// The link, unless its characters would end it or it is too long to be one.
fn link(message: &Message) -> Option<String> {
    let url = message.url.as_deref()?;
    let escaped = fit(url, URL_LIMIT, escape);
    (!escaped.contains('|') && !escaped.ends_with(CUT)).then_some(escaped)
}

/// `verbatim` keeps Slack from looking for names and mentions in the text.
fn markdown(text: String) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// The three characters that Slack gives a meaning to. It writes mentions as `<!channel>` and links as
/// `<address|text>`, so nothing foreign can be either.
fn escape(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

/// Mentions that need no brackets where a workspace looks for names all the same: an invisible joiner
/// keeps them from being one.
fn quiet(text: &str) -> String {
    let mut quiet = text.to_owned();
    for word in ["channel", "here", "everyone", "group"] {
        quiet = quiet.replace(&format!("@{word}"), &format!("@\u{2060}{word}"));
    }
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::length;
    use crate::message::of_nothing;
    use crate::subject::Unrecorded;

    fn message(lines: &[&str]) -> Message {
        let mut message = of_nothing(&Unrecorded {
            app: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
            deployment_id: "1763712000-abc1234".parse().unwrap(),
            deployment: None,
            alone: None,
            what: "x".into(),
            run: kit_contract::RunInfo::default(),
            at: jiff::Timestamp::UNIX_EPOCH,
        });
        message.lines = lines.iter().map(|line| (*line).to_owned()).collect();
        message
    }

    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(text) = map.get("text").and_then(Value::as_str) {
                    found.push(text.to_owned());
                }
                map.values().for_each(|value| texts(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| texts(value, found)),
            _ => {}
        }
    }

    #[test]
    fn foreign_text_mentions_nobody_and_makes_no_link() {
        for (hostile, expected) in [
            ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
            ("<!channel> boom", "&lt;!channel&gt; boom"),
            ("<!subteam^S1|x>", "&lt;!subteam^S1|x&gt;"),
            ("<https://evil.example|the run>", "&lt;https://evil.example|the run&gt;"),
            ("ping @here and @channel", "ping @\u{2060}here and @\u{2060}channel"),
            ("&lt;!everyone&gt;", "&amp;lt;!everyone&amp;gt;"),
            ("\"quotes\" `ticks`\\n", "\"quotes\" `ticks`\\n"),
        ] {
            let payload = payload(&message(&[hostile]));
            assert_eq!(payload["blocks"][2]["text"]["text"], expected);
            assert_eq!(payload["blocks"][2]["text"]["verbatim"], true);
        }
        let mut named = message(&["x"]);
        named.fields.push(("Started by", "<@U1> @everyone".into()));
        named.version = Some("<!here>".into());
        let mut found = Vec::new();
        texts(&payload(&named), &mut found);
        for text in found {
            assert!(!text.contains("<!") && !text.contains("<@") && !text.contains("@everyone"), "{text}");
        }
    }

    #[test]
    fn the_limits_hold_whatever_is_said() {
        let long = "ä&<😀".repeat(2000);
        let many: Vec<&str> = std::iter::repeat_n(long.as_str(), 200).collect();
        let short: Vec<&str> = std::iter::repeat_n("x", 5000).collect();
        for lines in [&[] as &[&str], &[""], &many, &short, &[&long]] {
            let mut message = message(lines);
            message.title = long.clone();
            message.version = Some(long.clone());
            for (_, value) in &mut message.fields {
                value.clone_from(&long);
            }
            message.url = Some(format!("https://h.example/{}", "x".repeat(5000)));
            let payload = payload(&message);
            let blocks = payload["blocks"].as_array().unwrap();
            assert!(blocks.len() <= 50, "{}", blocks.len());
            assert!(length(blocks[0]["text"]["text"].as_str().unwrap()) <= HEADER_LIMIT);
            let mut found = Vec::new();
            texts(&payload, &mut found);
            assert!(found.iter().all(|text| length(text) <= SECTION_LIMIT && !text.is_empty()));
            let total: usize = found.iter().map(|text| length(text)).sum();
            assert!(total < 12_000, "{total}");
        }
    }

    #[test]
    fn the_run_is_linked_unless_the_link_could_be_forged() {
        let mut message = message(&["x"]);
        message.url = Some("https://github.example/octo/shop?a=1&b=2".into());
        let made = payload(&message);
        assert_eq!(
            made["blocks"][3]["elements"][0]["text"],
            "<https://github.example/octo/shop?a=1&amp;b=2|Open the run>"
        );
        message.url = Some("https://h.example/x|forged>".into());
        assert_eq!(payload(&message)["blocks"].as_array().unwrap().len(), 3);
    }
}
