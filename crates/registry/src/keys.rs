//! The key layout: ordered, the account first, then the region, so that each scope is one range.
//!
//! A key is `<account>/<region>/<collection>/<part>[0x00<part>…]` in UTF-8. `global` stands for the account
//! where something belongs to none, `_` (no region's name) for the region where something belongs to the
//! whole account. Parts never contain 0x00, so keys sort part by part, and all keys below a first part are
//! one prefix. `<order>` is milliseconds since the epoch as 16 hexadecimal digits, complemented in the
//! `-newest` collections.
//!
//! | key after `<account>/<region>/` | value |
//! |---|---|
//! | `thing/<thing>` | [`Thing`](crate::record::Thing) |
//! | `thing-by-type/<type>·<thing>` | – |
//! | `thing-by-attribute/<attribute>·<value>·<thing>` | – |
//! | `thing-of-billing-group/<group id>·<thing>` | – |
//! | `thing-group/<group>` | [`ThingGroup`](crate::record::ThingGroup) |
//! | `thing-group-of-parent/<parent, nothing for roots>·<group>` | – |
//! | `thing-group-of-ancestor/<ancestor>·<group>` | – |
//! | `group-of-thing/<thing>·<group>` | [`ThingGroupMembership`](crate::record::ThingGroupMembership) |
//! | `thing-of-group/<group id>·<thing>` | – |
//! | `thing-below-group/<id of the group or one above>·<thing>` | [`GroupName`](crate::record::GroupName) of the group |
//! | `thing-group-remains/<group id>`: a deleted group with things | [`GroupName`](crate::record::GroupName) |
//! | `billing-group/<group>` | [`BillingGroup`](crate::record::BillingGroup) |
//! | `billing-group-remains/<group id>`: a deleted group with things | – |
//! | `thing-type/<type>` | [`ThingType`](crate::record::ThingType) |
//! | `certificate/<id>` | [`Certificate`](crate::record::Certificate) |
//! | `certificate-oldest/<order>·<id>`, `certificate-newest/…` | – |
//! | `certificate-by-ca-oldest/<ca id>·<order>·<id>`, `certificate-by-ca-newest/…` | – |
//! | `outgoing-certificate-oldest/<order>·<id>`, `outgoing-certificate-newest/…`: offered to another account | – |
//! | `certificate-provider/<provider>` | [`CertificateProvider`](crate::record::CertificateProvider) |
//! | `ca-certificate/<id>` | [`CaCertificate`](crate::record::CaCertificate) |
//! | `ca-certificate-oldest/<order>·<id>`, `ca-certificate-newest/…` | – |
//! | `ca-certificate-by-subject/<SHA-256 of the subject>·<id>` | – |
//! | `registration-code/` | [`RegistrationCode`](crate::record::RegistrationCode) |
//! | `policy/<policy>` | [`Policy`](crate::record::Policy) |
//! | `policy-oldest/<order>·<policy>`, `policy-newest/…` | – |
//! | `policy-version/<policy>·<16 hexadecimal digits>` | [`PolicyVersion`](crate::record::PolicyVersion) |
//! | `policy-of-target/<target>·<policy>` | [`PolicyAttachment`](crate::record::PolicyAttachment) |
//! | `target-of-policy-oldest/<policy>·<order>·<target>`, `target-of-policy-newest/…` | – |
//! | `thing-of-principal/<principal>·<thing>` | [`ThingPrincipal`](crate::record::ThingPrincipal) |
//! | `principal-of-thing/<thing>·<principal>` | [`ThingPrincipal`](crate::record::ThingPrincipal) |
//! | `authorizer/<authorizer>` | [`Authorizer`](crate::record::Authorizer) |
//! | `default-authorizer/` | [`DefaultAuthorizer`](crate::record::DefaultAuthorizer) |
//! | `domain-configuration/<configuration>` | [`DomainConfiguration`](crate::record::DomainConfiguration) |
//! | `role-alias/<alias>` | [`RoleAlias`](crate::record::RoleAlias) |
//! | `provisioning-template/<template>` | [`ProvisioningTemplate`](crate::record::ProvisioningTemplate) |
//! | `provisioning-template-version/<template>·<16 hexadecimal digits>` | [`ProvisioningTemplateVersion`](crate::record::ProvisioningTemplateVersion) |
//! | `ownership-token/<SHA-256 of the token>` | [`OwnershipToken`](crate::record::OwnershipToken) |
//! | `registration-task/<task>` | [`RegistrationTask`](crate::record::RegistrationTask) |
//! | `registration-upload/<task>`: an input that is being uploaded | [`RegistrationUpload`](crate::record::RegistrationUpload) |
//! | `registration-input/<task>·<16 hexadecimal digits>` | [`RegistrationInput`](crate::record::RegistrationInput) |
//! | `running-registration-task/` | the id of the one that has not ended |
//! | `registration-report/<task>·<report>·<16 hexadecimal digits>` | [`RegistrationReportPart`](crate::record::RegistrationReportPart) |
//! | `event-configurations/` | [`EventConfigurations`](crate::record::EventConfigurations) |
//! | `rule/<rule>` | [`Rule`](crate::record::Rule) |
//! | `shadow/<thing>·<shadow>`, nothing for the classic one | [`Shadow`](crate::record::Shadow) |
//! | `shadow-name/<thing>·<shadow>`: a named shadow that is there | – |
//! | `deleted-shadow/<order>·<thing>·<shadow>` | the key of what is remembered of it |
//! | `rule-count/` | [`Count`](crate::record::Count) |
//! | `tag/<resource ARN>·<tag key>` | [`Tag`](crate::record::Tag) |
//! | `usage/<day, 8 digits>·<billing group, nothing for none>` | [`Usage`](crate::record::Usage) |
//!
//! | other keys | value |
//! |---|---|
//! | `<account>/_/access-key/<key id>` | – |
//! | `<account>/_/access-key-of-user/<user>·<key id>` | – |
//! | `<account>/_/issuing-ca/` | [`IssuingCa`](crate::record::IssuingCa) |
//! | `global/_/account/<account>` | [`Account`](crate::record::Account) |
//! | `global/_/access-key/<key id>` | [`AccessKey`](crate::record::AccessKey) |
//! | `global/_/connection/<account>·<name>` | [`Connection`](crate::record::Connection) |
//! | `global/_/rule-destination/<account>·<region>·<id>` | [`RuleDestination`](crate::record::RuleDestination) |
//! | `global/_/function/<account>·<ARN>` | [`Function`](crate::record::Function) |
//! | `global/_/logging/<account>·<region>·options` | [`LoggingOptions`](crate::record::LoggingOptions) |
//! | `global/_/logging/<account>·<region>·level·<type>·<name>` | [`LoggingLevel`](crate::record::LoggingLevel) |
//! | `global/_/logging/<account>·<region>·first` | [`FirstLoggingOptions`](crate::record::FirstLoggingOptions) |
//! | `global/_/user/<account>·<user>` | [`User`](crate::record::User) |
//! | `global/_/user-policy/<account>·<user>·<policy>` | [`OperatorPolicy`](crate::record::OperatorPolicy) |
//! | `global/_/user-attached-policy/<account>·<user>·<policy>` | – |
//! | `global/_/role/<account>·<role>` | [`Role`](crate::record::Role) |
//! | `global/_/role-policy/<account>·<role>·<policy>` | [`OperatorPolicy`](crate::record::OperatorPolicy) |
//! | `global/_/role-attached-policy/<account>·<role>·<policy>` | – |
//! | `global/_/managed-policy/<account>·<policy>` | [`ManagedPolicy`](crate::record::ManagedPolicy) |
//! | `global/_/user-of-policy/<account>·<policy>·<user>`, `…/role-of-policy/…·<role>` | – |
//! | `global/_/session-keys/` | [`SessionKeys`](crate::record::SessionKeys) |
//! | `global/_/scope/<account>·<region>`: something was created there | – |
//! | `global/_/certificate/<id>·<account>·<region>` | – |
//! | `global/_/ca-certificate/<id>·<region>·<account>`: registered in DEFAULT mode | – |
//! | `global/_/auto-registration/<SHA-256 of the subject>·<account>·<region>·<id>`: a CA certificate that lets devices register themselves | – |
//! | `global/_/enrolment-end/<order>·<account>·<region>·token·<SHA-256>`, `…·claim·<id>`: when it is over | the certificate's id |
//! | `global/_/due-registration-task/<order>·<account>·<region>·<task>`: one to work on, or when one that has ended is forgotten | – |
//! | `global/_/domain/<domain name>` | [`DomainOwner`](crate::record::DomainOwner) |
//! | `global/_/server-certificate/<account>·<ARN>` | [`ServerCertificate`](crate::record::ServerCertificate) |
//! | `global/_/ticket-keys/` | [`TicketKeys`](crate::record::TicketKeys) |
//! | `global/_/first-reply/<idempotency key, hexadecimal>` | [`FirstReply`](crate::record::FirstReply) |
//! | `global/_/first-reply-slot/<16 hexadecimal digits>` | the key of the record in this slot |
//! | `global/_/cluster/head` | [`ClusterHead`](crate::record::ClusterHead) |
//! | `global/_/cluster/member·<incarnation, 16 hexadecimal digits>` | [`ClusterMember`](crate::record::ClusterMember) |
//! | `global/_/cluster/slots` | [`ClusterSlots`](crate::record::ClusterSlots) |
//! | `global/_/outbox/<index of the log entry, 16 hexadecimal digits>` | messages that are to be published |
//! | `global/_/usage-source/<process>` | [`UsageSource`](crate::record::UsageSource) |
//! | `global/_/next-first-reply/` | [`FirstReplies`](crate::record::FirstReplies) |

use bytes::Bytes;
use fleethaven_types::{AccountId, Scope, Timestamp};

mod certificates;
mod cluster;
mod domains;
mod groups;
mod logging;
mod operators;
mod policies;
mod provisioning;
mod rules;
mod shadows;
mod things;
mod usage;

pub(crate) use certificates::*;
pub use cluster::*;
pub use domains::*;
pub use groups::*;
pub use logging::*;
pub use operators::*;
pub use policies::*;
pub(crate) use provisioning::*;
pub use rules::*;
pub(crate) use shadows::*;
pub use things::*;
pub(crate) use usage::*;

pub(crate) const SEPARATOR: char = '\0';

/// In which order a listing by creation date runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Oldest,
    Newest,
}

impl Order {
    pub(crate) const BOTH: [Self; 2] = [Self::Oldest, Self::Newest];

    pub(crate) fn ascending(yes: bool) -> Self {
        if yes { Self::Oldest } else { Self::Newest }
    }

    fn part(self, at: Timestamp) -> String {
        let number = match self {
            Self::Oldest => at.as_millis(),
            Self::Newest => !at.as_millis(),
        };
        format!("{number:016x}")
    }

    /// As collections end.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Newest => "newest",
        }
    }

    fn of(self, collection: &str) -> String {
        format!("{collection}-{}", self.name())
    }
}

fn scoped(scope: Scope, collection: &str, parts: &[&str]) -> Bytes {
    let Scope { account, region } = scope;
    Bytes::from(format!("{account}/{region}/{collection}/{}", parts.join("\0")))
}

/// The range of all keys below the given leading parts.
fn below(scope: Scope, collection: &str, parts: &[&str]) -> Bytes {
    let mut prefix = scoped(scope, collection, parts).to_vec();
    if !parts.is_empty() {
        prefix.push(0);
    }
    Bytes::from(prefix)
}

fn global(collection: &str, parts: &[&str]) -> Bytes {
    Bytes::from(format!("global/_/{collection}/{}", parts.join("\0")))
}

fn account_wide(account: AccountId, collection: &str, part: &str) -> Bytes {
    Bytes::from(format!("{account}/_/{collection}/{part}"))
}

macro_rules! named_collections {
    ($($(#[$about:meta])* $key:ident, $prefix:ident, $collection:literal;)*) => {$(
        $(#[$about])*
        pub fn $key(scope: Scope, name: &str) -> Bytes {
            scoped(scope, $collection, &[name])
        }

        #[doc = concat!("All keys that [`", stringify!($key), "`] makes in a scope.")]
        pub fn $prefix(scope: Scope) -> Bytes {
            below(scope, $collection, &[])
        }
    )*};
}

named_collections! {
    /// A thing, by name.
    thing, things_prefix, "thing";
    /// A thing type, by name.
    thing_type, thing_types_prefix, "thing-type";
    /// A thing group, by name.
    thing_group, thing_groups_prefix, "thing-group";
    /// A billing group, by name.
    billing_group, billing_groups_prefix, "billing-group";
    /// A certificate, by id.
    certificate, certificates_prefix, "certificate";
    /// A CA certificate, by id.
    ca_certificate, ca_certificates_prefix, "ca-certificate";
    /// A certificate provider, by name.
    certificate_provider, certificate_providers_prefix, "certificate-provider";
    /// A policy, by name.
    policy, policies_prefix, "policy";
    /// A custom authorizer, by name.
    authorizer, authorizers_prefix, "authorizer";
    /// A domain configuration, by name.
    domain_configuration, domain_configurations_prefix, "domain-configuration";
    /// A role alias, by name.
    role_alias, role_aliases_prefix, "role-alias";
    /// A provisioning template, by name.
    provisioning_template, provisioning_templates_prefix, "provisioning-template";
    /// A bulk registration task, by id.
    registration_task, registration_tasks_prefix, "registration-task";
    /// An input that is being uploaded, by the id of the task that it will be.
    registration_upload, registration_uploads_prefix, "registration-upload";
    /// A rule, by name.
    rule, rules_prefix, "rule";
}

/// All keys of an account and region.
pub fn scope_prefix(scope: Scope) -> Bytes {
    Bytes::from(format!("{}/{}/", scope.account, scope.region))
}

/// All keys of an account, except what the `global` part holds about it.
pub fn account_prefix(account: AccountId) -> Bytes {
    Bytes::from(format!("{account}/"))
}

/// A marker for every account and region in which something was ever created: what to watch in order to learn
/// which other prefixes to watch.
pub fn scopes_prefix() -> Bytes {
    global("scope", &[])
}

/// The markers of an account's regions.
pub(crate) fn scopes_of_account(account: AccountId) -> Bytes {
    global("scope", &[&account.to_string(), ""])
}

pub(crate) fn scope_marker(scope: Scope) -> Bytes {
    global("scope", &[&scope.account.to_string(), scope.region.as_str()])
}

/// A key taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// `global` or an account id.
    pub(crate) account: &'a str,
    /// `_` or a region.
    pub(crate) region: &'a str,
    pub(crate) collection: &'a str,
    pub(crate) parts: Vec<&'a str>,
}

impl Parsed<'_> {
    pub(crate) fn scope(&self) -> Option<Scope> {
        Some(Scope { account: self.account.parse().ok()?, region: self.region.parse().ok()? })
    }
}

pub(crate) fn parse(key: &[u8]) -> Option<Parsed<'_>> {
    let mut pieces = std::str::from_utf8(key).ok()?.splitn(4, '/');
    let (account, region, collection) = (pieces.next()?, pieces.next()?, pieces.next()?);
    Some(Parsed { account, region, collection, parts: pieces.next()?.split(SEPARATOR).collect() })
}

/// The last part of a key: the name that an index entry leads to.
pub(crate) fn last_part(key: &[u8]) -> Option<&str> {
    parse(key)?.parts.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
    }

    #[test]
    fn keys_survive_being_taken_apart() {
        let key = thing_by_attribute(scope(), "a/b", "c/d=e", "t:1");
        let parsed = parse(&key).unwrap();
        assert_eq!(parsed.scope(), Some(scope()));
        assert_eq!((parsed.collection, parsed.parts), ("thing-by-attribute", vec!["a/b", "c/d=e", "t:1"]));
        assert_eq!(last_part(&key), Some("t:1"));
        assert_eq!(parse(b"x"), None);
        assert_eq!(parse(&[0xff]), None);
    }

    #[test]
    fn ends_are_in_the_order_of_time_and_can_be_read_again() {
        let key = enrolment_end(Timestamp(255), scope(), "token", "ab");
        assert!(key < enrolment_end(Timestamp(256), scope(), "claim", "aa"));
        assert!(key.starts_with(&enrolment_ends()));
        let parts = (Timestamp(255), scope(), "token".to_owned(), "ab".to_owned());
        assert_eq!(parse_enrolment_end(&key), Some(parts));
        assert_eq!(parse_enrolment_end(&enrolment_ends()), None);
    }

    #[test]
    fn authorities_are_found_by_their_subject() {
        let key = auto_registration(scope(), "ab", "cd");
        assert!(key.starts_with(&auto_registrations("ab")) && !key.starts_with(&auto_registrations("a")));
        assert_eq!(parse_auto_registration(&key), Some((scope(), "cd".to_owned())));
        assert_eq!(parse_auto_registration(&auto_registrations("ab")), None);
    }

    #[test]
    fn a_prefix_covers_its_name_and_not_longer_ones() {
        let prefix = things_of_type(scope(), "a");
        assert!(thing_by_type(scope(), "a", "t").starts_with(&prefix));
        assert!(!thing_by_type(scope(), "ab", "t").starts_with(&prefix));
        assert!(!thing_type(scope(), "a").starts_with(&things_prefix(scope())));
    }

    #[test]
    fn newest_is_the_reverse_of_oldest() {
        let key = |order, at| policy_by_date(scope(), order, Timestamp(at), "p");
        assert!(key(Order::Oldest, 255) < key(Order::Oldest, 256));
        assert!(key(Order::Newest, 255) > key(Order::Newest, 256));
    }
}
