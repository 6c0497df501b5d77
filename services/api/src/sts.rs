//! `sts`: GetCallerIdentity, which Terraform's AWS provider asks before all else, and people do to see whether their keys
//! work; and AssumeRole.
//!
//! The Security Token Service speaks AWS's query protocol: a form that names the action, and XML back.

use fleethaven_types::AccountId;

use crate::answer::Outcome;
use crate::call::Call;
use crate::control::built;
use crate::operations::Service;
use crate::query_protocol::{self, Xml, signer};

mod assume_role;

pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
pub(crate) const VERSION: &str = "2011-06-15";

/// The actions of the service that there is no answer to.
pub(crate) const NOT_BUILT: &[&str] = &[
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

/// Account and name of `arn:aws:iam::<account>:role/<name>`.
pub(crate) fn role_of_arn(arn: &str) -> Option<(AccountId, &str)> {
    let (account, name) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    Some((account.parse().ok()?, name))
}

async fn caller_identity(call: &Call<'_>) -> Outcome {
    let identity = &signer(call)?.operator.identity;
    let result = Xml::default()
        .text("Arn", &identity.arn())
        .text("UserId", &identity.user_id())
        .text("Account", &identity.account().to_string());
    Ok(query_protocol::answer(Service::Sts, call, "GetCallerIdentity", Some(result)))
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
