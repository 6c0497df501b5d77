//! Domain configurations (security.md section 5).

use fleethaven_registry::shapes::{
    ApplicationProtocol, AuthenticationType, AuthorizerConfig, CreateDomainConfiguration,
    DomainConfigurationSummary, ServerCertificateSummary, ServiceType, UpdateDomainConfiguration,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use self::defaults::Beginning;
use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, members_of, seconds, word};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

mod defaults;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let given = body.string("domainName")?;
    let managed = given.is_none();
    let domain_name = given.map_or_else(|| name_below(call), Ok)?;
    let action = Action::CreateDomainConfiguration(Box::new(CreateDomainConfiguration {
        domain_configuration_name: call.input.label("domainConfigurationName")?,
        domain_name,
        managed,
        server_certificate_arns: body.strings("serverCertificateArns")?.unwrap_or_default(),
        validation_certificate_arn: body.string("validationCertificateArn")?,
        authorizer_config: authorizer_config(&body)?,
        service_type: body.enumeration("serviceType")?.unwrap_or(ServiceType::Data),
        authentication_type: body.enumeration("authenticationType")?.unwrap_or(AuthenticationType::Default),
        application_protocol: body
            .enumeration("applicationProtocol")?
            .unwrap_or(ApplicationProtocol::Default),
        security_policy: security_policy(&body)?,
        ocsp_check: ocsp_check(&body)?.unwrap_or(false),
        ocsp_function_arn: ocsp_function(&body)?,
        ocsp_responder_arn: ocsp_responder(&body)?,
        certificate_callback_arn: certificate_callback(&body)?,
        tags: body_tags(&body)?,
    }));
    told(call, action).await
}

/// A name of the service's own, for a domain configuration without one.
fn name_below(call: &Call<'_>) -> Result<String, Error> {
    let Some(base) = &call.state.config.endpoints.base_domain else {
        return Err(Error::invalid(
            "'domainName' is required: there are names of the service's own only below a --base-domain",
        ));
    };
    let digits = uuid::Uuid::new_v4().simple().to_string();
    Ok(format!("d{}.iot.{base}", digits.get(..16).unwrap_or(&digits)))
}

fn ocsp_check(body: &Members<'_>) -> Result<Option<bool>, Error> {
    let Some(config) = body.object("serverCertificateConfig")? else { return Ok(None) };
    let given = config.value("enableOCSPCheck").is_some();
    given.then(|| config.boolean("enableOCSPCheck")).transpose()
}

/// A configuration without a function takes it away.
fn ocsp_function(body: &Members<'_>) -> Result<Option<String>, Error> {
    let Some(config) = body.object("serverCertificateConfig")? else { return Ok(None) };
    Ok(Some(config.string("ocspLambdaArn")?.unwrap_or_default()))
}

/// A configuration without an authorized responder takes it away.
fn ocsp_responder(body: &Members<'_>) -> Result<Option<String>, Error> {
    let Some(config) = body.object("serverCertificateConfig")? else { return Ok(None) };
    Ok(Some(config.string("ocspAuthorizedResponderArn")?.unwrap_or_default()))
}

/// A configuration without a function takes it away.
fn certificate_callback(body: &Members<'_>) -> Result<Option<String>, Error> {
    let Some(config) = body.object("clientCertificateConfig")? else { return Ok(None) };
    Ok(Some(config.string("clientCertificateCallbackArn")?.unwrap_or_default()))
}

/// Those of default endpoints are as they are.
fn changeable(call: &Call<'_>) -> Result<String, Error> {
    let name = call.input.label("domainConfigurationName")?;
    match defaults::named(&name) {
        Some(_) => Err(Error::invalid(format!("'{name}' is a default endpoint, which cannot be changed"))),
        None => Ok(name),
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
    let action = Action::UpdateDomainConfiguration(Box::new(UpdateDomainConfiguration {
        domain_configuration_name: changeable(call)?,
        authorizer_config: authorizer_config(&body)?,
        remove_authorizer_config: body.boolean("removeAuthorizerConfig")?,
        status: body.enumeration("domainConfigurationStatus")?,
        authentication_type: body.enumeration("authenticationType")?,
        application_protocol: body.enumeration("applicationProtocol")?,
        security_policy: security_policy(&body)?,
        ocsp_check: ocsp_check(&body)?,
        ocsp_function_arn: ocsp_function(&body)?,
        ocsp_responder_arn: ocsp_responder(&body)?,
        certificate_callback_arn: certificate_callback(&body)?,
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
    call.carry_out(Action::DeleteDomainConfiguration(changeable(call)?)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let name = call.input.label("domainConfigurationName")?;
    if let Some(default) = defaults::named(&name) {
        return Ok(default.describe(call));
    }
    let query = QueryKind::DescribeDomainConfiguration(name);
    let found = expect_reply!(call.query(query).await?, QueryReply::DomainConfiguration(found) => *found);
    let certificates = answer::list(found.server_certificates, certificate);
    let authorizer = found.authorizer_config.map(|config| {
        members_of([
            ("defaultAuthorizerName", config.default_authorizer_name.into()),
            ("allowAuthorizerOverride", config.allow_authorizer_override.into()),
        ])
    });
    let stapling = members_of([
        ("enableOCSPCheck", found.ocsp_check.into()),
        ("ocspLambdaArn", found.ocsp_function_arn.into()),
        ("ocspAuthorizedResponderArn", found.ocsp_responder_arn.into()),
    ]);
    let callback = found.certificate_callback_arn.map(|arn| json!({"clientCertificateCallbackArn": arn}));
    Ok(Answer::of([
        ("domainConfigurationName", found.summary.domain_configuration_name.into()),
        ("domainConfigurationArn", found.summary.domain_configuration_arn.into()),
        ("domainName", found.domain_name.into()),
        ("serverCertificates", certificates),
        ("authorizerConfig", authorizer.unwrap_or_default()),
        ("domainConfigurationStatus", word(found.status)),
        ("serviceType", word(found.summary.service_type)),
        ("domainType", if found.managed { "AWS_MANAGED" } else { "CUSTOMER_MANAGED" }.into()),
        ("lastStatusChangeDate", seconds(found.status_changed_at)),
        ("tlsConfig", json!({"securityPolicy": found.security_policy})),
        ("serverCertificateConfig", stapling),
        ("authenticationType", word(found.authentication_type)),
        ("applicationProtocol", word(found.application_protocol)),
        ("clientCertificateConfig", callback.unwrap_or_default()),
    ]))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let service_type = call.input.query_enumeration("serviceType")?;
    let Beginning { mut items, rest } = defaults::begin(call, call.input.marker_page()?, service_type);
    let next = match rest {
        Ok(page) => {
            let query = QueryKind::ListDomainConfigurations { service_type, page };
            let reply = call.query(query).await?;
            let page = expect_reply!(reply, QueryReply::DomainConfigurations(page) => page);
            items.extend(page.items.into_iter().map(summary));
            page.next
        }
        Err(marker) => Some(marker),
    };
    Ok(Answer::of([("domainConfigurations", items.into()), ("nextMarker", next.into())]))
}

fn certificate(standing: ServerCertificateSummary) -> Value {
    members_of([
        ("serverCertificateArn", standing.server_certificate_arn.into()),
        ("serverCertificateStatus", if standing.fault.is_none() { "VALID" } else { "INVALID" }.into()),
        ("serverCertificateStatusDetail", standing.fault.into()),
    ])
}

fn summary(item: DomainConfigurationSummary) -> Value {
    json!({
        "domainConfigurationName": item.domain_configuration_name,
        "domainConfigurationArn": item.domain_configuration_arn,
        "serviceType": item.service_type,
    })
}
