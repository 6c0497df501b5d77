//! What domains show.

use fleethaven_types::{AccountId, Timestamp};

use super::{Changed, Shows, changed, covers};
use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;
use crate::{View, keys};

const ARN: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b";

fn put(registry: &Registry, arn: &str, names: &[&str]) -> Action {
    Action::PutServerCertificate(Box::new(PutServerCertificate {
        server_certificate_arn: arn.to_owned(),
        certificate_chain: "chain".to_owned(),
        private_key: Secret("key".to_owned()),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        not_after: Timestamp(registry.now.as_millis() + 3_600_000),
    }))
}

fn domain(name: &str, arns: &[&str]) -> Action {
    Action::CreateDomainConfiguration(Box::new(CreateDomainConfiguration {
        domain_configuration_name: name.to_owned(),
        domain_name: format!("{name}.iot.example"),
        managed: false,
        server_certificate_arns: arns.iter().map(|arn| (*arn).to_owned()).collect(),
        validation_certificate_arn: None,
        authorizer_config: None,
        service_type: ServiceType::Data,
        authentication_type: AuthenticationType::Default,
        application_protocol: ApplicationProtocol::Default,
        security_policy: None,
        ocsp_check: false,
        ocsp_function_arn: None,
        ocsp_responder_arn: None,
        certificate_callback_arn: None,
        tags: Vec::new(),
    }))
}

fn list(registry: &Registry) -> Vec<ServerCertificateDescription> {
    match registry.ask(QueryKind::ListServerCertificates(PageRequest::default())).unwrap() {
        QueryReply::ServerCertificates(page) => page.items,
        other => panic!("{other:?}"),
    }
}

fn fault(registry: &Registry, name: &str) -> Option<String> {
    match registry.ask(QueryKind::DescribeDomainConfiguration(name.to_owned())).unwrap() {
        QueryReply::DomainConfiguration(found) => found.server_certificates[0].fault.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_domain_shows_a_certificate_that_is_for_it() {
    let mut registry = registry();
    assert_eq!(
        refusal(registry.run(domain("d", &[ARN]))),
        (CertificateValidationException, 400),
        "there is none"
    );
    let made = put(&registry, ARN, &["other.example"]);
    registry.run(made).unwrap();
    assert_eq!(refusal(registry.run(domain("d", &[ARN]))), (CertificateValidationException, 400));
    let made = put(&registry, ARN, &["*.iot.example"]);
    let Reply::ServerCertificate(told) = registry.run(made).unwrap() else { panic!("another reply") };
    assert!(told.domains.is_empty());
    registry.run(domain("d", &[ARN])).unwrap();
    assert_eq!(fault(&registry, "d"), None);
    assert_eq!(list(&registry)[0].domains, ["d.iot.example"]);
    let other = put(&registry, ARN, &["other.example"]);
    assert_eq!(refusal(registry.run(other)), (CertificateValidationException, 400), "d shows it");
    let delete = || Action::DeleteServerCertificate(ARN.to_owned());
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409));
    registry.wait(3600);
    assert!(fault(&registry, "d").unwrap().contains("expired"));
    let disabled = UpdateDomainConfiguration {
        domain_configuration_name: "d".to_owned(),
        status: Some(DomainConfigurationStatus::Disabled),
        ..UpdateDomainConfiguration::default()
    };
    registry.run(Action::UpdateDomainConfiguration(Box::new(disabled))).unwrap();
    registry.run(Action::DeleteDomainConfiguration("d".to_owned())).unwrap();
    registry.run(delete()).unwrap();
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
}

#[test]
fn arns_and_names() {
    let mut registry = registry();
    for arn in [
        "",
        "arn:aws:acm:eu-west-1:123456789012:certificate/",
        "arn:aws:acm:eu-west-1:12:certificate/a",
        "arn:aws:iot:eu-west-1:123456789012:certificate/a",
        "arn:aws:acm:eu-west-1:123456789012:certificate/a b",
        "arn:aws:acm:eu-west-1:123456789012:certificate/a:b",
    ] {
        let made = put(&registry, arn, &["a.example"]);
        assert_eq!(refusal(registry.run(made)), (InvalidRequestException, 400), "{arn}");
    }
    let names = ["device.example".to_owned(), "*.fleet.example".to_owned()];
    for (name, covered) in [
        ("device.example", true),
        ("a.fleet.example", true),
        ("fleet.example", false),
        ("a.b.fleet.example", false),
        ("a.device.example", false),
    ] {
        assert_eq!(covers(&names, name), covered, "{name}");
    }
}

#[test]
fn what_listeners_learn() {
    let mut registry = registry();
    let made = put(&registry, ARN, &["*.iot.example"]);
    registry.run(made).unwrap();
    registry.run(domain("d", &[ARN])).unwrap();
    registry.run(domain("e", &[])).unwrap();
    let account: AccountId = registry.scope.account;
    let read = |key: &[u8]| changed(key, registry.view.get(key).as_deref());
    let certificate = keys::server_certificate(account, ARN);
    let Some(Changed::Certificate { arn, certificate: Some(record), .. }) = read(&certificate) else {
        panic!("another change")
    };
    assert_eq!((arn.as_str(), record.private_key.as_str()), (ARN, "key"));
    assert!(!format!("{record:?}").contains("key"));
    let gone = changed(&certificate, None);
    assert_eq!(gone, Some(Changed::Certificate { account, arn: ARN.to_owned(), certificate: None }));
    let shows = Shows {
        scope: registry.scope,
        configuration: "d".to_owned(),
        server_certificate_arn: ARN.to_owned(),
        ocsp_check: false,
        ocsp_function: None,
        ocsp_responder_arn: None,
    };
    for (name, shows) in [("d", Some(shows.clone())), ("e", None)] {
        let name = format!("{name}.iot.example");
        let key = keys::domain_owner(&name);
        assert_eq!(read(&key), Some(Changed::Domain { name, shows }));
    }
    assert_eq!(changed(&keys::ticket_keys(), None), None);
    let asking = |name: &str| UpdateDomainConfiguration {
        domain_configuration_name: name.to_owned(),
        ocsp_check: Some(true),
        ..UpdateDomainConfiguration::default()
    };
    let update = |args| Action::UpdateDomainConfiguration(Box::new(args));
    registry.run(update(asking("d"))).unwrap();
    assert_eq!(refusal(registry.run(update(asking("e")))), (InvalidRequestException, 400), "it shows none");
    let key = keys::domain_owner("d.iot.example");
    let now = changed(&key, registry.view.get(&key).as_deref());
    let name = "d.iot.example".to_owned();
    let checked = Shows { ocsp_check: true, ..shows };
    assert_eq!(now, Some(Changed::Domain { name: name.clone(), shows: Some(checked.clone()) }));
    // By a function of the account's, and no more.
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:ocsp";
    let by = |registry: &mut Registry, arn: &str| {
        let args = UpdateDomainConfiguration { ocsp_function_arn: Some(arn.to_owned()), ..asking("d") };
        registry.run(update(args))
    };
    assert_eq!(refusal(by(&mut registry, "no ARN")), (InvalidRequestException, 400));
    by(&mut registry, function).unwrap();
    let read = |registry: &Registry| changed(&key, registry.view.get(&key).as_deref());
    let Some(Changed::Domain { shows: Some(Shows { ocsp_function: Some(named), .. }), .. }) = read(&registry)
    else {
        panic!("no function")
    };
    assert_eq!(named.function_arn, function);
    assert!(named.domain_configuration_arn.contains(":domainconfiguration/d/"));
    by(&mut registry, "").unwrap();
    assert_eq!(read(&registry), Some(Changed::Domain { name: name.clone(), shows: Some(checked.clone()) }));
    // Signed by nobody but a certificate that is for no server.
    let responder = format!("{ARN}-responder");
    let signed_by = |registry: &mut Registry, arn: &str| {
        let args = UpdateDomainConfiguration { ocsp_responder_arn: Some(arn.to_owned()), ..asking("d") };
        registry.run(update(args))
    };
    assert_eq!(refusal(signed_by(&mut registry, &responder)), (CertificateValidationException, 400));
    let made = put(&registry, &responder, &[]);
    registry.run(made).unwrap();
    assert!(registry.run(domain("f", &[&responder])).is_err(), "it is for no domain");
    signed_by(&mut registry, &responder).unwrap();
    let signed = Shows { ocsp_responder_arn: Some(responder.clone()), ..checked.clone() };
    assert_eq!(read(&registry), Some(Changed::Domain { name: name.clone(), shows: Some(signed) }));
    let delete = || Action::DeleteServerCertificate(responder.clone());
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409));
    signed_by(&mut registry, "").unwrap();
    assert_eq!(read(&registry), Some(Changed::Domain { name, shows: Some(checked) }));
    registry.run(delete()).unwrap();
}
