//! What a request asks for, and whether its caller may have it.

use fleethaven_operators::Identity;
use fleethaven_policy::Resource;
use fleethaven_registry::shapes::{PageRequest, PolicyHolder, Tag};
use fleethaven_types::AccountId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::answer::Answer;
use crate::call::Call;
use crate::error::Error;
use crate::operations::Service;
use crate::permissions;
use crate::query_protocol::{self, Form, Xml, signer};

/// Most items of a page.
const MOST: u64 = 100;
/// Members that would change what is made, and that nothing here heeds.
const UNHEEDED: &[&str] = &["PermissionsBoundary"];
/// What stays as it is in a document that an answer holds: RFC 3986's unreserved characters.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request.
pub(super) struct Asked<'c> {
    pub(super) call: &'c Call<'c>,
    pub(super) form: Form,
}

/// Whom an operation about a user is about.
pub(super) enum Whom {
    /// A user.
    User(String),
    /// The account itself, which asks.
    Account,
}

impl<'c> Asked<'c> {
    pub(super) fn read(call: &'c Call<'c>) -> Result<Self, Error> {
        let form = Form::read(&call.input)?;
        if let Some(name) = form.beginning(UNHEEDED) {
            return Err(Error::invalid(format!("{} with '{name}' is not built", form.action())));
        }
        // Names of users, roles and policies are ours alone; paths are not.
        if let Some(path) = form.optional("Path").filter(|path| *path != "/") {
            let shown: String = path.chars().take(64).collect();
            return Err(Error::invalid(format!("the path '{shown}' is not built: there is '/' only")));
        }
        Ok(Self { call, form })
    }

    pub(super) fn account(&self) -> AccountId {
        self.call.scope.account
    }

    /// A listing of everything of a kind.
    pub(super) fn everything(&self) -> Result<(), Error> {
        self.allow(Resource::Any, &[])
    }

    /// The role that it is about.
    pub(super) fn role(&self) -> Result<String, Error> {
        self.named("role", "RoleName", &[])
    }

    /// The user that it is about, who must be said.
    pub(super) fn user(&self) -> Result<String, Error> {
        self.named("user", "UserName", &[])
    }

    /// The user that it is about: who asks, unless another one is said.
    pub(super) fn whom(&self) -> Result<Whom, Error> {
        if self.form.optional("UserName").is_some() {
            return self.user().map(Whom::User);
        }
        match &signer(self.call)?.operator.identity {
            Identity::Root { .. } => Ok(Whom::Account),
            Identity::User { name, .. } => {
                self.allow(Resource::Text(&self.arn("user", name)), &[])?;
                Ok(Whom::User(name.clone()))
            }
            Identity::Session(_) => {
                Err(Error::invalid("Must specify userName when calling with non-User credentials"))
            }
        }
    }

    /// The user or role that it is about, whichever its name tells.
    pub(super) fn holder(&self) -> Result<PolicyHolder, Error> {
        self.holder_with(&[])
    }

    /// The user or role that it is about, and the managed policy, which is a condition key.
    pub(super) fn holder_and_policy(&self) -> Result<(PolicyHolder, String), Error> {
        let arn = self.form.required("PolicyArn")?;
        let holder = self.holder_with(&[("iam:PolicyARN", arn)])?;
        Ok((holder, self.policy_of(arn)?.to_owned()))
    }

    fn holder_with(&self, keys: &[(&str, &str)]) -> Result<PolicyHolder, Error> {
        match self.form.action().contains("Role") {
            true => self.named("role", "RoleName", keys).map(PolicyHolder::Role),
            false => self.named("user", "UserName", keys).map(PolicyHolder::User),
        }
    }

    /// The managed policy that is to be made.
    pub(super) fn new_policy(&self) -> Result<String, Error> {
        self.named("policy", "PolicyName", &[])
    }

    /// The managed policy that it is about.
    pub(super) fn policy(&self) -> Result<String, Error> {
        let arn = self.form.required("PolicyArn")?;
        self.allow(Resource::Text(arn), &[])?;
        Ok(self.policy_of(arn)?.to_owned())
    }

    /// The name of a managed policy of the account. There are no others: AWS's own are not here.
    fn policy_of<'a>(&self, arn: &'a str) -> Result<&'a str, Error> {
        let named = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":policy/"));
        let own = named.filter(|(account, _)| account.parse() == Ok(self.account()));
        own.map(|(_, name)| name).ok_or_else(|| not_found("Policy", arn))
    }

    /// The tags that what is made of this kind, `user`, `role` or `policy`, and name is made with: who gives any must be allowed to tag.
    pub(super) fn new_tags(&self, kind: &str, name: &str) -> Result<Vec<Tag>, Error> {
        let tags = self.form.tags("Tags")?;
        if !tags.is_empty() {
            let action = match kind {
                "user" => "iam:TagUser",
                "role" => "iam:TagRole",
                _ => "iam:TagPolicy",
            };
            self.allow_action(action, Resource::Text(&self.arn(kind, name)), &[])?;
        }
        Ok(tags)
    }

    fn named(&self, kind: &str, member: &str, keys: &[(&str, &str)]) -> Result<String, Error> {
        let name = self.form.required(member)?;
        self.allow(Resource::Text(&self.arn(kind, name)), keys)?;
        Ok(name.to_owned())
    }

    fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:iam::{}:{kind}/{name}", self.account())
    }

    fn allow(&self, resource: Resource<'_>, keys: &[(&str, &str)]) -> Result<(), Error> {
        self.allow_action(&format!("iam:{}", self.form.action()), resource, keys)
    }

    /// With the tags that the request gives or takes away, which are condition keys.
    fn allow_action(&self, action: &str, resource: Resource<'_>, keys: &[(&str, &str)]) -> Result<(), Error> {
        let (given, taken) = (self.form.tags("Tags")?, self.form.list("TagKeys")?);
        let named: Vec<String> = given.iter().map(|tag| format!("aws:RequestTag/{}", tag.key)).collect();
        let requested = named.iter().zip(&given).map(|(name, tag)| (name.as_str(), tag.value.as_str()));
        let tag_keys = given.iter().map(|tag| tag.key.as_str()).chain(taken).map(|key| ("aws:TagKeys", key));
        let keys: Vec<_> = keys.iter().copied().chain(requested).chain(tag_keys).collect();
        permissions::allow(self.call, action, resource, &keys)
    }

    /// The page of a listing.
    pub(super) fn page(&self) -> Result<PageRequest, Error> {
        let token = self.form.optional("Marker").filter(|marker| !marker.is_empty()).map(str::to_owned);
        Ok(PageRequest { token, limit: Some(u32::try_from(self.page_size()?).unwrap_or(1)) })
    }

    /// A page of items that a quota bounds, which are in the order of their names, and where the next one begins.
    pub(super) fn page_of<T>(
        &self,
        items: Vec<T>,
        name: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>), Error> {
        let (after, size) = (self.form.optional("Marker").unwrap_or_default(), self.page_size()?);
        let size = usize::try_from(size).unwrap_or(1);
        let mut left: Vec<T> = items.into_iter().filter(|item| name(item).as_str() > after).collect();
        let is_more = left.len() > size;
        left.truncate(size);
        let next = left.last().filter(|_| is_more).map(name);
        Ok((left, next))
    }

    fn page_size(&self) -> Result<u64, Error> {
        match self.form.number("MaxItems")? {
            None => Ok(MOST),
            Some(size) if (1..=1000).contains(&size) => Ok(size.min(MOST)),
            Some(_) => Err(Error::invalid("'MaxItems' must be 1 to 1000")),
        }
    }

    /// An answer without a result.
    pub(super) fn done(&self) -> Answer {
        query_protocol::answer(Service::Iam, self.call, self.form.action(), None)
    }

    /// An answer.
    pub(super) fn answer(&self, result: Xml) -> Answer {
        query_protocol::answer(Service::Iam, self.call, self.form.action(), Some(result))
    }

    /// A page of an answer.
    pub(super) fn listed(&self, result: Xml, next: Option<&str>) -> Answer {
        let is_truncated = if next.is_some() { "true" } else { "false" };
        self.answer(result.text("IsTruncated", is_truncated).optional("Marker", next))
    }
}

/// A document as answers hold it.
pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, &PLAIN).to_string()
}

pub(super) fn not_found(kind: &str, name: &str) -> Error {
    fleethaven_registry::Error::not_found(kind, name).into()
}
