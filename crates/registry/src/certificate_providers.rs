//! Rules of certificate providers: who signs what devices ask for by CreateCertificateFromCsr over MQTT (provisioning.md
//! section 5). An account has one at most, and while it is there, nobody else signs.

use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    CertificateProviderDescription, CreateCertificateProvider, Listed, PageRequest, UpdateCertificateProvider,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "certificateprovider";
/// The only operation that a provider can be the default for.
const OPERATION: &str = "CreateCertificateFromCsr";
/// Providers of an account in a region.
const MOST: usize = 1;

/// CreateCertificateProvider: again with the same client token is a success.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateCertificateProvider) -> Outcome {
    let name = &args.certificate_provider_name;
    syntax::certificate_provider_name(name)?;
    check_function(&args.lambda_function_arn)?;
    check_operations(&args.account_default_for_operations)?;
    if let Some(token) = &args.client_token
        && !((36..=64).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()))
    {
        return Err(Error::invalid("clientToken must be 36 to 64 characters without spaces"));
    }
    let key = keys::certificate_provider(store.scope, name);
    if let Some(existing) = store.record::<record::CertificateProvider>(&key)? {
        let is_again = args.client_token.is_some()
            && existing.client_token == args.client_token
            && existing.lambda_function_arn == args.lambda_function_arn;
        if is_again {
            return Ok((reply(store, name), Effects::default()));
        }
        let message = format!("Certificate provider '{name}' already exists");
        return Err(Error::exists(message, name.as_str(), store.arn(KIND, name)));
    }
    if store.count(&keys::certificate_providers_prefix(store.scope), MOST) >= MOST {
        return Err(Error::limit("there is a certificate provider already, and there may be one"));
    }
    let now = context.now.as_millis();
    let provider = record::CertificateProvider {
        lambda_function_arn: args.lambda_function_arn.clone(),
        client_token: args.client_token.clone(),
        created_at: now,
        modified_at: now,
    };
    let mut effects = Effects::default();
    effects.put(key, provider.encode_to_vec());
    tags::put_initial(store, context, &mut effects, &store.arn(KIND, name), &args.tags)?;
    Ok((reply(store, name), effects))
}

fn reply(store: &Store<'_>, name: &str) -> Reply {
    Reply::CertificateProvider(store.arn(KIND, name))
}

/// UpdateCertificateProvider.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateCertificateProvider) -> Outcome {
    let name = &args.certificate_provider_name;
    let mut provider = required(store, name)?;
    if let Some(function) = &args.lambda_function_arn {
        check_function(function)?;
        provider.lambda_function_arn.clone_from(function);
    }
    args.account_default_for_operations.as_deref().map_or(Ok(()), check_operations)?;
    provider.modified_at = context.now.as_millis();
    let mut effects = Effects::default();
    effects.put(keys::certificate_provider(store.scope, name), provider.encode_to_vec());
    Ok((reply(store, name), effects))
}

/// DeleteCertificateProvider: from then on our CA signs.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    required(store, name)?;
    let mut effects = Effects::default();
    effects.delete(keys::certificate_provider(store.scope, name));
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    done(effects)
}

/// DescribeCertificateProvider.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    let provider = required(store, name)?;
    Ok(QueryReply::CertificateProvider(Some(Box::new(description(store, name, provider)))))
}

/// The provider that signs, if there is one.
pub(crate) fn in_use(store: &Store<'_>) -> Result<QueryReply, Error> {
    let found = store.view.scan(&keys::certificate_providers_prefix(store.scope), None, MOST).pop();
    let Some((key, value)) = found else { return Ok(QueryReply::CertificateProvider(None)) };
    let name = keys::last_part(&key).unwrap_or_default();
    let description = description(store, name, record::decode(&value)?);
    Ok(QueryReply::CertificateProvider(Some(Box::new(description))))
}

/// ListCertificateProviders.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::certificate_providers_prefix(store.scope);
    let listing = Listing::new("ListCertificateProviders", &[], prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let name = keys::last_part(key).unwrap_or_default();
        items.push(description(store, name, record::decode(value)?));
    }
    Ok(QueryReply::CertificateProviders(Listed { items, next }))
}

fn description(
    store: &Store<'_>,
    name: &str,
    provider: record::CertificateProvider,
) -> CertificateProviderDescription {
    CertificateProviderDescription {
        certificate_provider_arn: store.arn(KIND, name),
        certificate_provider_name: name.to_owned(),
        lambda_function_arn: provider.lambda_function_arn,
        account_default_for_operations: vec![OPERATION.to_owned()],
        created_at: Timestamp(provider.created_at),
        modified_at: Timestamp(provider.modified_at),
    }
}

fn required(store: &Store<'_>, name: &str) -> Result<record::CertificateProvider, Error> {
    syntax::certificate_provider_name(name)?;
    let provider = store.record(&keys::certificate_provider(store.scope, name))?;
    provider.ok_or_else(|| Error::not_found("Certificate provider", name))
}

fn check_function(arn: &str) -> Result<(), Error> {
    if arn.len() > 2048 || !arn.starts_with("arn:") {
        return Err(Error::invalid("lambdaFunctionArn must be an ARN of at most 2048 characters"));
    }
    Ok(())
}

fn check_operations(operations: &[String]) -> Result<(), Error> {
    if operations != [OPERATION] {
        return Err(Error::invalid(format!("accountDefaultForOperations must be [\"{OPERATION}\"]")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Action;
    use crate::error::ErrorCode::*;
    use crate::query::QueryKind;
    use crate::requests::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:sign";

    fn create(name: &str, client_token: Option<&str>) -> Action {
        Action::CreateCertificateProvider(Box::new(CreateCertificateProvider {
            certificate_provider_name: name.to_owned(),
            lambda_function_arn: FUNCTION.to_owned(),
            account_default_for_operations: vec![OPERATION.to_owned()],
            client_token: client_token.map(str::to_owned),
            tags: vec![tag("k", "v")],
        }))
    }

    #[test]
    fn an_account_has_one_provider() {
        let mut registry = registry();
        let in_use = QueryKind::CertificateProviderInUse;
        assert_eq!(registry.ask(in_use.clone()), Ok(QueryReply::CertificateProvider(None)));
        let token = "t".repeat(36);
        let made = registry.run(create("p", Some(&token))).unwrap();
        assert_eq!(made, Reply::CertificateProvider(arn(KIND, "p")));
        assert_eq!(registry.run(create("p", Some(&token))).unwrap(), made, "the same request again");
        assert_eq!(refusal(registry.run(create("p", None))), (ResourceAlreadyExistsException, 409));
        assert_eq!(refusal(registry.run(create("q", None))), (LimitExceededException, 410));
        let Ok(QueryReply::CertificateProvider(Some(found))) = registry.ask(in_use.clone()) else {
            panic!("no provider")
        };
        assert_eq!((found.certificate_provider_name.as_str(), &*found.lambda_function_arn), ("p", FUNCTION));
        let other = "arn:aws:lambda:eu-west-1:123456789012:function:other";
        let update = UpdateCertificateProvider {
            certificate_provider_name: "p".to_owned(),
            lambda_function_arn: Some(other.to_owned()),
            account_default_for_operations: None,
        };
        registry.run(Action::UpdateCertificateProvider(Box::new(update))).unwrap();
        let Ok(QueryReply::CertificateProvider(Some(found))) = registry.ask(in_use.clone()) else {
            panic!("no provider")
        };
        assert_eq!(found.lambda_function_arn, other);
        registry.run(Action::DeleteCertificateProvider("p".to_owned())).unwrap();
        assert_eq!(registry.ask(in_use), Ok(QueryReply::CertificateProvider(None)));
        assert!(!registry.view.entries().keys().any(|key| key.starts_with(b"123456789012/eu-west-1/tag/")));
        registry.run(create("q", None)).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut registry = registry();
        let Action::CreateCertificateProvider(good) = create("p", None) else { unreachable!() };
        for bad in [
            CreateCertificateProvider { certificate_provider_name: "a b".to_owned(), ..(*good).clone() },
            CreateCertificateProvider { lambda_function_arn: "sign".to_owned(), ..(*good).clone() },
            CreateCertificateProvider { account_default_for_operations: Vec::new(), ..(*good).clone() },
            CreateCertificateProvider { client_token: Some("short".to_owned()), ..(*good).clone() },
        ] {
            let refused = registry.run(Action::CreateCertificateProvider(Box::new(bad)));
            assert_eq!(refusal(refused), (InvalidRequestException, 400));
        }
        let unknown = registry.ask(QueryKind::DescribeCertificateProvider("p".to_owned()));
        assert_eq!(refusal(unknown), (ResourceNotFoundException, 404));
        let unknown = registry.run(Action::DeleteCertificateProvider("p".to_owned()));
        assert_eq!(refusal(unknown), (ResourceNotFoundException, 404));
    }
}
