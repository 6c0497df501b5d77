//! provisioning.md sections 7.2 and 7.3, and section 14, rows 12 to 16.

use std::collections::BTreeMap;

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::template::{
    CertificateSource, Override, Plan, PlannedCertificate, PlannedPolicy, PlannedThing, PolicySource,
};
use crate::testing::Registry;

fn thing(name: &str) -> PlannedThing {
    PlannedThing {
        logical_name: "thing".to_owned(),
        thing_name: name.to_owned(),
        attributes: None,
        thing_type_name: None,
        thing_groups: None,
        billing_group_name: None,
        attributes_override: Override::DoNothing,
        thing_type_override: Override::DoNothing,
        thing_groups_override: Override::DoNothing,
    }
}

fn certificate(digit: &str) -> (PlannedCertificate, CertificateRegistration) {
    let planned = PlannedCertificate {
        logical_name: "certificate".to_owned(),
        source: CertificateSource::Id(id(digit)),
        active: true,
        status_override: Override::Replace,
    };
    let registration = CertificateRegistration::Issued(RegisterIssuedCertificate {
        certificate_id: id(digit),
        certificate_pem: "pem".to_owned(),
        status: CertificateStatus::Inactive,
        validity: validity(),
        issued_for: IssuedFor::Caller,
    });
    (planned, registration)
}

fn document(logical_name: &str) -> PlannedPolicy {
    let (logical_name, source) = (logical_name.to_owned(), PolicySource::Document(DOCUMENT.to_owned()));
    PlannedPolicy { logical_name, source }
}

fn provision(
    registry: &mut Registry,
    thing: PlannedThing,
    (planned, registration): (PlannedCertificate, CertificateRegistration),
    policies: Vec<PlannedPolicy>,
) -> Result<Provisioned, crate::Error> {
    let device_configuration = BTreeMap::new();
    let plan = Plan { thing: Some(thing), certificate: Some(planned), policies, device_configuration };
    let args = Provision { plan, certificate: Some(registration) };
    registry.run(Action::Provision(Box::new(args))).map(|reply| match reply {
        Reply::Provisioned(provisioned) => *provisioned,
        other => panic!("{other:?}"),
    })
}

fn status(registry: &Registry, digit: &str) -> CertificateStatus {
    match registry.ask(QueryKind::DescribeCertificate(id(digit))).unwrap() {
        QueryReply::Certificate(certificate) => certificate.status,
        other => panic!("{other:?}"),
    }
}

fn described(registry: &Registry, name: &str) -> ThingDescription {
    match registry.ask(QueryKind::DescribeThing(name.to_owned())).unwrap() {
        QueryReply::Thing(thing) => *thing,
        other => panic!("{other:?}"),
    }
}

fn groups(registry: &Registry, thing: &str) -> Vec<String> {
    let (thing_name, page) = (thing.to_owned(), PageRequest::default());
    names(registry.ask(QueryKind::ListThingGroupsForThing { thing_name, page }).unwrap())
}

#[test]
fn everything_is_made_and_attached() {
    let mut registry = registry();
    registry.run(create_type("t")).unwrap();
    registry.run(create_group("g", None)).unwrap();
    let planned = PlannedThing {
        attributes: Some(attributes(&[("k", "v")])),
        thing_type_name: Some("t".to_owned()),
        thing_groups: Some(vec!["g".to_owned()]),
        ..thing("a")
    };
    let made = provision(&mut registry, planned, certificate("1"), vec![document("policy")]).unwrap();
    assert_eq!((made.thing_name.as_deref(), made.certificate_pem.as_deref()), (Some("a"), Some("pem")));
    let policy = made.resource_arns["policy"].clone();
    let name = policy.rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(
        (made.resource_arns["thing"].as_str(), made.resource_arns["certificate"].as_str()),
        (arn("thing", "a").as_str(), cert("1").as_str())
    );
    assert_eq!(status(&registry, "1"), CertificateStatus::Active);
    let QueryReply::Principal(Some(view)) =
        registry.ask(QueryKind::Principal { certificate_id: id("1") }).unwrap()
    else {
        panic!("another answer")
    };
    assert_eq!(
        (view.policies[0].policy_name.as_str(), view.things[0].thing_name.as_str()),
        (name.as_str(), "a")
    );
    assert_eq!(view.things[0].thing_groups, ["g"]);
    // The same document is the same policy.
    let second = provision(&mut registry, thing("b"), certificate("2"), vec![document("policy")]).unwrap();
    assert_eq!(second.resource_arns["policy"], policy);
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let mut registry = registry();
    let before = registry.view.clone();
    let groups = PlannedThing { thing_groups: Some(vec!["unknown".to_owned()]), ..thing("a") };
    let unnamed =
        PlannedPolicy { logical_name: "policy".to_owned(), source: PolicySource::Name("unknown".to_owned()) };
    let unparsed =
        PlannedPolicy { logical_name: "policy".to_owned(), source: PolicySource::Document("{}".to_owned()) };
    let missing = (certificate("1").0, CertificateRegistration::Existing(id("1")));
    for (thing, certificate, policies) in [
        (groups, certificate("1"), vec![document("policy")]),
        (thing("bad name"), certificate("1"), Vec::new()),
        (thing("a"), certificate("1"), vec![unnamed]),
        (thing("a"), certificate("1"), vec![unparsed]),
        (thing("a"), missing, Vec::new()),
    ] {
        let refused = provision(&mut registry, thing, certificate, policies);
        assert_eq!(refusal(refused), (ResourceRegistrationFailureException, 400));
        assert_eq!(registry.view, before);
    }
}

#[test]
fn what_exists_changes_as_its_overrides_say() {
    let stored = attributes(&[("a", "1"), ("b", "2")]);
    let wanted = attributes(&[("b", "3"), ("c", "4")]);
    for (setting, attributes_after, groups_after) in [
        (Override::DoNothing, Some(stored.clone()), &["g"][..]),
        (Override::Replace, Some(wanted.clone()), &["h"]),
        (Override::Merge, Some(attributes(&[("a", "1"), ("b", "3"), ("c", "4")])), &["g", "h"]),
        (Override::Fail, None, &["g"]),
    ] {
        let mut registry = registry();
        for group in ["g", "h"] {
            registry.run(create_group(group, None)).unwrap();
        }
        registry.run(create_thing("a", None, &[("a", "1"), ("b", "2")])).unwrap();
        registry.run(join("a", "g")).unwrap();
        let planned = PlannedThing {
            attributes: Some(wanted.clone()),
            thing_groups: Some(vec!["h".to_owned()]),
            attributes_override: setting,
            thing_groups_override: setting,
            ..thing("a")
        };
        let outcome = provision(&mut registry, planned, certificate("1"), Vec::new());
        match &attributes_after {
            Some(after) => {
                outcome.unwrap();
                assert_eq!(described(&registry, "a").attributes, *after, "{setting:?}");
            }
            None => {
                assert_eq!(refusal(outcome), (ConflictingResourceUpdateException, 409));
                assert_eq!(described(&registry, "a").attributes, stored);
                let gone = registry.ask(QueryKind::DescribeCertificate(id("1")));
                assert_eq!(refusal(gone), (ResourceNotFoundException, 404), "not registered either");
            }
        }
        assert_eq!(groups(&registry, "a"), groups_after, "{setting:?}");
    }
}

#[test]
fn a_type_is_overridden_like_the_rest() {
    let mut registry = registry();
    for name in ["t", "u"] {
        registry.run(create_type(name)).unwrap();
    }
    registry.run(create_thing("a", Some("t"), &[])).unwrap();
    let mut with = |setting: Override, digit: &str| {
        let planned = PlannedThing {
            thing_type_name: Some("u".to_owned()),
            thing_type_override: setting,
            ..thing("a")
        };
        let outcome = provision(&mut registry, planned, certificate(digit), Vec::new());
        (outcome.is_ok(), described(&registry, "a").thing_type_name.unwrap())
    };
    assert_eq!(with(Override::DoNothing, "1"), (true, "t".to_owned()));
    assert_eq!(with(Override::Fail, "2"), (false, "t".to_owned()));
    assert_eq!(with(Override::Replace, "3"), (true, "u".to_owned()));
}

#[test]
fn a_certificate_that_is_registered_is_taken_as_it_is() {
    for (setting, after) in [
        (Override::Replace, Some(CertificateStatus::Active)),
        (Override::DoNothing, Some(CertificateStatus::PendingActivation)),
        (Override::Fail, None),
    ] {
        let mut registry = registry();
        registry.run(issue("1", CertificateStatus::PendingActivation)).unwrap();
        let planned = PlannedCertificate { status_override: setting, ..certificate("1").0 };
        let outcome = provision(
            &mut registry,
            thing("a"),
            (planned, CertificateRegistration::Existing(id("1"))),
            Vec::new(),
        );
        assert_eq!(outcome.is_ok(), after.is_some(), "{setting:?}");
        assert_eq!(status(&registry, "1"), after.unwrap_or(CertificateStatus::PendingActivation));
    }
}

#[test]
fn a_certificate_of_a_registered_authority() {
    let mut registry = registry();
    registry.run(register_ca("a")).unwrap();
    let Action::RegisterCertificate(args) = register("1", "a", true) else { panic!("another action") };
    let registration = || (certificate("1").0, CertificateRegistration::Signed((*args).clone()));
    provision(&mut registry, thing("a"), registration(), Vec::new()).unwrap();
    assert_eq!(status(&registry, "1"), CertificateStatus::Active);
    // Again, for another thing: the certificate is there.
    provision(&mut registry, thing("b"), registration(), Vec::new()).unwrap();
    registry.run(set_ca_status("a", CaCertificateStatus::Inactive)).unwrap();
    let Action::RegisterCertificate(args) = register("2", "a", true) else { panic!("another action") };
    let refused = (certificate("2").0, CertificateRegistration::Signed(*args));
    let refused = provision(&mut registry, thing("c"), refused, Vec::new());
    assert_eq!(refusal(refused), (ResourceRegistrationFailureException, 400));
}
