//! Rules of provisioning templates and their versions (provisioning.md section 7.1).

use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    CreateProvisioningTemplate, CreateTemplateVersion, CreatedTemplateVersion, Listed, PageRequest,
    ProvisioningHook, ProvisioningTemplateDescription, TemplateType, TemplateVersionDescription,
    TemplateVersionName, UpdateProvisioningTemplate,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::template::{Purpose, Template};
use crate::view::Effects;

const KIND: &str = "provisioningtemplate";

/// CreateProvisioningTemplate: version 1, which is the default.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateProvisioningTemplate) -> Outcome {
    let name = &args.template_name;
    syntax::template_name(name)?;
    check_body(&args.template_body)?;
    check_texts(args.description.as_deref(), Some(&args.provisioning_role_arn))?;
    args.pre_provisioning_hook.as_ref().map_or(Ok(()), |hook| check_hook(hook, args.template_type))?;
    let arn = store.arn(KIND, name);
    let key = keys::provisioning_template(store.scope, name);
    if store.exists(&key) {
        let message = format!("Provisioning template '{name}' already exists");
        return Err(Error::exists(message, name.as_str(), arn));
    }
    let most = context.limits.provisioning_templates;
    if store.count(&keys::provisioning_templates_prefix(store.scope), most) >= most {
        return Err(Error::limit(format!(
            "there are {most} provisioning templates, which is the most allowed"
        )));
    }
    let now = context.now.as_millis();
    let template = record::ProvisioningTemplate {
        description: args.description.clone(),
        enabled: args.enabled,
        provisioning_role_arn: args.provisioning_role_arn.clone(),
        hook: args.pre_provisioning_hook.as_ref().map(stored),
        template_type: args.template_type.into(),
        default_version: 1,
        last_version: 1,
        created_at: now,
        modified_at: now,
    };
    let mut effects = Effects::default();
    effects.put(key, template.encode_to_vec());
    put_version(store, &mut effects, name, 1, &args.template_body, now);
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    Ok((created(store, name, 1, true), effects))
}

fn created(store: &Store<'_>, name: &str, version_id: u64, is_default_version: bool) -> Reply {
    Reply::TemplateVersion(Box::new(CreatedTemplateVersion {
        template_arn: store.arn(KIND, name),
        template_name: name.to_owned(),
        version_id,
        is_default_version,
    }))
}

fn stored(hook: &ProvisioningHook) -> record::Hook {
    record::Hook { payload_version: hook.payload_version.clone(), target_arn: hook.target_arn.clone() }
}

fn put_version(store: &Store<'_>, effects: &mut Effects, name: &str, version: u64, body: &str, now: u64) {
    let record = record::ProvisioningTemplateVersion { body: body.to_owned(), created_at: now };
    effects.put(keys::provisioning_template_version(store.scope, name, version), record.encode_to_vec());
}

/// UpdateProvisioningTemplate.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateProvisioningTemplate) -> Outcome {
    let name = &args.template_name;
    syntax::template_name(name)?;
    check_texts(args.description.as_deref(), args.provisioning_role_arn.as_deref())?;
    if args.pre_provisioning_hook.is_some() && args.remove_pre_provisioning_hook {
        return Err(Error::invalid("preProvisioningHook and removePreProvisioningHook exclude each other"));
    }
    let mut template = required(store, name)?;
    let hook = args.pre_provisioning_hook.as_ref();
    hook.map_or(Ok(()), |hook| check_hook(hook, template.template_type()))?;
    if let Some(version) = args.default_version_id {
        required_version(store, name, version)?;
        template.default_version = version;
    }
    template.description = args.description.clone().or(template.description);
    template.enabled = args.enabled.unwrap_or(template.enabled);
    template.provisioning_role_arn =
        args.provisioning_role_arn.clone().unwrap_or(template.provisioning_role_arn);
    let hook = args.pre_provisioning_hook.as_ref().map(stored).or(template.hook);
    template.hook = hook.filter(|_| !args.remove_pre_provisioning_hook);
    template.modified_at = context.now.as_millis();
    let mut effects = Effects::default();
    effects.put(keys::provisioning_template(store.scope, name), template.encode_to_vec());
    done(effects)
}

/// DeleteProvisioningTemplate: with all its versions.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    syntax::template_name(name)?;
    required(store, name)?;
    let mut effects = Effects::default();
    effects.delete(keys::provisioning_template(store.scope, name));
    for (key, _) in store.all(&keys::versions_of_provisioning_template(store.scope, name)) {
        effects.delete(key);
    }
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    done(effects)
}

/// CreateProvisioningTemplateVersion: version numbers rise and are never used again.
pub(crate) fn create_version(store: &Store<'_>, context: &Context, args: &CreateTemplateVersion) -> Outcome {
    let name = &args.template_name;
    syntax::template_name(name)?;
    check_body(&args.template_body)?;
    let mut template = required(store, name)?;
    let most = context.limits.provisioning_template_versions;
    if store.count(&keys::versions_of_provisioning_template(store.scope, name), most) >= most {
        let message = format!("Provisioning template '{name}' has {most} versions: delete one first");
        return Err(Error::new(ErrorCode::VersionsLimitExceededException, message));
    }
    let now = context.now.as_millis();
    template.last_version = template.last_version.saturating_add(1);
    if args.set_as_default {
        template.default_version = template.last_version;
    }
    template.modified_at = now;
    let mut effects = Effects::default();
    put_version(store, &mut effects, name, template.last_version, &args.template_body, now);
    effects.put(keys::provisioning_template(store.scope, name), template.encode_to_vec());
    Ok((created(store, name, template.last_version, args.set_as_default), effects))
}

/// DeleteProvisioningTemplateVersion: not the default one.
pub(crate) fn delete_version(store: &Store<'_>, args: &TemplateVersionName) -> Outcome {
    let TemplateVersionName { template_name: name, version_id } = args;
    syntax::template_name(name)?;
    let template = required(store, name)?;
    required_version(store, name, *version_id)?;
    if template.default_version == *version_id {
        let message =
            format!("version {version_id} of '{name}' is the default version and cannot be deleted");
        return Err(Error::new(ErrorCode::DeleteConflictException, message));
    }
    let mut effects = Effects::default();
    effects.delete(keys::provisioning_template_version(store.scope, name, *version_id));
    done(effects)
}

/// DescribeProvisioningTemplate.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::template_name(name)?;
    let template = required(store, name)?;
    let body = required_version(store, name, template.default_version)?.body;
    let description = description(store, name, template, Some(body));
    Ok(QueryReply::ProvisioningTemplate(Box::new(description)))
}

/// A template as it is used to provision a device.
pub(crate) struct InUse {
    pub(crate) enabled: bool,
    pub(crate) hook: Option<ProvisioningHook>,
    /// The default version's.
    pub(crate) body: String,
}

/// What is to be known of a template that devices are provisioned by. It must be of this type.
pub(crate) fn in_use(store: &Store<'_>, name: &str, wanted: TemplateType) -> Result<InUse, Error> {
    syntax::template_name(name)?;
    let template = required(store, name)?;
    if template.template_type() != wanted {
        let wanted = match wanted {
            TemplateType::FleetProvisioning => "FLEET_PROVISIONING",
            TemplateType::Jitp => "JITP",
        };
        return Err(Error::invalid(format!("provisioning template '{name}' is not of type {wanted}")));
    }
    let body = required_version(store, name, template.default_version)?.body;
    Ok(InUse { enabled: template.enabled, hook: template.hook.map(hook), body })
}

fn hook(stored: record::Hook) -> ProvisioningHook {
    ProvisioningHook { payload_version: stored.payload_version, target_arn: stored.target_arn }
}

/// ListProvisioningTemplates, in name order.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::provisioning_templates_prefix(store.scope);
    let listing = Listing::new("ListProvisioningTemplates", &[], prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let name = keys::last_part(key).unwrap_or_default();
        items.push(description(store, name, record::decode(value)?, None));
    }
    Ok(QueryReply::ProvisioningTemplates(Listed { items, next }))
}

fn description(
    store: &Store<'_>,
    name: &str,
    template: record::ProvisioningTemplate,
    template_body: Option<String>,
) -> ProvisioningTemplateDescription {
    let template_type = template.template_type();
    ProvisioningTemplateDescription {
        template_arn: store.arn(KIND, name),
        template_name: name.to_owned(),
        description: template.description,
        created_at: Timestamp(template.created_at),
        modified_at: Timestamp(template.modified_at),
        default_version_id: template.default_version,
        template_body,
        enabled: template.enabled,
        provisioning_role_arn: template.provisioning_role_arn,
        pre_provisioning_hook: template.hook.map(hook),
        template_type,
    }
}

/// DescribeProvisioningTemplateVersion.
pub(crate) fn describe_version(store: &Store<'_>, name: &str, version: u64) -> Result<QueryReply, Error> {
    syntax::template_name(name)?;
    let template = required(store, name)?;
    let stored = required_version(store, name, version)?;
    Ok(QueryReply::TemplateVersion(Box::new(TemplateVersionDescription {
        version_id: version,
        created_at: Timestamp(stored.created_at),
        template_body: Some(stored.body),
        is_default_version: template.default_version == version,
    })))
}

/// ListProvisioningTemplateVersions, oldest first.
pub(crate) fn list_versions(
    store: &Store<'_>,
    name: &str,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    syntax::template_name(name)?;
    let template = required(store, name)?;
    let filters = [name];
    let prefix = keys::versions_of_provisioning_template(store.scope, name);
    let listing = Listing::new("ListProvisioningTemplateVersions", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let stored: record::ProvisioningTemplateVersion = record::decode(value)?;
        let digits = keys::last_part(key).unwrap_or_default();
        let version_id = u64::from_str_radix(digits, 16).unwrap_or_default();
        items.push(TemplateVersionDescription {
            version_id,
            created_at: Timestamp(stored.created_at),
            template_body: None,
            is_default_version: template.default_version == version_id,
        });
    }
    Ok(QueryReply::TemplateVersions(Listed { items, next }))
}

fn required(store: &Store<'_>, name: &str) -> Result<record::ProvisioningTemplate, Error> {
    let template = store.record(&keys::provisioning_template(store.scope, name))?;
    template.ok_or_else(|| Error::not_found("Provisioning template", name))
}

fn required_version(
    store: &Store<'_>,
    name: &str,
    version: u64,
) -> Result<record::ProvisioningTemplateVersion, Error> {
    let stored = store.record(&keys::provisioning_template_version(store.scope, name, version))?;
    stored
        .ok_or_else(|| Error::not_found("Version of the provisioning template", &format!("{name}:{version}")))
}

/// Both kinds of templates have the certificate already when they are used.
fn check_body(body: &str) -> Result<(), Error> {
    Template::parse(body, Purpose::Provisioning).map(drop).map_err(|error| Error::invalid(error.to_string()))
}

fn check_texts(description: Option<&str>, role: Option<&str>) -> Result<(), Error> {
    description.map_or(Ok(()), |text| syntax::description("description", text, 500))?;
    match role {
        Some(role) if !(20..=2048).contains(&role.len()) || !role.starts_with("arn:") => {
            Err(Error::invalid("provisioningRoleArn must be an ARN of 20 to 2048 characters"))
        }
        _ => Ok(()),
    }
}

/// A hook that nobody would ask must not look like one that does: just-in-time provisioning has none (pre-provisioning-hook.md).
fn check_hook(hook: &ProvisioningHook, template_type: TemplateType) -> Result<(), Error> {
    if template_type == TemplateType::Jitp {
        return Err(Error::invalid("a template of type JITP has no preProvisioningHook"));
    }
    if hook.payload_version != "2020-04-01" {
        let shown = syntax::shortened(&hook.payload_version);
        return Err(Error::invalid(format!("payloadVersion '{shown}' is not 2020-04-01")));
    }
    if hook.target_arn.len() > 2048 || !hook.target_arn.starts_with("arn:") {
        return Err(Error::invalid("targetArn must be an ARN of at most 2048 characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
