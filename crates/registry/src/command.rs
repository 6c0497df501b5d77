//! What changes the registry: [`Command`] in, [`Reply`] out.

use fleethaven_membership::{self as membership, Incarnation};
use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::idempotency::IdempotencyKey;
use crate::keys;
use crate::limits::Limits;
use crate::placement::Placement;
use crate::shapes::{
    AcceptCertificateTransfer, AccessKey, AdvanceRegistrationTask, AttachThingPrincipal, AuthorizerSummary,
    BeginRegistrationUpload, ClaimRegistrationTask, CreateAccount, CreateAuthorizer, CreateBillingGroup,
    CreateCertificateProvider, CreateDomainConfiguration, CreateManagedPolicy, CreateManagedPolicyVersion,
    CreatePolicy, CreatePolicyVersion, CreateProvisioningTemplate, CreateRole, CreateRoleAlias,
    CreateTemplateVersion, CreateThing, CreateThingGroup, CreateThingType, CreateUser, CreatedBillingGroup,
    CreatedPolicy, CreatedPolicyVersion, CreatedTemplateVersion, CreatedThing, CreatedThingGroup,
    CreatedThingType, DeleteCertificate, DeleteGroup, DeleteRole, DeleteThing, DeleteThingShadow, DeleteUser,
    DeprecateThingType, DetachThingPrincipal, DomainConfigurationSummary, FailRegistrationTask, FirstConnect,
    FirstConnected, FunctionDescription, IssuedFor, IssuingCa, LogTarget, LogTargetConfiguration,
    LoggingOptions, ManagedPolicyDescription, ManagedPolicyVersionName, OperatorPolicyName, PolicyTarget,
    PolicyVersionName, Provision, ProvisionDevice, Provisioned, ProvisionedDevice, PutConnection,
    PutFunction, PutOperatorPolicy, PutRegistrationInput, PutServerCertificate, RegisterCaCertificate,
    RegisterCertificate, RegisterCertificateWithoutCa, RegisterIssuedCertificate, RegisteredCertificate,
    RegistrationWork, RejectCertificateTransfer, ReportUsage, RoleAliasNameAndArn, RoleDescription,
    RuleDestination, Secret, ServerCertificateDescription, SetV2LoggingOptions, StartThingRegistrationTask,
    TagOperator, TagResource, TemplateVersionName, ThingAndGroup, TopicRule, TransferCertificate,
    UnreachableRuleDestination, UntagOperator, UntagResource, UpdateAccessKey, UpdateAuthorizer,
    UpdateBillingGroup, UpdateCaCertificate, UpdateCertificate, UpdateCertificateProvider,
    UpdateDomainConfiguration, UpdateEventConfigurations, UpdateProvisioningTemplate, UpdateRole,
    UpdateRoleAlias, UpdateRuleDestination, UpdateThing, UpdateThingGroup, UpdateThingGroupsForThing,
    UpdateThingShadow, UpdateThingType, UserDescription,
};
use crate::store::{Outcome, Store};
use crate::view::{Effects, View};
use crate::{
    accounts, authorizers, billing_groups, ca_certificates, certificate_providers, certificates, cluster,
    connections, domain_configurations, enrolment, events, first_connect, functions, logging,
    managed_policies, operator_tags, operators, policies, principals, provisioning, provisioning_templates,
    role_aliases, rule_destinations, rules, server_certificates, session_keys, shadows, tags, thing_groups,
    thing_registration_tasks, thing_types, things, ticket_keys, transfers, usage,
};

/// One change, asked for by an operator, a device or a service, in one account and region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Whose resources.
    pub scope: Scope,
    /// What to do.
    pub action: Action,
    /// Under which it can be asked for again when its outcome is unknown.
    #[serde(skip)]
    pub key: Option<IdempotencyKey>,
}

impl Command {
    /// A command that is carried out as often as it is asked for.
    pub fn new(scope: Scope, action: Action) -> Self {
        Self { scope, action, key: None }
    }

    /// Whether it may be asked for again when its outcome is unknown, and is carried out once.
    pub fn is_repeatable(&self) -> bool {
        let by_itself = match &self.action {
            Action::Membership(command) => command.is_idempotent(),
            Action::ReportUsage(_) => true,
            _ => false,
        };
        self.key.is_some() || by_itself
    }

    /// A change of the cluster itself.
    pub fn membership(command: membership::Command) -> Self {
        Self::new(Scope::CLUSTER, Action::Membership(command))
    }
}

/// What the evaluator brings to a command.
#[derive(Debug, Clone)]
pub struct Context {
    /// Wall time of the leader.
    pub now: Timestamp,
    /// Entropy for ids, fresh for each command.
    pub random: [u8; 32],
    /// Quotas.
    pub limits: Limits,
}

/// One mutating operation with its arguments. Operations are named as in AWS's model unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// → [`Reply::Thing`]
    CreateThing(Box<CreateThing>),
    /// → [`Reply::Done`]
    UpdateThing(Box<UpdateThing>),
    /// → [`Reply::Done`]
    DeleteThing(Box<DeleteThing>),
    /// → [`Reply::ThingType`]
    CreateThingType(Box<CreateThingType>),
    /// → [`Reply::Done`]
    UpdateThingType(Box<UpdateThingType>),
    /// → [`Reply::Done`]
    DeprecateThingType(Box<DeprecateThingType>),
    /// The name of the type. → [`Reply::Done`]
    DeleteThingType(String),
    /// → [`Reply::ThingGroup`]
    CreateThingGroup(Box<CreateThingGroup>),
    /// → [`Reply::Version`]
    UpdateThingGroup(Box<UpdateThingGroup>),
    /// → [`Reply::Done`]
    DeleteThingGroup(Box<DeleteGroup>),
    /// → [`Reply::Done`]
    AddThingToThingGroup(Box<ThingAndGroup>),
    /// → [`Reply::Done`]
    RemoveThingFromThingGroup(Box<ThingAndGroup>),
    /// → [`Reply::Done`]
    UpdateThingGroupsForThing(Box<UpdateThingGroupsForThing>),
    /// → [`Reply::BillingGroup`]
    CreateBillingGroup(Box<CreateBillingGroup>),
    /// → [`Reply::Version`]
    UpdateBillingGroup(Box<UpdateBillingGroup>),
    /// → [`Reply::Done`]
    DeleteBillingGroup(Box<DeleteGroup>),
    /// → [`Reply::Done`]
    AddThingToBillingGroup(Box<ThingAndGroup>),
    /// → [`Reply::Done`]
    RemoveThingFromBillingGroup(Box<ThingAndGroup>),
    /// Stores a certificate that our CA has just issued (CreateKeysAndCertificate, CreateCertificateFromCsr).
    /// → [`Reply::Certificate`]
    RegisterIssuedCertificate(Box<RegisterIssuedCertificate>),
    /// → [`Reply::Certificate`]
    RegisterCertificate(Box<RegisterCertificate>),
    /// → [`Reply::Certificate`]
    RegisterCertificateWithoutCa(Box<RegisterCertificateWithoutCa>),
    /// → [`Reply::Done`]
    UpdateCertificate(Box<UpdateCertificate>),
    /// → [`Reply::Done`]
    DeleteCertificate(Box<DeleteCertificate>),
    /// → [`Reply::Certificate`]
    TransferCertificate(Box<TransferCertificate>),
    /// → [`Reply::Done`]
    AcceptCertificateTransfer(Box<AcceptCertificateTransfer>),
    /// → [`Reply::Done`]
    RejectCertificateTransfer(Box<RejectCertificateTransfer>),
    /// The id of the certificate. → [`Reply::Done`]
    CancelCertificateTransfer(String),
    /// → [`Reply::Certificate`]
    RegisterCaCertificate(Box<RegisterCaCertificate>),
    /// → [`Reply::Done`]
    UpdateCaCertificate(Box<UpdateCaCertificate>),
    /// The id of the CA certificate. → [`Reply::Done`]
    DeleteCaCertificate(String),
    /// A command because the first call makes the code. → [`Reply::RegistrationCode`]
    GetRegistrationCode,
    /// → [`Reply::Done`]
    DeleteRegistrationCode,
    /// → [`Reply::Policy`]
    CreatePolicy(Box<CreatePolicy>),
    /// → [`Reply::PolicyVersion`]
    CreatePolicyVersion(Box<CreatePolicyVersion>),
    /// → [`Reply::Done`]
    SetDefaultPolicyVersion(Box<PolicyVersionName>),
    /// → [`Reply::Done`]
    DeletePolicyVersion(Box<PolicyVersionName>),
    /// The name of the policy. → [`Reply::Done`]
    DeletePolicy(String),
    /// → [`Reply::Done`]
    AttachPolicy(Box<PolicyTarget>),
    /// → [`Reply::Done`]
    DetachPolicy(Box<PolicyTarget>),
    /// The deprecated form of AttachPolicy: no thing groups. → [`Reply::Done`]
    AttachPrincipalPolicy(Box<PolicyTarget>),
    /// The deprecated form of DetachPolicy: an unknown policy or principal is an error. → [`Reply::Done`]
    DetachPrincipalPolicy(Box<PolicyTarget>),
    /// → [`Reply::Done`]
    AttachThingPrincipal(Box<AttachThingPrincipal>),
    /// → [`Reply::Done`]
    DetachThingPrincipal(Box<DetachThingPrincipal>),
    /// → [`Reply::Done`]
    UpdateEventConfigurations(Box<UpdateEventConfigurations>),
    /// → [`Reply::Done`]
    SetV2LoggingOptions(Box<SetV2LoggingOptions>),
    /// → [`Reply::Done`]
    SetV2LoggingLevel(Box<LogTargetConfiguration>),
    /// → [`Reply::Done`]
    DeleteV2LoggingLevel(Box<LogTarget>),
    /// → [`Reply::Done`]
    SetLoggingOptions(Box<LoggingOptions>),
    /// → [`Reply::CertificateProvider`]
    CreateCertificateProvider(Box<CreateCertificateProvider>),
    /// → [`Reply::CertificateProvider`]
    UpdateCertificateProvider(Box<UpdateCertificateProvider>),
    /// The name of the provider. → [`Reply::Done`]
    DeleteCertificateProvider(String),
    /// Ours: what RegisterThing does, and every other way to provision by a template. → [`Reply::Provisioned`]
    Provision(Box<Provision>),
    /// Ours: what a device asks for by RegisterThing over MQTT. → [`Reply::ProvisionedDevice`]
    ProvisionDevice(Box<ProvisionDevice>),
    /// Ours: what a device's first connection with a certificate of a registered CA leads to: just-in-time registration and
    /// provisioning. Emits that it is registered, unless it is provisioned. → [`Reply::FirstConnected`]
    FirstConnect(Box<FirstConnect>),
    /// → [`Reply::RegistrationTask`]
    StartThingRegistrationTask(Box<StartThingRegistrationTask>),
    /// The id of the task. → [`Reply::Done`]
    StopThingRegistrationTask(String),
    /// Ours: the input of a bulk registration task will be uploaded. → [`Reply::Done`]
    BeginRegistrationUpload(Box<BeginRegistrationUpload>),
    /// Ours: a piece of an input. → [`Reply::Done`]
    PutRegistrationInput(Box<PutRegistrationInput>),
    /// Ours: an upload is complete, and becomes the task of its id. → [`Reply::RegistrationTask`]
    StartUploadedRegistration(String),
    /// Ours: a process takes a bulk registration task for a while. → [`Reply::RegistrationWork`]
    ClaimRegistrationTask(Box<ClaimRegistrationTask>),
    /// Ours: carries out some lines of a bulk registration task, and moves it on. → [`Reply::RegistrationWork`]
    AdvanceRegistrationTask(Box<AdvanceRegistrationTask>),
    /// Ours: a bulk registration task cannot go on. → [`Reply::Done`]
    FailRegistrationTask(Box<FailRegistrationTask>),
    /// Ours: forgets a bulk registration task that ended long ago, by its id, piece by piece. → [`Reply::Ended`]
    ForgetRegistrationTask(String),
    /// Ours: ends ownership tokens and claims whose time is over, whatever the scope. → [`Reply::Ended`]
    EndExpiredEnrolments,
    /// → [`Reply::TemplateVersion`]
    CreateProvisioningTemplate(Box<CreateProvisioningTemplate>),
    /// → [`Reply::Done`]
    UpdateProvisioningTemplate(Box<UpdateProvisioningTemplate>),
    /// The name of the template. → [`Reply::Done`]
    DeleteProvisioningTemplate(String),
    /// → [`Reply::TemplateVersion`]
    CreateProvisioningTemplateVersion(Box<CreateTemplateVersion>),
    /// → [`Reply::Done`]
    DeleteProvisioningTemplateVersion(Box<TemplateVersionName>),
    /// → [`Reply::Authorizer`]
    CreateAuthorizer(Box<CreateAuthorizer>),
    /// → [`Reply::Authorizer`]
    UpdateAuthorizer(Box<UpdateAuthorizer>),
    /// The name of the authorizer. → [`Reply::Done`]
    DeleteAuthorizer(String),
    /// The name of the authorizer. → [`Reply::Authorizer`]
    SetDefaultAuthorizer(String),
    /// → [`Reply::Done`]
    ClearDefaultAuthorizer,
    /// → [`Reply::DomainConfiguration`]
    CreateDomainConfiguration(Box<CreateDomainConfiguration>),
    /// → [`Reply::DomainConfiguration`]
    UpdateDomainConfiguration(Box<UpdateDomainConfiguration>),
    /// The name of the configuration. → [`Reply::Done`]
    DeleteDomainConfiguration(String),
    /// → [`Reply::RoleAlias`]
    CreateRoleAlias(Box<CreateRoleAlias>),
    /// → [`Reply::RoleAlias`]
    UpdateRoleAlias(Box<UpdateRoleAlias>),
    /// The name of the alias. → [`Reply::Done`]
    DeleteRoleAlias(String),
    /// → [`Reply::Done`]
    CreateTopicRule(Box<TopicRule>),
    /// The tags are ignored. → [`Reply::Done`]
    ReplaceTopicRule(Box<TopicRule>),
    /// The name of the rule. → [`Reply::Done`]
    EnableTopicRule(String),
    /// The name of the rule. → [`Reply::Done`]
    DisableTopicRule(String),
    /// The name of the rule. → [`Reply::Done`]
    DeleteTopicRule(String),
    /// → [`Reply::Done`]
    TagResource(Box<TagResource>),
    /// → [`Reply::Done`]
    UntagResource(Box<UntagResource>),
    /// Emits what was accepted, the delta and the documents. → [`Reply::ThingShadow`], or [`Reply::Done`] unless an answer is
    /// asked for
    UpdateThingShadow(Box<UpdateThingShadow>),
    /// Emits that it was deleted. → [`Reply::ThingShadow`]
    DeleteThingShadow(Box<DeleteThingShadow>),
    /// Ours: makes the scope's account unless it exists; then nothing changes. → [`Reply::Done`]
    BootstrapAccount(Box<CreateAccount>),
    /// Ours: makes the scope's account, which must not exist. → [`Reply::Done`]
    CreateAccount(Box<CreateAccount>),
    /// Ours: certificates of the scope's account are issued by this CA from now on. → [`Reply::Done`]
    PutIssuingCa(Box<IssuingCa>),
    /// Ours: the key of the account's CA is kept sealed so from now on, unless the account has another CA by then. → [`Reply::Done`]
    SealIssuingCa(Box<IssuingCa>),
    /// Ours: another access key for the scope's account. → [`Reply::Done`]
    CreateAccessKey(Box<AccessKey>),
    /// Ours: lets an access key of the scope's account sign requests, or no more. → [`Reply::Done`]
    UpdateAccessKey(Box<UpdateAccessKey>),
    /// Ours: removes an access key of the scope's account, by its id. → [`Reply::Done`]
    DeleteAccessKey(String),
    /// The confirmation URL. → [`Reply::RuleDestination`]
    CreateTopicRuleDestination(String),
    /// → [`Reply::RuleDestination`]
    UpdateTopicRuleDestination(Box<UpdateRuleDestination>),
    /// The token. → [`Reply::RuleDestination`]
    ConfirmTopicRuleDestination(Secret),
    /// The ARN. → [`Reply::Done`]
    DeleteTopicRuleDestination(String),
    /// Ours: the owner of an address could not be asked. → [`Reply::RuleDestination`] or [`Reply::Done`]
    UnreachableTopicRuleDestination(Box<UnreachableRuleDestination>),
    /// Ours: makes a user of the scope's account. → [`Reply::User`]
    CreateUser(CreateUser),
    /// Ours: removes a user. → [`Reply::Done`]
    DeleteUser(DeleteUser),
    /// Ours: makes a role of the scope's account. → [`Reply::Role`]
    CreateRole(Box<CreateRole>),
    /// Ours → [`Reply::Role`]
    UpdateRole(Box<UpdateRole>),
    /// Ours: removes a role, and ends its sessions. → [`Reply::Done`]
    DeleteRole(DeleteRole),
    /// Ours: says what a user or a role's sessions may do. → [`Reply::Done`]
    PutOperatorPolicy(Box<PutOperatorPolicy>),
    /// Ours: takes a policy from a user or role. → [`Reply::Done`]
    DeleteOperatorPolicy(Box<OperatorPolicyName>),
    /// Ours: gives a user, role or managed policy tags. → [`Reply::Done`]
    TagOperator(Box<TagOperator>),
    /// Ours: takes tags from a user, role or managed policy. → [`Reply::Done`]
    UntagOperator(Box<UntagOperator>),
    /// Ours: makes a policy of the scope's account that users and roles can share. → [`Reply::ManagedPolicy`]
    CreateManagedPolicy(Box<CreateManagedPolicy>),
    /// Ours: removes a managed policy that nobody has, by name. → [`Reply::Done`]
    DeleteManagedPolicy(String),
    /// Ours: another document for a managed policy. → [`Reply::ManagedPolicy`]
    CreateManagedPolicyVersion(Box<CreateManagedPolicyVersion>),
    /// Ours: the version of a managed policy that counts. → [`Reply::Done`]
    SetDefaultManagedPolicyVersion(ManagedPolicyVersionName),
    /// Ours: removes a version that does not count. → [`Reply::Done`]
    DeleteManagedPolicyVersion(ManagedPolicyVersionName),
    /// Ours: gives a managed policy to a user or role; one that has it keeps it. → [`Reply::Done`]
    AttachManagedPolicy(Box<OperatorPolicyName>),
    /// Ours: takes a managed policy from a user or role. → [`Reply::Done`]
    DetachManagedPolicy(Box<OperatorPolicyName>),
    /// Ours: makes a new key for sessions when it is time, whatever the scope. → [`Reply::Done`]
    RotateSessionKeys,
    /// Ours: says where rule actions of the scope's account go, by name. → [`Reply::Done`]
    PutConnection(Box<PutConnection>),
    /// Ours: removes a connection of the scope's account, by its name. → [`Reply::Done`]
    DeleteConnection(String),
    /// Ours: names what is called in the scope's account where AWS would run a Lambda function. → [`Reply::Function`]
    PutFunction(Box<PutFunction>),
    /// Ours: takes a function out of the scope's account, by its ARN. → [`Reply::Done`]
    DeleteFunction(String),
    /// Ours: says what domains of the scope's account show for an ARN. → [`Reply::ServerCertificate`]
    PutServerCertificate(Box<PutServerCertificate>),
    /// Ours: removes a server certificate of the scope's account, by its ARN. → [`Reply::Done`]
    DeleteServerCertificate(String),
    /// Ours: makes new TLS ticket keys when it is time, whatever the scope. → [`Reply::Done`]
    RotateTicketKeys,
    /// Ours: adds what a process has counted to what was used, whatever the scope. → [`Reply::Done`]
    ReportUsage(Box<ReportUsage>),
    /// Ours: changes the members of the cluster or the owners of slots, whatever the scope. → [`Reply::Joined`] or
    /// [`Reply::Done`]
    Membership(membership::Command),
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to tell.
    Done,
    /// A thing was created, or existed with the same configuration.
    Thing(Box<CreatedThing>),
    /// A thing type was created, or existed with the same configuration.
    ThingType(Box<CreatedThingType>),
    /// A thing group was created, or existed with the same configuration.
    ThingGroup(Box<CreatedThingGroup>),
    /// A billing group was created, or existed with the same configuration.
    BillingGroup(Box<CreatedBillingGroup>),
    /// The version of a group after an update.
    Version(u64),
    /// The ARN of a certificate provider that was created or changed.
    CertificateProvider(String),
    /// Everything that a template says is there.
    Provisioned(Box<Provisioned>),
    /// Everything that a template says is there, for a device that asked.
    ProvisionedDevice(Box<ProvisionedDevice>),
    /// What became of a device's first connection.
    FirstConnected(Box<FirstConnected>),
    /// How many have ended; at [`ENDED_AT_ONCE`](crate::ENDED_AT_ONCE) there may be more.
    Ended(usize),
    /// A bulk registration task was started: its id.
    RegistrationTask(String),
    /// What is left of a bulk registration task, for the process that has it; `None`: nothing, or it has not.
    RegistrationWork(Option<Box<RegistrationWork>>),
    /// A version of a provisioning template was created.
    TemplateVersion(Box<CreatedTemplateVersion>),
    /// An authorizer was created or changed, or is the default one now.
    Authorizer(Box<AuthorizerSummary>),
    /// A domain configuration was created or changed.
    DomainConfiguration(Box<DomainConfigurationSummary>),
    /// A role alias was created or changed.
    RoleAlias(Box<RoleAliasNameAndArn>),
    /// A certificate or CA certificate was registered.
    Certificate(Box<RegisteredCertificate>),
    /// The registration code: 64 hexadecimal digits.
    RegistrationCode(String),
    /// A policy was created.
    Policy(Box<CreatedPolicy>),
    /// A version of a policy was created.
    PolicyVersion(Box<CreatedPolicyVersion>),
    /// What was accepted or deleted, as AWS tells it: the body of the answer.
    ThingShadow(String),
    /// A topic rule destination as it is now.
    RuleDestination(Box<RuleDestination>),
    /// A function was put.
    Function(Box<FunctionDescription>),
    /// A server certificate was put.
    ServerCertificate(Box<ServerCertificateDescription>),
    /// A user was made.
    User(Box<UserDescription>),
    /// A role was made or changed.
    Role(Box<RoleDescription>),
    /// A managed policy was made or changed.
    ManagedPolicy(Box<ManagedPolicyDescription>),
    /// A process joined the cluster under this incarnation.
    Joined(Incarnation),
}

/// What `command` answers and changes, given `view`; nothing changes when it is refused.
///
/// # Errors
/// AWS's exceptions, as security.md, provisioning.md and rules-sql.md tell them.
pub fn evaluate(view: &dyn View, command: &Command, context: &Context) -> Result<(Reply, Effects), Error> {
    let store = Store { view, scope: command.scope };
    let (reply, mut effects) = dispatch(&store, &command.action, context)?;
    let marker = keys::scope_marker(command.scope);
    let marked = command.placement() == Placement::Control && !command.action.is_account_wide();
    if marked && !effects.is_empty() && !store.exists(&marker) {
        effects.put(marker, Vec::new());
    }
    Ok((reply, effects))
}

impl Action {
    /// Whether the region of the command's scope does not matter.
    fn is_account_wide(&self) -> bool {
        matches!(
            self,
            Self::BootstrapAccount(_)
                | Self::CreateAccount(_)
                | Self::PutIssuingCa(_)
                | Self::SealIssuingCa(_)
                | Self::CreateAccessKey(_)
                | Self::UpdateAccessKey(_)
                | Self::DeleteAccessKey(_)
                | Self::CreateUser(_)
                | Self::DeleteUser(_)
                | Self::CreateRole(_)
                | Self::UpdateRole(_)
                | Self::DeleteRole(_)
                | Self::PutOperatorPolicy(_)
                | Self::DeleteOperatorPolicy(_)
                | Self::TagOperator(_)
                | Self::UntagOperator(_)
                | Self::CreateManagedPolicy(_)
                | Self::DeleteManagedPolicy(_)
                | Self::CreateManagedPolicyVersion(_)
                | Self::SetDefaultManagedPolicyVersion(_)
                | Self::DeleteManagedPolicyVersion(_)
                | Self::AttachManagedPolicy(_)
                | Self::DetachManagedPolicy(_)
                | Self::RotateSessionKeys
                | Self::PutConnection(_)
                | Self::DeleteConnection(_)
                | Self::PutFunction(_)
                | Self::DeleteFunction(_)
                | Self::PutServerCertificate(_)
                | Self::DeleteServerCertificate(_)
                | Self::RotateTicketKeys
                | Self::ReportUsage(_)
                | Self::EndExpiredEnrolments
                | Self::Membership(_)
        )
    }

    /// Whether it does no more than a device may ask for that wants a certificate of its own: who serves devices may
    /// have it carried out.
    pub fn is_enrolment(&self) -> bool {
        match self {
            Self::RegisterIssuedCertificate(args) => matches!(args.issued_for, IssuedFor::Device(_)),
            Self::ProvisionDevice(_) | Self::FirstConnect(_) => true,
            _ => false,
        }
    }
}

fn dispatch(store: &Store<'_>, action: &Action, context: &Context) -> Outcome {
    match action {
        Action::CreateThing(args) => things::create(store, context, args),
        Action::UpdateThing(args) => things::update(store, context, args),
        Action::DeleteThing(args) => things::delete(store, context, args),
        Action::CreateThingType(args) => thing_types::create(store, context, args),
        Action::UpdateThingType(args) => thing_types::update(store, context, args),
        Action::DeprecateThingType(args) => thing_types::deprecate(store, context, args),
        Action::DeleteThingType(name) => thing_types::delete(store, context, name),
        Action::CreateThingGroup(args) => thing_groups::create(store, context, args),
        Action::UpdateThingGroup(args) => thing_groups::update(store, context, args),
        Action::DeleteThingGroup(args) => thing_groups::delete(store, context, args),
        Action::AddThingToThingGroup(args) => thing_groups::add(store, context, args),
        Action::RemoveThingFromThingGroup(args) => thing_groups::remove(store, context, args),
        Action::UpdateThingGroupsForThing(args) => thing_groups::update_for_thing(store, context, args),
        Action::CreateBillingGroup(args) => billing_groups::create(store, context, args),
        Action::UpdateBillingGroup(args) => billing_groups::update(store, args),
        Action::DeleteBillingGroup(args) => billing_groups::delete(store, args),
        Action::AddThingToBillingGroup(args) => billing_groups::add(store, context, args),
        Action::RemoveThingFromBillingGroup(args) => billing_groups::remove(store, context, args),
        Action::RegisterIssuedCertificate(args) => certificates::register_issued(store, context, args),
        Action::RegisterCertificate(args) => certificates::register_with_ca(store, context, args),
        Action::RegisterCertificateWithoutCa(args) => certificates::register_without_ca(store, context, args),
        Action::UpdateCertificate(args) => certificates::update(store, context, args),
        Action::DeleteCertificate(args) => certificates::delete(store, args),
        Action::TransferCertificate(args) => transfers::transfer(store, context, args),
        Action::AcceptCertificateTransfer(args) => transfers::accept(store, context, args),
        Action::RejectCertificateTransfer(args) => transfers::reject(store, context, args),
        Action::CancelCertificateTransfer(id) => transfers::cancel(store, context, id),
        Action::RegisterCaCertificate(args) => ca_certificates::register(store, context, args),
        Action::UpdateCaCertificate(args) => ca_certificates::update(store, context, args),
        Action::DeleteCaCertificate(id) => ca_certificates::delete(store, id),
        Action::GetRegistrationCode => ca_certificates::code(store, context),
        Action::DeleteRegistrationCode => ca_certificates::delete_code(store),
        Action::CreatePolicy(args) => policies::create(store, context, args),
        Action::CreatePolicyVersion(args) => policies::create_version(store, context, args),
        Action::SetDefaultPolicyVersion(args) => policies::set_default(store, context, args),
        Action::DeletePolicyVersion(args) => policies::delete_version(store, args),
        Action::DeletePolicy(name) => policies::delete(store, name),
        Action::AttachPolicy(args) => policies::attach(store, context, args),
        Action::DetachPolicy(args) => policies::detach(store, args),
        Action::AttachPrincipalPolicy(args) => policies::attach_principal(store, context, args),
        Action::DetachPrincipalPolicy(args) => policies::detach_principal(store, args),
        Action::AttachThingPrincipal(args) => principals::attach(store, context, args),
        Action::DetachThingPrincipal(args) => principals::detach(store, args),
        Action::UpdateEventConfigurations(args) => events::update(store, context, args),
        Action::SetV2LoggingOptions(args) => logging::set_options(store, args),
        Action::SetV2LoggingLevel(args) => logging::set_level(store, args),
        Action::DeleteV2LoggingLevel(target) => logging::delete_level(store, target),
        Action::SetLoggingOptions(args) => logging::set_first_options(store, args),
        Action::CreateCertificateProvider(args) => certificate_providers::create(store, context, args),
        Action::UpdateCertificateProvider(args) => certificate_providers::update(store, context, args),
        Action::DeleteCertificateProvider(name) => certificate_providers::delete(store, name),
        Action::Provision(args) => provisioning::provision(store, context, args),
        Action::ProvisionDevice(args) => enrolment::provision(store, context, args),
        Action::FirstConnect(args) => first_connect::first_connect(store, context, args),
        Action::StartThingRegistrationTask(args) => thing_registration_tasks::start(store, context, args),
        Action::StopThingRegistrationTask(id) => thing_registration_tasks::stop(store, context, id),
        Action::BeginRegistrationUpload(args) => {
            thing_registration_tasks::upload::begin(store, context, args)
        }
        Action::PutRegistrationInput(args) => thing_registration_tasks::upload::put(store, args),
        Action::StartUploadedRegistration(id) => thing_registration_tasks::upload::start(store, context, id),
        Action::ClaimRegistrationTask(args) => thing_registration_tasks::claim(store, context, args),
        Action::AdvanceRegistrationTask(args) => thing_registration_tasks::advance(store, context, args),
        Action::FailRegistrationTask(args) => thing_registration_tasks::fail(store, context, args),
        Action::ForgetRegistrationTask(id) => thing_registration_tasks::forget(store, context, id),
        Action::EndExpiredEnrolments => enrolment::end_expired(store, context),
        Action::CreateProvisioningTemplate(args) => provisioning_templates::create(store, context, args),
        Action::UpdateProvisioningTemplate(args) => provisioning_templates::update(store, context, args),
        Action::DeleteProvisioningTemplate(name) => provisioning_templates::delete(store, name),
        Action::CreateProvisioningTemplateVersion(args) => {
            provisioning_templates::create_version(store, context, args)
        }
        Action::DeleteProvisioningTemplateVersion(args) => {
            provisioning_templates::delete_version(store, args)
        }
        Action::CreateAuthorizer(args) => authorizers::create(store, context, args),
        Action::UpdateAuthorizer(args) => authorizers::update(store, context, args),
        Action::DeleteAuthorizer(name) => authorizers::delete(store, name),
        Action::SetDefaultAuthorizer(name) => authorizers::set_default(store, name),
        Action::ClearDefaultAuthorizer => authorizers::clear_default(store),
        Action::CreateDomainConfiguration(args) => domain_configurations::create(store, context, args),
        Action::UpdateDomainConfiguration(args) => domain_configurations::update(store, context, args),
        Action::DeleteDomainConfiguration(name) => domain_configurations::delete(store, name),
        Action::CreateRoleAlias(args) => role_aliases::create(store, context, args),
        Action::UpdateRoleAlias(args) => role_aliases::update(store, context, args),
        Action::DeleteRoleAlias(name) => role_aliases::delete(store, name),
        Action::CreateTopicRule(args) => rules::create(store, context, args),
        Action::ReplaceTopicRule(args) => rules::replace(store, context, args),
        Action::EnableTopicRule(name) => rules::switch(store, name, false),
        Action::DisableTopicRule(name) => rules::switch(store, name, true),
        Action::DeleteTopicRule(name) => rules::delete(store, name),
        Action::TagResource(args) => tags::tag(store, context, args),
        Action::UntagResource(args) => tags::untag(store, args),
        Action::UpdateThingShadow(args) => shadows::change(store, context, args),
        Action::DeleteThingShadow(args) => shadows::remove(store, context, args),
        Action::BootstrapAccount(args) => accounts::bootstrap(store, context, args),
        Action::CreateAccount(args) => accounts::create(store, context, args),
        Action::PutIssuingCa(args) => accounts::put_issuing_ca(store, args),
        Action::SealIssuingCa(args) => accounts::seal_issuing_ca(store, args),
        Action::CreateAccessKey(args) => accounts::create_access_key(store, context, args),
        Action::UpdateAccessKey(args) => accounts::update_access_key(store, args),
        Action::DeleteAccessKey(id) => accounts::delete_access_key(store, id),
        Action::CreateTopicRuleDestination(url) => rule_destinations::create(store, context, url),
        Action::UpdateTopicRuleDestination(args) => rule_destinations::update(store, context, args),
        Action::ConfirmTopicRuleDestination(token) => rule_destinations::confirm(store, context, token),
        Action::DeleteTopicRuleDestination(arn) => rule_destinations::delete(store, arn),
        Action::UnreachableTopicRuleDestination(args) => rule_destinations::unreachable(store, context, args),
        Action::CreateUser(args) => operators::create_user(store, context, args),
        Action::DeleteUser(args) => operators::delete_user(store, args),
        Action::CreateRole(args) => operators::create_role(store, context, args),
        Action::UpdateRole(args) => operators::update_role(store, args),
        Action::DeleteRole(args) => operators::delete_role(store, args),
        Action::PutOperatorPolicy(args) => operators::put_policy(store, context, args),
        Action::DeleteOperatorPolicy(args) => operators::delete_policy(store, args),
        Action::TagOperator(args) => operator_tags::tag(store, context, args),
        Action::UntagOperator(args) => operator_tags::untag(store, args),
        Action::CreateManagedPolicy(args) => managed_policies::create(store, context, args),
        Action::DeleteManagedPolicy(name) => managed_policies::delete(store, name),
        Action::CreateManagedPolicyVersion(args) => managed_policies::create_version(store, context, args),
        Action::SetDefaultManagedPolicyVersion(args) => managed_policies::set_default(store, context, args),
        Action::DeleteManagedPolicyVersion(args) => managed_policies::delete_version(store, context, args),
        Action::AttachManagedPolicy(args) => managed_policies::attach(store, args),
        Action::DetachManagedPolicy(args) => managed_policies::detach(store, args),
        Action::RotateSessionKeys => session_keys::rotate(store, context),
        Action::PutConnection(args) => connections::put(store, context, args),
        Action::DeleteConnection(name) => connections::delete(store, name),
        Action::PutFunction(args) => functions::put(store, context, args),
        Action::DeleteFunction(arn) => functions::delete(store, arn),
        Action::PutServerCertificate(args) => server_certificates::put(store, context, args),
        Action::DeleteServerCertificate(arn) => server_certificates::delete(store, arn),
        Action::RotateTicketKeys => ticket_keys::rotate(store, context),
        Action::ReportUsage(args) => usage::report(store, context, args),
        Action::Membership(command) => cluster::change(store, context, command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::{create_thing, issue, register_ca, registry};
    use crate::shapes::CertificateStatus;

    #[test]
    fn commands_and_replies_survive_serialisation() {
        let mut registry = registry();
        let scope = registry.scope;
        let status = CertificateStatus::PendingActivation;
        for action in [create_thing("a", None, &[("k", "v")]), issue("1", status), register_ca("a")] {
            let command = Command::new(scope, action);
            let text = serde_json::to_string(&command).unwrap();
            assert_eq!(serde_json::from_str::<Command>(&text).unwrap(), command);
            let reply = registry.run(command.action).unwrap();
            let text = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
        }
        assert_eq!(serde_json::to_string(&status).unwrap(), "\"PENDING_ACTIVATION\"");
    }
}
