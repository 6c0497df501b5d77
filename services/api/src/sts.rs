//! `sts`: GetCallerIdentity, which Terraform's AWS provider asks before all else, and people do to see whether their keys
//! work; and AssumeRole.
//!
//! The Security Token Service speaks AWS's query protocol: a form that names the action, and XML back.

use bytes::Bytes;
use fleethaven_types::AccountId;
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::authentication::{Principal, Signed};
use crate::call::Call;
use crate::control::built;
use crate::error::Error;
use crate::input::pairs;
use crate::operations::Operation;

mod assume_role;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The actions of the service that there is no answer to.
const NOT_BUILT: &[&str] = &[
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "AssumeRoot",
    "DecodeAuthorizationMessage",
    "GetAccessKeyInfo",
    "GetDelegatedAccessToken",
    "GetFederationToken",
    "GetSessionToken",
    "GetWebIdentityToken",
];

built! {
    "AssumeRole" => assume_role::assume,
    "GetCallerIdentity" => caller_identity,
}

/// The operation that a form means: all share one path.
pub(crate) fn meant(operation: Operation, body: &Bytes) -> Operation {
    let form = std::str::from_utf8(body).ok().and_then(|text| pairs(text).ok()).unwrap_or_default();
    let is_meant = form.iter().any(|(name, value)| name == "Action" && value == "AssumeRole");
    if is_meant { Operation { name: "AssumeRole", ..operation } } else { operation }
}

/// Account and name of `arn:aws:iam::<account>:role/<name>`.
pub(crate) fn role_of_arn(arn: &str) -> Option<(AccountId, &str)> {
    let (account, name) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    Some((account.parse().ok()?, name))
}

/// Who signed. Nobody else comes here.
fn signer<'c>(call: &'c Call<'_>) -> Result<&'c Signed, Error> {
    match &call.principal {
        Principal::Operator(signed) => Ok(signed),
        _ => Err(fleethaven_sigv4::Error::Missing.into()),
    }
}

async fn caller_identity(call: &Call<'_>) -> Outcome {
    let form = call.input.form()?;
    let action = form.iter().find(|(name, _)| name == "Action").map_or("", |(_, value)| value);
    if action != "GetCallerIdentity" {
        let known = NOT_BUILT.iter().find(|known| **known == action);
        let unknown = || Error::UnknownAction(action.chars().take(128).collect());
        return Err(known.map_or_else(unknown, |known| Error::NotBuilt(known)));
    }
    let identity = &signer(call)?.operator.identity;
    let (account, arn, user_id) =
        (identity.account(), escaped(&identity.arn()), escaped(&identity.user_id()));
    Ok(Answer::Xml(format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult>\
         <Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{account}</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>",
        call.request_id
    )))
}

/// What the query protocol calls an exception: it has names of its own for authentication, and no suffix.
pub(crate) fn error_code(code: &'static str) -> &'static str {
    match code {
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "InvalidRequestException" => "ValidationError",
        "MalformedPolicyException" => "MalformedPolicyDocument",
        code => code.strip_suffix("Exception").unwrap_or(code),
    }
}

/// The XML of an error.
pub(crate) fn error_body(code: &str, error: &Error, request_id: Uuid) -> Answer {
    let message = escaped(&error.to_string());
    Answer::Xml(format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ))
}

/// Text as XML holds it; XML has no way to write control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use crate::testing::{House, Signing, peer};

    async fn asked(signing: Signing<'_>, target: (&str, &str), body: &str) -> (u16, String, String) {
        let house = House::new();
        let signing = Signing { service: "sts", ..signing };
        let own = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let told = house.send(&peer(), House::signed(signing, target, &own, body.as_bytes())).await;
        assert_eq!(told.headers["content-type"], "text/xml");
        let (status, name) = told.error();
        (status, name.to_owned(), String::from_utf8(told.body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_caller_is_the_account() {
        let form = "Action=GetCallerIdentity&Version=2011-06-15";
        let (status, _, body) = asked(Signing::default(), ("POST", "/"), form).await;
        assert_eq!(status, 200);
        for part in ["<Arn>arn:aws:iam::123456789012:root</Arn>", "<Account>123456789012</Account>"] {
            assert!(body.contains(part), "{body}");
        }
    }

    #[tokio::test]
    async fn errors_are_the_query_protocols() {
        let base = Signing::default();
        let identity = "Action=GetCallerIdentity&Version=2011-06-15";
        let cases = [
            (Signing { secret: "wrong", ..base }, "/", identity, 403, "SignatureDoesNotMatch"),
            (Signing { key: "AKIAUNKNOWNKEY000000", ..base }, "/", identity, 403, "InvalidClientTokenId"),
            (base, "/", "Action=GetSessionToken", 501, "NotImplemented"),
            (base, "/", "Action=AssumeRole", 400, "ValidationError"),
            (base, "/", "Action=%3Cb%3E%00", 400, "InvalidAction"),
            (base, "/", "", 400, "InvalidAction"),
            (base, "/things", identity, 404, "UnknownOperation"),
        ];
        for (signing, path, form, status, code) in cases {
            let told = asked(signing, ("POST", path), form).await;
            assert_eq!((told.0, told.1.as_str()), (status, code), "{}", told.2);
            assert!(told.2.contains(&format!("<Code>{code}</Code>")), "{}", told.2);
            assert!(!told.2.contains("<b>") && !told.2.contains('\0'), "{}", told.2);
        }
    }
}
