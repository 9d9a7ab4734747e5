//! What S3 can answer instead of what was asked, told apart.
//!
//! Codes are those of "Error responses" in the Amazon S3 API Reference.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// Longest remote text that is repeated.
const LONGEST_TEXT_CHARS: usize = 300;
/// Words longer than this may be tokens, and are not repeated.
const LONGEST_WORD_CHARS: usize = 48;

/// Why a request did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no such object.
    #[error("there is no such object")]
    NoObject,
    /// A condition on the object was not met.
    #[error("the object is not what the condition asked for")]
    Condition,
    /// Another write of the same object was under way.
    #[error("another write of the same object was under way")]
    Conflict,
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoBucket,
    /// There is no such upload.
    #[error("the upload has been ended by somebody else")]
    NoUpload,
    /// The store was asked, and does not let us.
    #[error("access denied{}", detail(.0))]
    Denied(String),
    /// The credentials are expired.
    #[error("the credentials have expired")]
    Expired,
    /// The credentials are wrong.
    #[error("the credentials are refused{}", detail(.0))]
    WrongCredentials(String),
    /// There are no credentials.
    #[error("there are no usable credentials")]
    NoCredentials(#[source] Box<dyn Error + Send + Sync>),
    /// The bucket is in another region.
    #[error("the bucket is in another region{}", detail(.0))]
    Elsewhere(String),
    /// The store asks to be asked less often, and kept asking.
    #[error("the store asks to slow down (HTTP {0})")]
    SlowDown(u16),
    /// The store failed.
    #[error("the store failed: HTTP {status}{}", detail(.text))]
    Server {
        /// The status.
        status: u16,
        /// Code and message.
        text: String,
    },
    /// The store refused for another reason.
    #[error("the store refused: HTTP {status}{}", detail(.text))]
    Refused {
        /// The status.
        status: u16,
        /// Code and message.
        text: String,
    },
    /// The store did not answer in time.
    #[error("the store did not answer in time")]
    NoAnswer,
    /// The connection could not be made, or broke.
    #[error("the connection to the store failed")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// The answer makes no sense.
    #[error("the store's answer is not understood")]
    Garbled(#[source] Box<dyn Error + Send + Sync>),
}

fn detail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl Fault {
    /// What an error of the SDK means.
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(context) if context.raw().status().is_success() => {
                Self::Garbled(into_source(SdkError::ServiceError(context)))
            }
            SdkError::ServiceError(context) => {
                let status = context.raw().status().as_u16();
                let region = context.raw().headers().get("x-amz-bucket-region").unwrap_or_default();
                let error = context.err();
                answered(
                    status,
                    error.code().unwrap_or_default(),
                    error.message().unwrap_or_default(),
                    region,
                )
            }
            SdkError::TimeoutError(_) => Self::NoAnswer,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::NoAnswer,
            error @ SdkError::ResponseError(_) => match error.raw_response().map(|raw| raw.status().as_u16())
            {
                Some(status) if status >= 400 => answered(status, "", "", ""),
                _ => Self::Garbled(into_source(error)),
            },
            error => {
                let source = into_source(error);
                if lacks_credentials(&*source) {
                    Self::NoCredentials(source)
                } else {
                    Self::Connection(source)
                }
            }
        }
    }

    /// True if a write may have happened although the answer says nothing of the kind: the SDK may have
    /// asked twice, and what the second answer refuses may be what the first one did.
    pub(crate) const fn may_have_happened(&self) -> bool {
        matches!(
            self,
            Self::Condition
                | Self::Conflict
                | Self::NoObject
                | Self::NoUpload
                | Self::SlowDown(_)
                | Self::Server { .. }
                | Self::NoAnswer
                | Self::Connection(_)
                | Self::Garbled(_)
        )
    }

    /// What a person can do about it.
    pub(crate) fn hint(&self, action: &str) -> Option<String> {
        let text = match self {
            Self::NoBucket => "make the bucket, or correct store.url; the bucket's policy may also hide it",
            Self::Denied(_) => {
                return Some(format!(
                    "the role of this step may not {action} there; the permissions that each step needs stand \
                     in docs/s3.md. Without s3:ListBucket, S3 answers 403 for objects that are not there"
                ));
            }
            Self::Expired => {
                "sign in again, or give the job credentials that last longer than the step; with web identity \
                 the SDK renews them by itself"
            }
            Self::WrongCredentials(_) => "check the access key, and the clock of this machine",
            Self::NoCredentials(_) => {
                "in GitHub Actions use aws-actions/configure-aws-credentials with OIDC; on a laptop sign in \
                 with `aws sso login` and set AWS_PROFILE"
            }
            Self::Elsewhere(_) => "set store.region in deploy.toml, or AWS_REGION",
            Self::SlowDown(_) | Self::Server { .. } => {
                "run the step again; if it stays so, look at the store"
            }
            Self::NoAnswer | Self::Connection(_) => {
                "check that this machine reaches the store: endpoint, proxy, firewall"
            }
            Self::NoUpload => {
                "another run removed it, or a lifecycle rule ends uploads sooner than this one took"
            }
            Self::NoObject | Self::Condition | Self::Conflict | Self::Refused { .. } | Self::Garbled(_) => {
                return None;
            }
        };
        Some(text.to_owned())
    }
}

/// What an answer means. Pure.
fn answered(status: u16, code: &str, message: &str, region: &str) -> Fault {
    let text =
        || [clean(code), clean(message)].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    let joined = || text().join(": ");
    match (code, status) {
        ("NoSuchKey" | "NotFound", _) => Fault::NoObject,
        ("NoSuchBucket", _) => Fault::NoBucket,
        ("NoSuchUpload", _) => Fault::NoUpload,
        ("PreconditionFailed", _) | (_, 412) => Fault::Condition,
        ("ConditionalRequestConflict" | "OperationAborted", _) => Fault::Conflict,
        ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => Fault::Expired,
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "RequestTimeTooSkewed"
            | "AuthorizationHeaderMalformed",
            _,
        ) if region.is_empty() => Fault::WrongCredentials(joined()),
        ("SlowDown" | "SlowDownRead" | "SlowDownWrite" | "Throttling" | "RequestLimitExceeded", _)
        | (_, 429) => Fault::SlowDown(status),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => Fault::Elsewhere(clean(region)),
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden", _) | (_, 401 | 403) => {
            Fault::Denied(joined())
        }
        ("", 404) => Fault::NoObject,
        (_, 409) => Fault::Conflict,
        (_, 503) => Fault::SlowDown(status),
        (_, 500..) => Fault::Server { status, text: joined() },
        _ => Fault::Refused { status, text: joined() },
    }
}

/// Remote text made fit for an error: one line, not long, without anything that may be a token.
fn clean(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let word: String = word.chars().filter(|c| !c.is_control()).collect();
        // Names of users and resources (`arn:aws:iam::…`) are what a reader needs; they have colons.
        let longest = word.split(':').map(|part| part.chars().count()).max().unwrap_or_default();
        if longest > LONGEST_WORD_CHARS { "…".to_owned() } else { word }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST_TEXT_CHARS).collect()
}

fn into_source<E>(error: SdkError<E, HttpResponse>) -> Box<dyn Error + Send + Sync>
where
    E: Error + Send + Sync + 'static,
{
    match error.into_source() {
        Ok(source) => source,
        Err(error) => Box::new(error),
    }
}

/// The SDK says that it has no credentials only somewhere down the chain of causes.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        for (status, code, region, expected, unsure) in [
            (404, "NoSuchKey", "", "there is no such object", true),
            (404, "", "", "there is no such object", true),
            (404, "NoSuchBucket", "", "there is no such bucket", false),
            (404, "NoSuchUpload", "", "the upload has been ended by somebody else", true),
            (412, "PreconditionFailed", "", "the object is not what the condition asked for", true),
            (412, "", "", "the object is not what the condition asked for", true),
            (409, "ConditionalRequestConflict", "", "another write of the same object was under way", true),
            (403, "AccessDenied", "", "access denied: AccessDenied: why", false),
            (403, "", "", "access denied: why", false),
            (400, "ExpiredToken", "", "the credentials have expired", false),
            (
                403,
                "SignatureDoesNotMatch",
                "",
                "the credentials are refused: SignatureDoesNotMatch: why",
                false,
            ),
            (301, "PermanentRedirect", "eu-west-1", "the bucket is in another region: eu-west-1", false),
            (
                400,
                "AuthorizationHeaderMalformed",
                "eu-west-1",
                "the bucket is in another region: eu-west-1",
                false,
            ),
            (503, "SlowDown", "", "the store asks to slow down (HTTP 503)", true),
            (503, "", "", "the store asks to slow down (HTTP 503)", true),
            (500, "InternalError", "", "the store failed: HTTP 500: InternalError: why", true),
            (400, "InvalidRequest", "", "the store refused: HTTP 400: InvalidRequest: why", false),
        ] {
            let fault = answered(status, code, "why", region);
            assert_eq!(fault.to_string(), expected);
            assert_eq!(fault.may_have_happened(), unsure, "{status} {code}");
        }
    }

    #[test]
    fn remote_text_is_cut_to_what_is_needed() {
        let token = "A".repeat(60);
        assert_eq!(clean(&format!("x {token}\u{1b}[31m y\n::error::z")), "x … y ::error::z");
        assert_eq!(
            clean("User: arn:aws:iam::123456789012:user/ci"),
            "User: arn:aws:iam::123456789012:user/ci"
        );
        assert_eq!(clean(&"ab ".repeat(400)).chars().count(), LONGEST_TEXT_CHARS);
    }
}
