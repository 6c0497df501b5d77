//! Policy documents: lines of topic and client id, then the document.

use std::net::{IpAddr, Ipv4Addr};

use fleethaven_policy::{
    Action, Context, Limits, Policy, PolicyDocument, PolicySet, Request, Resource, Services, Settings,
    ThingContext,
};

use crate::lines;

const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "123456789012";

pub(crate) fn document(data: &[u8]) {
    let Ok(lines) = lines(data, 3).into_iter().map(std::str::from_utf8).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let [topic, client_id, text] = lines[..] else { return };
    for services in [Services::Iot, Services::Any] {
        let limits = Limits { services, ..Limits::default() };
        if let Ok(document) = PolicyDocument::parse(text, &limits) {
            assert_eq!(document.text(), text);
            decide(document, topic, client_id);
        }
    }
}

/// The specialised form, the explanation and the plain evaluation agree.
fn decide(document: PolicyDocument, topic: &str, client_id: &str) {
    let set = PolicySet::new(vec![Policy::new("p", document)], Settings::default());
    let context = Context {
        client_id: Some(client_id),
        source_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        thing: Some(ThingContext {
            name: client_id,
            type_name: Some("t"),
            attributes: None,
            is_attached: true,
        }),
        ..Context::default()
    };
    for action in [Action::Connect, Action::Publish, Action::Subscribe, Action::Receive] {
        let resource = match action.resource_kind() {
            Some(kind) => Resource::Arn { region: REGION, account: ACCOUNT, kind, name: topic },
            None => Resource::Any,
        };
        let request = Request { action: action.into(), resource, context: &context };
        let verdict = set.evaluate(&request).verdict;
        assert_eq!(set.explain(&request).verdict, verdict);
        let specialised = set.specialise(&context, action, REGION, ACCOUNT);
        assert_eq!(specialised.decide(topic), verdict, "{action} on {topic}");
        assert!(specialised.always().is_none_or(|always| always == verdict), "{action} on {topic}");
        assert!(!(specialised.allows_nothing() && verdict.is_allowed()), "{action} on {topic}");
    }
}
