//! Why no answer came, from the errors of the libraries below.

use crate::{NoAnswerKind, text::one_line};
use std::error::Error;
use std::io;

/// The kind and a message of one line, without the address.
///
/// `head_came` tells whether the head of an answer was read before.
pub(crate) fn classify(error: reqwest::Error, head_came: bool) -> (NoAnswerKind, String) {
    // The address may hold a password or a token.
    let error = error.without_url();
    let kind = kind(&error, head_came);
    (kind, message(kind, &error))
}

fn kind(error: &reqwest::Error, head_came: bool) -> NoAnswerKind {
    if error.is_dns() {
        return NoAnswerKind::Dns;
    }
    if error.is_timeout() {
        return NoAnswerKind::Timeout;
    }
    chain(error)
        .find_map(|cause| {
            if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
                return of_http(cause);
            }
            let cause = innermost(cause.downcast_ref::<io::Error>()?);
            of_io(cause.kind(), error.is_connect(), head_came)
        })
        .unwrap_or(NoAnswerKind::Other)
}

fn of_http(error: &hyper::Error) -> Option<NoAnswerKind> {
    if error.is_parse() {
        Some(NoAnswerKind::Protocol)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Some(NoAnswerKind::Reset)
    } else {
        None
    }
}

/// rustls reports what it refuses as invalid data; while connecting nothing else does. In a body the
/// same means that its framing is broken.
pub(crate) fn of_io(kind: io::ErrorKind, connecting: bool, head_came: bool) -> Option<NoAnswerKind> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some(NoAnswerKind::Refused),
        io::ErrorKind::TimedOut => Some(NoAnswerKind::Timeout),
        io::ErrorKind::UnexpectedEof if connecting => Some(NoAnswerKind::Tls),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => Some(NoAnswerKind::Reset),
        io::ErrorKind::InvalidData if !head_came => Some(NoAnswerKind::Tls),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Some(NoAnswerKind::Protocol),
        _ => None,
    }
}

/// The error that really happened: connectors wrap one in another, and `source` passes over it.
fn innermost(error: &io::Error) -> &io::Error {
    let mut inner = error;
    while let Some(next) = inner.get_ref().and_then(|wrapped| wrapped.downcast_ref::<io::Error>()) {
        inner = next;
    }
    inner
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What the kind means, then the causes below, without those that say only which layer speaks.
fn message(kind: NoAnswerKind, error: &reqwest::Error) -> String {
    let mut text = kind.meaning().to_owned();
    let mut last = String::new();
    for cause in chain(error) {
        // Errors of reqwest say no more than that a request failed, and may name an address.
        let said = cause.to_string();
        if cause.is::<reqwest::Error>() || said.starts_with("client error (") || said == last {
            continue;
        }
        text.push_str(": ");
        text.push_str(&said);
        last = said;
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_io_errors() {
        use io::ErrorKind as Io;
        for (io, connecting, head_came, kind) in [
            (Io::ConnectionRefused, true, false, Some(NoAnswerKind::Refused)),
            (Io::TimedOut, true, false, Some(NoAnswerKind::Timeout)),
            (Io::InvalidData, true, false, Some(NoAnswerKind::Tls)),
            (Io::UnexpectedEof, true, false, Some(NoAnswerKind::Tls)),
            (Io::UnexpectedEof, false, true, Some(NoAnswerKind::Reset)),
            (Io::ConnectionReset, false, true, Some(NoAnswerKind::Reset)),
            (Io::InvalidData, false, true, Some(NoAnswerKind::Protocol)),
            (Io::HostUnreachable, true, false, None),
        ] {
            assert_eq!(of_io(io, connecting, head_came), kind, "{io:?} {connecting} {head_came}");
        }
    }
}
