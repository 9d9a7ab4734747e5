//! Pure: from what became of the message on each channel to how the step ends.

use crate::channels::summary::outcome_word;
use kit_contract::body::{ChannelOutcome, ChannelResult, Notice};
use kit_contract::{Name, Reason};

/// How the step ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The stable code.
    pub(crate) reason: Reason,
    /// For people.
    pub(crate) message: String,
    /// One per channel that did not take the message.
    pub(crate) hints: Vec<String>,
}

/// Channels that did not take the message, though they should have.
pub(crate) fn undelivered(notice: &Notice) -> impl Iterator<Item = &ChannelResult> {
    let taken = [ChannelOutcome::Delivered, ChannelOutcome::Skipped];
    notice.channels.iter().filter(move |channel| !taken.contains(&channel.outcome))
}

/// Judges. Only a channel that was required can fail the step.
pub(crate) fn judge(notice: &Notice, required: &[Name]) -> Verdict {
    let event = &notice.event;
    let hints: Vec<String> = undelivered(notice)
        .map(|channel| format!("{}: {}: {}", channel.channel, outcome_word(channel.outcome), channel.message))
        .collect();
    let asked = notice.channels.iter().filter(|channel| channel.outcome != ChannelOutcome::Skipped).count();
    let missed: Vec<&str> = undelivered(notice).map(|channel| channel.channel.as_str()).collect();
    let verdict = |reason, message: String| Verdict { reason, message, hints: hints.clone() };
    if notice.dry_run && hints.is_empty() {
        return verdict(Reason::Delivered, format!("{event}: dry run, nothing was sent"));
    }
    let missed_required: Vec<&str> =
        missed.iter().copied().filter(|name| required.iter().any(|item| item.as_str() == *name)).collect();
    if !missed_required.is_empty() {
        let names = missed_required.join(", ");
        return verdict(
            Reason::RequiredUndelivered,
            format!("{event}: required, but not delivered: {names}"),
        );
    }
    if !missed.is_empty() {
        let text = format!(
            "{event}: {} of {asked} channels did not take the message: {}",
            missed.len(),
            missed.join(", ")
        );
        return verdict(Reason::NotAllDelivered, text);
    }
    if asked == 0 {
        return verdict(Reason::NotConfigured, format!("{event}: no channel was to be told of this"));
    }
    let channels = if asked == 1 { "channel" } else { "channels" };
    verdict(Reason::Delivered, format!("{event}: {asked} {channels} took the message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChannelOutcome::{Ambiguous, Delivered, Rejected, Skipped, Throttled, Unknown, Unreachable};

    fn run(outcomes: &[ChannelOutcome], required: &[&str], dry_run: bool) -> (Reason, String) {
        let channels = outcomes.iter().enumerate().map(|(index, outcome)| ChannelResult {
            channel: format!("c{index}").parse().unwrap(),
            kind: "slack".into(),
            outcome: *outcome,
            status: None,
            attempts: 1,
            message: "why".into(),
        });
        let notice = Notice { event: "deployed".into(), channels: channels.collect(), dry_run };
        let required: Vec<Name> = required.iter().map(|name| name.parse().unwrap()).collect();
        let verdict = judge(&notice, &required);
        let missed = outcomes.iter().filter(|outcome| !matches!(outcome, Delivered | Skipped)).count();
        assert_eq!(verdict.hints.len(), missed);
        (verdict.reason, verdict.message)
    }

    #[test]
    fn the_table() {
        use Reason as R;
        for (outcomes, required, dry_run, reason, exit_code) in [
            (&[Delivered, Delivered][..], &[][..], false, R::Delivered, 0),
            (&[Delivered, Skipped], &["c0"], false, R::Delivered, 0),
            (&[Skipped, Skipped], &["c0"], false, R::NotConfigured, 0),
            (&[Skipped, Skipped], &[], true, R::Delivered, 0),
            (&[Skipped, Rejected], &[], true, R::NotAllDelivered, 0),
            (&[Delivered, Ambiguous], &["c0"], false, R::NotAllDelivered, 0),
            (&[Rejected], &[], false, R::NotAllDelivered, 0),
            (&[Throttled], &["c0"], false, R::RequiredUndelivered, 20),
            (&[Delivered, Unreachable], &["c1"], false, R::RequiredUndelivered, 20),
            (&[Ambiguous], &["c0"], false, R::RequiredUndelivered, 20),
            (&[Unknown], &["c0"], false, R::RequiredUndelivered, 20),
        ] {
            let (seen, message) = run(outcomes, required, dry_run);
            assert_eq!(seen, reason, "{outcomes:?} {required:?}: {message}");
            assert_eq!(seen.exit_code(), exit_code);
        }
    }
}
