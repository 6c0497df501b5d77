//! Principals of things, and what a gateway needs to know of one (provisioning.md section 2).

use serde::{Deserialize, Serialize};

use super::{Attributes, CertificateMode, CertificateStatus, PropagatingAttribute, Validity};

/// Whether a principal belongs to one thing only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum ThingPrincipalType {
    /// It may be attached to further things.
    NonExclusiveThing = 0,
    /// It may not: the association holds whatever the client id is.
    ExclusiveThing = 1,
}

/// Arguments of AttachThingPrincipal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachThingPrincipal {
    /// Which thing.
    pub thing_name: String,
    /// Certificate ARN or identity id.
    pub principal: String,
    /// `None`: not exclusive, and as it is when already attached.
    pub thing_principal_type: Option<ThingPrincipalType>,
}

/// Arguments of DetachThingPrincipal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachThingPrincipal {
    /// Which thing.
    pub thing_name: String,
    /// Certificate ARN or identity id.
    pub principal: String,
}

/// An item of ListThingPrincipals(V2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingPrincipal {
    /// Certificate ARN or identity id.
    pub principal: String,
    /// Type of the attachment.
    pub thing_principal_type: ThingPrincipalType,
}

/// An item of ListPrincipalThings(V2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalThing {
    /// Name of the thing.
    pub thing_name: String,
    /// Type of the attachment.
    pub thing_principal_type: ThingPrincipalType,
}

/// What a gateway needs to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalView {
    /// Only `Active` may connect.
    pub status: CertificateStatus,
    /// PEM.
    pub certificate_pem: String,
    /// Validity.
    pub validity: Validity,
    /// Mode.
    pub certificate_mode: CertificateMode,
    /// The default versions of the attached policies.
    pub policies: Vec<AttachedPolicy>,
    /// The attached things in name order, the first 250 of them.
    pub things: Vec<AttachedThing>,
    /// The default versions of the policies that any of `things` has by its groups, in name order.
    pub group_policies: Vec<AttachedPolicy>,
    /// Whether more things are attached: ask `QueryKind::PrincipalThing` for one that is not in `things`.
    pub more_things: bool,
}

/// An attached policy's default version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedPolicy {
    /// Name of the policy.
    pub policy_name: String,
    /// Decimal digits.
    pub version_id: String,
    /// JSON.
    pub document: String,
}

/// An attached thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedThing {
    /// Name.
    pub thing_name: String,
    /// Type.
    pub thing_type_name: Option<String>,
    /// Attributes.
    pub attributes: Attributes,
    /// Whether the certificate is attached to it exclusively.
    pub exclusive: bool,
    /// User properties that its type adds to messages.
    pub propagating_attributes: Vec<PropagatingAttribute>,
    /// The thing groups that it is in, and those above them, in name order.
    pub thing_groups: Vec<String>,
    /// Names of the policies attached to any of them, in name order.
    pub group_policies: Vec<String>,
}

/// An attached thing, with the policies of its groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingThing {
    /// The thing.
    pub thing: AttachedThing,
    /// The default versions of its `group_policies`.
    pub policies: Vec<AttachedPolicy>,
}
