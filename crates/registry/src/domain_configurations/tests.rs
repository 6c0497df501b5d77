//! security.md section 5.

use std::collections::BTreeMap;

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn configuration(name: &str) -> CreateDomainConfiguration {
    CreateDomainConfiguration {
        domain_configuration_name: name.to_owned(),
        domain_name: format!("{name}.iot.example"),
        managed: false,
        server_certificate_arns: Vec::new(),
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
        tags: vec![tag("k", "v")],
    }
}

fn create(registry: &mut Registry, args: CreateDomainConfiguration) -> Result<Reply, crate::Error> {
    registry.run(Action::CreateDomainConfiguration(Box::new(args)))
}

fn update(
    registry: &mut Registry,
    change: impl FnOnce(&mut UpdateDomainConfiguration),
) -> Result<Reply, crate::Error> {
    let mut args =
        UpdateDomainConfiguration { domain_configuration_name: "d".to_owned(), ..Default::default() };
    change(&mut args);
    registry.run(Action::UpdateDomainConfiguration(Box::new(args)))
}

fn domain(registry: &Registry, name: &str) -> Option<Domain> {
    match registry.ask(QueryKind::Domain(name.to_owned())).unwrap() {
        QueryReply::Domain(found) => found.map(|found| *found),
        other => panic!("{other:?}"),
    }
}

fn authorizer(registry: &mut Registry, name: &str) {
    let args = CreateAuthorizer {
        authorizer_name: name.to_owned(),
        authorizer_function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:f".to_owned(),
        token_key_name: None,
        token_signing_public_keys: BTreeMap::new(),
        status: AuthorizerStatus::Inactive,
        signing_disabled: true,
        enable_caching_for_http: false,
        tags: Vec::new(),
    };
    registry.run(Action::CreateAuthorizer(Box::new(args))).unwrap();
}

#[test]
fn the_life_of_a_domain_configuration() {
    let mut registry = registry();
    let made = create(&mut registry, configuration("d")).unwrap();
    let Reply::DomainConfiguration(told) = made else { panic!("{made:?}") };
    assert!(told.domain_configuration_arn.starts_with(&arn("domainconfiguration", "d/")));
    assert_eq!(refusal(create(&mut registry, configuration("d"))), (ResourceAlreadyExistsException, 409));
    let taken = CreateDomainConfiguration { domain_name: "D.iot.Example.".to_owned(), ..configuration("e") };
    assert_eq!(refusal(create(&mut registry, taken)), (InvalidRequestException, 400));
    let found = domain(&registry, "D.IOT.example").unwrap();
    assert!(found.enabled && found.allow_authorizer_override && found.scope == registry.scope);
    assert_eq!(domain(&registry, "other.example"), None);
    let tagged = TagResource { resource_arn: told.domain_configuration_arn, tags: vec![tag("a", "b")] };
    registry.run(Action::TagResource(Box::new(tagged))).unwrap();
    let delete = || Action::DeleteDomainConfiguration("d".to_owned());
    assert_eq!(refusal(registry.run(delete())), (InvalidRequestException, 400));
    update(&mut registry, |args| args.status = Some(DomainConfigurationStatus::Disabled)).unwrap();
    assert!(!domain(&registry, "d.iot.example").unwrap().enabled);
    registry.run(delete()).unwrap();
    assert_eq!(domain(&registry, "d.iot.example"), None);
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
    create(&mut registry, configuration("d")).unwrap();
}

#[test]
fn authorizers_of_domains() {
    let mut registry = registry();
    let with = |default: Option<&str>, allow: Option<bool>| {
        let default_authorizer_name = default.map(str::to_owned);
        Some(AuthorizerConfig { default_authorizer_name, allow_authorizer_override: allow })
    };
    let mut made = |config| {
        create(&mut registry, CreateDomainConfiguration { authorizer_config: config, ..configuration("d") })
    };
    assert_eq!(refusal(made(with(Some("a"), Some(false)))), (InvalidRequestException, 400), "there is none");
    assert_eq!(refusal(made(with(None, None))), (InvalidRequestException, 400));
    authorizer(&mut registry, "a");
    let config = with(Some("a"), None);
    let unsaid = CreateDomainConfiguration { authorizer_config: config, ..configuration("d") };
    assert_eq!(refusal(create(&mut registry, unsaid)), (InvalidRequestException, 400));
    let config = with(Some("a"), Some(false));
    create(&mut registry, CreateDomainConfiguration { authorizer_config: config, ..configuration("d") })
        .unwrap();
    let found = domain(&registry, "d.iot.example").unwrap();
    assert_eq!(
        (found.default_authorizer_name.as_deref(), found.allow_authorizer_override),
        (Some("a"), false)
    );
    let delete = || Action::DeleteAuthorizer("a".to_owned());
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409));
    update(&mut registry, |args| args.remove_authorizer_config = true).unwrap();
    registry.run(delete()).unwrap();
}

#[test]
fn what_goes_together() {
    use ApplicationProtocol as P;
    use AuthenticationType as A;
    let mut registry = registry();
    create(&mut registry, configuration("d")).unwrap();
    let possible = [
        (A::Default, P::Default),
        (A::AwsX509, P::SecureMqtt),
        (A::AwsX509, P::Https),
        (A::CustomAuth, P::SecureMqtt),
        (A::CustomAuth, P::MqttWss),
        (A::CustomAuth, P::Https),
        (A::AwsSigv4, P::MqttWss),
        (A::AwsSigv4, P::Https),
        (A::CustomAuthX509, P::SecureMqtt),
        (A::CustomAuthX509, P::Https),
    ];
    for kind in [A::Default, A::AwsX509, A::CustomAuth, A::AwsSigv4, A::CustomAuthX509] {
        for protocol in [P::Default, P::SecureMqtt, P::MqttWss, P::Https] {
            let updated = update(&mut registry, |args| {
                (args.authentication_type, args.application_protocol) = (Some(kind), Some(protocol));
            });
            assert_eq!(updated.is_ok(), possible.contains(&(kind, protocol)), "{kind:?} {protocol:?}");
        }
    }
    for unknown in ["none", "IoTSecurityPolicy_TLS12_1_0_2016_01"] {
        let updated = update(&mut registry, |args| args.security_policy = Some(unknown.to_owned()));
        assert_eq!(refusal(updated), (InvalidRequestException, 400), "{unknown}");
    }
    let newer = "IoTSecurityPolicy_TLS13_1_3_2022_10";
    update(&mut registry, |args| args.security_policy = Some(newer.to_owned())).unwrap();
    assert_eq!(domain(&registry, "d.iot.example").unwrap().security_policy, newer);
}

#[test]
fn a_function_about_certificates() {
    use AuthenticationType::{AwsSigv4, AwsX509, Default as ByPort};
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:check";
    let with = |kind, arn: &str| CreateDomainConfiguration {
        authentication_type: kind,
        application_protocol: if kind == ByPort {
            ApplicationProtocol::Default
        } else {
            ApplicationProtocol::Https
        },
        certificate_callback_arn: Some(arn.to_owned()),
        ..configuration("d")
    };
    let mut registry = registry();
    for (kind, arn) in [(ByPort, function), (AwsSigv4, function), (AwsX509, "function:check")] {
        assert_eq!(
            refusal(create(&mut registry, with(kind, arn))),
            (InvalidRequestException, 400),
            "{kind:?}"
        );
    }
    let made = create(&mut registry, with(AwsX509, function)).unwrap();
    let Reply::DomainConfiguration(told) = made else { panic!("{made:?}") };
    let found = domain(&registry, "d.iot.example").unwrap().certificate_callback.unwrap();
    assert_eq!(
        (found.function_arn.as_str(), found.domain_configuration_arn),
        (function, told.domain_configuration_arn)
    );
    let other = update(&mut registry, |args| args.authentication_type = Some(AwsSigv4));
    assert_eq!(refusal(other), (InvalidRequestException, 400), "nobody would be asked about");
    update(&mut registry, |args| args.certificate_callback_arn = Some(String::new())).unwrap();
    assert_eq!(domain(&registry, "d.iot.example").unwrap().certificate_callback, None);
    update(&mut registry, |args| args.authentication_type = Some(AwsSigv4)).unwrap();
}

#[test]
fn names_and_numbers() {
    let mut registry = registry();
    for name in ["", "localhost", "a..b", "-a.b", "a_b.c", "*.a.b", "a.b c", &format!("{}.b", "x".repeat(64))]
    {
        let args = CreateDomainConfiguration { domain_name: name.to_owned(), ..configuration("d") };
        assert_eq!(refusal(create(&mut registry, args)), (InvalidRequestException, 400), "{name}");
    }
    for n in 0..10 {
        create(&mut registry, configuration(&format!("d{n}"))).unwrap();
    }
    assert_eq!(refusal(create(&mut registry, configuration("more"))), (LimitExceededException, 410));
}
