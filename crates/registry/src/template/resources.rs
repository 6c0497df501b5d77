//! The resources of a template, and what they are once their values are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::expression::{Expression, Scope, Values};
use super::{CERTIFICATE, Error, Purpose, expressions, known, object, shown};

/// What happens to a property of something that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Override {
    /// It stays.
    DoNothing,
    /// The template's value takes its place.
    Replace,
    /// What is to change is a conflict.
    Fail,
    /// The template's value is added to it.
    Merge,
}

/// What is to be made, values and all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The thing.
    pub thing: Option<PlannedThing>,
    /// The certificate.
    pub certificate: Option<PlannedCertificate>,
    /// Policies, which are attached to the certificate.
    pub policies: Vec<PlannedPolicy>,
    /// What the device is told.
    pub device_configuration: BTreeMap<String, String>,
}

/// A thing to be made, or changed as its overrides say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedThing {
    /// Its logical name in the template.
    pub logical_name: String,
    /// Name.
    pub thing_name: String,
    /// Attributes; `None`: the template does not say.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Type.
    pub thing_type_name: Option<String>,
    /// Static groups; `None`: the template does not say.
    pub thing_groups: Option<Vec<String>>,
    /// Billing group, for a thing that is made.
    pub billing_group_name: Option<String>,
    /// For the attributes of a thing that exists.
    pub attributes_override: Override,
    /// For its type.
    pub thing_type_override: Override,
    /// For its groups.
    pub thing_groups_override: Override,
}

/// A certificate to be registered, or one that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCertificate {
    /// Its logical name in the template.
    pub logical_name: String,
    /// Where it comes from.
    pub source: CertificateSource,
    /// Whether it is to be ACTIVE, else INACTIVE.
    pub active: bool,
    /// For the status of a certificate that is registered already.
    pub status_override: Override,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateSource {
    /// Our CA signs this request (PEM).
    SigningRequest(String),
    /// It is registered already under this id.
    Id(String),
    /// It is given, signed by a registered CA.
    Pem {
        /// PEM.
        certificate: String,
        /// The CA's, where several have one subject.
        ca_certificate: Option<String>,
    },
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPolicy {
    /// Its logical name in the template.
    pub logical_name: String,
    /// Which one.
    pub source: PolicySource,
}

/// Which policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicySource {
    /// One that exists.
    Name(String),
    /// The one with this document, which is made if need be.
    Document(String),
}

/// The resources of a template.
#[derive(Debug, Clone, Default)]
pub(super) struct Resources {
    thing: Option<Thing>,
    certificate: Option<Certificate>,
    policies: Vec<Policy>,
}

#[derive(Debug, Clone)]
struct Thing {
    logical_name: String,
    name: Expression,
    attributes: Option<BTreeMap<String, Expression>>,
    thing_type: Option<Expression>,
    groups: Option<Expression>,
    billing_group: Option<Expression>,
    overrides: BTreeMap<&'static str, Override>,
}

#[derive(Debug, Clone)]
struct Certificate {
    logical_name: String,
    source: Source,
    status: Option<Expression>,
    overrides: BTreeMap<&'static str, Override>,
}

#[derive(Debug, Clone)]
enum Source {
    SigningRequest(Expression),
    Id(Expression),
    Pem { certificate: Expression, ca_certificate: Option<Expression> },
}

#[derive(Debug, Clone)]
struct Policy {
    logical_name: String,
    source: Document,
}

#[derive(Debug, Clone)]
enum Document {
    Name(Expression),
    Text(Expression),
    /// JSON, in which functions may stand.
    Json(Value),
}

/// A property of things in both of AWS's spellings.
const ATTRIBUTES: [&str; 2] = ["AttributePayload", "ATTRIBUTE_PAYLOAD"];
const THING_TYPE: [&str; 2] = ["ThingTypeName", "THING_TYPE_NAME"];
const GROUPS: [&str; 2] = ["ThingGroups", "THING_GROUPS"];
const STATUS: [&str; 2] = ["Status", "STATUS"];

impl Resources {
    pub(super) fn parse(value: &Value, purpose: Purpose, scope: &Scope<'_>) -> Result<Self, Error> {
        let mut all = Self::default();
        for (name, resource) in object("Resources", value)? {
            let place = format!("resource '{}'", shown(name));
            let resource = object(&place, resource)?;
            known(&place, resource, &["Type", "Properties", "OverrideSettings"])?;
            let empty = Map::new();
            let properties = match resource.get("Properties") {
                Some(value) => object(&place, value)?,
                None => &empty,
            };
            let settings = match resource.get("OverrideSettings") {
                Some(value) => object(&place, value)?,
                None => &empty,
            };
            let at = Place { name: &place, properties, settings, scope };
            let twice = |what: &str| Err(Error::new(format!("{place} is a second {what}")));
            match resource.get("Type").and_then(Value::as_str) {
                Some("AWS::IoT::Thing") if all.thing.is_some() => return twice("thing"),
                Some("AWS::IoT::Certificate") if all.certificate.is_some() => return twice("certificate"),
                Some("AWS::IoT::Thing") => all.thing = Some(thing(name, &at)?),
                Some("AWS::IoT::Certificate") => all.certificate = Some(certificate(name, purpose, &at)?),
                Some("AWS::IoT::Policy") => all.policies.push(policy(name, &at)?),
                _ => {
                    let types = "AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy";
                    return Err(Error::new(format!("{place} must have the Type {types}")));
                }
            }
        }
        if let (Some(policy), None) = (all.policies.first(), &all.certificate) {
            let name = shown(&policy.logical_name);
            return Err(Error::new(format!("policy '{name}' has no certificate to be attached to")));
        }
        Ok(all)
    }

    pub(super) fn resolve(&self, values: &Values<'_>) -> Result<Plan, Error> {
        Ok(Plan {
            thing: self.thing.as_ref().map(|thing| thing.resolve(values)).transpose()?,
            certificate: self.certificate.as_ref().map(|found| found.resolve(values)).transpose()?,
            policies: self.policies.iter().map(|policy| policy.resolve(values)).collect::<Result<_, _>>()?,
            device_configuration: BTreeMap::new(),
        })
    }
}

/// A resource being read.
struct Place<'a> {
    name: &'a str,
    properties: &'a Map<String, Value>,
    settings: &'a Map<String, Value>,
    scope: &'a Scope<'a>,
}

impl Place<'_> {
    fn known(&self, properties: &[&str], settings: &[&str]) -> Result<(), Error> {
        known(self.name, self.properties, properties)?;
        known(self.name, self.settings, settings)
    }

    fn property(&self, name: &str) -> Result<Option<Expression>, Error> {
        let value = self.properties.get(name);
        value.map(|value| Expression::parse(&format!("{}.{name}", self.name), value, self.scope)).transpose()
    }

    /// The override settings of properties, each named in two ways, out of those it may have.
    fn overrides(
        &self,
        of: &[(&[&'static str; 2], bool)],
    ) -> Result<BTreeMap<&'static str, Override>, Error> {
        let mut overrides = BTreeMap::new();
        for ([name, other], merges) in of {
            let Some(value) = self.settings.get(*name).or_else(|| self.settings.get(*other)) else {
                continue;
            };
            let setting: Option<Override> = serde_json::from_value(value.clone()).ok();
            let setting = setting.filter(|setting| *merges || *setting != Override::Merge);
            let wrong =
                || Error::new(format!("{}: the override of {name} is none that it may have", self.name));
            overrides.insert(*name, setting.ok_or_else(wrong)?);
        }
        Ok(overrides)
    }
}

fn thing(name: &str, at: &Place<'_>) -> Result<Thing, Error> {
    let properties = ["ThingName", "AttributePayload", "ThingTypeName", "ThingGroups", "BillingGroup"];
    let [a, b, c] = [ATTRIBUTES, THING_TYPE, GROUPS];
    at.known(&properties, &[a, b, c].concat())?;
    let attributes = at.properties.get("AttributePayload");
    let place = format!("{}.AttributePayload", at.name);
    Ok(Thing {
        logical_name: name.to_owned(),
        name: at.property("ThingName")?.ok_or_else(|| Error::new(format!("{} has no ThingName", at.name)))?,
        attributes: attributes.map(|value| expressions(&place, value, at.scope)).transpose()?,
        thing_type: at.property("ThingTypeName")?,
        groups: at.property("ThingGroups")?,
        billing_group: at.property("BillingGroup")?,
        overrides: at.overrides(&[(&ATTRIBUTES, true), (&THING_TYPE, false), (&GROUPS, true)])?,
    })
}

fn certificate(name: &str, purpose: Purpose, at: &Place<'_>) -> Result<Certificate, Error> {
    let properties =
        ["CertificateSigningRequest", "CertificateId", "CertificatePem", "CACertificatePem", "Status"];
    at.known(&properties, &STATUS)?;
    let request = at.property("CertificateSigningRequest")?;
    let (id, pem) = (at.property("CertificateId")?, at.property("CertificatePem")?);
    let ca_certificate = at.property("CACertificatePem")?;
    let source = match (request, id, pem, ca_certificate) {
        (Some(request), None, None, None) => Source::SigningRequest(request),
        (None, Some(id), None, None) => Source::Id(id),
        (None, None, Some(certificate), ca_certificate) => Source::Pem { certificate, ca_certificate },
        _ => {
            let ways = "CertificateSigningRequest, CertificateId and CertificatePem";
            return Err(Error::new(format!("{} must have exactly one of {ways}", at.name)));
        }
    };
    let own = format!("{CERTIFICATE}Id");
    let is_own = matches!(&source, Source::Id(Expression::Ref(name)) if *name == own);
    if purpose == Purpose::Provisioning && !is_own {
        return Err(Error::new(format!("{}: CertificateId must be {{\"Ref\": \"{own}\"}}", at.name)));
    }
    Ok(Certificate {
        logical_name: name.to_owned(),
        source,
        status: at.property("Status")?,
        overrides: at.overrides(&[(&STATUS, false)])?,
    })
}

fn policy(name: &str, at: &Place<'_>) -> Result<Policy, Error> {
    at.known(&["PolicyName", "PolicyDocument"], &[])?;
    let source = match (at.property_or_json("PolicyDocument")?, at.property("PolicyName")?) {
        (None, Some(name)) => Document::Name(name),
        (Some(document), None) => document,
        _ => return Err(Error::new(format!("{} must have either PolicyName or PolicyDocument", at.name))),
    };
    Ok(Policy { logical_name: name.to_owned(), source })
}

impl Place<'_> {
    /// A document: a text, or JSON in which functions may stand.
    fn property_or_json(&self, name: &str) -> Result<Option<Document>, Error> {
        match self.properties.get(name) {
            Some(value @ Value::Object(_)) if !Expression::is_function(value) => {
                check_json(&format!("{}.{name}", self.name), value, self.scope)?;
                Ok(Some(Document::Json(value.clone())))
            }
            _ => Ok(self.property(name)?.map(Document::Text)),
        }
    }
}

/// Checks the functions in a document.
fn check_json(place: &str, value: &Value, scope: &Scope<'_>) -> Result<(), Error> {
    match value {
        Value::Object(_) if Expression::is_function(value) => {
            Expression::parse(place, value, scope).map(drop)
        }
        Value::Object(members) => members.values().try_for_each(|value| check_json(place, value, scope)),
        Value::Array(items) => items.iter().try_for_each(|value| check_json(place, value, scope)),
        _ => Ok(()),
    }
}

/// A document with its functions computed.
fn computed_json(value: &Value, values: &Values<'_>) -> Result<Value, Error> {
    Ok(match value {
        Value::Object(_) if Expression::is_function(value) => {
            // The names in it were checked when the template was read.
            let scope = Scope { parameters: values.declared };
            Value::String(Expression::parse("PolicyDocument", value, &scope)?.text(values)?)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| Ok((name.clone(), computed_json(value, values)?));
            Value::Object(members.iter().map(member).collect::<Result<_, Error>>()?)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|value| computed_json(value, values)).collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

impl Thing {
    fn resolve(&self, values: &Values<'_>) -> Result<PlannedThing, Error> {
        let text = |expression: &Option<Expression>| {
            expression.as_ref().map(|expression| expression.text(values)).transpose()
        };
        let attributes = self.attributes.as_ref().map(|attributes| {
            let pair = |(name, value): (&String, &Expression)| Ok((name.clone(), value.text(values)?));
            attributes.iter().map(pair).collect::<Result<_, Error>>()
        });
        let setting = |name: &str| self.overrides.get(name).copied().unwrap_or(Override::DoNothing);
        Ok(PlannedThing {
            logical_name: self.logical_name.clone(),
            thing_name: self.name.text(values)?,
            attributes: attributes.transpose()?,
            thing_type_name: text(&self.thing_type)?,
            thing_groups: self.groups.as_ref().map(|groups| groups.list(values)).transpose()?,
            billing_group_name: text(&self.billing_group)?,
            attributes_override: setting(ATTRIBUTES[0]),
            thing_type_override: setting(THING_TYPE[0]),
            thing_groups_override: setting(GROUPS[0]),
        })
    }
}

impl Certificate {
    fn resolve(&self, values: &Values<'_>) -> Result<PlannedCertificate, Error> {
        let source = match &self.source {
            Source::SigningRequest(request) => CertificateSource::SigningRequest(request.text(values)?),
            Source::Id(id) => CertificateSource::Id(id.text(values)?),
            Source::Pem { certificate, ca_certificate } => CertificateSource::Pem {
                certificate: certificate.text(values)?,
                ca_certificate: ca_certificate.as_ref().map(|ca| ca.text(values)).transpose()?,
            },
        };
        let status = self.status.as_ref().map(|status| status.text(values)).transpose()?;
        let active = match status.as_deref() {
            None => true,
            Some(status) if status.eq_ignore_ascii_case("ACTIVE") => true,
            Some(status) if status.eq_ignore_ascii_case("INACTIVE") => false,
            Some(other) => {
                return Err(Error::new(format!("Status '{}' is neither ACTIVE nor INACTIVE", shown(other))));
            }
        };
        let status_override = self.overrides.get(STATUS[0]).copied().unwrap_or(Override::Replace);
        Ok(PlannedCertificate { logical_name: self.logical_name.clone(), source, active, status_override })
    }
}

impl Policy {
    fn resolve(&self, values: &Values<'_>) -> Result<PlannedPolicy, Error> {
        let source = match &self.source {
            Document::Name(name) => PolicySource::Name(name.text(values)?),
            Document::Text(text) => PolicySource::Document(text.text(values)?),
            Document::Json(value) => PolicySource::Document(computed_json(value, values)?.to_string()),
        };
        Ok(PlannedPolicy { logical_name: self.logical_name.clone(), source })
    }
}
