//! Domain configurations (security.md section 5).

use fleethaven_registry::shapes::{
    ApplicationProtocol, AuthenticationType, AuthorizerConfig, CreateDomainConfiguration,
    DomainConfigurationSummary, ServiceType, UpdateDomainConfiguration,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, members_of, seconds, word};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

/// Members that would have to change what happens in the handshake: nothing is pretended.
const NOT_BUILT: [&str; 2] = ["serverCertificateConfig", "clientCertificateConfig"];

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    check_built(&body)?;
    let named = body.string("domainName")?;
    let nameless =
        || Error::invalid("'domainName' is required: there are no domain names of the service's own");
    let action = Action::CreateDomainConfiguration(Box::new(CreateDomainConfiguration {
        domain_configuration_name: call.input.label("domainConfigurationName")?,
        domain_name: named.ok_or_else(nameless)?,
        server_certificate_arns: body.strings("serverCertificateArns")?.unwrap_or_default(),
        validation_certificate_arn: body.string("validationCertificateArn")?,
        authorizer_config: authorizer_config(&body)?,
        service_type: body.enumeration("serviceType")?.unwrap_or(ServiceType::Data),
        authentication_type: body.enumeration("authenticationType")?.unwrap_or(AuthenticationType::Default),
        application_protocol: body
            .enumeration("applicationProtocol")?
            .unwrap_or(ApplicationProtocol::Default),
        security_policy: security_policy(&body)?,
        tags: body_tags(&body)?,
    }));
    told(call, action).await
}

fn check_built(body: &Members<'_>) -> Result<(), Error> {
    match NOT_BUILT.into_iter().find(|name| body.value(name).is_some()) {
        Some(name) => Err(Error::invalid(format!("'{name}' is not built yet"))),
        None => Ok(()),
    }
}

fn authorizer_config(body: &Members<'_>) -> Result<Option<AuthorizerConfig>, Error> {
    let Some(config) = body.object("authorizerConfig")? else { return Ok(None) };
    let allow = config.value("allowAuthorizerOverride").is_some();
    Ok(Some(AuthorizerConfig {
        default_authorizer_name: config.string("defaultAuthorizerName")?,
        allow_authorizer_override: allow.then(|| config.boolean("allowAuthorizerOverride")).transpose()?,
    }))
}

fn security_policy(body: &Members<'_>) -> Result<Option<String>, Error> {
    body.object("tlsConfig")?.map_or(Ok(None), |tls| tls.string("securityPolicy"))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    check_built(&body)?;
    let action = Action::UpdateDomainConfiguration(Box::new(UpdateDomainConfiguration {
        domain_configuration_name: call.input.label("domainConfigurationName")?,
        authorizer_config: authorizer_config(&body)?,
        remove_authorizer_config: body.boolean("removeAuthorizerConfig")?,
        status: body.enumeration("domainConfigurationStatus")?,
        authentication_type: body.enumeration("authenticationType")?,
        application_protocol: body.enumeration("applicationProtocol")?,
        security_policy: security_policy(&body)?,
    }));
    told(call, action).await
}

async fn told(call: &Call<'_>, action: Action) -> Outcome {
    let told = expect_reply!(call.execute(action).await?, Reply::DomainConfiguration(told) => *told);
    Ok(Answer::of([
        ("domainConfigurationName", told.domain_configuration_name.into()),
        ("domainConfigurationArn", told.domain_configuration_arn.into()),
    ]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteDomainConfiguration(call.input.label("domainConfigurationName")?)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeDomainConfiguration(call.input.label("domainConfigurationName")?);
    let found = expect_reply!(call.query(query).await?, QueryReply::DomainConfiguration(found) => *found);
    let certificates =
        answer::list(found.server_certificate_arns, |arn| json!({"serverCertificateArn": arn}));
    let authorizer = found.authorizer_config.map(|config| {
        members_of([
            ("defaultAuthorizerName", config.default_authorizer_name.into()),
            ("allowAuthorizerOverride", config.allow_authorizer_override.into()),
        ])
    });
    Ok(Answer::of([
        ("domainConfigurationName", found.summary.domain_configuration_name.into()),
        ("domainConfigurationArn", found.summary.domain_configuration_arn.into()),
        ("domainName", found.domain_name.into()),
        ("serverCertificates", certificates),
        ("authorizerConfig", authorizer.unwrap_or_default()),
        ("domainConfigurationStatus", word(found.status)),
        ("serviceType", word(found.summary.service_type)),
        ("domainType", "CUSTOMER_MANAGED".into()),
        ("lastStatusChangeDate", seconds(found.status_changed_at)),
        ("tlsConfig", json!({"securityPolicy": found.security_policy})),
        ("authenticationType", word(found.authentication_type)),
        ("applicationProtocol", word(found.application_protocol)),
    ]))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListDomainConfigurations {
        service_type: call.input.query_enumeration("serviceType")?,
        page: call.input.marker_page()?,
    };
    let page = expect_reply!(call.query(query).await?, QueryReply::DomainConfigurations(page) => page);
    let items = answer::list(page.items, summary);
    Ok(Answer::of([("domainConfigurations", items), ("nextMarker", page.next.into())]))
}

fn summary(item: DomainConfigurationSummary) -> Value {
    json!({
        "domainConfigurationName": item.domain_configuration_name,
        "domainConfigurationArn": item.domain_configuration_arn,
        "serviceType": item.service_type,
    })
}
