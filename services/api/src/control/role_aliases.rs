//! Role aliases (security.md section 8).

use fleethaven_registry::shapes::{CreateRoleAlias, UpdateRoleAlias};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{Answer, Outcome, members_of, seconds};
use crate::call::Call;
use crate::members::Members;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreateRoleAlias(Box::new(CreateRoleAlias {
        role_alias: call.input.label("roleAlias")?,
        role_arn: body.required_string("roleArn")?,
        credential_duration_seconds: body.integer("credentialDurationSeconds")?,
        tags: body_tags(&body)?,
    }));
    told(call, action).await
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UpdateRoleAlias(Box::new(UpdateRoleAlias {
        role_alias: call.input.label("roleAlias")?,
        role_arn: body.string("roleArn")?,
        credential_duration_seconds: body.integer("credentialDurationSeconds")?,
    }));
    told(call, action).await
}

async fn told(call: &Call<'_>, action: Action) -> Outcome {
    let told = expect_reply!(call.execute(action).await?, Reply::RoleAlias(told) => *told);
    Ok(Answer::of([("roleAlias", told.role_alias.into()), ("roleAliasArn", told.role_alias_arn.into())]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteRoleAlias(call.input.label("roleAlias")?)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeRoleAlias(call.input.label("roleAlias")?);
    let found = expect_reply!(call.query(query).await?, QueryReply::RoleAlias(found) => *found);
    let description = members_of([
        ("roleAlias", found.role_alias.into()),
        ("roleAliasArn", found.role_alias_arn.into()),
        ("roleArn", found.role_arn.into()),
        ("owner", call.scope.account.to_string().into()),
        ("credentialDurationSeconds", found.credential_duration_seconds.into()),
        ("creationDate", seconds(found.created_at)),
        ("lastModifiedDate", seconds(found.modified_at)),
    ]);
    Ok(Answer::of([("roleAliasDescription", description)]))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let ascending = call.input.query_boolean("isAscendingOrder")?;
    let query = QueryKind::ListRoleAliases { ascending, page: call.input.marker_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::RoleAliases(page) => page);
    Ok(Answer::of([("roleAliases", page.items.into()), ("nextMarker", page.next.into())]))
}
