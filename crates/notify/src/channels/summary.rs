//! The job summary of the run: Markdown.
//!
//! The frame writes the summary after the artifact, from the artifact alone. So the artifact holds the
//! text: it is the message of the channel's result.

use crate::message::Message;
use kit_contract::body::{ChannelOutcome, Notice};
use kit_step::markdown_escape;

/// The word for this kind of channel.
pub(crate) const KIND: &str = "summary";

/// The message as plain text, line by line.
pub(crate) fn text(message: &Message) -> String {
    let mut lines = vec![message.title.clone()];
    lines.extend(message.fields.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend(message.lines.iter().cloned());
    lines.join("\n")
}

/// What `notify` adds to the job summary: the message, if a channel of this kind wants it, and what
/// became of it elsewhere.
pub(crate) fn page(notice: &Notice) -> String {
    let mut page = String::new();
    let own = |kind: &str, outcome| kind == KIND && outcome == ChannelOutcome::Delivered;
    if let Some(channel) = notice.channels.iter().find(|channel| own(&channel.kind, channel.outcome)) {
        let mut lines = channel.message.lines();
        let title = lines.next().unwrap_or_default();
        page.push_str(&format!("\n#### {}\n\n", markdown_escape(title)));
        for line in lines {
            page.push_str(&format!("- {}\n", markdown_escape(line)));
        }
    }
    if notice.channels.is_empty() {
        return page;
    }
    page.push_str("\n| channel | kind | outcome | status | tries | |\n|---|---|---|---|---|---|\n");
    for channel in &notice.channels {
        let status = channel.status.map(|status| status.to_string()).unwrap_or_default();
        let why = if own(&channel.kind, channel.outcome) { "see above" } else { &channel.message };
        page.push_str(&format!(
            "| {} | {} | {} | {status} | {} | {} |\n",
            channel.channel,
            channel.kind,
            outcome_word(channel.outcome),
            channel.attempts,
            markdown_escape(why)
        ));
    }
    page
}

/// The word that artifacts use.
pub(crate) const fn outcome_word(outcome: ChannelOutcome) -> &'static str {
    match outcome {
        ChannelOutcome::Delivered => "delivered",
        ChannelOutcome::Throttled => "throttled",
        ChannelOutcome::Rejected => "rejected",
        ChannelOutcome::Ambiguous => "ambiguous",
        ChannelOutcome::Unreachable => "unreachable",
        ChannelOutcome::Skipped => "skipped",
        ChannelOutcome::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::ChannelResult;

    #[test]
    fn foreign_text_is_plain_and_stays_on_its_line() {
        let channel = |kind: &str, message: &str| ChannelResult {
            channel: "ops".parse().unwrap(),
            kind: kind.into(),
            outcome: ChannelOutcome::Delivered,
            status: None,
            attempts: 0,
            message: message.into(),
        };
        let notice = Notice {
            event: "failed".into(),
            channels: vec![
                channel("summary", "Production deployment failed\nBecause: <img> @team | `x`"),
                channel("slack", "a | b"),
            ],
            dry_run: false,
        };
        let page = page(&notice);
        assert!(
            page.contains(
                "#### Production deployment failed\n\n- Because: &lt;img&gt; &#64;team \\| \\`x\\`\n"
            )
        );
        assert!(page.contains("| ops | summary | delivered |  | 0 | see above |"), "{page}");
        assert!(page.contains("| ops | slack | delivered |  | 0 | a \\| b |"), "{page}");
        assert_eq!(super::page(&Notice::default()), "");
    }
}
