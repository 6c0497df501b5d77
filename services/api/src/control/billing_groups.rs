//! Billing groups (provisioning.md section 9).

use fleethaven_registry::shapes::{CreateBillingGroup, DeleteGroup, UpdateBillingGroup};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::json;

use super::expect_reply;
use super::tags::body_tags;
use super::thing_groups::{name_and_arn, thing_and_group, things};
use crate::answer::{self, Answer, Outcome, members_of, seconds};
use crate::call::Call;
use crate::members::{Members, missing};

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let properties = body.object("billingGroupProperties")?;
    let description =
        properties.map(|properties| properties.string("billingGroupDescription")).transpose()?;
    let action = Action::CreateBillingGroup(Box::new(CreateBillingGroup {
        billing_group_name: call.input.label("billingGroupName")?,
        description: description.flatten(),
        tags: body_tags(&body)?,
    }));
    let created = expect_reply!(call.execute(action).await?, Reply::BillingGroup(created) => created);
    Ok(Answer::of([
        ("billingGroupName", created.billing_group_name.into()),
        ("billingGroupArn", created.billing_group_arn.into()),
        ("billingGroupId", created.billing_group_id.into()),
    ]))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let properties =
        body.object("billingGroupProperties")?.ok_or_else(|| missing("billingGroupProperties"))?;
    let action = Action::UpdateBillingGroup(Box::new(UpdateBillingGroup {
        billing_group_name: call.input.label("billingGroupName")?,
        description: properties.string("billingGroupDescription")?,
        expected_version: body.integer("expectedVersion")?,
    }));
    let version = expect_reply!(call.execute(action).await?, Reply::Version(version) => version);
    Ok(Answer::of([("version", version.into())]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let action = Action::DeleteBillingGroup(Box::new(DeleteGroup {
        group_name: call.input.label("billingGroupName")?,
        expected_version: call.input.query_integer("expectedVersion")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeBillingGroup(call.input.label("billingGroupName")?);
    let group = expect_reply!(call.query(query).await?, QueryReply::BillingGroup(group) => *group);
    let properties = members_of([("billingGroupDescription", group.description.into())]);
    Ok(Answer::of([
        ("billingGroupName", group.billing_group_name.into()),
        ("billingGroupId", group.billing_group_id.into()),
        ("billingGroupArn", group.billing_group_arn.into()),
        ("version", group.version.into()),
        ("billingGroupProperties", properties),
        ("billingGroupMetadata", json!({"creationDate": seconds(group.created_at)})),
    ]))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let name_prefix = call.input.query_string("namePrefixFilter");
    let query = QueryKind::ListBillingGroups { name_prefix, page: call.input.next_token_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::Groups(page) => page);
    let groups = answer::list(page.items, name_and_arn);
    Ok(Answer::of([("billingGroups", groups), ("nextToken", page.next.into())]))
}

pub(super) async fn list_things(call: &Call<'_>) -> Outcome {
    let billing_group_name = call.input.label("billingGroupName")?;
    things(
        call,
        QueryKind::ListThingsInBillingGroup { billing_group_name, page: call.input.next_token_page()? },
    )
    .await
}

pub(super) async fn add_thing(call: &Call<'_>) -> Outcome {
    let args = thing_and_group(call, ("billingGroupName", "billingGroupArn"))?;
    call.carry_out(Action::AddThingToBillingGroup(Box::new(args))).await?;
    Ok(Answer::object())
}

pub(super) async fn remove_thing(call: &Call<'_>) -> Outcome {
    let args = thing_and_group(call, ("billingGroupName", "billingGroupArn"))?;
    call.carry_out(Action::RemoveThingFromBillingGroup(Box::new(args))).await?;
    Ok(Answer::object())
}
