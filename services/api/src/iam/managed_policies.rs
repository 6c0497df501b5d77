//! Managed policies of the account. AWS's own are not here.

use fleethaven_operators::iso;
use fleethaven_registry::shapes::{
    CreateManagedPolicy, CreateManagedPolicyVersion, ManagedPolicyDescription,
    ManagedPolicyVersionDescription, ManagedPolicyVersionName,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};

use super::Asked;
use super::asked::{encoded, not_found};
use super::tags::with_tags;
use crate::answer::Outcome;
use crate::call::Call;
use crate::control::expect_reply;
use crate::error::Error;
use crate::query_protocol::Xml;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let policy_name = asked.new_policy()?;
    let args = CreateManagedPolicy {
        tags: asked.new_tags("policy", &policy_name)?,
        policy_name,
        policy_document: asked.form.required("PolicyDocument")?.to_owned(),
        description: asked.form.optional("Description").unwrap_or_default().to_owned(),
    };
    let made = call.execute(Action::CreateManagedPolicy(Box::new(args))).await?;
    let made = expect_reply!(made, Reply::ManagedPolicy(made) => made);
    Ok(asked.answer(Xml::default().within("Policy", with_tags(described(&made, false), &made.tags))))
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let policy = found(&asked).await?;
    Ok(asked.answer(Xml::default().within("Policy", with_tags(described(&policy, true), &policy.tags))))
}

/// Of the scopes `Local` and `All` have those of the account, and `AWS` none.
pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    asked.everything()?;
    let only_attached = asked.form.boolean("OnlyAttached")?;
    let others = match asked.form.optional("Scope") {
        None | Some("All" | "Local") => false,
        Some("AWS") => true,
        Some(_) => return Err(Error::invalid("'Scope' must be All, AWS or Local")),
    };
    if others || asked.form.optional("PolicyUsageFilter") == Some("PermissionsBoundary") {
        return Ok(asked.listed(Xml::default().list("Policies", []), None));
    }
    let query = QueryKind::ListManagedPolicies(asked.page()?);
    let page = expect_reply!(call.query(query).await?, QueryReply::ManagedPolicies(page) => page);
    let wanted = page.items.iter().filter(|policy| !only_attached || attachments(policy) > 0);
    let result = Xml::default().list("Policies", wanted.map(|policy| described(policy, false)));
    Ok(asked.listed(result, page.next.as_deref()))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let policy = found(&asked).await?;
    if policy.versions.len() > 1 {
        let message = "this policy has more than one version: delete all but the default one first";
        let code = fleethaven_registry::ErrorCode::DeleteConflictException;
        return Err(fleethaven_registry::Error::new(code, message).into());
    }
    call.carry_out(Action::DeleteManagedPolicy(policy.policy_name)).await?;
    Ok(asked.done())
}

pub(super) async fn create_version(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let args = CreateManagedPolicyVersion {
        policy_name: asked.policy()?,
        policy_document: asked.form.required("PolicyDocument")?.to_owned(),
        set_as_default: asked.form.boolean("SetAsDefault")?,
    };
    let made = call.execute(Action::CreateManagedPolicyVersion(Box::new(args))).await?;
    let made = expect_reply!(made, Reply::ManagedPolicy(made) => made);
    let newest = made.versions.last().ok_or_else(Error::unexpected_reply)?;
    Ok(asked.answer(Xml::default().within("PolicyVersion", version(&made, newest))))
}

pub(super) async fn get_version(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let policy = found(&asked).await?;
    let id = asked.form.required("VersionId")?;
    let number = number_of(id)?;
    let found = policy.versions.iter().find(|version| version.number == number);
    let found = found.ok_or_else(|| not_found("Policy version", id))?;
    let result = version(&policy, found).text("Document", &encoded(&found.document));
    Ok(asked.answer(Xml::default().within("PolicyVersion", result)))
}

pub(super) async fn list_versions(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let mut policy = found(&asked).await?;
    let versions = std::mem::take(&mut policy.versions);
    let (versions, next) = asked.page_of(versions, |version| format!("{:020}", version.number))?;
    let told = versions.iter().map(|known| version(&policy, known));
    Ok(asked.listed(Xml::default().list("Versions", told), next.as_deref()))
}

pub(super) async fn set_default_version(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    call.carry_out(Action::SetDefaultManagedPolicyVersion(named(&asked)?)).await?;
    Ok(asked.done())
}

pub(super) async fn delete_version(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    call.carry_out(Action::DeleteManagedPolicyVersion(named(&asked)?)).await?;
    Ok(asked.done())
}

pub(super) async fn list_entities(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let policy = found(&asked).await?;
    let (users, roles) = match asked.form.optional("EntityFilter") {
        None => (true, true),
        Some("User") => (true, false),
        Some("Role") => (false, true),
        Some("Group" | "LocalManagedPolicy" | "AWSManagedPolicy") => (false, false),
        Some(_) => return Err(Error::invalid("'EntityFilter' is none of IAM's")),
    };
    let of = |wanted: bool, names: &[String], member: &str| -> Vec<Xml> {
        let names = names.iter().filter(|_| wanted);
        names.map(|name| Xml::default().text(member, name)).collect()
    };
    let result = Xml::default()
        .list("PolicyGroups", [])
        .list("PolicyUsers", of(users, &policy.users, "UserName"))
        .list("PolicyRoles", of(roles, &policy.roles, "RoleName"));
    Ok(asked.listed(result, None))
}

pub(super) async fn found(asked: &Asked<'_>) -> Result<ManagedPolicyDescription, Error> {
    let name = asked.policy()?;
    let reply = asked.call.query(QueryKind::GetManagedPolicy(name.clone())).await?;
    let policy = expect_reply!(reply, QueryReply::ManagedPolicy(policy) => policy);
    policy.map(|policy| *policy).ok_or_else(|| not_found("Policy", &name))
}

fn named(asked: &Asked<'_>) -> Result<ManagedPolicyVersionName, Error> {
    let policy_name = asked.policy()?;
    Ok(ManagedPolicyVersionName { policy_name, version: number_of(asked.form.required("VersionId")?)? })
}

/// Of `v1`.
fn number_of(id: &str) -> Result<u64, Error> {
    let number = id.strip_prefix('v').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Error::invalid("'VersionId' must be v and a number"))
}

fn attachments(policy: &ManagedPolicyDescription) -> usize {
    policy.users.len().saturating_add(policy.roles.len())
}

/// Without tags, which listings do not tell. AWS tells the description of a policy that is asked for by its ARN only.
fn described(policy: &ManagedPolicyDescription, with_description: bool) -> Xml {
    let description = Some(policy.description.as_str()).filter(|text| with_description && !text.is_empty());
    Xml::default()
        .text("PolicyName", &policy.policy_name)
        .text("PolicyId", &policy.policy_id)
        .text("Arn", &policy.arn())
        .text("Path", "/")
        .text("DefaultVersionId", &format!("v{}", policy.default_version))
        .text("AttachmentCount", &attachments(policy).to_string())
        .text("PermissionsBoundaryUsageCount", "0")
        .text("IsAttachable", "true")
        .optional("Description", description)
        .text("CreateDate", &iso(policy.created_at.as_secs()))
        .text("UpdateDate", &iso(policy.modified_at.as_secs()))
}

fn version(policy: &ManagedPolicyDescription, version: &ManagedPolicyVersionDescription) -> Xml {
    let is_default = version.number == policy.default_version;
    Xml::default()
        .text("VersionId", &format!("v{}", version.number))
        .text("IsDefaultVersion", if is_default { "true" } else { "false" })
        .text("CreateDate", &iso(version.created_at.as_secs()))
}
