//! Rules of domain configurations (security.md section 5).

use fleethaven_types::{AccountId, Arn, Scope, Timestamp};
use prost::Message;

use crate::authorizers;
use crate::command::{Context, Reply};
use crate::error::Error;
use crate::ids;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::server_certificates;
use crate::shapes::{
    ApplicationProtocol, AuthenticationType, AuthorizerConfig, CreateDomainConfiguration, Domain,
    DomainConfigurationDescription, DomainConfigurationStatus, DomainConfigurationSummary, DomainFunction,
    Listed, PageRequest, ServiceType, UpdateDomainConfiguration,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "domainconfiguration";
/// AWS's default policy.
pub const DEFAULT_POLICY: &str = "IoTSecurityPolicy_TLS13_1_2_2022_10";
/// AWS's policies that are meant by their names.
const SECURITY_POLICIES: [&str; 3] =
    [DEFAULT_POLICY, "IoTSecurityPolicy_TLS13_1_3_2022_10", "IoTSecurityPolicy_TLS12_1_2_2022_10"];
/// AWS's policies for devices that need cipher suites which are not here.
const LEGACY_POLICIES: [&str; 2] =
    ["IoTSecurityPolicy_TLS12_1_0_2016_01", "IoTSecurityPolicy_TLS12_1_0_2015_01"];

/// CreateDomainConfiguration.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateDomainConfiguration) -> Outcome {
    let name = &args.domain_configuration_name;
    syntax::domain_configuration_name(name)?;
    let key = keys::domain_configuration(store.scope, name);
    if let Some(present) = store.record::<record::DomainConfiguration>(&key)? {
        let message = format!("Domain configuration '{name}' already exists");
        return Err(Error::exists(message, name.as_str(), arn(store, name, &present.id)));
    }
    if args.service_type != ServiceType::Data {
        return Err(Error::invalid("serviceType must be DATA"));
    }
    if args.server_certificate_arns.len() > 1 {
        return Err(Error::invalid("serverCertificateArns may have one ARN"));
    }
    if args.managed && !args.server_certificate_arns.is_empty() {
        return Err(Error::invalid("serverCertificateArns needs a domainName"));
    }
    let domain_name = syntax::domain_name(&args.domain_name)?;
    if let Some(arn) = &args.validation_certificate_arn {
        syntax::server_certificate_arn(arn)?;
    }
    for arn in &args.server_certificate_arns {
        syntax::server_certificate_arn(arn)?;
        server_certificates::check_for(store, arn, &domain_name, context.now)?;
    }
    let configuration = record::DomainConfiguration {
        id: ids::uuid(&context.random).split('-').next().unwrap_or_default().to_owned(),
        domain_name: domain_name.clone(),
        server_certificate_arns: args.server_certificate_arns.clone(),
        validation_certificate_arn: args.validation_certificate_arn.clone(),
        authorizer: args.authorizer_config.as_ref().map(stored),
        service_type: args.service_type.into(),
        authentication_type: args.authentication_type.into(),
        application_protocol: args.application_protocol.into(),
        security_policy: args.security_policy.clone().unwrap_or_else(|| DEFAULT_POLICY.to_owned()),
        status: DomainConfigurationStatus::Enabled.into(),
        status_changed_at: context.now.as_millis(),
        managed: args.managed,
        ocsp_check: args.ocsp_check,
        certificate_callback_arn: args.certificate_callback_arn.clone().unwrap_or_default(),
        ocsp_function_arn: args.ocsp_function_arn.clone().unwrap_or_default(),
        ocsp_responder_arn: args.ocsp_responder_arn.clone().unwrap_or_default(),
    };
    check_policy(&configuration.security_policy)?;
    check(store, &configuration)?;
    let most = context.limits.domain_configurations;
    if store.count(&keys::domain_configurations_prefix(store.scope), most) >= most {
        return Err(Error::limit(format!(
            "there are {most} domain configurations, which is the most allowed"
        )));
    }
    let owner_key = keys::domain_owner(&domain_name);
    if store.exists(&owner_key) {
        return Err(Error::invalid(format!("the domain name '{domain_name}' cannot be used: it is taken")));
    }
    let owner = record::DomainOwner {
        account: store.scope.account.as_u64(),
        region: store.scope.region.to_string(),
        configuration: name.clone(),
        server_certificate_arn: args.server_certificate_arns.first().cloned(),
        ocsp_check: args.ocsp_check,
        ocsp_function_arn: configuration.ocsp_function_arn.clone(),
        id: configuration.id.clone(),
        ocsp_responder_arn: configuration.ocsp_responder_arn.clone(),
    };
    let mut effects = Effects::default();
    effects.put(key, configuration.encode_to_vec());
    effects.put(owner_key, owner.encode_to_vec());
    let arn = arn(store, name, &configuration.id);
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    Ok((told(store, name, &configuration), effects))
}

fn stored(config: &AuthorizerConfig) -> record::DomainAuthorizer {
    record::DomainAuthorizer {
        default_name: config.default_authorizer_name.clone(),
        allow_override: config.allow_authorizer_override,
    }
}

/// What holds of every configuration, whatever was changed.
fn check(store: &Store<'_>, configuration: &record::DomainConfiguration) -> Result<(), Error> {
    if let Some(authorizer) = &configuration.authorizer {
        match &authorizer.default_name {
            Some(name) => {
                authorizers::required(store, name).map(drop).map_err(|error| Error::invalid(error.message))?
            }
            None if authorizer.allow_override.is_none() => {
                return Err(Error::invalid("authorizerConfig has no member"));
            }
            None => {}
        }
        if authorizer.default_name.is_some() && authorizer.allow_override.is_none() {
            return Err(Error::invalid("allowAuthorizerOverride is required beside defaultAuthorizerName"));
        }
    }
    if configuration.ocsp_check && configuration.server_certificate_arns.is_empty() {
        return Err(Error::invalid("enableOCSPCheck is for domains with a server certificate of their own"));
    }
    if !configuration.ocsp_function_arn.is_empty() {
        syntax::function_arn(&configuration.ocsp_function_arn)?;
    }
    if !configuration.ocsp_responder_arn.is_empty() {
        syntax::server_certificate_arn(&configuration.ocsp_responder_arn)?;
        server_certificates::required(store, &configuration.ocsp_responder_arn)?;
    }
    let (kind, protocol) = (configuration.authentication_type(), configuration.application_protocol());
    if !configuration.certificate_callback_arn.is_empty() {
        syntax::function_arn(&configuration.certificate_callback_arn)?;
        if !matches!(kind, AuthenticationType::AwsX509 | AuthenticationType::CustomAuthX509) {
            return Err(Error::invalid(
                "clientCertificateCallbackArn is for the authenticationTypes AWS_X509 and CUSTOM_AUTH_X509",
            ));
        }
    }
    if is_possible(kind, protocol) {
        return Ok(());
    }
    Err(Error::invalid("authenticationType and applicationProtocol do not go together"))
}

/// A policy that is asked for now.
fn check_policy(name: &str) -> Result<(), Error> {
    if SECURITY_POLICIES.contains(&name) {
        return Ok(());
    }
    if LEGACY_POLICIES.contains(&name) {
        return Err(Error::invalid(format!(
            "securityPolicy '{name}' is for devices that need CBC, DHE or RSA key exchange, which are not offered: {} is the \
             same without them",
            "IoTSecurityPolicy_TLS12_1_2_2022_10"
        )));
    }
    let (shown, known) = (syntax::shortened(name), SECURITY_POLICIES.join(", "));
    Err(Error::invalid(format!("securityPolicy '{shown}' is not one of {known}")))
}

/// security.md section 5.2.
fn is_possible(kind: AuthenticationType, protocol: ApplicationProtocol) -> bool {
    use ApplicationProtocol::{Default, Https, MqttWss, SecureMqtt};
    match kind {
        AuthenticationType::Default => protocol == Default,
        AuthenticationType::AwsX509 | AuthenticationType::CustomAuthX509 => {
            matches!(protocol, SecureMqtt | Https)
        }
        AuthenticationType::CustomAuth => matches!(protocol, SecureMqtt | MqttWss | Https),
        AuthenticationType::AwsSigv4 => matches!(protocol, MqttWss | Https),
    }
}

/// UpdateDomainConfiguration.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateDomainConfiguration) -> Outcome {
    let name = &args.domain_configuration_name;
    let mut configuration = required(store, name)?;
    if args.authorizer_config.is_some() && args.remove_authorizer_config {
        return Err(Error::invalid("authorizerConfig and removeAuthorizerConfig exclude each other"));
    }
    let authorizer = args.authorizer_config.as_ref().map(stored).or(configuration.authorizer);
    configuration.authorizer = authorizer.filter(|_| !args.remove_authorizer_config);
    if let Some(status) = args.status.map(i32::from).filter(|status| *status != configuration.status) {
        configuration.status = status;
        configuration.status_changed_at = context.now.as_millis();
    }
    configuration.authentication_type =
        args.authentication_type.map_or(configuration.authentication_type, i32::from);
    configuration.application_protocol =
        args.application_protocol.map_or(configuration.application_protocol, i32::from);
    if let Some(policy) = &args.security_policy {
        check_policy(policy)?;
        configuration.security_policy.clone_from(policy);
    }
    configuration.ocsp_check = args.ocsp_check.unwrap_or(configuration.ocsp_check);
    if let Some(arn) = &args.ocsp_function_arn {
        configuration.ocsp_function_arn.clone_from(arn);
    }
    if let Some(arn) = &args.ocsp_responder_arn {
        configuration.ocsp_responder_arn.clone_from(arn);
    }
    if let Some(arn) = &args.certificate_callback_arn {
        configuration.certificate_callback_arn.clone_from(arn);
    }
    check(store, &configuration)?;
    let mut effects = Effects::default();
    // Who shows its certificate follows the owners of names.
    let owner_key = keys::domain_owner(&configuration.domain_name);
    if let Some(mut owner) = store.record::<record::DomainOwner>(&owner_key)?
        && (owner.ocsp_check, &owner.ocsp_function_arn, &owner.ocsp_responder_arn)
            != (configuration.ocsp_check, &configuration.ocsp_function_arn, &configuration.ocsp_responder_arn)
    {
        owner.ocsp_check = configuration.ocsp_check;
        owner.ocsp_function_arn.clone_from(&configuration.ocsp_function_arn);
        owner.ocsp_responder_arn.clone_from(&configuration.ocsp_responder_arn);
        owner.id.clone_from(&configuration.id);
        effects.put(owner_key, owner.encode_to_vec());
    }
    effects.put(keys::domain_configuration(store.scope, name), configuration.encode_to_vec());
    Ok((told(store, name, &configuration), effects))
}

/// DeleteDomainConfiguration: of one that is not served.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    let configuration = required(store, name)?;
    if configuration.status() != DomainConfigurationStatus::Disabled {
        return Err(Error::invalid(format!("Domain configuration '{name}' is ENABLED: disable it first")));
    }
    let mut effects = Effects::default();
    effects.delete(keys::domain_configuration(store.scope, name));
    effects.delete(keys::domain_owner(&configuration.domain_name));
    tags::delete_all(store, &mut effects, &arn(store, name, &configuration.id));
    done(effects)
}

/// DescribeDomainConfiguration.
pub(crate) fn describe(store: &Store<'_>, name: &str, now: Timestamp) -> Result<QueryReply, Error> {
    let configuration = required(store, name)?;
    let domain = &configuration.domain_name;
    let arns = configuration.server_certificate_arns.iter();
    let server_certificates =
        arns.map(|arn| server_certificates::standing(store, arn, domain, now)).collect::<Result<_, _>>()?;
    let (kind, protocol) = (configuration.authentication_type(), configuration.application_protocol());
    let authorizer = configuration.authorizer.clone();
    Ok(QueryReply::DomainConfiguration(Box::new(DomainConfigurationDescription {
        summary: summary(store, name, &configuration),
        status: configuration.status(),
        domain_name: configuration.domain_name,
        managed: configuration.managed,
        server_certificates,
        authorizer_config: authorizer.map(|authorizer| AuthorizerConfig {
            default_authorizer_name: authorizer.default_name,
            allow_authorizer_override: authorizer.allow_override,
        }),
        status_changed_at: Timestamp(configuration.status_changed_at),
        authentication_type: kind,
        application_protocol: protocol,
        security_policy: configuration.security_policy,
        ocsp_check: configuration.ocsp_check,
        ocsp_function_arn: Some(configuration.ocsp_function_arn).filter(|arn| !arn.is_empty()),
        ocsp_responder_arn: Some(configuration.ocsp_responder_arn).filter(|arn| !arn.is_empty()),
        certificate_callback_arn: Some(configuration.certificate_callback_arn).filter(|arn| !arn.is_empty()),
    })))
}

/// ListDomainConfigurations, by name.
pub(crate) fn list(
    store: &Store<'_>,
    service_type: Option<ServiceType>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let prefix = keys::domain_configurations_prefix(store.scope);
    let wanted = service_type.map_or_else(String::new, |kind| i32::from(kind).to_string());
    let filters = [wanted.as_str()];
    let (pairs, next) =
        page::read(store, &Listing::new("ListDomainConfigurations", &filters, prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let configuration: record::DomainConfiguration = record::decode(value)?;
        if service_type.is_none_or(|kind| configuration.service_type() == kind) {
            items.push(summary(store, keys::last_part(key).unwrap_or_default(), &configuration));
        }
    }
    Ok(QueryReply::DomainConfigurations(Listed { items, next }))
}

/// How clients that ask for this name are treated, whatever the scope; `None` where no configuration has it.
pub(crate) fn domain(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    let Ok(name) = syntax::domain_name(name) else { return Ok(QueryReply::Domain(None)) };
    let owner: Option<record::DomainOwner> = store.record(&keys::domain_owner(&name))?;
    let Some(owner) = owner else { return Ok(QueryReply::Domain(None)) };
    let scope = AccountId::from_u64(owner.account)
        .zip(owner.region.parse().ok())
        .map(|(account, region)| Scope { account, region })
        .ok_or_else(|| Error::internal("a domain's owner cannot be read"))?;
    let configuration: Option<record::DomainConfiguration> =
        store.record(&keys::domain_configuration(scope, &owner.configuration))?;
    Ok(QueryReply::Domain(configuration.map(|configuration| {
        let authorizer = configuration.authorizer.clone().unwrap_or_default();
        let callback = &configuration.certificate_callback_arn;
        let callback = function(scope, (&owner.configuration, &configuration.id), callback);
        Box::new(Domain {
            scope,
            enabled: configuration.status() == DomainConfigurationStatus::Enabled,
            authentication_type: configuration.authentication_type(),
            application_protocol: configuration.application_protocol(),
            default_authorizer_name: authorizer.default_name,
            allow_authorizer_override: authorizer.allow_override.unwrap_or(true),
            security_policy: configuration.security_policy,
            certificate_callback: callback,
        })
    })))
}

/// A function that the configuration of this name and id names; an empty ARN is none.
pub(crate) fn function(
    scope: Scope,
    (configuration, id): (&str, &str),
    function_arn: &str,
) -> Option<DomainFunction> {
    (!function_arn.is_empty()).then(|| DomainFunction {
        function_arn: function_arn.to_owned(),
        domain_configuration_arn: Arn::new(scope, KIND, &format!("{configuration}/{id}")).to_string(),
    })
}

/// Whether a configuration of the scope has this default authorizer.
pub(crate) fn names_authorizer(store: &Store<'_>, authorizer: &str) -> Result<Option<String>, Error> {
    for (key, value) in store.all(&keys::domain_configurations_prefix(store.scope)) {
        let configuration: record::DomainConfiguration = record::decode(&value)?;
        let default = configuration.authorizer.and_then(|authorizer| authorizer.default_name);
        if default.as_deref() == Some(authorizer) {
            return Ok(keys::last_part(&key).map(str::to_owned));
        }
    }
    Ok(None)
}

/// The configuration that an ARN's name part (`name/id`) means.
pub(crate) fn key_of_arn(store: &Store<'_>, name: &str) -> Option<bytes::Bytes> {
    let (name, id) = name.rsplit_once('/')?;
    let key = keys::domain_configuration(store.scope, name);
    let configuration: record::DomainConfiguration = store.record(&key).ok()??;
    (configuration.id == id).then_some(key)
}

fn required(store: &Store<'_>, name: &str) -> Result<record::DomainConfiguration, Error> {
    syntax::domain_configuration_name(name)?;
    let configuration = store.record(&keys::domain_configuration(store.scope, name))?;
    configuration.ok_or_else(|| Error::not_found("Domain configuration", name))
}

fn arn(store: &Store<'_>, name: &str, id: &str) -> String {
    store.arn(KIND, &format!("{name}/{id}"))
}

fn told(store: &Store<'_>, name: &str, configuration: &record::DomainConfiguration) -> Reply {
    Reply::DomainConfiguration(Box::new(summary(store, name, configuration)))
}

fn summary(
    store: &Store<'_>,
    name: &str,
    configuration: &record::DomainConfiguration,
) -> DomainConfigurationSummary {
    DomainConfigurationSummary {
        domain_configuration_name: name.to_owned(),
        domain_configuration_arn: arn(store, name, &configuration.id),
        service_type: configuration.service_type(),
    }
}

#[cfg(test)]
mod tests;
