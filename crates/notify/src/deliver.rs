//! Brings the message to every channel, side by side and each on its own.

use crate::channels::{slack, summary, webhook};
use crate::kind_word;
use crate::message::Message;
use crate::policy::{self, Next, Standing, Tried};
use kit_contract::body::{ChannelOutcome, ChannelResult, Notice};
use kit_contract::config::{Channel, ChannelKind};
use kit_core::Secret;
use kit_probe::{Answer, NoAnswerKind, Options, Outcome, Prober, Request};
use kit_step::StepContext;
use std::collections::BTreeMap;
use std::time::Duration;

/// One try of a message that can be sent again; one that cannot has all of the time there is.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// Longest piece of an answer that is repeated.
const SAID_CHARS: usize = 100;
/// Shorter paths and queries are no secrets, and would take innocent text apart.
const SECRET_PART_BYTES: usize = 12;

/// Tells all channels, in the order of `deploy.toml`.
pub(crate) async fn all(cx: &StepContext<Notice>, message: &Message, within: Duration) -> Vec<ChannelResult> {
    let channels = &cx.config().channels;
    let prober = Prober::new(cx.context(), Options::default()).map_err(|error| error.message);
    let told = channels.iter().map(|channel| tell(cx, channel, message, &prober, within));
    futures_util::future::join_all(told).await
}

async fn tell(
    cx: &StepContext<Notice>,
    channel: &Channel,
    message: &Message,
    prober: &Result<Prober, String>,
    within: Duration,
) -> ChannelResult {
    if let Some(result) = filtered(channel, message) {
        return result;
    }
    let post = match prepare(cx, channel, message) {
        Ok(Prepared::Summary(text)) => return in_summary(cx, channel, text),
        Ok(Prepared::Post(post)) => post,
        Err(why) => return result(channel, ChannelOutcome::Rejected, why),
    };
    match prober {
        Err(why) => result(channel, ChannelOutcome::Unreachable, why.clone()),
        Ok(prober) => send(cx, prober, channel, &post, within).await,
    }
}

/// Says what would be sent, and what would keep it from being sent.
pub(crate) fn dry(cx: &StepContext<Notice>, message: &Message) -> Vec<ChannelResult> {
    let look = |channel: &Channel| {
        if let Some(result) = filtered(channel, message) {
            return result;
        }
        let shown = match prepare(cx, channel, message) {
            Err(why) => return result(channel, ChannelOutcome::Rejected, why),
            Ok(Prepared::Summary(text)) => text,
            Ok(Prepared::Post(post)) => format!("{:#}", post.payload),
        };
        cx.out.say(&format!("{} ({}) would be sent:", channel.name, kind_word(channel.kind)));
        cx.out.say(&shown);
        result(channel, ChannelOutcome::Skipped, "dry run: nothing was sent")
    };
    cx.config().channels.iter().map(look).collect()
}

fn filtered(channel: &Channel, message: &Message) -> Option<ChannelResult> {
    let wanted = channel.events.as_ref().is_none_or(|events| events.contains(&message.event));
    let why = format!("it did not ask for {}", crate::channels::event_word(message.event));
    (!wanted).then(|| result(channel, ChannelOutcome::Skipped, why))
}

/// The frame adds the text to the job summary once the artifact is written.
fn in_summary(cx: &StepContext<Notice>, channel: &Channel, text: String) -> ChannelResult {
    match cx.env.get("GITHUB_STEP_SUMMARY") {
        Some(_) => result(channel, ChannelOutcome::Delivered, text),
        None => result(channel, ChannelOutcome::Skipped, "this run has no job summary"),
    }
}

fn result(channel: &Channel, outcome: ChannelOutcome, message: impl Into<String>) -> ChannelResult {
    ChannelResult {
        channel: channel.name.clone(),
        kind: kind_word(channel.kind).to_owned(),
        outcome,
        status: None,
        attempts: 0,
        message: message.into(),
    }
}

/// A message in the form of its channel.
enum Prepared {
    Summary(String),
    Post(Post),
}

/// What is posted where.
struct Post {
    url: Secret,
    payload: serde_json::Value,
    /// The id, and the key that signs; only for webhooks.
    signing: Option<(String, Option<Vec<u8>>)>,
}

/// Finds everything that keeps it from being sent. Errors never hold the address.
fn prepare(cx: &StepContext<Notice>, channel: &Channel, message: &Message) -> Result<Prepared, String> {
    if channel.kind == ChannelKind::Summary {
        return Ok(Prepared::Summary(summary::text(message)));
    }
    let reference = channel.url.as_ref().ok_or("deploy.toml names no url for it")?;
    let url = cx.secret_ref(reference).map_err(|error| error.chain())?;
    check_url(cx, url.expose().trim()).map_err(|why| format!("the address in {} {why}", reference.env))?;
    let post = match channel.kind {
        ChannelKind::Webhook => {
            let key = match &channel.signing_secret {
                None => None,
                Some(reference) => {
                    let secret = cx.secret_ref(reference).map_err(|error| error.chain())?;
                    let refuse = |why| format!("the signing secret in {} {why}", reference.env);
                    Some(webhook::key(&secret).map_err(refuse)?)
                }
            };
            let signing = Some((webhook::id(message, &channel.name), key));
            Post { url, payload: webhook::payload(message), signing }
        }
        ChannelKind::Slack | ChannelKind::Summary => {
            Post { url, payload: slack::payload(message), signing: None }
        }
    };
    Ok(Prepared::Post(post))
}

/// Only https, so that the secret in the address does not travel in the open; this machine is exempt.
fn check_url(cx: &StepContext<Notice>, text: &str) -> Result<(), &'static str> {
    let url = url::Url::parse(text).map_err(|_| "cannot be parsed: write it in full, https://…")?;
    // Parts of the address are as secret as the whole.
    let whole = [url.path().trim_matches('/'), url.query().unwrap_or_default()];
    for part in whole.into_iter().chain(url.path().split('/')).filter(|part| part.len() >= SECRET_PART_BYTES)
    {
        cx.redactor.learn(part);
    }
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("has no host"),
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err("is http: only https is allowed, because the address is a secret"),
        _ => Err("is not an https address"),
    }
}

/// Tries until the policy says that this was it.
async fn send(
    cx: &StepContext<Notice>,
    prober: &Prober,
    channel: &Channel,
    post: &Post,
    within: Duration,
) -> ChannelResult {
    let started = cx.clock.elapsed();
    let body = post.payload.to_string();
    let can_tell = post.signing.is_some();
    let mut sent = result(channel, ChannelOutcome::Unreachable, "there was no time to try");
    let mut may_have_arrived = false;
    loop {
        let left = within.saturating_sub(cx.clock.elapsed().saturating_sub(started));
        if left.is_zero() {
            return sent;
        }
        let limit = if can_tell { left.min(TRY_LIMIT) } else { left };
        let request = match request(cx, post, &body, limit) {
            Ok(request) => request,
            Err(why) => return result(channel, ChannelOutcome::Rejected, why),
        };
        let outcome = prober.probe(&request).await;
        sent.attempts += 1;
        let (tried, why) = match &outcome {
            Outcome::Answer(answer) => read(cx, channel.kind, answer),
            Outcome::NoAnswer(none) if was_not_sent(none.kind) => (Tried::NotSent, none.message.clone()),
            Outcome::NoAnswer(none) => (Tried::Unclear, none.message.clone()),
            Outcome::Cancelled => {
                sent.outcome = ChannelOutcome::Ambiguous;
                "stopped while it was being sent".clone_into(&mut sent.message);
                return sent;
            }
        };
        sent.status = match tried {
            Tried::Answered { status, .. } => Some(status),
            Tried::NotSent | Tried::Unclear => None,
        };
        sent.message = cx.out.clean(&why);
        let left = within.saturating_sub(cx.clock.elapsed().saturating_sub(started));
        let standing = Standing { attempts: sent.attempts, may_have_arrived, can_tell, left };
        may_have_arrived |= policy::may_have_arrived(&tried);
        match policy::next(&tried, standing) {
            Next::Done(outcome) => {
                sent.outcome = outcome;
                return sent;
            }
            Next::Again(pause) => {
                // What it would be if there were no time for another try.
                let now = Standing { left: Duration::ZERO, ..standing };
                if let Next::Done(outcome) = policy::next(&tried, now) {
                    sent.outcome = outcome;
                }
                if cx.cancel.unless(cx.clock.sleep(pause)).await.is_none() {
                    return sent;
                }
            }
        }
    }
}

fn request(cx: &StepContext<Notice>, post: &Post, body: &str, limit: Duration) -> Result<Request, String> {
    let headers = match &post.signing {
        None => BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
        Some((id, key)) => webhook::headers(id, cx.clock.now().as_second(), body, key.as_deref()),
    };
    Request::new("POST", post.url.expose().trim(), &headers, Some(body.to_owned()), limit)
        // Its message may show the path of the address.
        .map_err(|_| {
            "its address cannot be asked: it has a host or a length that HTTP does not allow".to_owned()
        })
}

/// Failures before the first byte of the request. Everything else may have arrived.
const fn was_not_sent(kind: NoAnswerKind) -> bool {
    matches!(kind, NoAnswerKind::Dns | NoAnswerKind::Refused | NoAnswerKind::Tls)
}

fn read(cx: &StepContext<Notice>, kind: ChannelKind, answer: &Answer) -> (Tried, String) {
    let said: String = String::from_utf8_lossy(&answer.body).trim().chars().take(SAID_CHARS).collect();
    // A proxy's page of welcome is a 200 as well; Slack says "ok".
    let confirmed = kind != ChannelKind::Slack || said == "ok";
    let retry_after =
        answer.header("retry-after").and_then(|text| policy::retry_after(&text, cx.clock.now()));
    let why = match (answer.status, said.is_empty() || said == "ok") {
        (status, true) => format!("it answered {status}"),
        (status, false) => format!("it answered {status}: {said}"),
    };
    (Tried::Answered { status: answer.status, confirmed, retry_after }, why)
}
