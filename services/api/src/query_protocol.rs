//! AWS's query protocol, which `sts` and `iam` speak: a form that names the action, and XML back.

use std::fmt::Write;

use bytes::Bytes;
use fleethaven_registry::shapes::Tag;
use uuid::Uuid;

use crate::answer::Answer;
use crate::authentication::{Principal, Signed};
use crate::call::Call;
use crate::error::Error;
use crate::input::{Input, pairs};
use crate::operations::{Operation, Service};
use crate::{iam, sts};

/// Most members of a list: more than any list may have.
const MOST_MEMBERS: usize = 100;
/// Most characters of an action that an error repeats.
const SHOWN: usize = 128;

/// The form of a request.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn read(input: &Input) -> Result<Self, Error> {
        Ok(Self(input.form()?))
    }

    /// What is asked for.
    pub(crate) fn action(&self) -> &str {
        self.optional("Action").unwrap_or_default()
    }

    /// The first member whose name begins so.
    pub(crate) fn beginning(&self, prefixes: &[&str]) -> Option<&str> {
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        names.find(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A member that must be there, and not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Error> {
        let value = self.optional(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::invalid(format!("'{name}' is required")))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let not_a_number = |_| Error::invalid(format!("'{name}' must be a number"));
        self.optional(name).map(|text| text.parse().map_err(not_a_number)).transpose()
    }

    /// The members of a list: `name.member.1` and so on.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&str>, Error> {
        self.members(name, |at| self.optional(at))
    }

    /// The tags of a list: `name.member.1.Key`, `name.member.1.Value` and so on.
    pub(crate) fn tags(&self, name: &str) -> Result<Vec<Tag>, Error> {
        self.members(name, |at| {
            let key = self.optional(&format!("{at}.Key"))?.to_owned();
            let value = self.optional(&format!("{at}.Value")).unwrap_or_default().to_owned();
            Some(Tag { key, value })
        })
    }

    fn members<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
        let numbered = (1..=MOST_MEMBERS + 1).map_while(|number| read(&format!("{name}.member.{number}")));
        let found: Vec<T> = numbered.collect();
        match found.len() > MOST_MEMBERS {
            true => Err(Error::invalid(format!("'{name}' has more than {MOST_MEMBERS} members"))),
            false => Ok(found),
        }
    }

    /// `false` when absent.
    pub(crate) fn boolean(&self, name: &str) -> Result<bool, Error> {
        match self.optional(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::invalid(format!("'{name}' must be true or false"))),
        }
    }
}

/// The operation that the form of a request means: all of a service share one path.
pub(crate) fn meant(service: Service, body: &Bytes) -> Result<Operation, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::invalid("the form is not UTF-8"))?;
    let form = Form(pairs(text)?);
    let action = form.action();
    if let Some(operation) = Operation::all(service).find(|operation| operation.name == action) {
        return Ok(operation);
    }
    let (not_built, version) = match service {
        Service::Iam => (iam::NOT_BUILT, iam::VERSION),
        _ => (sts::NOT_BUILT, sts::VERSION),
    };
    let unknown = || Error::UnknownAction { action: action.chars().take(SHOWN).collect(), version };
    Err(not_built.iter().find(|known| **known == action).map_or_else(unknown, |known| Error::NotBuilt(known)))
}

/// Who signed. Nobody else comes here.
pub(crate) fn signer<'c>(call: &'c Call<'_>) -> Result<&'c Signed, Error> {
    match &call.principal {
        Principal::Operator(signed) => Ok(signed),
        _ => Err(fleethaven_sigv4::Error::Missing.into()),
    }
}

/// What the protocol calls an exception of the API: it has names of its own for some, and no suffix.
pub(crate) fn error_code(service: Service, code: &'static str) -> &'static str {
    match (service, code) {
        (_, "UnrecognizedClientException") => "InvalidClientTokenId",
        (_, "InvalidSignatureException") => "SignatureDoesNotMatch",
        (_, "InvalidRequestException") => "ValidationError",
        (_, "MalformedPolicyException") => "MalformedPolicyDocument",
        (Service::Iam, "ResourceNotFoundException") => "NoSuchEntity",
        (Service::Iam, "ResourceAlreadyExistsException") => "EntityAlreadyExists",
        (Service::Iam, "InternalFailureException") => "ServiceFailure",
        (_, code) => code.strip_suffix("Exception").unwrap_or(code),
    }
}

/// The XML of an error.
pub(crate) fn error_body(service: Service, code: &str, error: &Error, request_id: Uuid) -> Answer {
    let kind = if error.status(service) < 500 { "Sender" } else { "Receiver" };
    let told = Xml::default().text("Type", kind).text("Code", code).text("Message", &error.to_string());
    let body = Xml::default().within("Error", told).text("RequestId", &request_id.to_string());
    Answer::Xml(root("ErrorResponse", service, &body))
}

/// The XML of an answer; operations without an output have no result.
pub(crate) fn answer(service: Service, call: &Call<'_>, action: &str, result: Option<Xml>) -> Answer {
    let metadata = Xml::default().text("RequestId", &call.request_id.to_string());
    let body = match result {
        Some(result) => Xml::default().within(&format!("{action}Result"), result),
        None => Xml::default(),
    };
    Answer::Xml(root(&format!("{action}Response"), service, &body.within("ResponseMetadata", metadata)))
}

fn root(name: &str, service: Service, body: &Xml) -> String {
    let namespace = match service {
        Service::Iam => iam::NAMESPACE,
        _ => sts::NAMESPACE,
    };
    format!("<{name} xmlns=\"{namespace}\">{}</{name}>", body.0)
}

/// Elements that stand beside each other.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Xml(String);

impl Xml {
    /// With an element that holds a text.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        // Writing to a string cannot fail.
        _ = write!(self.0, "<{name}>{}</{name}>", escaped(value));
        self
    }

    /// With an element that holds a text, if there is one.
    pub(crate) fn optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// With an element that holds elements.
    pub(crate) fn within(mut self, name: &str, elements: Self) -> Self {
        _ = write!(self.0, "<{name}>{}</{name}>", elements.0);
        self
    }

    /// With a list.
    pub(crate) fn list(self, name: &str, items: impl IntoIterator<Item = Self>) -> Self {
        let all = items.into_iter().fold(Self::default(), |all, item| all.within("member", item));
        self.within(name, all)
    }

    /// With a list of texts.
    pub(crate) fn texts<'t>(self, name: &str, items: impl IntoIterator<Item = &'t str>) -> Self {
        let all = items.into_iter().fold(Self::default(), |all, item| all.text("member", item));
        self.within(name, all)
    }
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
    use super::*;

    #[test]
    fn texts_cannot_break_out_of_their_elements() {
        let xml = Xml::default().text("A", "<b>&\0").list("L", [Xml::default().text("C", "d")]);
        assert_eq!(xml.0, "<A>&lt;b&gt;&amp;\u{fffd}</A><L><member><C>d</C></member></L>");
        assert_eq!(Xml::default().texts("L", ["a", "b"]).0, "<L><member>a</member><member>b</member></L>");
    }

    #[test]
    fn nothing_is_both_built_and_not() {
        for (service, not_built) in [(Service::Sts, sts::NOT_BUILT), (Service::Iam, iam::NOT_BUILT)] {
            assert!(Operation::all(service).all(|operation| operation.is_built()));
            for name in not_built {
                assert!(Operation::all(service).all(|operation| operation.name != *name), "{name}");
            }
        }
    }

    #[test]
    fn forms_name_operations() {
        let meant = |service, body: &'static str| meant(service, &Bytes::from(body));
        assert_eq!(meant(Service::Iam, "Version=1&Action=GetRole").unwrap().name, "GetRole");
        assert!(matches!(meant(Service::Iam, "Action=CreateGroup"), Err(Error::NotBuilt("CreateGroup"))));
        for unknown in ["Action=AssumeRole", "Action=", ""] {
            assert!(matches!(meant(Service::Iam, unknown), Err(Error::UnknownAction { .. })), "{unknown}");
        }
        assert!(meant(Service::Sts, "Action=%ff").is_err());
    }
}
