//! RegisterCACertificate and the registration code that proves possession of the CA's key.

use bytes::Bytes;
use fleethaven_types::arn::is_role_arn;
use prost::Message;

use super::{KIND, index_keys, subject_hash};
use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::provisioning_templates;
use crate::record::{self, RegistrationTemplate};
use crate::shapes::{
    AutoRegistrationStatus, CaCertificateStatus, CertificateMode, RegisterCaCertificate,
    RegisteredCertificate, RegistrationConfig, TemplateType,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::template::{Purpose, Template};
use crate::view::Effects;

/// RegisterCACertificate.
pub(crate) fn register(store: &Store<'_>, context: &Context, args: &RegisterCaCertificate) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    syntax::pem(&args.certificate_pem)?;
    check_possession(store, args)?;
    check_unregistered(store, context, args, &id)?;
    let config = args.registration_config.as_ref().map(|config| template(store, config)).transpose()?;
    let now = context.now.as_millis();
    let mut ca = record::CaCertificate {
        certificate_pem: args.certificate_pem.clone(),
        mode: args.certificate_mode.into(),
        created_at: now,
        modified_at: now,
        customer_version: 1,
        generation_id: crate::ids::uuid(&context.random),
        not_before: args.validity.not_before.as_millis(),
        not_after: args.validity.not_after.as_millis(),
        subject_hash: subject_hash(&args.subject),
        registration_config: config,
        ..record::CaCertificate::default()
    };
    if args.set_as_active {
        ca.set_status(CaCertificateStatus::Active);
    }
    if args.allow_auto_registration {
        ca.set_auto_registration_status(AutoRegistrationStatus::Enable);
    }
    let arn = store.arn(KIND, &id);
    let mut effects = Effects::default();
    effects.put(keys::ca_certificate(store.scope, &id), ca.encode_to_vec());
    for index in index_keys(store, &id, &ca) {
        effects.put(index, Bytes::new());
    }
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    let reply = RegisteredCertificate { certificate_arn: arn, certificate_id: id };
    Ok((Reply::Certificate(Box::new(reply)), effects))
}

/// DEFAULT mode needs a verification certificate for the registration code, SNI_ONLY mode must have none.
fn check_possession(store: &Store<'_>, args: &RegisterCaCertificate) -> Result<(), Error> {
    let mismatch = |message: &str| Err(Error::new(ErrorCode::RegistrationCodeValidationException, message));
    match (args.certificate_mode, &args.verification_common_name) {
        (CertificateMode::SniOnly, None) => Ok(()),
        (CertificateMode::SniOnly, Some(_)) => {
            Err(Error::invalid("verificationCertificate must be empty when certificateMode is SNI_ONLY"))
        }
        (CertificateMode::Default, None) => {
            Err(Error::invalid("verificationCertificate is required when certificateMode is DEFAULT"))
        }
        (CertificateMode::Default, Some(name)) => match stored_code(store)? {
            Some(code) if same(name.as_bytes(), code.as_bytes()) => Ok(()),
            Some(_) => mismatch("the verification certificate's common name is not the registration code"),
            None => mismatch("there is no registration code: call GetRegistrationCode first"),
        },
    }
}

/// Compares without telling by its duration where the texts differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b));
    left.len() == right.len() && differences == 0
}

fn check_unregistered(
    store: &Store<'_>,
    context: &Context,
    args: &RegisterCaCertificate,
    id: &str,
) -> Result<(), Error> {
    let arn = store.arn(KIND, id);
    if store.exists(&keys::ca_certificate(store.scope, id)) {
        return Err(Error::exists("The CA certificate is already registered", id, arn));
    }
    let owned = store.any(&keys::default_ca_owners(id, store.scope.region));
    if owned && args.certificate_mode == CertificateMode::Default {
        let message = "The CA certificate is registered in DEFAULT mode by another account";
        return Err(Error::exists(message, id, arn));
    }
    let most = context.limits.cas_same_subject;
    let prefix = keys::ca_certificates_by_subject(store.scope, &subject_hash(&args.subject));
    if store.count(&prefix, most) >= most {
        return Err(Error::limit(format!("{most} CA certificates may have the same subject")));
    }
    Ok(())
}

/// Checks `registrationConfig`: either a template body with a role, or the name of a template of type JITP.
pub(super) fn template(
    store: &Store<'_>,
    config: &RegistrationConfig,
) -> Result<RegistrationTemplate, Error> {
    match (&config.template_body, &config.role_arn, &config.template_name) {
        (None, None, Some(name)) => {
            provisioning_templates::in_use(store, name, TemplateType::Jitp)?;
            let template_name = Some(name.clone());
            Ok(RegistrationTemplate { template_body: None, role_arn: None, template_name })
        }
        (Some(body), Some(role), None) => {
            check_body(body)?;
            if !is_role_arn(role) {
                return Err(Error::invalid(format!("roleArn '{}' is no role", syntax::shortened(role))));
            }
            let (template_body, role_arn) = (Some(body.clone()), Some(role.clone()));
            Ok(RegistrationTemplate { template_body, role_arn, template_name: None })
        }
        _ => Err(Error::invalid("registrationConfig must be templateBody with roleArn, or templateName")),
    }
}

fn check_body(body: &str) -> Result<(), Error> {
    Template::parse(body, Purpose::Provisioning).map(drop).map_err(|error| Error::invalid(error.to_string()))
}

fn stored_code(store: &Store<'_>) -> Result<Option<String>, Error> {
    let record: Option<record::RegistrationCode> = store.record(&keys::registration_code(store.scope))?;
    Ok(record.map(|record| record.code))
}

/// GetRegistrationCode: the first call makes it.
pub(crate) fn code(store: &Store<'_>, context: &Context) -> Outcome {
    let mut effects = Effects::default();
    let code = match stored_code(store)? {
        Some(code) => code,
        None => {
            let code = hex::encode(context.random);
            let record = record::RegistrationCode { code: code.clone() };
            effects.put(keys::registration_code(store.scope), record.encode_to_vec());
            code
        }
    };
    Ok((Reply::RegistrationCode(code), effects))
}

/// DeleteRegistrationCode.
pub(crate) fn delete_code(store: &Store<'_>) -> Outcome {
    let key = keys::registration_code(store.scope);
    if !store.exists(&key) {
        return Err(Error::new(ErrorCode::ResourceNotFoundException, "there is no registration code"));
    }
    let mut effects = Effects::default();
    effects.delete(key);
    done(effects)
}
