//! Thing groups (provisioning.md section 9). There are only static ones: `overrideDynamicGroups` has nothing to override.

use fleethaven_registry::shapes::{
    CreateThingGroup, DeleteGroup, GroupNameAndArn, ListThingGroups, ThingAndGroup, ThingGroupDescription,
    ThingGroupProperties, UpdateThingGroup, UpdateThingGroupsForThing,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use super::expect_reply;
use super::tags::body_tags;
use super::things::attribute_payload;
use crate::answer::{self, Answer, Outcome, members_of, seconds};
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreateThingGroup(Box::new(CreateThingGroup {
        thing_group_name: call.input.label("thingGroupName")?,
        parent_group_name: body.string("parentGroupName")?,
        properties: properties(&body)?.unwrap_or_default(),
        tags: body_tags(&body)?,
    }));
    let created = expect_reply!(call.execute(action).await?, Reply::ThingGroup(created) => created);
    Ok(Answer::of([
        ("thingGroupName", created.thing_group_name.into()),
        ("thingGroupArn", created.thing_group_arn.into()),
        ("thingGroupId", created.thing_group_id.into()),
    ]))
}

fn properties(body: &Members<'_>) -> Result<Option<ThingGroupProperties>, Error> {
    let Some(properties) = body.object("thingGroupProperties")? else { return Ok(None) };
    let description = properties.string("thingGroupDescription")?;
    Ok(Some(ThingGroupProperties { description, attribute_payload: attribute_payload(&properties)? }))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UpdateThingGroup(Box::new(UpdateThingGroup {
        thing_group_name: call.input.label("thingGroupName")?,
        properties: properties(&body)?.ok_or_else(|| missing("thingGroupProperties"))?,
        expected_version: body.integer("expectedVersion")?,
    }));
    let version = expect_reply!(call.execute(action).await?, Reply::Version(version) => version);
    Ok(Answer::of([("version", version.into())]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let action = Action::DeleteThingGroup(Box::new(DeleteGroup {
        group_name: call.input.label("thingGroupName")?,
        expected_version: call.input.query_integer("expectedVersion")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeThingGroup(call.input.label("thingGroupName")?);
    let group = expect_reply!(call.query(query).await?, QueryReply::ThingGroup(group) => *group);
    Ok(described(group))
}

fn described(group: ThingGroupDescription) -> Answer {
    let parent = group.root_to_parent.last().map(|parent| parent.group_name.clone());
    let properties = members_of([
        ("thingGroupDescription", group.description.into()),
        ("attributePayload", json!({"attributes": group.attributes})),
    ]);
    let metadata = members_of([
        ("parentGroupName", parent.into()),
        ("rootToParentThingGroups", answer::list(group.root_to_parent, name_and_arn)),
        ("creationDate", seconds(group.created_at)),
    ]);
    Answer::of([
        ("thingGroupName", group.thing_group_name.into()),
        ("thingGroupId", group.thing_group_id.into()),
        ("thingGroupArn", group.thing_group_arn.into()),
        ("version", group.version.into()),
        ("thingGroupProperties", properties),
        ("thingGroupMetadata", metadata),
    ])
}

/// A group as listings tell it.
pub(super) fn name_and_arn(group: GroupNameAndArn) -> Value {
    json!({"groupName": group.group_name, "groupArn": group.group_arn})
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListThingGroups(Box::new(ListThingGroups {
        parent_group: call.input.query_string("parentGroup"),
        name_prefix: call.input.query_string("namePrefixFilter"),
        recursive: call.input.query_optional_boolean("recursive")?,
        page: call.input.next_token_page()?,
    }));
    groups(call, query).await
}

pub(super) async fn list_of_thing(call: &Call<'_>) -> Outcome {
    let thing_name = call.input.label("thingName")?;
    groups(call, QueryKind::ListThingGroupsForThing { thing_name, page: call.input.next_token_page()? }).await
}

async fn groups(call: &Call<'_>, query: QueryKind) -> Outcome {
    let page = expect_reply!(call.query(query).await?, QueryReply::Groups(page) => page);
    let groups = answer::list(page.items, name_and_arn);
    Ok(Answer::of([("thingGroups", groups), ("nextToken", page.next.into())]))
}

pub(super) async fn list_things(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListThingsInThingGroup {
        thing_group_name: call.input.label("thingGroupName")?,
        recursive: call.input.query_boolean("recursive")?,
        page: call.input.next_token_page()?,
    };
    things(call, query).await
}

/// A page of the names of things.
pub(super) async fn things(call: &Call<'_>, query: QueryKind) -> Outcome {
    let page = expect_reply!(call.query(query).await?, QueryReply::Names(page) => page);
    Ok(Answer::of([("things", page.items.into()), ("nextToken", page.next.into())]))
}

pub(super) async fn add_thing(call: &Call<'_>) -> Outcome {
    let args = thing_and_group(call, ("thingGroupName", "thingGroupArn"))?;
    call.carry_out(Action::AddThingToThingGroup(Box::new(args))).await?;
    Ok(Answer::object())
}

pub(super) async fn remove_thing(call: &Call<'_>) -> Outcome {
    let args = thing_and_group(call, ("thingGroupName", "thingGroupArn"))?;
    call.carry_out(Action::RemoveThingFromThingGroup(Box::new(args))).await?;
    Ok(Answer::object())
}

/// The thing and the group that a body names; `group`: the members that name the group.
pub(super) fn thing_and_group(call: &Call<'_>, group: (&str, &str)) -> Result<ThingAndGroup, Error> {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    body.boolean("overrideDynamicGroups")?;
    Ok(ThingAndGroup {
        group_name: body.string(group.0)?,
        group_arn: body.string(group.1)?,
        thing_name: body.string("thingName")?,
        thing_arn: body.string("thingArn")?,
    })
}

pub(super) async fn update_for_thing(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    body.boolean("overrideDynamicGroups")?;
    let action = Action::UpdateThingGroupsForThing(Box::new(UpdateThingGroupsForThing {
        thing_name: body.required_string("thingName")?,
        add: body.strings("thingGroupsToAdd")?.unwrap_or_default(),
        remove: body.strings("thingGroupsToRemove")?.unwrap_or_default(),
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}
