//! Things (provisioning.md section 8).

use fleethaven_registry::shapes::{
    AttributePayload, CreateThing, DeleteThing, ListThings, ThingDescription, ThingSummary, UpdateThing,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use super::expect_reply;
use crate::answer::{self, Answer, Outcome, members_of};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreateThing(Box::new(CreateThing {
        thing_name: call.input.label("thingName")?,
        thing_type_name: body.string("thingTypeName")?,
        attributes: attribute_payload(&body)?.unwrap_or_default().attributes,
        billing_group_name: body.string("billingGroupName")?,
    }));
    let thing = expect_reply!(call.execute(action).await?, Reply::Thing(thing) => thing);
    Ok(Answer::of([
        ("thingName", thing.thing_name.into()),
        ("thingArn", thing.thing_arn.into()),
        ("thingId", thing.thing_id.into()),
    ]))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UpdateThing(Box::new(UpdateThing {
        thing_name: call.input.label("thingName")?,
        thing_type_name: body.string("thingTypeName")?,
        attribute_payload: attribute_payload(&body)?,
        expected_version: body.integer("expectedVersion")?,
        remove_thing_type: body.boolean("removeThingType")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

/// The member `attributePayload` of an object.
pub(super) fn attribute_payload(body: &Members<'_>) -> Result<Option<AttributePayload>, Error> {
    let Some(payload) = body.object("attributePayload")? else { return Ok(None) };
    let attributes = payload.string_map("attributes")?.unwrap_or_default();
    Ok(Some(AttributePayload { attributes, merge: payload.boolean("merge")? }))
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeThing(call.input.label("thingName")?);
    let thing = expect_reply!(call.query(query).await?, QueryReply::Thing(thing) => *thing);
    Ok(describe_answer(thing))
}

fn describe_answer(thing: ThingDescription) -> Answer {
    Answer::of([
        ("defaultClientId", thing.thing_name.clone().into()),
        ("thingName", thing.thing_name.into()),
        ("thingId", thing.thing_id.into()),
        ("thingArn", thing.thing_arn.into()),
        ("thingTypeName", thing.thing_type_name.into()),
        ("attributes", json!(thing.attributes)),
        ("version", thing.version.into()),
        ("billingGroupName", thing.billing_group_name.into()),
    ])
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListThings(Box::new(ListThings {
        attribute_name: call.input.query_string("attributeName"),
        attribute_value: call.input.query_string("attributeValue"),
        use_prefix_attribute_value: call.input.query_boolean("usePrefixAttributeValue")?,
        thing_type_name: call.input.query_string("thingTypeName"),
        page: call.input.next_token_page()?,
    }));
    let page = expect_reply!(call.query(query).await?, QueryReply::Things(page) => page);
    let things = answer::list(page.items, summary);
    Ok(Answer::of([("things", things), ("nextToken", page.next.into())]))
}

fn summary(thing: ThingSummary) -> Value {
    members_of([
        ("thingName", thing.thing_name.into()),
        ("thingTypeName", thing.thing_type_name.into()),
        ("thingArn", thing.thing_arn.into()),
        ("attributes", json!(thing.attributes)),
        ("version", thing.version.into()),
    ])
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let action = Action::DeleteThing(Box::new(DeleteThing {
        thing_name: call.input.label("thingName")?,
        expected_version: call.input.query_integer("expectedVersion")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}
