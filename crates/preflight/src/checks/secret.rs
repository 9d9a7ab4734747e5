//! Are the secrets that later steps need there, and of the right shape?

use crate::check::{Check, Finding};
use kit_contract::config::ChannelKind;
use kit_step::ToolContext;

/// One check per secret that the configuration names. No message ever says anything about the value.
pub(crate) fn secrets(cx: &ToolContext) -> Vec<Check<'_>> {
    let config = cx.config();
    let is_address = |variable: &str| {
        config.databases.iter().any(|database| database.url.env == variable)
            || config.channels.iter().any(|channel| {
                channel.kind != ChannelKind::Summary
                    && channel.url.as_ref().is_some_and(|url| url.env == variable)
            })
    };
    config
        .secret_refs()
        .into_iter()
        .map(|reference| {
            let address = is_address(&reference.env);
            Check::new(format!("secret_present:{}", reference.env), async move {
                match cx.secret_ref(reference) {
                    Err(error) => Finding::failed(&error),
                    Ok(secret) => shape(&reference.env, secret.expose(), address),
                }
            })
        })
        .collect()
}

fn shape(variable: &str, value: &str, address: bool) -> Finding {
    if value.trim() != value {
        return Finding::fail(format!("{variable} begins or ends with blanks or a line break"))
            .hint("secrets are often pasted with a line break at the end; store it again without");
    }
    if address && url::Url::parse(value).is_err() {
        return Finding::fail(format!("{variable} is set, but holds no address"))
            .hint("an address begins with a scheme, for example sqlite: or https:");
    }
    Finding::pass(format!("{variable} is set"))
}

#[cfg(test)]
mod tests {
    use super::shape;
    use kit_contract::body::CheckOutcome;

    #[test]
    fn shapes() {
        use CheckOutcome::{Fail, Pass};
        for (value, address, expected) in [
            ("sqlite:shop.db", true, Pass),
            ("shop.db", true, Fail),
            ("word", false, Pass),
            ("word\n", false, Fail),
        ] {
            let finding = shape("X", value, address);
            assert_eq!(finding.outcome, expected, "{value:?}");
            assert!(!finding.message.contains("shop"), "a message never shows the value");
        }
    }
}
