//! Certificate providers (provisioning.md section 5).

use fleethaven_registry::shapes::{
    CertificateProviderDescription, CreateCertificateProvider, PageRequest, UpdateCertificateProvider,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::json;

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, seconds};
use crate::call::Call;
use crate::members::{Members, missing};

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let operations = body.strings("accountDefaultForOperations")?;
    let action = Action::CreateCertificateProvider(Box::new(CreateCertificateProvider {
        certificate_provider_name: call.input.label("certificateProviderName")?,
        lambda_function_arn: body.required_string("lambdaFunctionArn")?,
        account_default_for_operations: operations.ok_or_else(|| missing("accountDefaultForOperations"))?,
        client_token: body.string("clientToken")?,
        tags: body_tags(&body)?,
    }));
    named(call, action).await
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UpdateCertificateProvider(Box::new(UpdateCertificateProvider {
        certificate_provider_name: call.input.label("certificateProviderName")?,
        lambda_function_arn: body.string("lambdaFunctionArn")?,
        account_default_for_operations: body.strings("accountDefaultForOperations")?,
    }));
    named(call, action).await
}

/// Carries out, and answers with name and ARN.
async fn named(call: &Call<'_>, action: Action) -> Outcome {
    let arn = expect_reply!(call.execute(action).await?, Reply::CertificateProvider(arn) => arn);
    Ok(Answer::of([
        ("certificateProviderName", call.input.label("certificateProviderName")?.into()),
        ("certificateProviderArn", arn.into()),
    ]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let name = call.input.label("certificateProviderName")?;
    call.carry_out(Action::DeleteCertificateProvider(name)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeCertificateProvider(call.input.label("certificateProviderName")?);
    let found =
        expect_reply!(call.query(query).await?, QueryReply::CertificateProvider(Some(found)) => *found);
    let CertificateProviderDescription { certificate_provider_arn, certificate_provider_name, .. } = found;
    Ok(Answer::of([
        ("certificateProviderName", certificate_provider_name.into()),
        ("certificateProviderArn", certificate_provider_arn.into()),
        ("lambdaFunctionArn", found.lambda_function_arn.into()),
        ("accountDefaultForOperations", json!(found.account_default_for_operations)),
        ("creationDate", seconds(found.created_at)),
        ("lastModifiedDate", seconds(found.modified_at)),
    ]))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    // Of one provider at most, any order is the one that was asked for.
    call.input.query_boolean("isAscendingOrder")?;
    let token = call.input.query_string("nextToken").filter(|token| !token.is_empty());
    let query = QueryKind::ListCertificateProviders(PageRequest { token, limit: None });
    let page = expect_reply!(call.query(query).await?, QueryReply::CertificateProviders(page) => page);
    let providers = answer::list(page.items, |provider| {
        json!({
            "certificateProviderName": provider.certificate_provider_name,
            "certificateProviderArn": provider.certificate_provider_arn,
        })
    });
    Ok(Answer::of([("certificateProviders", providers), ("nextToken", page.next.into())]))
}
