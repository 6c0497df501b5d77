//! What names and texts may look like: the patterns of AWS's service model.

use crate::error::Error;

/// Checks 1 to 128 characters that all satisfy `allowed`.
fn name(what: &str, text: &str, pattern: &str, allowed: impl Fn(u8) -> bool) -> Result<(), Error> {
    if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} '{}' must be 1 to 128 characters of {pattern}", shortened(text))))
}

/// The start of an input that an error message shows.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

/// Names of things, thing types and billing groups.
pub(crate) fn registry_name(what: &str, text: &str) -> Result<(), Error> {
    name(what, text, "a-zA-Z0-9:_-", |b| b.is_ascii_alphanumeric() || b":_-".contains(&b))
}

/// Names of policies: at most 128 letters, digits and `_+=,.@-`.
///
/// # Errors
///
/// InvalidRequestException, with what is wrong with the text.
pub fn policy_name(text: &str) -> Result<(), Error> {
    name("policyName", text, r"\w+=,.@-", |b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

/// Names of users and roles.
pub(crate) fn operator_name(what: &str, text: &str) -> Result<(), Error> {
    if text.len() > 64 {
        return Err(Error::invalid(format!("{what} '{}' has more than 64 characters", shortened(text))));
    }
    name(what, text, r"\w+=,.@-", |b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

/// Names of rules.
pub(crate) fn rule_name(text: &str) -> Result<(), Error> {
    name("ruleName", text, "a-zA-Z0-9_", |b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Names of provisioning templates.
pub(crate) fn template_name(text: &str) -> Result<(), Error> {
    if text.len() > 36 {
        return Err(Error::invalid(format!(
            "templateName '{}' has more than 36 characters",
            shortened(text)
        )));
    }
    name("templateName", text, "a-zA-Z0-9_-", |b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Names of authorizers and role aliases.
pub(crate) fn authorizer_name(what: &str, text: &str) -> Result<(), Error> {
    name(what, text, r"\w=,@-", |b| b.is_ascii_alphanumeric() || b"_=,@-".contains(&b))
}

/// Names of domain configurations.
pub(crate) fn domain_configuration_name(text: &str) -> Result<(), Error> {
    let what = "domainConfigurationName";
    name(what, text, r"\w.-", |b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// A fully qualified domain name of at least two labels; the answer is in lower case, without a final dot.
pub(crate) fn domain_name(text: &str) -> Result<String, Error> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        let hyphen = label.starts_with('-') || label.ends_with('-');
        let letters = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && letters && !hyphen
    };
    if name.len() <= 253 && name.contains('.') && name.split('.').all(is_label) {
        return Ok(name);
    }
    Err(Error::invalid(format!("domainName '{}' is not a fully qualified domain name", shortened(text))))
}

/// Under which name clients pass an authorizer's token.
pub(crate) fn token_key_name(text: &str) -> Result<(), Error> {
    name("tokenKeyName", text, "a-zA-Z0-9_-", |b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Names of the keys that an authorizer's tokens are signed with.
pub(crate) fn signing_key_name(text: &str) -> Result<(), Error> {
    name("key name", text, "a-zA-Z0-9:_-", |b| b.is_ascii_alphanumeric() || b":_-".contains(&b))
}

/// Names of certificate providers.
pub(crate) fn certificate_provider_name(text: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_=,@-".contains(&b);
    name("certificateProviderName", text, r"\w=,@-", allowed)
}

/// Names of attributes.
pub(crate) fn attribute_name(text: &str) -> Result<(), Error> {
    name("attribute name", text, "a-zA-Z0-9_.,@/:#-", |b| {
        b.is_ascii_alphanumeric() || b"_.,@/:#-".contains(&b)
    })
}

/// Values of attributes: at most 800 characters, possibly none.
pub(crate) fn attribute_value(text: &str) -> Result<(), Error> {
    let fits = text.len() <= 800;
    if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.,@/:#=[]-".contains(&b)) {
        return Ok(());
    }
    let shown = shortened(text);
    let pattern = "a-zA-Z0-9_.,@/:#=[]-";
    Err(Error::invalid(format!("attribute value '{shown}' must be at most 800 characters of {pattern}")))
}

/// Names of user properties that a thing type adds.
pub(crate) fn user_property_key(text: &str) -> Result<(), Error> {
    name("userPropertyKey", text, "a-zA-Z0-9:$.", |b| b.is_ascii_alphanumeric() || b":$.".contains(&b))
}

/// Ids of access keys.
pub(crate) fn access_key_id(text: &str) -> Result<(), Error> {
    if text.len() < 16 {
        return Err(Error::invalid(format!("access key id '{text}' has fewer than 16 characters")));
    }
    name("access key id", text, r"\w", |b| b.is_ascii_alphanumeric() || b == b'_')
}

/// ARNs of Lambda functions, of any region and account.
pub(crate) fn function_arn(text: &str) -> Result<(), Error> {
    let graphic = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-$".contains(&b))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let named = match parts.as_slice() {
        ["arn", partition, "lambda", region, account, "function", name @ ..] => {
            let whose = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            partition.starts_with("aws")
                && graphic(region)
                && whose
                && matches!(name.len(), 1..=2)
                && name.iter().all(graphic)
        }
        _ => false,
    };
    if named && text.len() <= 2048 {
        return Ok(());
    }
    let shown = shortened(text);
    Err(Error::invalid(format!(
        "'{shown}' is not arn:aws:lambda:<region>:<account>:function:<name>[:<version>]"
    )))
}

/// ARNs of AWS's certificate manager, of any region and account.
pub(crate) fn server_certificate_arn(text: &str) -> Result<(), Error> {
    let parts: Vec<&str> = text.split(':').collect();
    let region = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let named = match parts.as_slice() {
        ["arn", partition, "acm", place, account, name] => {
            let id = name.strip_prefix("certificate/").unwrap_or_default();
            partition.starts_with("aws")
                && region(place)
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && !id.is_empty()
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-".contains(&b))
        }
        _ => false,
    };
    if named && text.len() <= 2048 {
        return Ok(());
    }
    let shown = shortened(text);
    Err(Error::invalid(format!("'{shown}' is not arn:aws:acm:<region>:<account>:certificate/<id>")))
}

/// Addresses of webhooks and endpoints.
pub(crate) fn function_url(text: &str) -> Result<(), Error> {
    address(text, &["https", "http"])
}

/// An address with one of these schemes, of which the first is told.
pub(crate) fn address(text: &str, schemes: &[&str]) -> Result<(), Error> {
    let after = |scheme: &&str| text.strip_prefix(*scheme)?.strip_prefix("://");
    let rest = schemes.iter().find_map(after);
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let plain = text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#');
    if plain && authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@')) {
        return Ok(());
    }
    let (shown, scheme) = (shortened(text), schemes.first().unwrap_or(&"https"));
    Err(Error::invalid(format!(
        "'{shown}' is no address: {scheme}://<host>[:<port>][/<path>], without user or fragment"
    )))
}

/// Names of S3's buckets, as bulk registration takes them.
pub(crate) fn bucket(text: &str) -> Result<(), Error> {
    let fits = (3..=256).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Ok(());
    }
    let shown = shortened(text);
    Err(Error::invalid(format!("inputFileBucket '{shown}' must be 3 to 256 characters of a-zA-Z0-9._-")))
}

/// Names of S3's objects, as bulk registration takes them.
pub(crate) fn object_key(text: &str) -> Result<(), Error> {
    let fits = (1..=1024).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!_.*'()+,-/".contains(&b)) {
        return Ok(());
    }
    let shown = shortened(text);
    Err(Error::invalid(format!(
        "inputFileKey '{shown}' must be 1 to 1024 characters of a-zA-Z0-9!_.*'()+,-/"
    )))
}

/// Ids of bulk registration tasks.
pub(crate) fn task_id(text: &str) -> Result<(), Error> {
    let fits = (1..=40).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(());
    }
    Err(Error::invalid(format!("taskId '{}' must be 1 to 40 characters of a-zA-Z0-9-", shortened(text))))
}

/// What an external signer calls a key.
pub(crate) fn external_key(text: &str) -> Result<(), Error> {
    let fits = (1..=256).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid(
        "the name of an external key must be 1 to 256 printable ASCII characters without blanks",
    ))
}

/// A certificate id: 64 hexadecimal digits, with or without `0x`; the answer is in lower case without it.
pub(crate) fn certificate_id(text: &str) -> Result<String, Error> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err(Error::invalid(format!("certificateId '{}' is not 64 hexadecimal digits", shortened(text))))
}

/// Text of at most `most` characters without control characters.
pub(crate) fn description(what: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.chars().count() <= most && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} must be at most {most} printable characters")))
}

/// A PEM text of 1 to 65536 characters.
pub(crate) fn pem(text: &str) -> Result<(), Error> {
    if (1..=65_536).contains(&text.len()) {
        return Ok(());
    }
    Err(Error::invalid(format!("a certificate must have 1 to 65536 characters, not {}", text.len())))
}

/// Characters of tag keys and values (provisioning.md section 9).
pub(crate) fn tag_text(text: &str) -> bool {
    let space = |c: char| c.is_whitespace() && !c.is_control();
    text.chars().all(|c| c.is_alphanumeric() || space(c) || "+-=._:/@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(registry_name("thingName", "a:b_c-D9").is_ok());
        for bad in ["", "a b", "a/b", "ä", "a\0", &"x".repeat(129)] {
            assert!(registry_name("thingName", bad).is_err(), "{bad}");
        }
        assert!(policy_name("a+b=c,d.e@f-g_h").is_ok());
        assert!(policy_name("a:b").is_err());
        assert!(rule_name("a_1").is_ok());
        assert!(rule_name("a-1").is_err());
    }

    #[test]
    fn attribute_values_have_no_spaces() {
        assert!(attribute_value("").is_ok());
        assert!(attribute_value("a[1]=b#c").is_ok());
        assert!(attribute_value("a b").is_err());
        assert!(attribute_value(&"x".repeat(801)).is_err());
    }

    #[test]
    fn certificate_ids_are_normalised() {
        let id = "AB".repeat(32);
        assert_eq!(certificate_id(&format!("0x{id}")).unwrap(), "ab".repeat(32));
        assert!(certificate_id("ab").is_err());
        assert!(certificate_id(&"zz".repeat(32)).is_err());
    }
}
