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
//! | `global/_/role/<account>·<role>` | [`Role`](crate::record::Role) |
//! | `global/_/role-policy/<account>·<role>·<policy>` | [`OperatorPolicy`](crate::record::OperatorPolicy) |
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
//! | `global/_/next-first-reply/` | [`Count`](crate::record::Count) |

use bytes::Bytes;
use fleethaven_membership::Incarnation;
use fleethaven_shadow::ShadowName;
use fleethaven_types::{AccountId, Region, Scope, Timestamp};

use crate::idempotency::IdempotencyKey;
use crate::shapes::{LogTargetType, PolicyHolder};

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

/// Every account's record.
pub fn accounts_prefix() -> Bytes {
    global("account", &[])
}

/// Every access key's record.
pub fn access_keys_prefix() -> Bytes {
    global("access-key", &[])
}

/// A marker for every account and region in which something was ever created: what to watch in order to learn
/// which other prefixes to watch.
pub fn scopes_prefix() -> Bytes {
    global("scope", &[])
}

/// Versions of all policies of a scope.
pub fn policy_versions_prefix(scope: Scope) -> Bytes {
    below(scope, "policy-version", &[])
}

/// Which policies are attached to what, in a scope.
pub fn policy_attachments_prefix(scope: Scope) -> Bytes {
    below(scope, "policy-of-target", &[])
}

/// Which things are attached to what principal, in a scope.
pub fn thing_principals_prefix(scope: Scope) -> Bytes {
    below(scope, "thing-of-principal", &[])
}

/// Which things are in what thing groups, in a scope.
pub fn thing_group_memberships_prefix(scope: Scope) -> Bytes {
    below(scope, "group-of-thing", &[])
}

/// A group in the index of its parent, or with the beginning of a name the groups that it is the beginning of. Roots
/// have the parent "".
pub(crate) fn thing_groups_of_parent(scope: Scope, parent: &str, group: &str) -> Bytes {
    scoped(scope, "thing-group-of-parent", &[parent, group])
}

/// A group in the index of one above it, or with the beginning of a name the groups that it is the beginning of.
pub(crate) fn thing_group_of_ancestor(scope: Scope, ancestor: &str, group: &str) -> Bytes {
    scoped(scope, "thing-group-of-ancestor", &[ancestor, group])
}

pub(crate) fn group_of_thing(scope: Scope, thing: &str, group: &str) -> Bytes {
    scoped(scope, "group-of-thing", &[thing, group])
}

pub(crate) fn groups_of_thing(scope: Scope, thing: &str) -> Bytes {
    below(scope, "group-of-thing", &[thing])
}

pub(crate) fn thing_of_group(scope: Scope, group_id: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-of-group", &[group_id, thing])
}

pub(crate) fn things_of_group(scope: Scope, group_id: &str) -> Bytes {
    below(scope, "thing-of-group", &[group_id])
}

pub(crate) fn thing_below_group(scope: Scope, group_id: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-below-group", &[group_id, thing])
}

pub(crate) fn things_below_group(scope: Scope, group_id: &str) -> Bytes {
    below(scope, "thing-below-group", &[group_id])
}

pub(crate) fn thing_group_remains(scope: Scope, group_id: &str) -> Bytes {
    scoped(scope, "thing-group-remains", &[group_id])
}

pub(crate) fn all_thing_group_remains(scope: Scope) -> Bytes {
    below(scope, "thing-group-remains", &[])
}

pub(crate) fn thing_of_billing_group(scope: Scope, group_id: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-of-billing-group", &[group_id, thing])
}

pub(crate) fn things_of_billing_group(scope: Scope, group_id: &str) -> Bytes {
    below(scope, "thing-of-billing-group", &[group_id])
}

pub(crate) fn billing_group_remains(scope: Scope, group_id: &str) -> Bytes {
    scoped(scope, "billing-group-remains", &[group_id])
}

pub(crate) fn all_billing_group_remains(scope: Scope) -> Bytes {
    below(scope, "billing-group-remains", &[])
}

pub(crate) fn thing_by_type(scope: Scope, thing_type: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-by-type", &[thing_type, thing])
}

pub(crate) fn things_of_type(scope: Scope, thing_type: &str) -> Bytes {
    below(scope, "thing-by-type", &[thing_type])
}

pub(crate) fn thing_by_attribute(scope: Scope, name: &str, value: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-by-attribute", &[name, value, thing])
}

pub(crate) fn things_with_attribute(scope: Scope, name: &str) -> Bytes {
    below(scope, "thing-by-attribute", &[name])
}

pub(crate) fn things_with_value(scope: Scope, name: &str, value: &str) -> Bytes {
    below(scope, "thing-by-attribute", &[name, value])
}

pub(crate) fn things_with_value_prefix(scope: Scope, name: &str, value: &str) -> Bytes {
    scoped(scope, "thing-by-attribute", &[name, value])
}

pub(crate) fn certificate_by_date(scope: Scope, order: Order, created: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("certificate"), &[&order.part(created), id])
}

pub(crate) fn certificates_by_date(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("certificate"), &[])
}

pub(crate) fn certificate_by_ca(scope: Scope, order: Order, ca: &str, created: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("certificate-by-ca"), &[ca, &order.part(created), id])
}

pub(crate) fn certificates_by_ca(scope: Scope, order: Order, ca: &str) -> Bytes {
    below(scope, &order.of("certificate-by-ca"), &[ca])
}

pub(crate) fn certificate_owner(id: &str, scope: Scope) -> Bytes {
    global("certificate", &[id, &scope.account.to_string(), scope.region.as_str()])
}

/// The scope that [`certificate_owner`] made this key of.
pub(crate) fn certificate_owner_of(key: &[u8]) -> Option<Scope> {
    let parts = parse(key)?.parts;
    let [_, account, region] = parts.as_slice() else { return None };
    Some(Scope { account: account.parse().ok()?, region: region.parse().ok()? })
}

pub(crate) fn outgoing_certificate(scope: Scope, order: Order, offered: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("outgoing-certificate"), &[&order.part(offered), id])
}

pub(crate) fn outgoing_certificates(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("outgoing-certificate"), &[])
}

pub(crate) fn certificate_owners(id: &str) -> Bytes {
    global("certificate", &[id, ""])
}

pub(crate) fn ca_certificate_by_date(scope: Scope, order: Order, created: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("ca-certificate"), &[&order.part(created), id])
}

pub(crate) fn ca_certificates_by_date(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("ca-certificate"), &[])
}

pub(crate) fn ca_certificate_by_subject(scope: Scope, subject_hash: &str, id: &str) -> Bytes {
    scoped(scope, "ca-certificate-by-subject", &[subject_hash, id])
}

pub(crate) fn ca_certificates_by_subject(scope: Scope, subject_hash: &str) -> Bytes {
    below(scope, "ca-certificate-by-subject", &[subject_hash])
}

pub(crate) fn default_ca_owner(id: &str, scope: Scope) -> Bytes {
    global("ca-certificate", &[id, scope.region.as_str(), &scope.account.to_string()])
}

pub(crate) fn default_ca_owners(id: &str, region: Region) -> Bytes {
    global("ca-certificate", &[id, region.as_str(), ""])
}

pub(crate) fn registration_code(scope: Scope) -> Bytes {
    scoped(scope, "registration-code", &[])
}

pub(crate) fn policy_by_date(scope: Scope, order: Order, created: Timestamp, policy: &str) -> Bytes {
    scoped(scope, &order.of("policy"), &[&order.part(created), policy])
}

pub(crate) fn policies_by_date(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("policy"), &[])
}

/// A version of a policy.
pub fn policy_version(scope: Scope, policy: &str, version: u64) -> Bytes {
    scoped(scope, "policy-version", &[policy, &format!("{version:016x}")])
}

pub(crate) fn versions_of_policy(scope: Scope, policy: &str) -> Bytes {
    below(scope, "policy-version", &[policy])
}

pub(crate) fn policy_of_target(scope: Scope, target: &str, policy: &str) -> Bytes {
    scoped(scope, "policy-of-target", &[target, policy])
}

pub(crate) fn policies_of_target(scope: Scope, target: &str) -> Bytes {
    below(scope, "policy-of-target", &[target])
}

pub(crate) fn target_of_policy(
    scope: Scope,
    order: Order,
    policy: &str,
    attached: Timestamp,
    target: &str,
) -> Bytes {
    scoped(scope, &order.of("target-of-policy"), &[policy, &order.part(attached), target])
}

pub(crate) fn targets_of_policy(scope: Scope, order: Order, policy: &str) -> Bytes {
    below(scope, &order.of("target-of-policy"), &[policy])
}

pub(crate) fn thing_of_principal(scope: Scope, principal: &str, thing: &str) -> Bytes {
    scoped(scope, "thing-of-principal", &[principal, thing])
}

pub(crate) fn things_of_principal(scope: Scope, principal: &str) -> Bytes {
    below(scope, "thing-of-principal", &[principal])
}

pub(crate) fn principal_of_thing(scope: Scope, thing: &str, principal: &str) -> Bytes {
    scoped(scope, "principal-of-thing", &[thing, principal])
}

pub(crate) fn principals_of_thing(scope: Scope, thing: &str) -> Bytes {
    below(scope, "principal-of-thing", &[thing])
}

/// The owner of a domain name.
pub(crate) fn domain_owner(name: &str) -> Bytes {
    global("domain", &[name])
}

/// The owners of all domain names: [`record::DomainOwner`](crate::record::DomainOwner).
pub fn domain_owners_prefix() -> Bytes {
    global("domain", &[])
}

/// What servers show for ARNs, of all accounts: [`record::ServerCertificate`](crate::record::ServerCertificate).
pub fn server_certificates_prefix() -> Bytes {
    global("server-certificate", &[])
}

pub(crate) fn server_certificates_of_account(account: AccountId) -> Bytes {
    global("server-certificate", &[&account.to_string(), ""])
}

pub(crate) fn server_certificate(account: AccountId, arn: &str) -> Bytes {
    global("server-certificate", &[&account.to_string(), arn])
}

pub(crate) fn default_authorizer(scope: Scope) -> Bytes {
    scoped(scope, "default-authorizer", &[])
}

pub(crate) fn provisioning_template_version(scope: Scope, template: &str, version: u64) -> Bytes {
    scoped(scope, "provisioning-template-version", &[template, &format!("{version:016x}")])
}

pub(crate) fn versions_of_provisioning_template(scope: Scope, template: &str) -> Bytes {
    below(scope, "provisioning-template-version", &[template])
}

pub(crate) fn ownership_token(scope: Scope, token_sha256: &str) -> Bytes {
    scoped(scope, "ownership-token", &[token_sha256])
}

/// A CA certificate with whose certificates devices may register themselves, by its subject.
pub(crate) fn auto_registration(scope: Scope, subject_hash: &str, id: &str) -> Bytes {
    let Scope { account, region } = scope;
    global("auto-registration", &[subject_hash, &account.to_string(), region.as_str(), id])
}

pub(crate) fn auto_registrations(subject_hash: &str) -> Bytes {
    global("auto-registration", &[subject_hash, ""])
}

/// Scope and id that [`auto_registration`] made this key of.
pub(crate) fn parse_auto_registration(key: &[u8]) -> Option<(Scope, String)> {
    let parts = parse(key)?.parts;
    let [_, account, region, id] = parts.as_slice() else { return None };
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    Some((scope, (*id).to_owned()))
}

/// When an ownership token (`token`, by its hash) or a claim (`claim`, by its certificate) is over.
pub(crate) fn enrolment_end(at: Timestamp, scope: Scope, kind: &str, id: &str) -> Bytes {
    let Scope { account, region } = scope;
    let parts = [&Order::Oldest.part(at), &account.to_string(), region.as_str(), kind, id];
    global("enrolment-end", &parts)
}

pub(crate) fn enrolment_ends() -> Bytes {
    global("enrolment-end", &[])
}

/// What [`enrolment_end`] made this key of.
pub(crate) fn parse_enrolment_end(key: &[u8]) -> Option<(Timestamp, Scope, String, String)> {
    let parts = parse(key)?.parts;
    let [at, account, region, kind, id] = parts.as_slice() else { return None };
    let at = Timestamp(u64::from_str_radix(at, 16).ok()?);
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    Some((at, scope, (*kind).to_owned(), (*id).to_owned()))
}

/// The bulk registration task that has not ended.
pub(crate) fn running_registration_task(scope: Scope) -> Bytes {
    scoped(scope, "running-registration-task", &[])
}

/// A part of a report of a bulk registration task.
pub(crate) fn registration_report(scope: Scope, task: &str, report: &str, part: u64) -> Bytes {
    scoped(scope, "registration-report", &[task, report, &format!("{part:016x}")])
}

pub(crate) fn registration_reports(scope: Scope, task: &str) -> Bytes {
    below(scope, "registration-report", &[task])
}

/// A bulk registration task that something is to be done about from `at` on.
pub(crate) fn due_registration_task(at: Timestamp, scope: Scope, task: &str) -> Bytes {
    let Scope { account, region } = scope;
    let parts = [&Order::Oldest.part(at), &account.to_string(), region.as_str(), task];
    global("due-registration-task", &parts)
}

pub(crate) fn due_registration_tasks() -> Bytes {
    global("due-registration-task", &[])
}

/// What [`due_registration_task`] made this key of.
pub(crate) fn parse_due_registration_task(key: &[u8]) -> Option<(Timestamp, Scope, String)> {
    let parts = parse(key)?.parts;
    let [at, account, region, task] = parts.as_slice() else { return None };
    let at = Timestamp(u64::from_str_radix(at, 16).ok()?);
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    Some((at, scope, (*task).to_owned()))
}

pub(crate) fn event_configurations(scope: Scope) -> Bytes {
    scoped(scope, "event-configurations", &[])
}

pub(crate) fn rule_count(scope: Scope) -> Bytes {
    scoped(scope, "rule-count", &[])
}

pub(crate) fn tag(scope: Scope, arn: &str, key: &str) -> Bytes {
    scoped(scope, "tag", &[arn, key])
}

pub(crate) fn tags_of(scope: Scope, arn: &str) -> Bytes {
    below(scope, "tag", &[arn])
}

/// What was used on one day, counted from 1970-01-01, by a billing group or, without a name, by none.
pub(crate) fn usage(scope: Scope, day: u32, group: &str) -> Bytes {
    scoped(scope, "usage", &[&format!("{day:08}"), group])
}

/// What is above all of one day and below the next.
pub(crate) fn usage_after(scope: Scope, day: u32) -> Bytes {
    scoped(scope, "usage", &[&format!("{day:08}"), "\u{7f}"])
}

pub(crate) fn usage_prefix(scope: Scope) -> Bytes {
    below(scope, "usage", &[])
}

/// Day and billing group that [`usage`] made this key of.
pub(crate) fn parse_usage(key: &[u8]) -> Option<(u32, String)> {
    let parsed = parse(key).filter(|parsed| parsed.collection == "usage")?;
    let [day, group] = parsed.parts.as_slice() else { return None };
    Some((day.parse().ok()?, (*group).to_owned()))
}

/// How far a process has reported what was used.
pub(crate) fn usage_source(source: &str) -> Bytes {
    global("usage-source", &[source])
}

pub(crate) fn usage_sources() -> Bytes {
    global("usage-source", &[])
}

pub(crate) fn shadow(scope: Scope, name: &ShadowName) -> Bytes {
    scoped(scope, "shadow", &[name.thing(), name.shadow().unwrap_or_default()])
}

pub(crate) fn shadow_name(scope: Scope, thing: &str, shadow: &str) -> Bytes {
    scoped(scope, "shadow-name", &[thing, shadow])
}

pub(crate) fn shadow_names(scope: Scope, thing: &str) -> Bytes {
    below(scope, "shadow-name", &[thing])
}

pub(crate) fn deleted_shadow(scope: Scope, at: Timestamp, name: &ShadowName) -> Bytes {
    let shadow = name.shadow().unwrap_or_default();
    scoped(scope, "deleted-shadow", &[&Order::Oldest.part(at), name.thing(), shadow])
}

pub(crate) fn deleted_shadows(scope: Scope) -> Bytes {
    below(scope, "deleted-shadow", &[])
}

pub(crate) fn account(account: AccountId) -> Bytes {
    global("account", &[&account.to_string()])
}

pub(crate) fn access_key(id: &str) -> Bytes {
    global("access-key", &[id])
}

pub(crate) fn access_key_of_account(account: AccountId, id: &str) -> Bytes {
    account_wide(account, "access-key", id)
}

/// Addresses that rules may call, of all accounts and regions: [`record::RuleDestination`](crate::record::RuleDestination).
pub fn rule_destinations_prefix() -> Bytes {
    global("rule-destination", &[])
}

pub(crate) fn rule_destinations_of_scope(scope: Scope) -> Bytes {
    rule_destination(scope, "")
}

pub(crate) fn rule_destination(scope: Scope, id: &str) -> Bytes {
    global("rule-destination", &[&scope.account.to_string(), scope.region.as_str(), id])
}

/// Which log entries are written, of all accounts and regions: [`logging::decode`](crate::logging::decode) reads it.
pub fn logging_prefix() -> Bytes {
    global("logging", &[])
}

fn logging(scope: Scope, parts: &[&str]) -> Bytes {
    let (account, region) = (scope.account.to_string(), scope.region);
    global("logging", &[&[account.as_str(), region.as_str()], parts].concat())
}

pub(crate) fn logging_options(scope: Scope) -> Bytes {
    logging(scope, &["options"])
}

pub(crate) fn first_logging_options(scope: Scope) -> Bytes {
    logging(scope, &["first"])
}

pub(crate) fn logging_levels(scope: Scope) -> Bytes {
    logging(scope, &["level", ""])
}

/// The level of a target; without a name all keys of the type, which of DEFAULT is the one there is.
pub(crate) fn logging_level(scope: Scope, kind: LogTargetType, name: &str) -> Bytes {
    logging(scope, &["level", kind.as_str(), name])
}

/// What a key below [`logging_prefix`] is of.
pub(crate) enum LoggingKey {
    Options,
    FirstOptions,
    Level(LogTargetType, String),
}

pub(crate) fn parse_logging(key: &[u8]) -> Option<(Scope, LoggingKey)> {
    let parsed = parse(key).filter(|parsed| parsed.collection == "logging")?;
    let [account, region, rest @ ..] = parsed.parts.as_slice() else { return None };
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    let key = match rest {
        ["options"] => LoggingKey::Options,
        ["first"] => LoggingKey::FirstOptions,
        ["level", kind, name] => LoggingKey::Level(LogTargetType::named(kind)?, (*name).to_owned()),
        _ => return None,
    };
    Some((scope, key))
}

/// Where rule actions go, of all accounts: [`record::Connection`](crate::record::Connection).
pub fn connections_prefix() -> Bytes {
    global("connection", &[])
}

pub(crate) fn connections_of_account(account: AccountId) -> Bytes {
    global("connection", &[&account.to_string(), ""])
}

pub(crate) fn connection(account: AccountId, name: &str) -> Bytes {
    global("connection", &[&account.to_string(), name])
}

/// What is called where AWS would run Lambda functions, of all accounts: [`record::Function`](crate::record::Function).
pub fn functions_prefix() -> Bytes {
    global("function", &[])
}

pub(crate) fn functions_of_account(account: AccountId) -> Bytes {
    global("function", &[&account.to_string(), ""])
}

pub(crate) fn function(account: AccountId, arn: &str) -> Bytes {
    global("function", &[&account.to_string(), arn])
}

pub(crate) fn access_key_of_user(account: AccountId, user: &str, id: &str) -> Bytes {
    account_wide(account, "access-key-of-user", &format!("{user}\0{id}"))
}

pub(crate) fn users_of_account(account: AccountId) -> Bytes {
    global("user", &[&account.to_string(), ""])
}

pub(crate) fn user(account: AccountId, name: &str) -> Bytes {
    global("user", &[&account.to_string(), name])
}

pub(crate) fn roles_of_account(account: AccountId) -> Bytes {
    global("role", &[&account.to_string(), ""])
}

pub(crate) fn role(account: AccountId, name: &str) -> Bytes {
    global("role", &[&account.to_string(), name])
}

/// A policy of a user or role, or with an empty name all of them.
pub(crate) fn operator_policy(account: AccountId, holder: &PolicyHolder, policy: &str) -> Bytes {
    match holder {
        PolicyHolder::User(name) => global("user-policy", &[&account.to_string(), name, policy]),
        PolicyHolder::Role(name) => global("role-policy", &[&account.to_string(), name, policy]),
    }
}

/// The keys of sessions.
pub(crate) fn session_keys() -> Bytes {
    global("session-keys", &[])
}

pub(crate) fn issuing_ca(account: AccountId) -> Bytes {
    account_wide(account, "issuing-ca", "")
}

/// The TLS ticket keys.
pub fn ticket_keys() -> Bytes {
    global("ticket-keys", &[])
}

pub(crate) fn first_reply(key: &IdempotencyKey) -> Bytes {
    global("first-reply", &[&hex::encode(key.as_bytes())])
}

#[cfg(test)]
pub(crate) fn first_replies_prefix() -> Bytes {
    global("first-reply", &[])
}

pub(crate) fn first_reply_slot(slot: u64) -> Bytes {
    global("first-reply-slot", &[&format!("{slot:016x}")])
}

pub(crate) fn next_first_reply() -> Bytes {
    global("next-first-reply", &[])
}

/// All that is kept of the cluster itself: its members and the owners of its slots.
pub fn cluster_prefix() -> Bytes {
    global("cluster", &[])
}

pub(crate) fn cluster_head() -> Bytes {
    global("cluster", &["head"])
}

pub(crate) fn cluster_slots() -> Bytes {
    global("cluster", &["slots"])
}

pub(crate) fn cluster_member(incarnation: Incarnation) -> Bytes {
    global("cluster", &["member", &format!("{:016x}", incarnation.0)])
}

pub(crate) fn cluster_members() -> Bytes {
    global("cluster", &["member", ""])
}

/// What the metastore keeps of the messages that the entry at `index` of a group's log asks for.
pub fn outbox(index: u64) -> Bytes {
    global("outbox", &[&format!("{index:016x}")])
}

/// All keys that [`outbox`] makes.
pub fn outbox_prefix() -> Bytes {
    global("outbox", &[""])
}

/// The index that [`outbox`] made this key of.
pub fn outbox_index(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(outbox_prefix().as_ref())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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
