//! Roles: what a role alias, a rule or an operator's session stands for.

use fleethaven_operators::iso;
use fleethaven_registry::shapes::{CreateRole, DeleteRole, RoleDescription, UpdateRole};
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
    let role_name = asked.role()?;
    let args = CreateRole {
        tags: asked.new_tags("role", &role_name)?,
        role_name,
        assume_role_policy_document: asked.form.required("AssumeRolePolicyDocument")?.to_owned(),
        max_session_duration: asked.form.number("MaxSessionDuration")?,
        description: asked.form.optional("Description").unwrap_or_default().to_owned(),
    };
    let made =
        expect_reply!(call.execute(Action::CreateRole(Box::new(args))).await?, Reply::Role(made) => made);
    Ok(asked.answer(Xml::default().within("Role", described(&made))))
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let role = found(call, &asked.role()?).await?;
    Ok(asked.answer(Xml::default().within("Role", described(&role))))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    asked.everything()?;
    let query = QueryKind::ListRoles(asked.page()?);
    let page = expect_reply!(call.query(query).await?, QueryReply::Roles(page) => page);
    let result = Xml::default().list("Roles", page.items.iter().map(listed));
    Ok(asked.listed(result, page.next.as_deref()))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let args = UpdateRole {
        role_name: asked.role()?,
        max_session_duration: asked.form.number("MaxSessionDuration")?,
        description: asked.form.optional("Description").map(str::to_owned),
        ..UpdateRole::default()
    };
    call.carry_out(Action::UpdateRole(Box::new(args))).await?;
    Ok(asked.answer(Xml::default()))
}

pub(super) async fn update_description(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let description = asked.form.optional("Description").map(str::to_owned);
    let args = UpdateRole { role_name: asked.role()?, description, ..UpdateRole::default() };
    let role =
        expect_reply!(call.execute(Action::UpdateRole(Box::new(args))).await?, Reply::Role(role) => role);
    Ok(asked.answer(Xml::default().within("Role", described(&role))))
}

pub(super) async fn update_trust(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let document = asked.form.required("PolicyDocument")?.to_owned();
    let args = UpdateRole {
        role_name: asked.role()?,
        assume_role_policy_document: Some(document),
        ..UpdateRole::default()
    };
    call.carry_out(Action::UpdateRole(Box::new(args))).await?;
    Ok(asked.done())
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let args = DeleteRole { role_name: asked.role()?, force: false };
    call.carry_out(Action::DeleteRole(args)).await?;
    Ok(asked.done())
}

/// There are none: instance profiles are for machines of AWS's.
pub(super) async fn list_instance_profiles(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    found(call, &asked.role()?).await?;
    Ok(asked.listed(Xml::default().list("InstanceProfiles", []), None))
}

pub(super) async fn found(call: &Call<'_>, name: &str) -> Result<RoleDescription, Error> {
    let reply = call.query(QueryKind::GetRole(name.to_owned())).await?;
    let role = expect_reply!(reply, QueryReply::Role(role) => role);
    role.map(|role| *role).ok_or_else(|| not_found("Role", name))
}

fn described(role: &RoleDescription) -> Xml {
    with_tags(listed(role), &role.tags)
}

/// Listings tell no tags.
fn listed(role: &RoleDescription) -> Xml {
    let description = Some(role.description.as_str()).filter(|text| !text.is_empty());
    Xml::default()
        .text("Path", "/")
        .text("RoleName", &role.role_name)
        .text("RoleId", &role.role_id)
        .text("Arn", &role.arn())
        .text("CreateDate", &iso(role.created_at.as_secs()))
        .text("AssumeRolePolicyDocument", &encoded(&role.assume_role_policy_document))
        .optional("Description", description)
        .text("MaxSessionDuration", &role.max_session_duration.to_string())
}
