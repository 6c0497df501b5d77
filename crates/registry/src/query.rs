//! What can be asked of the registry: [`Query`] in, [`QueryReply`] out.

use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::shapes::{
    AccessKeyDescription, AccessKeyOwner, AccountDescription, AuthorizerDescription, AuthorizerStatus,
    AuthorizerSummary, BillingGroupDescription, CaCertificateDescription, CaCertificateSummary,
    CertificateDescription, CertificateEnds, CertificateProviderDescription, CertificateSummary,
    ConnectionDescription, Domain, DomainConfigurationDescription, DomainConfigurationSummary,
    DueRegistrationTask, EffectivePolicy, EventConfigurationsDescription, FunctionDescription,
    GroupNameAndArn, IssuingAuthority, IssuingCa, ListThingGroups, ListThings, Listed,
    LogTargetConfiguration, LogTargetType, LoggingOptions, ManagedPolicyDescription, OutgoingCertificate,
    OwnedCertificate, OwnershipToken, PageRequest, PolicyDescription, PolicySummary,
    PolicyVersionDescription, PolicyVersionSummary, PrincipalThing, PrincipalView,
    ProvisioningTemplateDescription, RegistrationTaskDescription, RegistrationTaskStatus, ReportLink,
    ReportType, RoleAliasDescription, RoleDescription, RuleDescription, RuleDestination, RuleSummary,
    ServerCertificateDescription, ServiceType, SessionKey, StandingThing, Tag, TemplateVersionDescription,
    ThingDescription, ThingGroupDescription, ThingPrincipal, ThingPrincipalType, ThingSummary,
    ThingTypeDescription, UsageQuery, UsageRow, UserDescription, V2LoggingOptions,
};
use crate::store::Store;
use crate::view::View;
use crate::{
    accounts, authorizers, billing_groups, ca_certificates, certificate_providers, certificates, connections,
    domain_configurations, enrolment, events, first_connect, functions, gateway, logging, managed_policies,
    operators, policies, principals, provisioning_templates, role_aliases, rule_destinations, rules,
    server_certificates, session_keys, shadows, tags, thing_groups, thing_registration_tasks, thing_types,
    things, transfers, usage,
};

/// One question, in one account and region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// Whose resources. Questions that cross accounts say so and ignore it.
    pub scope: Scope,
    /// The question.
    pub kind: QueryKind,
}

impl Query {
    /// The question `kind` in `scope`.
    pub fn new(scope: Scope, kind: QueryKind) -> Self {
        Self { scope, kind }
    }
}

/// The question. Those of AWS's model have AWS's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum QueryKind {
    /// The name. → [`QueryReply::Thing`]
    DescribeThing(String),
    /// → [`QueryReply::Things`]
    ListThings(Box<ListThings>),
    /// The name. → [`QueryReply::ThingType`]
    DescribeThingType(String),
    /// → [`QueryReply::ThingTypes`]
    ListThingTypes {
        /// Only the type of this name.
        thing_type_name: Option<String>,
        /// Which page.
        page: PageRequest,
    },
    /// The name. → [`QueryReply::ThingGroup`]
    DescribeThingGroup(String),
    /// → [`QueryReply::Groups`]
    ListThingGroups(Box<ListThingGroups>),
    /// → [`QueryReply::Groups`]
    ListThingGroupsForThing {
        /// The thing.
        thing_name: String,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::Names`]
    ListThingsInThingGroup {
        /// The group.
        thing_group_name: String,
        /// Things of groups below it, too.
        recursive: bool,
        /// Which page.
        page: PageRequest,
    },
    /// The name. → [`QueryReply::BillingGroup`]
    DescribeBillingGroup(String),
    /// → [`QueryReply::Groups`]
    ListBillingGroups {
        /// Only groups whose names begin so.
        name_prefix: Option<String>,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::Names`]
    ListThingsInBillingGroup {
        /// The group.
        billing_group_name: String,
        /// Which page.
        page: PageRequest,
    },
    /// The id. → [`QueryReply::Certificate`]
    DescribeCertificate(String),
    /// By creation date. → [`QueryReply::Certificates`]
    ListCertificates {
        /// Oldest first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// By creation date. → [`QueryReply::Certificates`]
    ListCertificatesByCa {
        /// The CA certificate, which may have been deleted since.
        ca_certificate_id: String,
        /// Oldest first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// By the date of the offer. → [`QueryReply::OutgoingCertificates`]
    ListOutgoingCertificates {
        /// Oldest first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// The id. → [`QueryReply::CaCertificate`]
    DescribeCaCertificate(String),
    /// By creation date. → [`QueryReply::CaCertificates`]
    ListCaCertificates {
        /// Only those that provision with this template.
        template_name: Option<String>,
        /// Oldest first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// The registered CA certificates with a subject (as given to `RegisterCaCertificate`): the candidates
    /// for the issuer of a certificate. → [`QueryReply::CaCertificatesBySubject`]
    CaCertificatesBySubject(String),
    /// The name. → [`QueryReply::Policy`]
    GetPolicy(String),
    /// → [`QueryReply::PolicyVersion`]
    GetPolicyVersion {
        /// The policy.
        policy_name: String,
        /// Decimal digits.
        version_id: String,
    },
    /// The name of the policy; newest version first. → [`QueryReply::PolicyVersions`]
    ListPolicyVersions(String),
    /// By creation date. → [`QueryReply::Policies`]
    ListPolicies {
        /// Oldest first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::Policies`]
    ListAttachedPolicies {
        /// ARN of a certificate or thing group, or identity id.
        target: String,
        /// Of a thing group: those of the groups above it, too.
        recursive: bool,
        /// Which page.
        page: PageRequest,
    },
    /// GetEffectivePolicies, in name order. → [`QueryReply::EffectivePolicies`]
    EffectivePolicies {
        /// ARN of a certificate or thing group, or identity id.
        principal: Option<String>,
        /// A thing, whose groups count.
        thing_name: Option<String>,
    },
    /// In the order of attaching. → [`QueryReply::Names`]
    ListTargetsForPolicy {
        /// The policy.
        policy_name: String,
        /// Which page.
        page: PageRequest,
    },
    /// In the order of attaching. → [`QueryReply::Policies`]
    ListPrincipalPolicies {
        /// Certificate ARN or identity id.
        principal: String,
        /// First attached first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// In the order of attaching. → [`QueryReply::Names`]
    ListPolicyPrincipals {
        /// The policy.
        policy_name: String,
        /// First attached first.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// ListThingPrincipals and ListThingPrincipalsV2. → [`QueryReply::ThingPrincipals`]
    ListThingPrincipals {
        /// The thing.
        thing_name: String,
        /// Only attachments of this type.
        thing_principal_type: Option<ThingPrincipalType>,
        /// Which page.
        page: PageRequest,
    },
    /// ListPrincipalThings and ListPrincipalThingsV2. → [`QueryReply::PrincipalThings`]
    ListPrincipalThings {
        /// Certificate ARN or identity id.
        principal: String,
        /// Only attachments of this type.
        thing_principal_type: Option<ThingPrincipalType>,
        /// Which page.
        page: PageRequest,
    },
    /// The name. → [`QueryReply::ProvisioningTemplate`]
    DescribeProvisioningTemplate(String),
    /// → [`QueryReply::ProvisioningTemplates`]
    ListProvisioningTemplates(PageRequest),
    /// → [`QueryReply::TemplateVersion`]
    DescribeProvisioningTemplateVersion {
        /// The template.
        template_name: String,
        /// The version.
        version_id: u64,
    },
    /// → [`QueryReply::TemplateVersions`]
    ListProvisioningTemplateVersions {
        /// The template.
        template_name: String,
        /// Which page.
        page: PageRequest,
    },
    /// The name. → [`QueryReply::CertificateProvider`]
    DescribeCertificateProvider(String),
    /// → [`QueryReply::CertificateProviders`]
    ListCertificateProviders(PageRequest),
    /// Ours: who signs what devices ask for, if our CA does not. → [`QueryReply::CertificateProvider`]
    CertificateProviderInUse,
    /// Ours: the certificate that an ownership token is good for. → [`QueryReply::OwnedCertificate`]
    OwnedCertificate(OwnershipToken),
    /// Ours: the registered CA certificates with a subject that let devices register themselves, of all accounts.
    /// → [`QueryReply::IssuingAuthorities`]
    IssuingAuthorities(String),
    /// The id of the task. → [`QueryReply::RegistrationTask`]
    DescribeThingRegistrationTask(String),
    /// Ids. → [`QueryReply::Names`]
    ListThingRegistrationTasks {
        /// Only those that stand so.
        status: Option<RegistrationTaskStatus>,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::RegistrationReports`]
    ListThingRegistrationTaskReports {
        /// The task.
        task_id: String,
        /// Which report.
        report_type: ReportType,
        /// Which page.
        page: PageRequest,
    },
    /// What a link leads to. → [`QueryReply::RegistrationReport`]
    RegistrationReport(Box<ReportLink>),
    /// A piece of the input of a task that was uploaded. → [`QueryReply::RegistrationInput`]
    RegistrationInput {
        /// The task.
        task_id: String,
        /// Which piece, from 0.
        piece: u64,
    },
    /// Bulk registration tasks of all scopes that something is to be done about. → [`QueryReply::DueRegistrationTasks`]
    DueRegistrationTasks,
    /// The name. → [`QueryReply::Authorizer`]
    DescribeAuthorizer(String),
    /// → [`QueryReply::Authorizer`]
    DescribeDefaultAuthorizer,
    /// → [`QueryReply::Authorizers`]
    ListAuthorizers {
        /// Only those of this status.
        status: Option<AuthorizerStatus>,
        /// By name, or the other way round.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// The name. → [`QueryReply::DomainConfiguration`]
    DescribeDomainConfiguration(String),
    /// → [`QueryReply::DomainConfigurations`]
    ListDomainConfigurations {
        /// Only those for this.
        service_type: Option<ServiceType>,
        /// Which page.
        page: PageRequest,
    },
    /// Ours: how clients that ask for a name (SNI) are treated, whatever the scope. → [`QueryReply::Domain`]
    Domain(String),
    /// The name. → [`QueryReply::RoleAlias`]
    DescribeRoleAlias(String),
    /// → [`QueryReply::RoleAliases`]
    ListRoleAliases {
        /// By name, or the other way round.
        ascending: bool,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::EventConfigurations`]
    DescribeEventConfigurations,
    /// → [`QueryReply::V2LoggingOptions`]
    GetV2LoggingOptions {
        /// With every event there is, and what holds for it.
        verbose: bool,
    },
    /// → [`QueryReply::V2LoggingLevels`]
    ListV2LoggingLevels {
        /// Only of targets of this type.
        target_type: Option<LogTargetType>,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::LoggingOptions`]
    GetLoggingOptions,
    /// The name. → [`QueryReply::Rule`]
    GetTopicRule(String),
    /// → [`QueryReply::RuleSummaries`]
    ListTopicRules {
        /// Only rules whose topic filter matches this topic.
        topic: Option<String>,
        /// Only disabled (`true`) or enabled (`false`) rules.
        rule_disabled: Option<bool>,
        /// Which page.
        page: PageRequest,
    },
    /// → [`QueryReply::Tags`]
    ListTagsForResource {
        /// The resource.
        resource_arn: String,
        /// Token of an earlier answer.
        next_token: Option<String>,
    },
    /// → [`QueryReply::ThingShadow`]
    GetThingShadow {
        /// The thing, whether or not there is one of that name.
        thing_name: String,
        /// The shadow; `None`: the classic one.
        shadow_name: Option<String>,
        /// Echoed in the answer.
        client_token: Option<String>,
    },
    /// In order. → [`QueryReply::Names`]
    ListNamedShadowsForThing {
        /// The thing, whether or not there is one of that name.
        thing_name: String,
        /// Which page: 1 to 100 names, 25 when the request does not say.
        page: PageRequest,
    },
    /// All that a gateway needs to admit a client and decide its requests. → [`QueryReply::Principal`]
    Principal {
        /// 64 hexadecimal digits.
        certificate_id: String,
    },
    /// The one thing `thing_name`, if it is attached to the certificate: for a certificate whose
    /// [`PrincipalView::more_things`] is set. → [`QueryReply::PrincipalThing`]
    PrincipalThing {
        /// 64 hexadecimal digits.
        certificate_id: String,
        /// The client id.
        thing_name: String,
    },
    /// Ours: the billing group that what a certificate uses counts for where there is no MQTT client id.
    /// → [`QueryReply::BillingGroupOfClient`]
    BillingGroupOfCertificate(String),
    /// Ours: the billing group that what an MQTT client uses counts for. → [`QueryReply::BillingGroupOfClient`]
    BillingGroupOfClient {
        /// Its certificate, or whatever else stands for it.
        certificate_id: String,
        /// Its client id.
        client_id: String,
    },
    /// Ours: what the scope's account has used, by day and billing group; as many rows as [`PAGE`](crate::usage::PAGE) says that
    /// more may follow. → [`QueryReply::Usage`]
    Usage(Box<UsageQuery>),
    /// Every rule of the scope, in name order. → [`QueryReply::Rules`]
    Rules,
    /// The scopes in which a certificate is registered, of all accounts. → [`QueryReply::Scopes`]
    CertificateOwners {
        /// 64 hexadecimal digits.
        certificate_id: String,
    },
    /// Ours: until when ACTIVE certificates are good, of all accounts, a part at a time. → [`QueryReply::CertificateEnds`]
    CertificateEnds {
        /// Where the part before ended.
        after: Option<String>,
    },
    /// An access key by its id, of any account. → [`QueryReply::AccessKey`]
    AccessKey(String),
    /// The access keys of the scope's account. → [`QueryReply::AccessKeys`]
    ListAccessKeys(PageRequest),
    /// The ARN. → [`QueryReply::RuleDestination`]
    GetTopicRuleDestination(String),
    /// → [`QueryReply::RuleDestinations`]
    ListTopicRuleDestinations(PageRequest),
    /// The users of the scope's account. → [`QueryReply::Users`]
    ListUsers(PageRequest),
    /// A user of the scope's account, by name. → [`QueryReply::User`]
    GetUser(String),
    /// The access keys of a user of the scope's account, by name. → [`QueryReply::AccessKeys`]
    AccessKeysOfUser(String),
    /// A managed policy of the scope's account, by name. → [`QueryReply::ManagedPolicy`]
    GetManagedPolicy(String),
    /// The managed policies of the scope's account. → [`QueryReply::ManagedPolicies`]
    ListManagedPolicies(PageRequest),
    /// A role of the scope's account, by name. → [`QueryReply::Role`]
    GetRole(String),
    /// The roles of the scope's account. → [`QueryReply::Roles`]
    ListRoles(PageRequest),
    /// The keys of sessions, whatever the scope. → [`QueryReply::SessionKeys`]
    SessionKeys,
    /// Where rule actions of the scope's account go. → [`QueryReply::Connections`]
    ListConnections(PageRequest),
    /// What is called in the scope's account where AWS would run Lambda functions. → [`QueryReply::Functions`]
    ListFunctions(PageRequest),
    /// What domains of the scope's account show for ARNs. → [`QueryReply::ServerCertificates`]
    ListServerCertificates(PageRequest),
    /// The CA that issues certificates for the scope's account. → [`QueryReply::IssuingCa`]
    IssuingCa,
    /// Every account. → [`QueryReply::Accounts`]
    Accounts,
    /// Every account and region in which something was ever created. → [`QueryReply::Scopes`]
    Scopes,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum QueryReply {
    /// A thing.
    Thing(Box<ThingDescription>),
    /// Things.
    Things(Listed<ThingSummary>),
    /// A thing type.
    ThingType(Box<ThingTypeDescription>),
    /// Thing types.
    ThingTypes(Listed<ThingTypeDescription>),
    /// A thing group.
    ThingGroup(Box<ThingGroupDescription>),
    /// A billing group.
    BillingGroup(Box<BillingGroupDescription>),
    /// Thing groups or billing groups.
    Groups(Listed<GroupNameAndArn>),
    /// A certificate.
    Certificate(Box<CertificateDescription>),
    /// Certificates.
    Certificates(Listed<CertificateSummary>),
    /// Certificates that are offered to other accounts.
    OutgoingCertificates(Listed<OutgoingCertificate>),
    /// A CA certificate.
    CaCertificate(Box<CaCertificateDescription>),
    /// CA certificates.
    CaCertificates(Listed<CaCertificateSummary>),
    /// CA certificates of one subject, in full.
    CaCertificatesBySubject(Vec<CaCertificateDescription>),
    /// A policy with its default document.
    Policy(Box<PolicyDescription>),
    /// A version of a policy.
    PolicyVersion(Box<PolicyVersionDescription>),
    /// The versions of a policy.
    PolicyVersions(Vec<PolicyVersionSummary>),
    /// Policies.
    Policies(Listed<PolicySummary>),
    /// Policies that count for somebody.
    EffectivePolicies(Vec<EffectivePolicy>),
    /// Targets, principals, things or named shadows.
    Names(Listed<String>),
    /// The principals of a thing.
    ThingPrincipals(Listed<ThingPrincipal>),
    /// The things of a principal.
    PrincipalThings(Listed<PrincipalThing>),
    /// A provisioning template with the body of its default version.
    ProvisioningTemplate(Box<ProvisioningTemplateDescription>),
    /// Provisioning templates.
    ProvisioningTemplates(Listed<ProvisioningTemplateDescription>),
    /// A version of a provisioning template.
    TemplateVersion(Box<TemplateVersionDescription>),
    /// Versions of a provisioning template.
    TemplateVersions(Listed<TemplateVersionDescription>),
    /// A certificate provider; `None`: there is none in use.
    CertificateProvider(Option<Box<CertificateProviderDescription>>),
    /// Certificate providers.
    CertificateProviders(Listed<CertificateProviderDescription>),
    /// `None`: no such token, or not any more, or somebody else's.
    OwnedCertificate(Option<Box<OwnedCertificate>>),
    /// CA certificates by whose certificates devices may register themselves.
    IssuingAuthorities(Vec<IssuingAuthority>),
    /// A bulk registration task.
    RegistrationTask(Box<RegistrationTaskDescription>),
    /// Links to the pieces of a report.
    RegistrationReports(Listed<ReportLink>),
    /// A piece of a report, a JSON object a line; `None`: no such link, or not any more.
    RegistrationReport(Option<String>),
    /// In base64; `None`: there is no such piece.
    RegistrationInput(Option<String>),
    /// Bulk registration tasks.
    DueRegistrationTasks(Vec<DueRegistrationTask>),
    /// An authorizer.
    Authorizer(Box<AuthorizerDescription>),
    /// Authorizers.
    Authorizers(Listed<AuthorizerSummary>),
    /// A domain configuration.
    DomainConfiguration(Box<DomainConfigurationDescription>),
    /// Domain configurations.
    DomainConfigurations(Listed<DomainConfigurationSummary>),
    /// What a domain configuration says of a name, where one has it.
    Domain(Option<Box<Domain>>),
    /// A role alias.
    RoleAlias(Box<RoleAliasDescription>),
    /// Names of role aliases.
    RoleAliases(Listed<String>),
    /// Which registry events are published.
    EventConfigurations(Box<EventConfigurationsDescription>),
    /// Version 2 of logging.
    V2LoggingOptions(Box<V2LoggingOptions>),
    /// Levels of logging.
    V2LoggingLevels(Listed<LogTargetConfiguration>),
    /// Version 1 of logging.
    LoggingOptions(Box<LoggingOptions>),
    /// A rule.
    Rule(Box<RuleDescription>),
    /// Rules as ListTopicRules tells them.
    RuleSummaries(Listed<RuleSummary>),
    /// Rules in full.
    Rules(Vec<RuleDescription>),
    /// The tags of a resource.
    Tags(Listed<Tag>),
    /// A shadow as AWS tells it: the body of the answer.
    ThingShadow(String),
    /// `None`: the certificate is not registered in the scope.
    Principal(Option<Box<PrincipalView>>),
    /// `None`: not attached.
    PrincipalThing(Option<Box<StandingThing>>),
    /// Accounts and regions.
    Scopes(Vec<Scope>),
    /// A part of all certificates.
    CertificateEnds(CertificateEnds),
    /// A billing group's name.
    BillingGroupOfClient(Option<String>),
    /// What was used.
    Usage(Vec<UsageRow>),
    /// `None`: no such key.
    AccessKey(Option<Box<AccessKeyOwner>>),
    /// The access keys of an account.
    AccessKeys(Listed<AccessKeyDescription>),
    /// A topic rule destination.
    RuleDestination(Box<RuleDestination>),
    /// Topic rule destinations.
    RuleDestinations(Listed<RuleDestination>),
    /// Users with their policies.
    Users(Listed<UserDescription>),
    /// `None`: no such user.
    User(Option<Box<UserDescription>>),
    /// `None`: no such policy.
    ManagedPolicy(Option<Box<ManagedPolicyDescription>>),
    /// Managed policies, without documents.
    ManagedPolicies(Listed<ManagedPolicyDescription>),
    /// `None`: no such role.
    Role(Option<Box<RoleDescription>>),
    /// Roles with their policies.
    Roles(Listed<RoleDescription>),
    /// Oldest first; the last one signs.
    SessionKeys(Vec<SessionKey>),
    /// Where rule actions go.
    Connections(Listed<ConnectionDescription>),
    /// What stands for Lambda functions.
    Functions(Listed<FunctionDescription>),
    /// Server certificates, without their keys.
    ServerCertificates(Listed<ServerCertificateDescription>),
    /// `None`: no such account.
    IssuingCa(Option<Box<IssuingCa>>),
    /// Accounts in the order of their ids.
    Accounts(Vec<AccountDescription>),
}

/// The answer to `query`, given `view`. `now` dates page tokens, which are valid for an hour.
///
/// # Errors
/// AWS's exceptions, as security.md, provisioning.md and rules-sql.md tell them.
pub fn query(view: &dyn View, query: &Query, now: Timestamp) -> Result<QueryReply, Error> {
    use QueryKind as Q;
    let store = &Store { view, scope: query.scope };
    match &query.kind {
        Q::DescribeThing(name) => things::describe(store, name),
        Q::ListThings(args) => things::list(store, args, now),
        Q::DescribeThingType(name) => thing_types::describe(store, name),
        Q::ListThingTypes { thing_type_name, page } => {
            thing_types::list(store, thing_type_name.as_deref(), page, now)
        }
        Q::DescribeThingGroup(name) => thing_groups::describe(store, name),
        Q::ListThingGroups(args) => thing_groups::list(store, args, now),
        Q::ListThingGroupsForThing { thing_name, page } => {
            thing_groups::list_of_thing(store, thing_name, page, now)
        }
        Q::ListThingsInThingGroup { thing_group_name, recursive, page } => {
            thing_groups::list_things(store, thing_group_name, *recursive, page, now)
        }
        Q::DescribeBillingGroup(name) => billing_groups::describe(store, name),
        Q::ListBillingGroups { name_prefix, page } => {
            billing_groups::list(store, name_prefix.as_deref(), page, now)
        }
        Q::ListThingsInBillingGroup { billing_group_name, page } => {
            billing_groups::list_things(store, billing_group_name, page, now)
        }
        Q::ListThingPrincipals { thing_name, thing_principal_type, page } => {
            principals::list_of_thing(store, thing_name, *thing_principal_type, page, now)
        }
        Q::ListPrincipalThings { principal, thing_principal_type, page } => {
            principals::list_of_principal(store, principal, *thing_principal_type, page, now)
        }
        Q::DescribeProvisioningTemplate(name) => provisioning_templates::describe(store, name),
        Q::ListProvisioningTemplates(page) => provisioning_templates::list(store, page, now),
        Q::DescribeProvisioningTemplateVersion { template_name, version_id } => {
            provisioning_templates::describe_version(store, template_name, *version_id)
        }
        Q::ListProvisioningTemplateVersions { template_name, page } => {
            provisioning_templates::list_versions(store, template_name, page, now)
        }
        Q::DescribeCertificateProvider(name) => certificate_providers::describe(store, name),
        Q::ListCertificateProviders(page) => certificate_providers::list(store, page, now),
        Q::CertificateProviderInUse => certificate_providers::in_use(store),
        Q::OwnedCertificate(token) => enrolment::owned_certificate(store, token, now),
        Q::IssuingAuthorities(subject) => first_connect::authorities(store, subject),
        Q::DescribeThingRegistrationTask(id) => thing_registration_tasks::describe(store, id),
        Q::ListThingRegistrationTasks { status, page } => {
            thing_registration_tasks::list(store, *status, page, now)
        }
        Q::ListThingRegistrationTaskReports { task_id, report_type, page } => {
            thing_registration_tasks::reports(store, (task_id, *report_type), page, now)
        }
        Q::RegistrationReport(link) => thing_registration_tasks::piece(store, link, now),
        Q::RegistrationInput { task_id, piece } => {
            thing_registration_tasks::upload::piece(store, task_id, *piece)
        }
        Q::DueRegistrationTasks => thing_registration_tasks::due(store, now),
        Q::DescribeAuthorizer(name) => authorizers::describe(store, name),
        Q::DescribeDefaultAuthorizer => authorizers::describe_default(store),
        Q::ListAuthorizers { status, ascending, page } => {
            authorizers::list(store, *status, *ascending, page, now)
        }
        Q::DescribeDomainConfiguration(name) => domain_configurations::describe(store, name, now),
        Q::ListDomainConfigurations { service_type, page } => {
            domain_configurations::list(store, *service_type, page, now)
        }
        Q::Domain(name) => domain_configurations::domain(store, name),
        Q::DescribeRoleAlias(name) => role_aliases::describe(store, name),
        Q::ListRoleAliases { ascending, page } => role_aliases::list(store, *ascending, page, now),
        Q::DescribeEventConfigurations => events::describe(store),
        Q::GetV2LoggingOptions { verbose } => logging::options(store, *verbose),
        Q::ListV2LoggingLevels { target_type, page } => logging::levels(store, *target_type, page, now),
        Q::GetLoggingOptions => logging::first_options(store),
        Q::GetTopicRule(name) => rules::get(store, name),
        Q::ListTopicRules { topic, rule_disabled, page } => {
            rules::list(store, topic.as_deref(), *rule_disabled, page, now)
        }
        Q::ListTagsForResource { resource_arn, next_token } => {
            tags::list(store, resource_arn, next_token.as_deref(), now)
        }
        Q::GetThingShadow { thing_name, shadow_name, client_token } => {
            shadows::get(store, (thing_name, shadow_name.as_deref()), client_token.as_deref(), now)
        }
        Q::ListNamedShadowsForThing { thing_name, page } => shadows::list(store, thing_name, page, now),
        Q::Principal { certificate_id } => gateway::principal(store, certificate_id),
        Q::PrincipalThing { certificate_id, thing_name } => {
            gateway::principal_thing(store, certificate_id, thing_name)
        }
        Q::BillingGroupOfClient { certificate_id, client_id } => {
            usage::group_of_client(store, certificate_id, client_id)
        }
        Q::BillingGroupOfCertificate(certificate_id) => usage::group_of_certificate(store, certificate_id),
        Q::Usage(asked) => usage::list(store, asked),
        Q::Rules => rules::all(store),
        Q::CertificateOwners { certificate_id } => accounts::certificate_owners(store, certificate_id),
        Q::CertificateEnds { after } => certificates::ends::part(store, after.as_deref()),
        Q::AccessKey(id) => accounts::access_key(store, id),
        Q::ListAccessKeys(page) => accounts::list_access_keys(store, page, now),
        Q::GetTopicRuleDestination(arn) => rule_destinations::get(store, arn),
        Q::ListTopicRuleDestinations(page) => rule_destinations::list(store, page, now),
        Q::ListUsers(page) => operators::list_users(store, page, now),
        Q::GetUser(name) => {
            let user = operators::user(store, store.scope.account, name)?;
            Ok(QueryReply::User(user.map(Box::new)))
        }
        Q::AccessKeysOfUser(name) => accounts::access_keys_of_user(store, name),
        Q::GetManagedPolicy(name) => managed_policies::get(store, name),
        Q::ListManagedPolicies(page) => managed_policies::list(store, page, now),
        Q::GetRole(name) => operators::role(store, name),
        Q::ListRoles(page) => operators::list_roles(store, page, now),
        Q::SessionKeys => session_keys::all(store),
        Q::ListConnections(page) => connections::list(store, page, now),
        Q::ListFunctions(page) => functions::list(store, page, now),
        Q::ListServerCertificates(page) => server_certificates::list(store, page, now),
        Q::IssuingCa => accounts::issuing_ca(store),
        Q::Accounts => accounts::list(store),
        Q::Scopes => Ok(accounts::scopes(store)),
        Q::DescribeCertificate(id) => certificates::describe(store, id),
        Q::ListCertificates { ascending, page } => certificates::list(store, *ascending, page, now),
        Q::ListCertificatesByCa { ca_certificate_id, ascending, page } => {
            certificates::list_by_ca(store, ca_certificate_id, *ascending, page, now)
        }
        Q::ListOutgoingCertificates { ascending, page } => transfers::list(store, *ascending, page, now),
        Q::DescribeCaCertificate(id) => ca_certificates::describe(store, id),
        Q::ListCaCertificates { template_name, ascending, page } => {
            ca_certificates::list(store, template_name.as_deref(), *ascending, page, now)
        }
        Q::CaCertificatesBySubject(subject) => ca_certificates::by_subject(store, subject),
        Q::GetPolicy(name) => policies::get(store, name),
        Q::GetPolicyVersion { policy_name, version_id } => {
            policies::get_version(store, policy_name, version_id)
        }
        Q::ListPolicyVersions(name) => policies::list_versions(store, name),
        Q::ListPolicies { ascending, page } => policies::list(store, *ascending, page, now),
        Q::ListAttachedPolicies { target, recursive, page } => {
            policies::list_attached(store, target, *recursive, page, now)
        }
        Q::EffectivePolicies { principal, thing_name } => {
            policies::effective(store, principal.as_deref(), thing_name.as_deref())
        }
        Q::ListTargetsForPolicy { policy_name, page } => {
            policies::list_targets(store, policy_name, page, now)
        }
        Q::ListPrincipalPolicies { principal, ascending, page } => {
            policies::list_principal_policies(store, principal, *ascending, page, now)
        }
        Q::ListPolicyPrincipals { policy_name, ascending, page } => {
            policies::list_principals(store, policy_name, *ascending, page, now)
        }
    }
}
