//! What the caller claims about itself: credential scope, signature, date and token, read but not yet
//! believed.

use std::fmt;

use crate::{
    ALGORITHM, date, encoding,
    error::{Error, echo},
    request::RequestParts,
};

/// How the request carries its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

/// A request's own account of who signed it. Nothing here is true until [`crate::verify()`] says so.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// Where the signature was found.
    pub form: Form,
    /// The access key id, e.g. `AKIDEXAMPLE`.
    pub access_key_id: String,
    /// The scope's day, `yyyymmdd`.
    pub scope_date: String,
    /// The scope's region.
    pub region: String,
    /// The scope's service (signing name).
    pub service: String,
    /// The scope's last word, which must be `aws4_request`.
    pub terminator: String,
    /// Lower-case names, in the order presented.
    pub signed_headers: Vec<String>,
    /// The signature as presented; 64 lower-case hex digits when genuine.
    pub signature: String,
    /// The request's date, `yyyymmddThhmmssZ`.
    pub amz_date: String,
    /// The same in unix seconds.
    pub signed_at: u64,
    /// `X-Amz-Security-Token`, from header or query.
    pub session_token: Option<String>,
    /// `X-Amz-Expires` in seconds; only in the query form, and there optional.
    pub expires: Option<u64>,
}

impl Presented {
    /// `date/region/service/terminator`.
    pub(crate) fn scope(&self) -> String {
        format!("{}/{}/{}/{}", self.scope_date, self.region, self.service, self.terminator)
    }
}

/// Leaves out the session token and the signature, which are secrets of the caller.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("form", &self.form)
            .field("access_key_id", &self.access_key_id)
            .field("scope", &self.scope())
            .field("signed_headers", &self.signed_headers)
            .field("amz_date", &self.amz_date)
            .field("expires", &self.expires)
            .field("has_session_token", &self.session_token.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads the `Authorization` header or, without one of ours, the presigned query.
///
/// # Errors
///
/// [`Error::Missing`] when neither is there (an `Authorization` of another scheme counts as none);
/// [`Error::Incomplete`] and the `Malformed…` family when it is there but cannot be read.
pub fn parse(request: &RequestParts<'_>) -> Result<Presented, Error> {
    let authorization = request.header("authorization").filter(|value| value.starts_with("AWS4-"));
    match authorization {
        Some(value) => Claims::from_header(value, request)?.read(),
        None => Claims::from_query(request)?.read(),
    }
}

/// The raw texts of either form.
struct Claims {
    form: Form,
    credential: String,
    signed_headers: String,
    signature: String,
    amz_date: String,
    signed_at: u64,
    session_token: Option<String>,
    expires: Option<String>,
}

impl Claims {
    fn from_header(value: &str, request: &RequestParts<'_>) -> Result<Self, Error> {
        let (algorithm, rest) = value.split_once(' ').unwrap_or((value, ""));
        known_algorithm(algorithm)?;
        let field = |name: &str| {
            let fields = rest.split(',').filter_map(|field| field.trim().split_once('='));
            fields.filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned()).next()
        };
        let when = request.header("x-amz-date").or_else(|| request.header("date"));
        let (credential, signature, signed_headers) =
            (field("Credential"), field("Signature"), field("SignedHeaders"));
        let missing = [
            (credential.is_none(), "Authorization header requires 'Credential' parameter."),
            (signature.is_none(), "Authorization header requires 'Signature' parameter."),
            (signed_headers.is_none(), "Authorization header requires 'SignedHeaders' parameter."),
            (
                when.is_none(),
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            ),
        ];
        let (Some(credential), Some(signature), Some(signed_headers), Some(when)) =
            (credential, signature, signed_headers, when)
        else {
            return Err(incomplete(&missing));
        };
        let signed_at = date::parse_http(when).ok_or_else(|| Error::MalformedDate(echo(when)))?;
        Ok(Self {
            form: Form::Header,
            credential,
            signed_headers,
            signature,
            amz_date: date::format(signed_at),
            signed_at,
            session_token: request.header("x-amz-security-token").map(str::to_owned),
            expires: None,
        })
    }

    fn from_query(request: &RequestParts<'_>) -> Result<Self, Error> {
        let field = |name| query_parameter(request.query, name);
        let signature = field("X-Amz-Signature")?;
        let Some(algorithm) = field("X-Amz-Algorithm")? else {
            return Err(match signature {
                Some(_) => {
                    incomplete(&[(true, "AWS query-string parameters must include 'X-Amz-Algorithm'.")])
                }
                None => Error::Missing,
            });
        };
        known_algorithm(&algorithm)?;
        let (credential, signed_headers, when) =
            (field("X-Amz-Credential")?, field("X-Amz-SignedHeaders")?, field("X-Amz-Date")?);
        let missing = [
            (credential.is_none(), "AWS query-string parameters must include 'X-Amz-Credential'."),
            (signature.is_none(), "AWS query-string parameters must include 'X-Amz-Signature'."),
            (signed_headers.is_none(), "AWS query-string parameters must include 'X-Amz-SignedHeaders'."),
            (when.is_none(), "AWS query-string parameters must include 'X-Amz-Date'."),
        ];
        let (Some(credential), Some(signature), Some(signed_headers), Some(when)) =
            (credential, signature, signed_headers, when)
        else {
            return Err(incomplete(&missing));
        };
        let header_token = || request.header("x-amz-security-token").map(str::to_owned);
        Ok(Self {
            form: Form::Query,
            credential,
            signed_headers,
            signature,
            signed_at: date::parse(&when).ok_or_else(|| Error::MalformedDate(echo(&when)))?,
            amz_date: when,
            session_token: field("X-Amz-Security-Token")?.or_else(header_token),
            expires: field("X-Amz-Expires")?,
        })
    }

    fn read(self) -> Result<Presented, Error> {
        let elements: Vec<&str> = self.credential.split('/').collect();
        let [access_key_id, scope_date, region, service, terminator] = elements.as_slice() else {
            return Err(Error::MalformedCredential(echo(&self.credential)));
        };
        if elements.iter().any(|element| element.is_empty()) {
            return Err(Error::MalformedCredential(echo(&self.credential)));
        }
        Ok(Presented {
            form: self.form,
            access_key_id: (*access_key_id).to_owned(),
            scope_date: (*scope_date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            terminator: (*terminator).to_owned(),
            signed_headers: signed_header_names(&self.signed_headers)?,
            expires: self.expires.as_deref().map(seconds).transpose()?,
            signature: self.signature,
            amz_date: self.amz_date,
            signed_at: self.signed_at,
            session_token: self.session_token,
        })
    }
}

fn known_algorithm(algorithm: &str) -> Result<(), Error> {
    if algorithm == ALGORITHM { Ok(()) } else { Err(Error::UnsupportedAlgorithm(echo(algorithm))) }
}

fn incomplete(parts: &[(bool, &'static str)]) -> Error {
    Error::Incomplete(parts.iter().filter(|(missing, _)| *missing).map(|(_, sentence)| *sentence).collect())
}

fn seconds(text: &str) -> Result<u64, Error> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| Error::MalformedExpires(echo(text)))
}

fn signed_header_names(list: &str) -> Result<Vec<String>, Error> {
    let names: Vec<String> = list.split(';').map(str::to_owned).collect();
    let well_formed = |name: &String| {
        let token = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b",\"".contains(&b);
        !name.is_empty() && name.bytes().all(token)
    };
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if names.iter().all(well_formed) && sorted.len() == names.len() {
        Ok(names)
    } else {
        Err(Error::MalformedSignedHeaders(echo(list)))
    }
}

/// The decoded value of a parameter that may stand in the query at most once.
fn query_parameter(query: &str, name: &'static str) -> Result<Option<String>, Error> {
    let mut found = encoding::pairs(query).filter(|(n, _)| *encoding::decode(n) == *name.as_bytes());
    let first = found.next();
    if found.next().is_some() {
        return Err(Error::Repeated(name));
    }
    Ok(first.map(|(_, value)| String::from_utf8_lossy(&encoding::decode(value)).into_owned()))
}

/// `X-Amz-Content-Sha256`, which the header form has as a header and some presigners put in the query.
pub(crate) fn declared_payload(request: &RequestParts<'_>) -> Result<Option<String>, Error> {
    match request.header("x-amz-content-sha256") {
        Some(value) => Ok(Some(value.to_owned())),
        None => query_parameter(request.query, "X-Amz-Content-Sha256"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_authorization(value: &str, dated: bool) -> Result<Presented, Error> {
        let mut headers: Vec<(&str, &[u8])> = vec![("Host", b"h"), ("Authorization", value.as_bytes())];
        if dated {
            headers.push(("X-Amz-Date", b"20150830T123600Z"));
        }
        parse(&RequestParts { method: "GET", path: "/", query: "", headers })
    }

    fn with_query(query: &str) -> Result<Presented, Error> {
        parse(&RequestParts { method: "GET", path: "/mqtt", query, headers: vec![("host", b"h")] })
    }

    #[test]
    fn reads_the_header_form() {
        let value = "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/iot/aws4_request,\
                     SignedHeaders=host;x-amz-date,  Signature=ab";
        let presented = with_authorization(value, true).unwrap();
        assert_eq!(presented.scope(), "20150830/us-east-1/iot/aws4_request");
        assert_eq!(presented.signed_headers, ["host", "x-amz-date"]);
        assert_eq!((presented.signature.as_str(), presented.signed_at), ("ab", 1_440_938_160));
    }

    #[test]
    fn nothing_of_ours_is_missing() {
        for value in ["", "Bearer x", "Basic AWS4"] {
            assert_eq!(with_authorization(value, true), Err(Error::Missing), "{value}");
        }
        assert_eq!(with_query("a=b&x-amz-customauthorizer-name=c"), Err(Error::Missing));
    }

    #[test]
    fn names_every_missing_part() {
        let Err(Error::Incomplete(parts)) = with_authorization("AWS4-HMAC-SHA256", false) else { panic!() };
        assert_eq!(parts.len(), 4);
        let Err(Error::Incomplete(parts)) = with_query("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=x")
        else {
            panic!()
        };
        assert_eq!(parts.len(), 3);
        assert!(matches!(with_query("X-Amz-Signature=00"), Err(Error::Incomplete(_))));
    }

    #[test]
    fn refuses_what_is_malformed() {
        let header = |credential: &str, signed: &str| {
            let value =
                format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature=00");
            with_authorization(&value, true).unwrap_err()
        };
        let whole = "AKID/20150830/us-east-1/iot/aws4_request";
        assert!(matches!(header("AKID/20150830/us-east-1/iot", "host"), Error::MalformedCredential(_)));
        assert!(matches!(header("AKID//us-east-1/iot/aws4_request", "host"), Error::MalformedCredential(_)));
        for list in ["", "Host", "host;host", "host;;date"] {
            assert!(matches!(header(whole, list), Error::MalformedSignedHeaders(_)), "{list}");
        }
        let other = with_authorization("AWS4-ECDSA-P256-SHA256 Credential=a", true);
        assert_eq!(other, Err(Error::UnsupportedAlgorithm("AWS4-ECDSA-P256-SHA256".into())));
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={whole}&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
        );
        let dated = format!("{query}&X-Amz-Date=20150830T123600Z");
        assert!(matches!(with_query(&format!("{query}&X-Amz-Date=today")), Err(Error::MalformedDate(_))));
        assert!(matches!(with_query(&format!("{dated}&X-Amz-Expires=-1")), Err(Error::MalformedExpires(_))));
        assert_eq!(with_query(&format!("{dated}&X-Amz-Date=1")), Err(Error::Repeated("X-Amz-Date")));
    }

    #[test]
    fn debug_keeps_secrets() {
        let mut presented = with_authorization(
            "AWS4-HMAC-SHA256 Credential=A/1/r/s/aws4_request, SignedHeaders=host, Signature=abcdef",
            true,
        )
        .unwrap();
        presented.session_token = Some("sesame".into());
        let shown = format!("{presented:?}");
        assert!(!shown.contains("abcdef") && !shown.contains("sesame"));
    }

    proptest! {
        #[test]
        fn never_panics(authorization in "(AWS4-HMAC-SHA256 )?\\PC{0,80}", date in "\\PC{0,20}", query in "\\PC{0,80}") {
            let headers = vec![("authorization", authorization.as_bytes()), ("x-amz-date", date.as_bytes())];
            let _ = parse(&RequestParts { method: "GET", path: "/", query: &query, headers });
            let _ = with_query(&format!("X-Amz-Algorithm=AWS4-HMAC-SHA256&{query}&X-Amz-Date={date}"));
        }
    }
}
