//! Quotas of the registry: AWS's figures by default, each a setting.

use fleethaven_types::Profile;

/// Topic rule destinations of an account in a region.
pub(crate) const RULE_DESTINATIONS: usize = 1000;
/// Connections of an account, for rule actions.
pub(crate) const CONNECTIONS: usize = 1000;
/// Functions of an account that stand for Lambda's.
pub(crate) const FUNCTIONS: usize = 1000;

/// Targets of an account and region that have a logging level of their own.
pub(crate) const LOGGING_LEVELS: usize = 1000;

/// Server certificates of an account.
pub(crate) const SERVER_CERTIFICATES: usize = 1000;

/// Access keys of a user: one, and the one that takes its place.
pub(crate) const ACCESS_KEYS_PER_USER: usize = 2;
/// Users of an account.
pub(crate) const USERS: usize = 5000;
/// Roles of an account.
pub(crate) const ROLES: usize = 1000;
/// Policies of a user or role.
pub(crate) const OPERATOR_POLICIES: usize = 10;
/// Managed policies of an account.
pub(crate) const MANAGED_POLICIES: usize = 1500;
/// Versions of a managed policy.
pub(crate) const MANAGED_POLICY_VERSIONS: usize = 5;
/// Managed policies of a user or role.
pub(crate) const ATTACHED_POLICIES: usize = 10;
/// Characters of a policy of an operator, white space excluded.
pub(crate) const OPERATOR_POLICY_CHARACTERS: usize = 10_240;

/// How much a resource or an account may hold. Sources: security.md section 11, provisioning.md sections 8, 9
/// and 12, rules-sql.md section 12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of a thing that has a type.
    pub attributes_with_type: usize,
    /// Attributes of a thing without a type.
    pub attributes_without_type: usize,
    /// Bytes of all attribute names and values of a thing.
    pub attribute_bytes: usize,
    /// Levels of a hierarchy of thing groups.
    pub thing_group_depth: usize,
    /// Children of a thing group.
    pub thing_group_children: usize,
    /// Attributes of a thing group.
    pub thing_group_attributes: usize,
    /// Thing groups that a thing is in.
    pub thing_groups_per_thing: usize,
    /// Thing groups that UpdateThingGroupsForThing adds, and as many that it removes.
    pub thing_groups_per_request: usize,
    /// Searchable attributes of a thing type.
    pub searchable_attributes: usize,
    /// Propagating attributes of a thing type.
    pub propagating_attributes: usize,
    /// Seconds from deprecating a thing type to when it can be deleted.
    pub thing_type_delete_wait_secs: u64,
    /// CA certificates with the same subject.
    pub cas_same_subject: usize,
    /// Characters of a policy document, white space excluded.
    pub policy_characters: usize,
    /// Versions of a policy.
    pub policy_versions: usize,
    /// Policies attached to a certificate or identity.
    pub policies_per_principal: usize,
    /// Policies attached to a thing group.
    pub policies_per_thing_group: usize,
    /// Custom authorizers of an account in a region.
    pub authorizers: usize,
    /// Domain configurations of an account in a region.
    pub domain_configurations: usize,
    /// Role aliases of an account in a region.
    pub role_aliases: usize,
    /// Provisioning templates of an account in a region.
    pub provisioning_templates: usize,
    /// Versions of a provisioning template.
    pub provisioning_template_versions: usize,
    /// Seconds for which a device may provision the certificate that it was given (fleet provisioning).
    pub ownership_token_secs: u64,
    /// Tags of a resource.
    pub tags_per_resource: usize,
    /// Rules of an account in a region.
    pub rules: usize,
    /// Actions of a rule, the error action not counted.
    pub actions_per_rule: usize,
    /// Bytes of a rule document.
    pub rule_bytes: usize,
    /// What a shadow may hold.
    pub shadow: fleethaven_shadow::Limits,
}

impl Limits {
    /// The bundle of `profile`.
    pub fn of(profile: Profile) -> Self {
        Self {
            attributes_with_type: 50,
            attributes_without_type: 3,
            attribute_bytes: 47 * 1024,
            thing_group_depth: 7,
            thing_group_children: 100,
            thing_group_attributes: 50,
            thing_groups_per_thing: 10,
            thing_groups_per_request: 100,
            searchable_attributes: 3,
            propagating_attributes: 50,
            thing_type_delete_wait_secs: if profile == Profile::Aws { 300 } else { 0 },
            cas_same_subject: 10,
            policy_characters: 2048,
            policy_versions: 5,
            policies_per_principal: 10,
            policies_per_thing_group: 2,
            authorizers: 10,
            domain_configurations: 10,
            role_aliases: 100,
            provisioning_templates: 256,
            provisioning_template_versions: 5,
            ownership_token_secs: 3600,
            tags_per_resource: 50,
            rules: if profile == Profile::Aws { 1000 } else { 10_000 },
            actions_per_rule: 10,
            rule_bytes: 256 * 1024,
            shadow: fleethaven_shadow::Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Profile::default())
    }
}
