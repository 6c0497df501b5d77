//! Walking pages (provisioning.md section 14, row 36) and what tokens are good for.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::command::Action;
use crate::error::ErrorCode;
use crate::query::{QueryKind, QueryReply};
use crate::shapes::{CreateThing, DeleteThing, ListThings, Listed, PageRequest, ThingSummary};
use crate::testing::{Registry, account_arguments};

/// All items of a listing, page by page.
pub(super) fn walk<T>(limit: u32, mut ask: impl FnMut(PageRequest) -> Listed<T>) -> Vec<T> {
    let mut all = Vec::new();
    let mut token = None;
    loop {
        let listed = ask(PageRequest { token: token.take(), limit: Some(limit) });
        assert!(listed.items.len() <= limit as usize);
        all.extend(listed.items);
        token = listed.next;
        if token.is_none() {
            return all;
        }
    }
}

fn things(registry: &Registry, page: PageRequest) -> Listed<ThingSummary> {
    let args = ListThings { page, ..ListThings::default() };
    match registry.ask(QueryKind::ListThings(Box::new(args))).unwrap() {
        QueryReply::Things(listed) => listed,
        other => panic!("{other:?}"),
    }
}

fn create(registry: &mut Registry, name: &str) {
    let args = CreateThing { thing_name: name.to_owned(), ..CreateThing::default() };
    registry.run(Action::CreateThing(Box::new(args))).unwrap();
}

fn delete(registry: &mut Registry, name: &str) {
    let args = DeleteThing { thing_name: name.to_owned(), expected_version: None };
    registry.run(Action::DeleteThing(Box::new(args))).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn pages_neither_skip_nor_repeat_while_others_write(
        kept in btree_set("[a-f]{1,3}", 1..20),
        writes in vec(("[a-f]{1,3}", any::<bool>()), 0..20),
        limit in 1..5u32,
    ) {
        let mut registry = Registry::new().unwrap();
        kept.iter().for_each(|name| create(&mut registry, name));
        let mut writes = writes.into_iter().filter(|(name, _)| !kept.contains(name));
        let seen = walk(limit, |page| {
            let listed = things(&registry, page);
            if let Some((name, is_new)) = writes.next() {
                if is_new { create(&mut registry, &name) } else { delete(&mut registry, &name) }
            }
            listed
        });
        let names: Vec<_> = seen.into_iter().map(|thing| thing.thing_name).collect();
        let unique: BTreeSet<_> = names.iter().cloned().collect();
        prop_assert_eq!(names.len(), unique.len());
        prop_assert!(kept.is_subset(&unique));
        prop_assert!(names.is_sorted());
    }
}

fn token(registry: &Registry) -> String {
    things(registry, PageRequest { token: None, limit: Some(1) }).next.unwrap()
}

fn refused(registry: &Registry, args: ListThings) -> bool {
    let reply = registry.ask(QueryKind::ListThings(Box::new(args)));
    matches!(reply, Err(error) if error.code == ErrorCode::InvalidRequestException)
}

fn three_things() -> Registry {
    let mut registry = Registry::new().unwrap();
    ["a", "b", "c"].iter().for_each(|name| create(&mut registry, name));
    registry
}

#[test]
fn a_token_is_good_for_its_listing_only() {
    let mut registry = three_things();
    let page = PageRequest { token: Some(token(&registry)), limit: Some(1) };
    assert_eq!(things(&registry, page.clone()).items.first().unwrap().thing_name, "b");
    let thing_type_name = Some("t".to_owned());
    assert!(refused(&registry, ListThings { page: page.clone(), thing_type_name, ..ListThings::default() }));
    assert!(registry.ask(QueryKind::ListPolicies { ascending: true, page: page.clone() }).is_err());
    registry.scope.region = "us-east-1".parse().unwrap();
    assert!(refused(&registry, ListThings { page: page.clone(), ..ListThings::default() }));
    registry.scope.account = "000000000001".parse().unwrap();
    let bootstrap = Action::BootstrapAccount(Box::new(account_arguments("AKIAOTHEROTHEROT")));
    registry.run(bootstrap).unwrap();
    assert!(refused(&registry, ListThings { page, ..ListThings::default() }));
}

#[test]
fn a_token_is_valid_for_an_hour() {
    let mut registry = three_things();
    let page = PageRequest { token: Some(token(&registry)), limit: None };
    registry.wait(3600);
    assert_eq!(things(&registry, page.clone()).items.len(), 2);
    registry.wait(1);
    assert!(refused(&registry, ListThings { page, ..ListThings::default() }));
}

#[test]
fn altered_tokens_and_odd_page_sizes_are_refused() {
    let registry = three_things();
    let token = token(&registry);
    let altered =
        [String::new(), "AAAA".to_owned(), format!("A{token}"), token.to_uppercase(), "%".to_owned()];
    for token in altered {
        let page = PageRequest { token: Some(token.clone()), limit: None };
        assert!(refused(&registry, ListThings { page, ..ListThings::default() }), "{token}");
    }
    for limit in [0, 251] {
        let page = PageRequest { token: None, limit: Some(limit) };
        assert!(refused(&registry, ListThings { page, ..ListThings::default() }), "{limit}");
    }
}

#[test]
fn tokens_fit_the_pattern_of_markers() {
    let token = token(&three_things());
    let body = token.trim_end_matches('=');
    assert!(token.len() <= 1024 && token.len() - body.len() <= 2);
    assert!(body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/'));
}
