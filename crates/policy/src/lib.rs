//! AWS IoT policies: parse, compile and evaluate, with variables and conditions.
//!
//! | module | owns |
//! |---|---|
//! | [`document`](PolicyDocument), `grammar`, `json` | a document, its strict grammar, its statements |
//! | [`action`](Action) | data-plane actions, what each is checked on, action patterns |
//! | [`resource`](Resource) | what a request touches, as parts of an ARN |
//! | `pattern`, `template`, `variable` | wildcards, `${...}`, and what variables stand for |
//! | [`context`](Context), [`certificate`](CertificateAttributes) | the values a caller brings |
//! | `condition` | condition operators |
//! | [`set`](PolicySet), [`evaluate`](PolicySet::evaluate) | the policies of a principal, and a decision |
//! | [`trust`](TrustPolicy) | who may assume a role |
//! | [`specialised`](Specialised) | the same decisions for one connection, per name and without allocation |
//!
//! It does not store policies or attachments, find out which policies apply to a principal, or send a denial.
//!
//! ```
//! use fleethaven_policy::{
//!     Action, Context, Limits, Policy, PolicyDocument, PolicySet, Request, Resource, ResourceKind, Settings,
//! };
//!
//! let text = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:Publish",
//!     "Resource": "arn:aws:iot:*:*:topic/${iot:ClientId}/*"}}"#;
//! let document = PolicyDocument::parse(text, &Limits::default())?;
//! let set = PolicySet::new(vec![Policy::new("own-topics", document)], Settings::default());
//!
//! let context = Context { client_id: Some("pump-7"), ..Context::default() };
//! let (region, account) = ("eu-west-1", "123456789012");
//! let resource = Resource::Arn { region, account, kind: ResourceKind::Topic, name: "pump-7/rpm" };
//! let decision = set.evaluate(&Request { action: Action::Publish.into(), resource, context: &context });
//! assert!(decision.verdict.is_allowed());
//!
//! let publish = set.specialise(&context, Action::Publish, region, account);
//! assert!(publish.decide("pump-7/rpm").is_allowed());
//! assert!(!publish.decide("pump-8/rpm").is_allowed());
//! # Ok::<(), fleethaven_policy::Error>(())
//! ```
#![warn(missing_docs)]

mod action;
mod certificate;
mod condition;
mod context;
mod document;
mod error;
mod evaluate;
#[cfg(test)]
mod fixture;
mod grammar;
mod json;
mod pattern;
mod resource;
mod set;
mod settings;
mod specialised;
mod template;
mod trust;
mod variable;

pub use action::{Action, RequestedAction, ResourceKind, UnknownAction};
pub use certificate::{AlternativeName, CertificateAttributes, CertificateField, NameAttribute};
pub use context::{ConnectAttributes, Context, CustomKeys, ThingContext};
pub use document::{Effect, PolicyDocument, Statement, Version};
pub use error::Error;
pub use evaluate::{Decision, Explanation, Request, Verdict};
pub use resource::Resource;
pub use set::{Policy, PolicySet, StatementRef};
pub use settings::{Limits, Services, Settings};
pub use specialised::Specialised;
pub use trust::{Assumer, Trust, TrustPolicy};
