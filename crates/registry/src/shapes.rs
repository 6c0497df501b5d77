//! What commands, queries and their answers are made of. Names are those of AWS's service model (2015-05-28)
//! in Rust's spelling; times are [`Timestamp`](fleethaven_types::Timestamp)s, serialised as milliseconds
//! since the epoch.

mod accounts;
mod authorizers;
mod ca_certificates;
mod certificates;
mod connections;
mod domain_configurations;
mod events;
mod functions;
mod groups;
mod logging;
mod operators;
mod paging;
mod policies;
mod principals;
mod provisioning;
mod role_aliases;
mod rule_destinations;
mod rules;
mod secret;
mod server_certificates;
mod shadows;
mod tags;
mod thing_registration_tasks;
mod thing_types;
mod things;
mod timestamp;
mod usage;

pub use accounts::{
    AccessKey, AccessKeyDescription, AccessKeyOwner, AccountDescription, CreateAccount, IssuingCa,
    IssuingKey, SealedKey, UpdateAccessKey,
};
pub use authorizers::{
    AuthorizerDescription, AuthorizerStatus, AuthorizerSummary, CreateAuthorizer, UpdateAuthorizer,
};
pub use ca_certificates::{
    AutoRegistrationStatus, CaCertificateDescription, CaCertificateStatus, CaCertificateSummary,
    RegisterCaCertificate, RegistrationConfig, UpdateCaCertificate,
};
pub use certificates::{
    AcceptCertificateTransfer, CertificateDescription, CertificateEnd, CertificateEnds, CertificateMode,
    CertificateProviderDescription, CertificateStatus, CertificateSummary, CreateCertificateProvider,
    DeleteCertificate, IssuedFor, OutgoingCertificate, OwnershipToken, RegisterCertificate,
    RegisterCertificateWithoutCa, RegisterIssuedCertificate, RegisteredCertificate,
    RejectCertificateTransfer, TransferCertificate, TransferData, UpdateCertificate,
    UpdateCertificateProvider, Validity,
};
pub use connections::{
    Connection, ConnectionCredentials, ConnectionDescription, ConnectionIdentity, ConnectionTls,
    PutConnection,
};
pub use domain_configurations::{
    ApplicationProtocol, AuthenticationType, AuthorizerConfig, CreateDomainConfiguration, Domain,
    DomainConfigurationDescription, DomainConfigurationStatus, DomainConfigurationSummary, DomainFunction,
    ServiceType, UpdateDomainConfiguration,
};
pub use events::{EventConfigurationsDescription, EventType, UpdateEventConfigurations};
pub use functions::{FunctionCredentials, FunctionDescription, FunctionKind, FunctionTarget, PutFunction};
pub use groups::{
    BillingGroupDescription, CreateBillingGroup, CreateThingGroup, CreatedBillingGroup, CreatedThingGroup,
    DeleteGroup, GroupNameAndArn, ListThingGroups, ThingAndGroup, ThingGroupDescription,
    ThingGroupProperties, UpdateBillingGroup, UpdateThingGroup, UpdateThingGroupsForThing,
};
pub use logging::{
    LogEvent, LogEventConfiguration, LogLevel, LogTarget, LogTargetConfiguration, LogTargetType,
    LoggingOptions, SetV2LoggingOptions, V2LoggingOptions,
};
pub use operators::{
    CreateManagedPolicy, CreateManagedPolicyVersion, CreateRole, CreateUser, DeleteRole, DeleteUser,
    ManagedPolicyDescription, ManagedPolicyVersionDescription, ManagedPolicyVersionName, OperatorPolicy,
    OperatorPolicyName, PolicyHolder, PutOperatorPolicy, RoleDescription, SessionKey, TagOperator, Tagged,
    UntagOperator, UpdateRole, UserDescription,
};
pub use paging::{Listed, PageRequest};
pub use policies::{
    CreatePolicy, CreatePolicyVersion, CreatedPolicy, CreatedPolicyVersion, EffectivePolicy,
    PolicyDescription, PolicySummary, PolicyTarget, PolicyVersionDescription, PolicyVersionName,
    PolicyVersionSummary,
};
pub use principals::{
    AttachThingPrincipal, AttachedPolicy, AttachedThing, DetachThingPrincipal, PrincipalThing, PrincipalView,
    StandingThing, ThingPrincipal, ThingPrincipalType,
};
pub use provisioning::{
    CertificateRegistration, CreateProvisioningTemplate, CreateTemplateVersion, CreatedTemplateVersion,
    FirstConnect, FirstConnected, IssuingAuthority, OwnedCertificate, Provision, ProvisionDevice,
    Provisioned, ProvisionedDevice, ProvisioningHook, ProvisioningTemplateDescription, TemplateType,
    TemplateVersionDescription, TemplateVersionName, UpdateProvisioningTemplate,
};
pub use role_aliases::{CreateRoleAlias, RoleAliasDescription, RoleAliasNameAndArn, UpdateRoleAlias};
pub use rule_destinations::{
    DestinationStatus, RuleDestination, UnreachableRuleDestination, UpdateRuleDestination, is_below,
};
pub use rules::{RuleDescription, RuleSummary, TopicRule, TopicRulePayload};
pub use secret::Secret;
pub use server_certificates::{PutServerCertificate, ServerCertificateDescription, ServerCertificateSummary};
pub use shadows::{DeleteThingShadow, UpdateThingShadow};
pub use tags::{Tag, TagResource, UntagResource};
pub use thing_registration_tasks::{
    AdvanceRegistrationTask, BeginRegistrationUpload, ClaimRegistrationTask, DueRegistrationTask,
    FailRegistrationTask, PutRegistrationInput, RegistrationLine, RegistrationTaskDescription,
    RegistrationTaskStatus, RegistrationWork, ReportLink, ReportType, StartThingRegistrationTask, WantedLine,
};
pub use thing_types::{
    CreateThingType, CreatedThingType, DeprecateThingType, PropagatedValue, PropagatingAttribute,
    ThingTypeDescription, ThingTypeProperties, UpdateThingType,
};
pub use things::{
    AttributePayload, Attributes, CreateThing, CreatedThing, DeleteThing, ListThings, ThingDescription,
    ThingSummary, UpdateThing,
};
pub use usage::{Amounts, ReportUsage, UsageQuery, UsageRow};
