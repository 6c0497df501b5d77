//! Provisioning templates (provisioning.md section 7.2): what a thing, its certificate and its policies are made of, with
//! parameters and functions.
//!
//! [`Template::parse`] checks everything that can be checked without parameters; [`Template::resolve`] puts them in and
//! gives the [`Plan`] that `Action::Provision` carries out. Both are bounded: a body has [`MAX_BODY`] characters at most,
//! and no value grows beyond [`MAX_TEXT`] bytes, however functions are nested.

mod expression;
mod resources;

pub use resources::{
    CertificateSource, Override, Plan, PlannedCertificate, PlannedPolicy, PlannedThing, PolicySource,
};

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use expression::{Expression, Scope};
use resources::Resources;

/// Longest template body, in characters.
pub const MAX_BODY: usize = 10_240;
/// Longest text that functions may make, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// How the names of parameters begin whose values come from the certificate.
pub const CERTIFICATE: &str = "AWS::IoT::Certificate::";

/// What is wrong with a template, or with the parameters that it is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub struct Error(String);

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// What a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// RegisterThing and bulk registration: certificates come from a CSR, a PEM or an id.
    Registration,
    /// Fleet provisioning and just-in-time provisioning: the certificate is there already, as
    /// `{"Ref": "AWS::IoT::Certificate::Id"}`.
    Provisioning,
}

/// Literals by mapping, first key and second key.
type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// A template that makes sense by itself.
#[derive(Debug, Clone)]
pub struct Template {
    /// Declared parameters with their defaults.
    parameters: BTreeMap<String, Option<String>>,
    mappings: Mappings,
    resources: Resources,
    device_configuration: BTreeMap<String, Expression>,
}

impl Template {
    /// Reads and checks a body.
    ///
    /// # Errors
    /// What is wrong first, with its place.
    pub fn parse(body: &str, purpose: Purpose) -> Result<Self, Error> {
        if body.chars().count() > MAX_BODY {
            return Err(Error::new(format!("it has more than {MAX_BODY} characters")));
        }
        let value: Value =
            serde_json::from_str(body).map_err(|error| Error::new(format!("it is no JSON: {error}")))?;
        let top = object("the template", &value)?;
        let allowed = ["Parameters", "Mappings", "Resources", "DeviceConfiguration"];
        known("the template", top, &allowed)?;
        let parameters = parameters(top.get("Parameters"))?;
        let mappings = mappings(top.get("Mappings"))?;
        let scope = Scope { parameters: &parameters };
        let resources = top.get("Resources").ok_or_else(|| Error::new("Resources is missing"))?;
        let resources = Resources::parse(resources, purpose, &scope)?;
        let device_configuration = match top.get("DeviceConfiguration") {
            Some(value) => expressions("DeviceConfiguration", value, &scope)?,
            None => BTreeMap::new(),
        };
        Ok(Self { parameters, mappings, resources, device_configuration })
    }

    /// Checks that the certificate has everything that is declared to come from it (just-in-time provisioning).
    ///
    /// # Errors
    /// What is missing.
    pub fn check_certificate(&self, certificate: &BTreeMap<String, String>) -> Result<(), Error> {
        let mut declared = self.parameters.keys().filter(|name| name.starts_with(CERTIFICATE));
        match declared.find(|name| !certificate.contains_key(*name)) {
            Some(name) => Err(Error::new(format!("the certificate has no {}", shown(name)))),
            None => Ok(()),
        }
    }

    /// What is to be made with these parameters. `certificate`: values of `AWS::IoT::Certificate::…` by their whole
    /// names; nobody else's parameters can have such names. Parameters that the template does not declare are ignored.
    ///
    /// # Errors
    /// A parameter without a value, a function that fails, a value that is too long.
    pub fn resolve(
        &self,
        given: &BTreeMap<String, String>,
        certificate: &BTreeMap<String, String>,
    ) -> Result<Plan, Error> {
        let values =
            expression::Values { given, certificate, declared: &self.parameters, mappings: &self.mappings };
        let mut plan = self.resources.resolve(&values)?;
        for (name, expression) in &self.device_configuration {
            plan.device_configuration.insert(name.clone(), expression.text(&values)?);
        }
        Ok(plan)
    }
}

fn object<'a>(place: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| Error::new(format!("{place} must be an object")))
}

/// Refuses members that nobody would look at.
fn known(place: &str, object: &Map<String, Value>, allowed: &[&str]) -> Result<(), Error> {
    match object.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => Err(Error::new(format!("{place} has the unknown member '{}'", shown(name)))),
        None => Ok(()),
    }
}

/// The start of a name that an error message shows.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A literal: a text, or a number or truth value as text.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn parameters(value: Option<&Value>) -> Result<BTreeMap<String, Option<String>>, Error> {
    let mut parameters = BTreeMap::new();
    let Some(value) = value else { return Ok(parameters) };
    for (name, declaration) in object("Parameters", value)? {
        let place = format!("parameter '{}'", shown(name));
        let declaration = object(&place, declaration)?;
        known(&place, declaration, &["Type", "Default", "Description"])?;
        if declaration.get("Type").and_then(Value::as_str) != Some("String") {
            return Err(Error::new(format!("{place} must have the Type String")));
        }
        let default = match declaration.get("Default") {
            Some(value) => {
                let text =
                    literal(value).ok_or_else(|| Error::new(format!("{place}: Default must be a text")));
                Some(text?)
            }
            None => None,
        };
        parameters.insert(name.clone(), default);
    }
    Ok(parameters)
}

fn mappings(value: Option<&Value>) -> Result<Mappings, Error> {
    let mut mappings = BTreeMap::new();
    let Some(value) = value else { return Ok(mappings) };
    for (name, rows) in object("Mappings", value)? {
        let place = format!("mapping '{}'", shown(name));
        let mut table = BTreeMap::new();
        for (key, cells) in object(&place, rows)? {
            let cell = |(name, value): (&String, &Value)| Some((name.clone(), literal(value)?));
            let cells: Option<_> = object(&place, cells)?.iter().map(cell).collect();
            let cells = cells.ok_or_else(|| Error::new(format!("{place} may have nothing but texts")))?;
            table.insert(key.clone(), cells);
        }
        mappings.insert(name.clone(), table);
    }
    Ok(mappings)
}

/// The members of an object, each an expression.
fn expressions(place: &str, value: &Value, scope: &Scope<'_>) -> Result<BTreeMap<String, Expression>, Error> {
    let members = object(place, value)?.iter();
    let member = |(name, value): (&String, &Value)| {
        let place = format!("{place}.{}", shown(name));
        Ok((name.clone(), Expression::parse(&place, value, scope)?))
    };
    members.map(member).collect()
}

#[cfg(test)]
mod tests;
