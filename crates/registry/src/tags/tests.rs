//! provisioning.md section 9 and section 14, row 35.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn prepared() -> Registry {
    let mut registry = registry();
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry.run(create_thing("a", None, &[])).unwrap();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    registry
}

fn put(registry: &mut Registry, arn: &str, tags: Vec<Tag>) -> Result<Reply, crate::Error> {
    registry.run(Action::TagResource(Box::new(TagResource { resource_arn: arn.to_owned(), tags })))
}

fn listed(registry: &Registry, arn: &str) -> Result<Vec<Tag>, crate::Error> {
    let kind = QueryKind::ListTagsForResource { resource_arn: arn.to_owned(), next_token: None };
    match registry.ask(kind)? {
        QueryReply::Tags(listed) => Ok(listed.items),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tags_are_set_overwritten_and_removed() {
    let mut registry = prepared();
    let policy = arn("policy", "p");
    put(&mut registry, &policy, vec![tag("k", "1"), tag("K", "2"), tag("ä b", "x/y:z=1+2-3@_.")]).unwrap();
    put(&mut registry, &policy, vec![tag("k", "3")]).unwrap();
    let tags = listed(&registry, &policy).unwrap();
    assert_eq!(tags, [tag("K", "2"), tag("k", "3"), tag("ä b", "x/y:z=1+2-3@_.")]);
    let tag_keys = vec!["K".to_owned(), "absent".to_owned()];
    let untag = UntagResource { resource_arn: policy.clone(), tag_keys };
    assert!(is_done(registry.run(Action::UntagResource(Box::new(untag)))));
    assert_eq!(listed(&registry, &policy).unwrap().len(), 2);
    registry.run(Action::DeletePolicy("p".to_owned())).unwrap();
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    assert!(listed(&registry, &policy).unwrap().is_empty());
}

#[test]
fn what_cannot_have_tags() {
    let mut registry = prepared();
    for (resource, expected) in [
        (arn("thing", "a"), (InvalidRequestException, 400)),
        (cert("1"), (InvalidRequestException, 400)),
        ("nonsense".to_owned(), (InvalidRequestException, 400)),
        (arn("policy", "q"), (ResourceNotFoundException, 404)),
        (arn("job", "j"), (ResourceNotFoundException, 404)),
        (arn("policy", "p").replace("123456789012", "000000000001"), (ResourceNotFoundException, 404)),
    ] {
        assert_eq!(refusal(put(&mut registry, &resource, vec![tag("k", "v")])), expected, "{resource}");
        assert_eq!(refusal(listed(&registry, &resource)), expected, "{resource}");
    }
}

#[test]
fn tags_that_are_refused() {
    let mut registry = prepared();
    for tags in [
        vec![tag("", "v")],
        vec![tag("aws:k", "v")],
        vec![tag("AWS:k", "v")],
        vec![tag("k,", "v")],
        vec![tag("k", "v\0")],
        vec![tag(&"k".repeat(129), "v")],
        vec![tag("k", &"v".repeat(257))],
        vec![tag("k", "1"), tag("k", "2")],
    ] {
        let result = put(&mut registry, &arn("policy", "p"), tags.clone());
        assert_eq!(refusal(result), (InvalidRequestException, 400), "{tags:?}");
    }
}

#[test]
fn the_fifty_first_tag() {
    let mut registry = prepared();
    let policy = arn("policy", "p");
    let tags = (0..50).map(|number| tag(&format!("k{number}"), "v")).collect();
    put(&mut registry, &policy, tags).unwrap();
    assert_eq!(refusal(put(&mut registry, &policy, vec![tag("k", "v")])), (LimitExceededException, 410));
    assert!(put(&mut registry, &policy, vec![tag("k0", "w")]).is_ok());
}
