//! The control plane: one file per resource, and the list of what is built.

use std::pin::Pin;

use crate::answer::Outcome;

mod authorizers;
mod billing_groups;
mod ca_certificates;
mod certificate_providers;
pub(crate) mod certificates;
mod domain_configurations;
mod effective_policies;
pub(crate) mod endpoint;
mod event_configurations;
mod logging;
mod policies;
mod policy_targets;
mod principals;
mod provisioning_templates;
pub(crate) mod registration;
mod role_aliases;
pub(crate) mod rule_destinations;
mod rules;
mod sql;
mod tags;
mod test_authorization;
mod thing_groups;
pub(crate) mod thing_registration_tasks;
mod thing_types;
mod things;
mod transfers;
mod usage;

/// An operation being answered.
pub(crate) type Answering<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Lists operations with their handlers: makes `start` and `is_built`, so that the two cannot differ.
macro_rules! built {
    ($($name:literal => $handler:path,)*) => {
        /// Begins to answer the operation called `name`; `None` when it is not built yet.
        pub(crate) fn start<'a>(
            name: &str,
            call: &'a $crate::call::Call<'a>,
        ) -> Option<$crate::control::Answering<'a>> {
            match name {
                $($name => Some(Box::pin($handler(call))),)*
                _ => None,
            }
        }

        /// Whether the operation called `name` is built.
        pub(crate) fn is_built(name: &str) -> bool {
            matches!(name, $($name)|*)
        }
    };
}
pub(crate) use built;

built! {
    "DescribeEndpoint" => endpoint::describe,
    "CreateThing" => things::create,
    "UpdateThing" => things::update,
    "DescribeThing" => things::describe,
    "ListThings" => things::list,
    "DeleteThing" => things::delete,
    "CreateThingType" => thing_types::create,
    "UpdateThingType" => thing_types::update,
    "DescribeThingType" => thing_types::describe,
    "ListThingTypes" => thing_types::list,
    "DeprecateThingType" => thing_types::deprecate,
    "DeleteThingType" => thing_types::delete,
    "CreateThingGroup" => thing_groups::create,
    "UpdateThingGroup" => thing_groups::update,
    "DescribeThingGroup" => thing_groups::describe,
    "ListThingGroups" => thing_groups::list,
    "DeleteThingGroup" => thing_groups::delete,
    "AddThingToThingGroup" => thing_groups::add_thing,
    "RemoveThingFromThingGroup" => thing_groups::remove_thing,
    "UpdateThingGroupsForThing" => thing_groups::update_for_thing,
    "ListThingsInThingGroup" => thing_groups::list_things,
    "ListThingGroupsForThing" => thing_groups::list_of_thing,
    "CreateBillingGroup" => billing_groups::create,
    "UpdateBillingGroup" => billing_groups::update,
    "DescribeBillingGroup" => billing_groups::describe,
    "ListBillingGroups" => billing_groups::list,
    "DeleteBillingGroup" => billing_groups::delete,
    "AddThingToBillingGroup" => billing_groups::add_thing,
    "RemoveThingFromBillingGroup" => billing_groups::remove_thing,
    "ListThingsInBillingGroup" => billing_groups::list_things,
    "CreateKeysAndCertificate" => certificates::create_keys,
    "CreateCertificateFromCsr" => certificates::create_from_csr,
    "RegisterCertificate" => certificates::register,
    "RegisterCertificateWithoutCA" => certificates::register_without_ca,
    "UpdateCertificate" => certificates::update,
    "DeleteCertificate" => certificates::delete,
    "DescribeCertificate" => certificates::describe,
    "ListCertificates" => certificates::list,
    "ListCertificatesByCA" => certificates::list_by_ca,
    "RegisterCACertificate" => ca_certificates::register,
    "UpdateCACertificate" => ca_certificates::update,
    "DescribeCACertificate" => ca_certificates::describe,
    "ListCACertificates" => ca_certificates::list,
    "DeleteCACertificate" => ca_certificates::delete,
    "GetRegistrationCode" => ca_certificates::registration_code,
    "DeleteRegistrationCode" => ca_certificates::delete_registration_code,
    "CreatePolicy" => policies::create,
    "CreatePolicyVersion" => policies::create_version,
    "SetDefaultPolicyVersion" => policies::set_default_version,
    "GetPolicy" => policies::get,
    "GetPolicyVersion" => policies::get_version,
    "ListPolicyVersions" => policies::list_versions,
    "ListPolicies" => policies::list,
    "DeletePolicyVersion" => policies::delete_version,
    "DeletePolicy" => policies::delete,
    "AttachPolicy" => policy_targets::attach,
    "DetachPolicy" => policy_targets::detach,
    "ListAttachedPolicies" => policy_targets::list_attached,
    "ListTargetsForPolicy" => policy_targets::list_targets,
    "AttachPrincipalPolicy" => policy_targets::attach_principal,
    "DetachPrincipalPolicy" => policy_targets::detach_principal,
    "ListPrincipalPolicies" => policy_targets::list_of_principal,
    "ListPolicyPrincipals" => policy_targets::list_principals,
    "GetEffectivePolicies" => effective_policies::get,
    "TestAuthorization" => test_authorization::test,
    "TestRuleSql" => sql::test,
    "GetUsage" => usage::get,
    "AttachThingPrincipal" => principals::attach,
    "DetachThingPrincipal" => principals::detach,
    "ListThingPrincipals" => principals::list_of_thing,
    "ListThingPrincipalsV2" => principals::list_of_thing_v2,
    "ListPrincipalThings" => principals::list_things,
    "ListPrincipalThingsV2" => principals::list_things_v2,
    "RegisterThing" => registration::register_thing,
    "TransferCertificate" => transfers::transfer,
    "AcceptCertificateTransfer" => transfers::accept,
    "RejectCertificateTransfer" => transfers::reject,
    "CancelCertificateTransfer" => transfers::cancel,
    "ListOutgoingCertificates" => transfers::list_outgoing,
    "CreateCertificateProvider" => certificate_providers::create,
    "UpdateCertificateProvider" => certificate_providers::update,
    "DescribeCertificateProvider" => certificate_providers::describe,
    "ListCertificateProviders" => certificate_providers::list,
    "DeleteCertificateProvider" => certificate_providers::delete,
    "CreateProvisioningClaim" => certificates::create_provisioning_claim,
    "CreateProvisioningTemplate" => provisioning_templates::create,
    "UpdateProvisioningTemplate" => provisioning_templates::update,
    "DescribeProvisioningTemplate" => provisioning_templates::describe,
    "ListProvisioningTemplates" => provisioning_templates::list,
    "DeleteProvisioningTemplate" => provisioning_templates::delete,
    "CreateProvisioningTemplateVersion" => provisioning_templates::create_version,
    "DescribeProvisioningTemplateVersion" => provisioning_templates::describe_version,
    "ListProvisioningTemplateVersions" => provisioning_templates::list_versions,
    "DeleteProvisioningTemplateVersion" => provisioning_templates::delete_version,
    "CreateAuthorizer" => authorizers::create,
    "UpdateAuthorizer" => authorizers::update,
    "DescribeAuthorizer" => authorizers::describe,
    "ListAuthorizers" => authorizers::list,
    "DeleteAuthorizer" => authorizers::delete,
    "SetDefaultAuthorizer" => authorizers::set_default,
    "DescribeDefaultAuthorizer" => authorizers::describe_default,
    "ClearDefaultAuthorizer" => authorizers::clear_default,
    "TestInvokeAuthorizer" => authorizers::test_invoke,
    "StartThingRegistrationTask" => thing_registration_tasks::start,
    "StopThingRegistrationTask" => thing_registration_tasks::stop,
    "DescribeThingRegistrationTask" => thing_registration_tasks::describe,
    "ListThingRegistrationTasks" => thing_registration_tasks::list,
    "ListThingRegistrationTaskReports" => thing_registration_tasks::reports,
    "CreateDomainConfiguration" => domain_configurations::create,
    "UpdateDomainConfiguration" => domain_configurations::update,
    "DescribeDomainConfiguration" => domain_configurations::describe,
    "ListDomainConfigurations" => domain_configurations::list,
    "DeleteDomainConfiguration" => domain_configurations::delete,
    "CreateRoleAlias" => role_aliases::create,
    "UpdateRoleAlias" => role_aliases::update,
    "DescribeRoleAlias" => role_aliases::describe,
    "ListRoleAliases" => role_aliases::list,
    "DeleteRoleAlias" => role_aliases::delete,
    "DescribeEventConfigurations" => event_configurations::describe,
    "UpdateEventConfigurations" => event_configurations::update,
    "SetV2LoggingOptions" => logging::set_options,
    "GetV2LoggingOptions" => logging::get_options,
    "SetV2LoggingLevel" => logging::set_level,
    "ListV2LoggingLevels" => logging::list_levels,
    "DeleteV2LoggingLevel" => logging::delete_level,
    "SetLoggingOptions" => logging::set_first_options,
    "GetLoggingOptions" => logging::get_first_options,
    "CreateTopicRuleDestination" => rule_destinations::create,
    "UpdateTopicRuleDestination" => rule_destinations::update,
    "ConfirmTopicRuleDestination" => rule_destinations::confirm,
    "GetTopicRuleDestination" => rule_destinations::get,
    "ListTopicRuleDestinations" => rule_destinations::list,
    "DeleteTopicRuleDestination" => rule_destinations::delete,
    "CreateTopicRule" => rules::create,
    "ReplaceTopicRule" => rules::replace,
    "GetTopicRule" => rules::get,
    "ListTopicRules" => rules::list,
    "EnableTopicRule" => rules::enable,
    "DisableTopicRule" => rules::disable,
    "DeleteTopicRule" => rules::delete,
    "TagResource" => tags::tag,
    "UntagResource" => tags::untag,
    "ListTagsForResource" => tags::list,
}

/// The reply of a command or query of the expected kind, or an internal error.
macro_rules! expect_reply {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => $value,
            _ => return Err($crate::error::Error::unexpected_reply()),
        }
    };
}
pub(crate) use expect_reply;

#[cfg(test)]
mod tests;
