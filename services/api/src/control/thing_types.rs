//! Thing types (provisioning.md section 8).

use fleethaven_registry::shapes::{
    CreateThingType, DeprecateThingType, PropagatedValue, PropagatingAttribute, ThingTypeDescription,
    ThingTypeProperties, UpdateThingType,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Value, json};

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, members_of, seconds};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreateThingType(Box::new(CreateThingType {
        thing_type_name: call.input.label("thingTypeName")?,
        properties: read_properties(&body)?,
        tags: body_tags(&body)?,
    }));
    let created = expect_reply!(call.execute(action).await?, Reply::ThingType(created) => created);
    Ok(Answer::of([
        ("thingTypeName", created.thing_type_name.into()),
        ("thingTypeArn", created.thing_type_arn.into()),
        ("thingTypeId", created.thing_type_id.into()),
    ]))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let action = Action::UpdateThingType(Box::new(UpdateThingType {
        thing_type_name: call.input.label("thingTypeName")?,
        properties: read_properties(&Members::of_body(&object))?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

fn read_properties(body: &Members<'_>) -> Result<ThingTypeProperties, Error> {
    let Some(properties) = body.object("thingTypeProperties")? else {
        return Ok(ThingTypeProperties::default());
    };
    let configuration = properties.object("mqtt5Configuration")?;
    let propagating = |configuration: &Members<'_>| {
        configuration.objects("propagatingAttributes")?.iter().map(propagating_attribute).collect()
    };
    Ok(ThingTypeProperties {
        description: properties.string("thingTypeDescription")?,
        searchable_attributes: properties.strings("searchableAttributes")?.unwrap_or_default(),
        propagating_attributes: configuration.as_ref().map(propagating).transpose()?,
    })
}

fn propagating_attribute(item: &Members<'_>) -> Result<PropagatingAttribute, Error> {
    let value = match (item.string("thingAttribute")?, item.string("connectionAttribute")?) {
        (Some(name), None) => PropagatedValue::ThingAttribute(name),
        (None, Some(name)) => PropagatedValue::ConnectionAttribute(name),
        _ => {
            let message = "a propagating attribute has either 'thingAttribute' or 'connectionAttribute'";
            return Err(Error::invalid(message));
        }
    };
    Ok(PropagatingAttribute { user_property_key: item.required_string("userPropertyKey")?, value })
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeThingType(call.input.label("thingTypeName")?);
    let described = expect_reply!(call.query(query).await?, QueryReply::ThingType(described) => *described);
    let id = described.thing_type_id.clone();
    let mut description = definition(described);
    if let Some(members) = description.as_object_mut() {
        members.insert("thingTypeId".to_owned(), id.into());
    }
    Ok(Answer::Json(description))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let thing_type_name = call.input.query_string("thingTypeName");
    let query = QueryKind::ListThingTypes { thing_type_name, page: call.input.next_token_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::ThingTypes(page) => page);
    let types = answer::list(page.items, definition);
    Ok(Answer::of([("thingTypes", types), ("nextToken", page.next.into())]))
}

/// A thing type as listings tell it; its description has the id too.
fn definition(described: ThingTypeDescription) -> Value {
    let metadata = members_of([
        ("deprecated", described.deprecated_at.is_some().into()),
        ("deprecationDate", described.deprecated_at.map_or(Value::Null, seconds)),
        ("creationDate", seconds(described.created_at)),
    ]);
    members_of([
        ("thingTypeName", described.thing_type_name.into()),
        ("thingTypeArn", described.thing_type_arn.into()),
        ("thingTypeProperties", properties_json(described.properties)),
        ("thingTypeMetadata", metadata),
    ])
}

fn properties_json(properties: ThingTypeProperties) -> Value {
    let configuration = properties.propagating_attributes.map(|attributes| {
        let attributes = answer::list(attributes, |attribute| match attribute.value {
            PropagatedValue::ThingAttribute(name) => {
                json!({"userPropertyKey": attribute.user_property_key, "thingAttribute": name})
            }
            PropagatedValue::ConnectionAttribute(name) => {
                json!({"userPropertyKey": attribute.user_property_key, "connectionAttribute": name})
            }
        });
        json!({"propagatingAttributes": attributes})
    });
    members_of([
        ("thingTypeDescription", properties.description.into()),
        ("searchableAttributes", properties.searchable_attributes.into()),
        ("mqtt5Configuration", configuration.unwrap_or_default()),
    ])
}

pub(super) async fn deprecate(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let action = Action::DeprecateThingType(Box::new(DeprecateThingType {
        thing_type_name: call.input.label("thingTypeName")?,
        undo_deprecate: Members::of_body(&object).boolean("undoDeprecate")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteThingType(call.input.label("thingTypeName")?)).await?;
    Ok(Answer::object())
}
