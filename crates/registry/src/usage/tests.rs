use super::*;
use crate::command::{Action, Reply};
use crate::error::ErrorCode;
use crate::query::QueryKind;
use crate::requests::{attach_thing, cert, create_thing, id, issue, refusal, registry};
use crate::shapes::{CertificateStatus, CreateBillingGroup, DeleteGroup};
use crate::testing::Registry;

fn messages(count: u64) -> Amounts {
    Amounts { messages: count, ..Amounts::NONE }
}

fn row(day: u32, group: Option<&str>, amounts: Amounts) -> UsageRow {
    UsageRow { scope: scope(), billing_group: group.map(str::to_owned), day, amounts }
}

fn report(source: &str, number: u64, rows: Vec<UsageRow>) -> ReportUsage {
    ReportUsage { source: source.to_owned(), number, rows, last: false }
}

fn run(registry: &mut Registry, args: ReportUsage) {
    assert_eq!(registry.run(Action::ReportUsage(Box::new(args))), Ok(Reply::Done));
}

fn rows(registry: &Registry, from: u32, to: u32) -> Vec<(u32, Option<String>, u64)> {
    let asked = UsageQuery { from, to, after: None };
    let QueryReply::Usage(rows) = registry.ask(QueryKind::Usage(Box::new(asked))).unwrap() else { panic!() };
    rows.into_iter().map(|row| (row.day, row.billing_group, row.amounts.messages)).collect()
}

#[test]
fn reports_are_added_once_however_often_they_come() {
    let mut registry = registry();
    let day = day_of(registry.now);
    let first = report("p-1", 1, vec![row(day, None, messages(3))]);
    run(&mut registry, first.clone());
    run(&mut registry, first.clone());
    registry.wait(3600);
    run(&mut registry, first);
    let other = report("p-2", 1, vec![row(day, None, messages(4))]);
    run(&mut registry, other);
    let second = report(
        "p-1",
        2,
        vec![
            row(day, None, messages(10)),
            row(day, Some("g"), messages(1)),
            row(day, Some("g"), messages(1)),
        ],
    );
    run(&mut registry, second);
    assert_eq!(rows(&registry, day, day), [(day, None, 17), (day, Some("g".to_owned()), 2)]);
}

#[test]
fn days_are_asked_for_and_pages_follow_each_other() {
    let mut registry = registry();
    let day = day_of(registry.now);
    for (number, count) in (1..).zip([5_u32, 4, 3, 2, 1]) {
        let rows = vec![row(day - count, Some("g"), messages(u64::from(count)))];
        run(&mut registry, report("p", number, rows));
    }
    let days = |from, to| rows(&registry, from, to).into_iter().map(|(day, ..)| day).collect::<Vec<_>>();
    assert_eq!(days(day - 3, day - 2), [day - 3, day - 2]);
    assert_eq!(days(0, u32::MAX).len(), 5);
    let after = Some((day - 4, "g".to_owned()));
    let asked = UsageQuery { from: 0, to: day, after };
    let QueryReply::Usage(next) = registry.ask(QueryKind::Usage(Box::new(asked))).unwrap() else { panic!() };
    assert_eq!(next.iter().map(|row| row.day).collect::<Vec<_>>(), [day - 3, day - 2, day - 1]);
}

#[test]
fn what_is_long_past_is_forgotten() {
    let mut registry = registry();
    let day = day_of(registry.now);
    run(&mut registry, report("a", 1, vec![row(day - KEPT_DAYS - 1, None, messages(1))]));
    run(&mut registry, report("a", 2, vec![row(day - KEPT_DAYS, None, messages(1))]));
    assert_eq!(rows(&registry, 0, day), [(day - KEPT_DAYS, None, 1)]);
    // A process that ended without a word, and one that said so.
    registry.wait(8 * 24 * 3600);
    run(&mut registry, ReportUsage { last: true, ..report("Z", 1, Vec::new()) });
    let sources = registry.view.entries().keys().filter(|key| key.starts_with(&keys::usage_sources()));
    assert_eq!(sources.count(), 0);
}

#[test]
fn an_account_has_so_many_regions_and_no_more() {
    let mut registry = registry();
    let day = day_of(registry.now);
    let in_region = |number: usize| Scope { region: format!("xx-east-{number}").parse().unwrap(), ..scope() };
    let of_region = |number| UsageRow { scope: in_region(number), ..row(day, None, messages(1)) };
    run(&mut registry, report("p", 1, (0..REGIONS - 1).map(of_region).collect()));
    run(&mut registry, report("p", 2, (REGIONS - 2..REGIONS + 10).map(of_region).collect()));
    let QueryReply::Scopes(scopes) = registry.ask(QueryKind::Scopes).unwrap() else { panic!() };
    assert_eq!(scopes.len(), REGIONS);
    registry.scope = in_region(REGIONS - 2);
    assert_eq!(rows(&registry, day, day), [(day, None, 2)]);
    registry.scope = in_region(REGIONS);
    assert_eq!(rows(&registry, day, day), []);
}

#[test]
fn reports_are_bounded_and_named() {
    let mut registry = registry();
    let mut refused = |args: ReportUsage| refusal(registry.run(Action::ReportUsage(Box::new(args)))).0;
    let many =
        vec![UsageRow { scope: scope(), billing_group: None, day: 1, amounts: Amounts::NONE }; ROWS + 1];
    assert_eq!(refused(report("p", 1, many)), ErrorCode::InvalidRequestException);
    for source in ["", "a/b", &"x".repeat(65)] {
        assert_eq!(refused(report(source, 1, Vec::new())), ErrorCode::InvalidRequestException);
    }
}

/// That of the registry.
fn scope() -> Scope {
    registry().scope
}

#[test]
fn a_client_counts_for_the_group_of_the_thing_that_it_is_named_as() {
    let mut registry = registry();
    let group = CreateBillingGroup { billing_group_name: "g".to_owned(), ..CreateBillingGroup::default() };
    registry.run(Action::CreateBillingGroup(Box::new(group))).unwrap();
    let Action::CreateThing(mut thing) = create_thing("t", None, &[]) else { panic!() };
    thing.billing_group_name = Some("g".to_owned());
    registry.run(Action::CreateThing(thing)).unwrap();
    registry.run(issue("1", CertificateStatus::Active)).unwrap();
    let asked = |registry: &Registry, client: &str| {
        let kind = QueryKind::BillingGroupOfClient { certificate_id: id("1"), client_id: client.to_owned() };
        registry.ask(kind).unwrap()
    };
    let none = QueryReply::BillingGroupOfClient(None);
    assert_eq!(asked(&registry, "t"), none, "not attached");
    registry.run(attach_thing("t", &cert("1"), None)).unwrap();
    assert_eq!(asked(&registry, "t"), QueryReply::BillingGroupOfClient(Some("g".to_owned())));
    assert_eq!(asked(&registry, "u"), none);
    assert_eq!(asked(&registry, "a/b"), none, "no name of a thing");
    let by_certificate =
        |registry: &Registry| registry.ask(QueryKind::BillingGroupOfCertificate(id("1"))).unwrap();
    assert_eq!(by_certificate(&registry), QueryReply::BillingGroupOfClient(Some("g".to_owned())));
    registry.run(create_thing("u", None, &[])).unwrap();
    registry.run(attach_thing("u", &cert("1"), None)).unwrap();
    assert_eq!(by_certificate(&registry), none, "of which of two things?");
    assert_eq!(registry.ask(QueryKind::BillingGroupOfCertificate("alice".to_owned())).unwrap(), none);
    assert_eq!(asked(&registry, "t"), QueryReply::BillingGroupOfClient(Some("g".to_owned())));
    let delete = DeleteGroup { group_name: "g".to_owned(), expected_version: None };
    registry.run(Action::DeleteBillingGroup(Box::new(delete))).unwrap();
    assert_eq!(asked(&registry, "t"), none, "the group is gone");
}
