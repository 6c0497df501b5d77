//! The stored values: protobuf messages whose tags never change meaning. Times are milliseconds since the
//! epoch.

mod accounts;
mod authorizers;
mod certificates;
mod cluster;
mod connections;
mod domain_configurations;
mod events;
mod first_reply;
mod functions;
mod groups;
mod logging;
mod operators;
mod policies;
mod provisioning;
mod rule_destinations;
mod rules;
mod server_certificates;
mod shadows;
mod thing_registration_tasks;
mod things;
mod ticket_keys;
mod usage;

use prost::Message;

use crate::error::Error;

pub use accounts::{AccessKey, Account, IssuingCa};
pub use authorizers::{Authorizer, DefaultAuthorizer, RoleAlias};
pub use certificates::{
    CaCertificate, Certificate, CertificateProvider, RegistrationCode, RegistrationTemplate, Transfer,
};
pub use cluster::{ClusterHead, ClusterMember, ClusterSlots, DepthsChanging, SlotDepths, SlotPrefix};
pub use connections::Connection;
pub use domain_configurations::{DomainAuthorizer, DomainConfiguration, DomainOwner};
pub use events::EventConfigurations;
pub use first_reply::{FirstReplies, FirstReply};
pub use functions::Function;
pub use groups::{BillingGroup, GroupName, ThingGroup, ThingGroupMembership};
pub use logging::{FirstLoggingOptions, LoggedEvent, LoggingLevel, LoggingOptions};
pub use operators::{
    ManagedPolicy, ManagedPolicyVersion, OperatorPolicy, OperatorTag, Role, SessionKey, SessionKeys, User,
};
pub use policies::{Policy, PolicyAttachment, PolicyVersion};
pub use provisioning::{Hook, OwnershipToken, ProvisioningTemplate, ProvisioningTemplateVersion};
pub use rule_destinations::RuleDestination;
pub use rules::{Count, Rule, Tag};
pub use server_certificates::ServerCertificate;
pub use shadows::{Shadow, ShadowSection};
pub use thing_registration_tasks::{
    RegistrationInput, RegistrationReportPart, RegistrationTask, RegistrationUpload, ReportedLine,
};
pub use things::{
    Mqtt5Configuration, PropagatingAttribute, PropagatingValue, Thing, ThingPrincipal, ThingType,
};
pub use ticket_keys::{TicketKey, TicketKeys};
pub use usage::{Usage, UsageSource};

/// Reads a stored value. A value that is no `R` is our own failure: `InternalFailureException`.
pub fn decode<R: Message + Default>(value: &[u8]) -> Result<R, Error> {
    R::decode(value).map_err(|error| Error::internal(format!("a stored record cannot be read: {error}")))
}
