//! Why a request is refused, with the exception name, status and message AWS answers.

use crate::date;

/// Longest piece of the caller's input repeated in a message, in characters.
const ECHO_LIMIT: usize = 128;

/// Why a request is not authenticated. Sending the same request again never helps, except
/// [`Error::NotYetCurrent`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request carries no SigV4 authentication at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// The request begins to authenticate itself but lacks these parts; each is a whole AWS sentence.
    #[error("{}", .0.join(" "))]
    Incomplete(Vec<&'static str>),
    /// A parameter of the presigned query stands there twice.
    #[error("Query-string parameter '{0}' must be given once.")]
    Repeated(&'static str),
    /// An `AWS4-…` algorithm other than HMAC-SHA256.
    #[error("Unsupported AWS 'algorithm': '{0}'.")]
    UnsupportedAlgorithm(String),
    /// The credential is not `keyid/date/region/service/aws4_request`.
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{0}'"
    )]
    MalformedCredential(String),
    /// The list of signed headers is empty, repeats a name or holds one that is not a lower-case header name.
    #[error("SignedHeaders is not a list of distinct lower-case header names: '{0}'")]
    MalformedSignedHeaders(String),
    /// The date is not in the basic format.
    #[error("Date must be in ISO-8601 'basic format'. Got '{0}'. See http://en.wikipedia.org/wiki/ISO_8601")]
    MalformedDate(String),
    /// `X-Amz-Expires` is not a number.
    #[error("X-Amz-Expires should be a number, got '{0}'")]
    MalformedExpires(String),
    /// `X-Amz-Expires`, in seconds, is above what the policy allows.
    #[error("X-Amz-Expires must be less than {max} seconds, got {expires}", max = .max + 1)]
    ExpiresTooLong {
        /// What the request asks for, in seconds.
        expires: u64,
        /// What the policy allows, in seconds.
        max: u64,
    },
    /// `host` is not among the signed headers.
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostNotSigned,
    /// The scope ends in something else than `aws4_request`.
    #[error("Credential should be scoped with a valid terminator: 'aws4_request', not '{0}'.")]
    Terminator(String),
    /// The scope's region is not the one this endpoint serves.
    #[error("Credential should be scoped to a valid region, not '{0}'.")]
    Region(String),
    /// The scope's service is not one this endpoint serves.
    #[error("Credential should be scoped to correct service: '{expected}'.")]
    Service {
        /// The service in the scope.
        given: String,
        /// The services served here, joined by commas.
        expected: String,
    },
    /// The scope's day is not the day of the request's date.
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{scope}' != '{day}', from '{date}'.",
        day = .date.get(..8).unwrap_or_default()
    )]
    ScopeDate {
        /// The day in the scope.
        scope: String,
        /// The request's date.
        date: String,
    },
    /// The request is older than the window, or its presigned lifetime is over. Times in unix seconds.
    #[error(
        "Signature expired: {} is now earlier than {} ({} - {} min.)",
        date::format(*.signed_at), date::format(.now.saturating_sub(*.window)), date::format(*.now), .window / 60
    )]
    Expired {
        /// When the request says it was signed.
        signed_at: u64,
        /// The time of the check.
        now: u64,
        /// How long the signature holds, in seconds.
        window: u64,
    },
    /// The request is dated further in the future than clocks may differ. Times in unix seconds.
    #[error(
        "Signature not yet current: {} is still later than {} ({} + {} min.)",
        date::format(*.signed_at), date::format(.now.saturating_add(*.window)), date::format(*.now), .window / 60
    )]
    NotYetCurrent {
        /// When the request says it was signed.
        signed_at: u64,
        /// The time of the check.
        now: u64,
        /// How far clocks may differ, in seconds.
        window: u64,
    },
    /// `X-Amz-Content-Sha256` is not the hash of the body.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadMismatch,
    /// The signature is not the one the secret gives.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details."
    )]
    SignatureDoesNotMatch,
    /// No such access key, or a session token that is not its own. Raised by the caller, who knows the keys.
    #[error("The security token included in the request is invalid.")]
    UnknownAccessKey(String),
    /// The temporary credentials are over. Raised by the caller, who knows the keys.
    #[error("The security token included in the request is expired")]
    TokenExpired(String),
}

impl Error {
    /// AWS's exception name, as in the `x-amzn-ErrorType` header.
    pub fn aws_code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_)
            | Self::Repeated(_)
            | Self::UnsupportedAlgorithm(_)
            | Self::MalformedCredential(_)
            | Self::MalformedSignedHeaders(_)
            | Self::MalformedDate(_)
            | Self::MalformedExpires(_) => "IncompleteSignatureException",
            Self::UnknownAccessKey(_) => "UnrecognizedClientException",
            Self::TokenExpired(_) => "ExpiredTokenException",
            _ => "InvalidSignatureException",
        }
    }

    /// The HTTP status AWS answers: 400 for what cannot be read, 403 for what is refused.
    pub fn status(&self) -> u16 {
        if self.aws_code() == "IncompleteSignatureException" { 400 } else { 403 }
    }
}

/// The piece of input to repeat in a message, cut to a bounded length.
pub(crate) fn echo(input: &str) -> String {
    input.chars().take(ECHO_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_codes_are_those_of_aws() {
        let expired = Error::Expired { signed_at: 1_440_938_160, now: 1_440_938_760, window: 300 };
        assert_eq!(
            expired.to_string(),
            "Signature expired: 20150830T123600Z is now earlier than 20150830T124100Z (20150830T124600Z - 5 min.)"
        );
        assert_eq!((expired.aws_code(), expired.status()), ("InvalidSignatureException", 403));
        let scope = Error::ScopeDate { scope: "20150829".into(), date: "20150830T123600Z".into() };
        assert!(scope.to_string().ends_with("'20150829' != '20150830', from '20150830T123600Z'."));
        assert_eq!(Error::Incomplete(vec!["A.", "B."]).to_string(), "A. B.");
        assert_eq!(Error::Incomplete(Vec::new()).status(), 400);
        assert_eq!(Error::Missing.aws_code(), "MissingAuthenticationTokenException");
    }

    #[test]
    fn echoes_are_bounded() {
        assert_eq!(echo(&"é".repeat(1000)).chars().count(), ECHO_LIMIT);
    }
}
