//! provisioning.md section 8 and section 14, row 28.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::limits::Limits;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn create(registry: &mut Registry, properties: ThingTypeProperties) -> Result<Reply, crate::Error> {
    let thing_type_name = "t".to_owned();
    registry.run(Action::CreateThingType(Box::new(CreateThingType {
        thing_type_name,
        properties,
        tags: vec![tag("k", "v")],
    })))
}

fn described(registry: &Registry) -> ThingTypeDescription {
    match registry.ask(QueryKind::DescribeThingType("t".to_owned())).unwrap() {
        QueryReply::ThingType(thing_type) => *thing_type,
        other => panic!("{other:?}"),
    }
}

fn propagating(key: &str, value: PropagatedValue) -> ThingTypeProperties {
    let attribute = PropagatingAttribute { user_property_key: key.to_owned(), value };
    ThingTypeProperties { propagating_attributes: Some(vec![attribute]), ..ThingTypeProperties::default() }
}

#[test]
fn creating_twice() {
    let mut registry = registry();
    let properties = ThingTypeProperties {
        description: Some("a pump".to_owned()),
        searchable_attributes: vec!["serial".to_owned()],
        propagating_attributes: None,
    };
    let first = create(&mut registry, properties.clone()).unwrap();
    assert_eq!(create(&mut registry, properties.clone()).unwrap(), first);
    let other = create(&mut registry, ThingTypeProperties::default());
    assert_eq!(refusal(other), (ResourceAlreadyExistsException, 409));
    assert_eq!(described(&registry).properties, properties);
}

#[test]
fn properties_that_are_refused() {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let searchable = |names: &[&str]| ThingTypeProperties {
        searchable_attributes: texts(names),
        ..ThingTypeProperties::default()
    };
    let description =
        |text: String| ThingTypeProperties { description: Some(text), ..ThingTypeProperties::default() };
    let one = propagating("k", PropagatedValue::ThingAttribute("x".to_owned())).propagating_attributes;
    let many = one.map(|one| one.into_iter().cycle().take(51).collect());
    for properties in [
        ThingTypeProperties { propagating_attributes: many, ..ThingTypeProperties::default() },
        searchable(&["a", "b", "c", "d"]),
        searchable(&["a", "a"]),
        searchable(&["a b"]),
        description("x".repeat(2029)),
        description("a\nb".to_owned()),
        propagating("a b", PropagatedValue::ThingAttribute("x".to_owned())),
        propagating("k", PropagatedValue::ThingAttribute("x y".to_owned())),
        propagating("k", PropagatedValue::ConnectionAttribute("iot:Unknown".to_owned())),
    ] {
        let result = create(&mut registry(), properties.clone());
        assert_eq!(refusal(result), (InvalidRequestException, 400), "{properties:?}");
    }
}

#[test]
fn only_mqtt5_configuration_changes() {
    let mut registry = registry();
    create(&mut registry, ThingTypeProperties::default()).unwrap();
    let mut update = |properties: ThingTypeProperties| {
        let thing_type_name = "t".to_owned();
        registry.run(Action::UpdateThingType(Box::new(UpdateThingType { thing_type_name, properties })))
    };
    let new = propagating("k", PropagatedValue::ConnectionAttribute("iot:ClientId".to_owned()));
    assert!(is_done(update(new.clone())));
    let description = Some("other".to_owned());
    let refused = update(ThingTypeProperties { description, ..ThingTypeProperties::default() });
    assert_eq!(refusal(refused), (InvalidRequestException, 400));
    assert_eq!(described(&registry).properties, new);
}

#[test]
fn deleting_needs_deprecation_time_and_no_things() {
    let mut registry = registry();
    registry.limits = Limits::of(fleethaven_types::Profile::Aws);
    create(&mut registry, ThingTypeProperties::default()).unwrap();
    let delete = || Action::DeleteThingType("t".to_owned());
    assert_eq!(refusal(registry.run(delete())), (InvalidRequestException, 400));
    registry.run(create_thing("a", Some("t"), &[])).unwrap();
    registry.run(deprecate("t", false)).unwrap();
    let at = described(&registry).deprecated_at;
    registry.wait(60);
    registry.run(deprecate("t", false)).unwrap();
    assert_eq!(described(&registry).deprecated_at, at, "deprecating again changes nothing");
    assert_eq!(refusal(registry.run(delete())), (InvalidRequestException, 400));
    registry.wait(300);
    assert_eq!(refusal(registry.run(delete())), (InvalidRequestException, 400), "a thing has it");
    let thing = DeleteThing { thing_name: "a".to_owned(), expected_version: None };
    registry.run(Action::DeleteThing(Box::new(thing))).unwrap();
    assert!(is_done(registry.run(delete())));
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
}

#[test]
fn deprecation_is_undone() {
    let mut registry = registry();
    create(&mut registry, ThingTypeProperties::default()).unwrap();
    registry.run(deprecate("t", false)).unwrap();
    assert_eq!(refusal(registry.run(create_thing("a", Some("t"), &[]))), (InvalidRequestException, 400));
    registry.run(deprecate("t", true)).unwrap();
    assert_eq!(described(&registry).deprecated_at, None);
    assert!(registry.run(create_thing("a", Some("t"), &[])).is_ok());
}

#[test]
fn listing_by_name() {
    let mut registry = registry();
    ["a", "b"].iter().for_each(|name| _ = registry.run(create_type(name)).unwrap());
    let list = |name: Option<&str>| {
        let thing_type_name = name.map(str::to_owned);
        match registry.ask(QueryKind::ListThingTypes { thing_type_name, page: PageRequest::default() }) {
            Ok(QueryReply::ThingTypes(listed)) => listed.items.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((list(None), list(Some("a")), list(Some("c"))), (2, 1, 0));
}
