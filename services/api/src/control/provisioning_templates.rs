//! Provisioning templates and their versions (provisioning.md section 7.1).

use fleethaven_registry::shapes::{
    CreateProvisioningTemplate, CreateTemplateVersion, ProvisioningHook, ProvisioningTemplateDescription,
    TemplateType, TemplateVersionDescription, TemplateVersionName, UpdateProvisioningTemplate,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, members_of, seconds, word};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreateProvisioningTemplate(Box::new(CreateProvisioningTemplate {
        template_name: body.required_string("templateName")?,
        description: body.string("description")?,
        template_body: body.required_string("templateBody")?,
        enabled: body.boolean("enabled")?,
        provisioning_role_arn: body.required_string("provisioningRoleArn")?,
        pre_provisioning_hook: hook(&body)?,
        template_type: body.enumeration("type")?.unwrap_or(TemplateType::FleetProvisioning),
        tags: body_tags(&body)?,
    }));
    let created = expect_reply!(call.execute(action).await?, Reply::TemplateVersion(created) => created);
    Ok(Answer::of([
        ("templateArn", created.template_arn.into()),
        ("templateName", created.template_name.into()),
        ("defaultVersionId", created.version_id.into()),
    ]))
}

fn hook(body: &Members<'_>) -> Result<Option<ProvisioningHook>, Error> {
    let Some(hook) = body.object("preProvisioningHook")? else { return Ok(None) };
    let payload_version = hook.string("payloadVersion")?.unwrap_or_else(|| "2020-04-01".to_owned());
    Ok(Some(ProvisioningHook { payload_version, target_arn: hook.required_string("targetArn")? }))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UpdateProvisioningTemplate(Box::new(UpdateProvisioningTemplate {
        template_name: call.input.label("templateName")?,
        description: body.string("description")?,
        enabled: body.value("enabled").is_some().then(|| body.boolean("enabled")).transpose()?,
        default_version_id: body.integer("defaultVersionId")?,
        provisioning_role_arn: body.string("provisioningRoleArn")?,
        pre_provisioning_hook: hook(&body)?,
        remove_pre_provisioning_hook: body.boolean("removePreProvisioningHook")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteProvisioningTemplate(call.input.label("templateName")?)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeProvisioningTemplate(call.input.label("templateName")?);
    let template = expect_reply!(call.query(query).await?, QueryReply::ProvisioningTemplate(found) => *found);
    let hook = template.pre_provisioning_hook.clone();
    let hook = hook.map(|hook| json!({"payloadVersion": hook.payload_version, "targetArn": hook.target_arn}));
    let (version, role) = (template.default_version_id, template.provisioning_role_arn.clone());
    let body = template.template_body.clone();
    let mut described = summary(template);
    if let Some(members) = described.as_object_mut() {
        members.insert("defaultVersionId".to_owned(), version.into());
        members.insert("provisioningRoleArn".to_owned(), role.into());
        members.extend(body.map(|body| ("templateBody".to_owned(), body.into())));
        members.extend(hook.map(|hook| ("preProvisioningHook".to_owned(), hook)));
    }
    Ok(Answer::Json(described))
}

/// A template as listings tell it.
fn summary(template: ProvisioningTemplateDescription) -> Value {
    members_of([
        ("templateArn", template.template_arn.into()),
        ("templateName", template.template_name.into()),
        ("description", template.description.into()),
        ("creationDate", seconds(template.created_at)),
        ("lastModifiedDate", seconds(template.modified_at)),
        ("enabled", template.enabled.into()),
        ("type", word(template.template_type)),
    ])
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListProvisioningTemplates(call.input.next_token_page()?);
    let page = expect_reply!(call.query(query).await?, QueryReply::ProvisioningTemplates(page) => page);
    Ok(Answer::of([("templates", answer::list(page.items, summary)), ("nextToken", page.next.into())]))
}

pub(super) async fn create_version(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let action = Action::CreateProvisioningTemplateVersion(Box::new(CreateTemplateVersion {
        template_name: call.input.label("templateName")?,
        template_body: Members::of_body(&object).required_string("templateBody")?,
        set_as_default: call.input.query_boolean("setAsDefault")?,
    }));
    let created = expect_reply!(call.execute(action).await?, Reply::TemplateVersion(created) => created);
    Ok(Answer::of([
        ("templateArn", created.template_arn.into()),
        ("templateName", created.template_name.into()),
        ("versionId", created.version_id.into()),
        ("isDefaultVersion", created.is_default_version.into()),
    ]))
}

fn version_name(call: &Call<'_>) -> Result<TemplateVersionName, Error> {
    let text = call.input.label("versionId")?;
    let version_id = text.parse().map_err(|_| Error::invalid("'versionId' must be a number"))?;
    Ok(TemplateVersionName { template_name: call.input.label("templateName")?, version_id })
}

pub(super) async fn describe_version(call: &Call<'_>) -> Outcome {
    let TemplateVersionName { template_name, version_id } = version_name(call)?;
    let query = QueryKind::DescribeProvisioningTemplateVersion { template_name, version_id };
    let version = expect_reply!(call.query(query).await?, QueryReply::TemplateVersion(version) => *version);
    Ok(Answer::Json(version_members(version)))
}

fn version_members(version: TemplateVersionDescription) -> Value {
    members_of([
        ("versionId", version.version_id.into()),
        ("creationDate", seconds(version.created_at)),
        ("templateBody", version.template_body.into()),
        ("isDefaultVersion", version.is_default_version.into()),
    ])
}

pub(super) async fn list_versions(call: &Call<'_>) -> Outcome {
    let template_name = call.input.label("templateName")?;
    let query =
        QueryKind::ListProvisioningTemplateVersions { template_name, page: call.input.next_token_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::TemplateVersions(page) => page);
    let versions = answer::list(page.items, version_members);
    Ok(Answer::of([("versions", versions), ("nextToken", page.next.into())]))
}

pub(super) async fn delete_version(call: &Call<'_>) -> Outcome {
    let action = Action::DeleteProvisioningTemplateVersion(Box::new(version_name(call)?));
    call.carry_out(action).await?;
    Ok(Answer::object())
}
