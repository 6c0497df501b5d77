//! Tags of users, roles and managed policies. Unlike those of other resources they are in no region, and letter case of their keys
//! does not matter: IAM's rules.

use prost::Message;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::managed_policies;
use crate::operators;
use crate::record::OperatorTag;
use crate::shapes::{Tag, TagOperator, Tagged, UntagOperator};
use crate::store::{Outcome, Store, done};
use crate::tags;
use crate::view::Effects;

/// TagOperator.
pub(crate) fn tag(store: &Store<'_>, context: &Context, args: &TagOperator) -> Outcome {
    change(store, &args.tagged, |present| put(present, &args.tags, context.limits.tags_per_resource))
}

/// UntagOperator.
pub(crate) fn untag(store: &Store<'_>, args: &UntagOperator) -> Outcome {
    args.tag_keys.iter().try_for_each(|key| tags::check_key(key))?;
    let goes = |tag: &OperatorTag| args.tag_keys.iter().any(|key| is_same(key, &tag.key));
    change(store, &args.tagged, |present| {
        present.retain(|tag| !goes(tag));
        Ok(())
    })
}

/// Tags that something is made with.
pub(crate) fn initial(context: &Context, given: &[Tag]) -> Result<Vec<OperatorTag>, Error> {
    let mut made = Vec::new();
    put(&mut made, given, context.limits.tags_per_resource)?;
    Ok(made)
}

/// Tags as answers hold them.
pub(crate) fn told(tags: Vec<OperatorTag>) -> Vec<Tag> {
    tags.into_iter().map(|OperatorTag { key, value }| Tag { key, value }).collect()
}

fn change(
    store: &Store<'_>,
    tagged: &Tagged,
    change: impl FnOnce(&mut Vec<OperatorTag>) -> Result<(), Error>,
) -> Outcome {
    let account = store.scope.account;
    let (key, value) = match tagged {
        Tagged::User(name) => {
            let mut record = operators::required_user(store, name)?;
            change(&mut record.tags)?;
            (keys::user(account, name), record.encode_to_vec())
        }
        Tagged::Role(name) => {
            let mut record = operators::required_role(store, name)?;
            change(&mut record.tags)?;
            (keys::role(account, name), record.encode_to_vec())
        }
        Tagged::Policy(name) => {
            let mut record = managed_policies::required(store, name)?;
            change(&mut record.tags)?;
            (keys::managed_policy(account, name), record.encode_to_vec())
        }
    };
    let mut effects = Effects::default();
    effects.put(key, value);
    done(effects)
}

fn put(present: &mut Vec<OperatorTag>, given: &[Tag], most: usize) -> Result<(), Error> {
    for (key, value) in tags::checked(given)? {
        if given.iter().filter(|tag| is_same(&tag.key, key)).count() > 1 {
            return Err(Error::invalid(format!("tag key '{key}' is given twice, but for letter case")));
        }
        present.retain(|tag| !is_same(&tag.key, key));
        present.push(OperatorTag { key: key.to_owned(), value: value.to_owned() });
    }
    present.sort_by(|one, other| one.key.cmp(&other.key));
    tags::check_count(present.len(), most)
}

fn is_same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Action, Reply};
    use crate::error::ErrorCode::*;
    use crate::query::{QueryKind, QueryReply};
    use crate::requests::*;
    use crate::shapes::{CreateManagedPolicy, CreateUser, UserDescription};
    use crate::testing::Registry;

    fn alice() -> Tagged {
        Tagged::User("alice".to_owned())
    }

    fn tag(tagged: Tagged, tags: &[(&str, &str)]) -> Action {
        let tags = tags.iter().map(|(key, value)| requests_tag(key, value)).collect();
        Action::TagOperator(Box::new(TagOperator { tagged, tags }))
    }

    fn untag(keys: &[&str]) -> Action {
        let tag_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Action::UntagOperator(Box::new(UntagOperator { tagged: alice(), tag_keys }))
    }

    fn requests_tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned() }
    }

    fn user(registry: &Registry) -> UserDescription {
        match registry.ask(QueryKind::GetUser("alice".to_owned())).unwrap() {
            QueryReply::User(Some(user)) => *user,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn letter_case_of_keys_does_not_matter() {
        let mut registry = registry();
        let tags = vec![requests_tag("Team", "a"), requests_tag("cost", "1")];
        registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags })).unwrap();
        registry.run(tag(alice(), &[("team", "b")])).unwrap();
        assert_eq!(user(&registry).tags, [requests_tag("cost", "1"), requests_tag("team", "b")]);
        let twice = tag(alice(), &[("x", "1"), ("X", "2")]);
        assert_eq!(refusal(registry.run(twice)), (InvalidRequestException, 400));
        let reserved = tag(alice(), &[("AWS:x", "1")]);
        assert_eq!(refusal(registry.run(reserved)), (InvalidRequestException, 400));
        registry.run(untag(&["TEAM", "absent"])).unwrap();
        assert_eq!(user(&registry).tags, [requests_tag("cost", "1")]);
    }

    #[test]
    fn there_are_at_most_fifty() {
        let mut registry = registry();
        let named = CreateUser { user_name: "alice".to_owned(), ..CreateUser::default() };
        registry.run(Action::CreateUser(named)).unwrap();
        for n in 0..50 {
            registry.run(tag(alice(), &[(&format!("k{n}"), "v")])).unwrap();
        }
        assert_eq!(refusal(registry.run(tag(alice(), &[("more", "v")]))), (LimitExceededException, 410));
        registry.run(tag(alice(), &[("K7", "again")])).unwrap();
        assert_eq!(user(&registry).tags.len(), 50);
    }

    #[test]
    fn policies_keep_them_with_their_versions() {
        let mut registry = registry();
        let made = registry.run(Action::CreateManagedPolicy(Box::new(CreateManagedPolicy {
            policy_name: "p".to_owned(),
            policy_document: DOCUMENT.to_owned(),
            description: String::new(),
            tags: vec![requests_tag("a", "b")],
        })));
        let Reply::ManagedPolicy(made) = made.unwrap() else { panic!() };
        assert_eq!(made.tags, [requests_tag("a", "b")]);
        registry.run(tag(Tagged::Policy("p".to_owned()), &[("c", "")])).unwrap();
        match registry.ask(QueryKind::GetManagedPolicy("p".to_owned())).unwrap() {
            QueryReply::ManagedPolicy(Some(policy)) => {
                assert_eq!(policy.tags, [requests_tag("a", "b"), requests_tag("c", "")]);
            }
            other => panic!("{other:?}"),
        }
        let nobody = tag(Tagged::Role("nobody".to_owned()), &[("a", "b")]);
        assert_eq!(refusal(registry.run(nobody)), (ResourceNotFoundException, 404));
    }
}
