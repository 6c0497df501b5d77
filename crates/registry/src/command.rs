//! What changes the registry: [`Command`] in, [`Reply`] out.

use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::shapes::{
    AccessKey, AttachThingPrincipal, CreateAccount, CreatePolicy, CreatePolicyVersion, CreateThing,
    CreateThingType, CreatedPolicy, CreatedPolicyVersion, CreatedThing, CreatedThingType, DeleteCertificate,
    DeleteThing, DeprecateThingType, DetachThingPrincipal, PolicyTarget, PolicyVersionName,
    RegisterCaCertificate, RegisterCertificate, RegisterCertificateWithoutCa, RegisterIssuedCertificate,
    RegisteredCertificate, TagResource, TopicRule, UntagResource, UpdateCaCertificate, UpdateCertificate,
    UpdateThing, UpdateThingType,
};

/// One change, asked for by an operator, a device or a service, in one account and region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Whose resources.
    pub scope: Scope,
    /// What to do.
    pub action: Action,
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
    /// Ours: makes the scope's account unless it exists; then nothing changes. → [`Reply::Done`]
    BootstrapAccount(Box<CreateAccount>),
    /// Ours: makes the scope's account, which must not exist. → [`Reply::Done`]
    CreateAccount(Box<CreateAccount>),
    /// Ours: another access key for the scope's account. → [`Reply::Done`]
    CreateAccessKey(Box<AccessKey>),
    /// Ours: removes an access key of the scope's account, by its id. → [`Reply::Done`]
    DeleteAccessKey(String),
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
    /// A certificate or CA certificate was registered.
    Certificate(Box<RegisteredCertificate>),
    /// The registration code: 64 hexadecimal digits.
    RegistrationCode(String),
    /// A policy was created.
    Policy(Box<CreatedPolicy>),
    /// A version of a policy was created.
    PolicyVersion(Box<CreatedPolicyVersion>),
}
