//! security.md section 4.

use crate::command::Action;
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::{Registry, account_arguments};

const TARGET: &str = "210987654321";

/// Two accounts, and an inactive certificate in the first.
fn two() -> Registry {
    let mut registry = registry();
    at(&mut registry, TARGET, |registry| {
        let account = account_arguments("AKIAOTHEROTHEROT");
        registry.run(Action::CreateAccount(Box::new(account))).unwrap();
    });
    registry.run(issue("1", CertificateStatus::Inactive)).unwrap();
    registry
}

/// Does something in another account.
fn at<T>(registry: &mut Registry, account: &str, step: impl FnOnce(&mut Registry) -> T) -> T {
    let here = registry.scope;
    registry.scope.account = account.parse().unwrap();
    let outcome = step(registry);
    registry.scope = here;
    outcome
}

fn transfer(digit: &str, account: &str) -> Action {
    Action::TransferCertificate(Box::new(TransferCertificate {
        certificate_id: id(digit),
        target_account: account.parse().unwrap(),
        transfer_message: Some("yours".to_owned()),
    }))
}

fn accept(digit: &str, set_as_active: bool) -> Action {
    let certificate_id = id(digit);
    Action::AcceptCertificateTransfer(Box::new(AcceptCertificateTransfer { certificate_id, set_as_active }))
}

fn reject(digit: &str) -> Action {
    Action::RejectCertificateTransfer(Box::new(RejectCertificateTransfer {
        certificate_id: id(digit),
        reject_reason: Some("not ours".to_owned()),
    }))
}

fn described(registry: &Registry) -> Option<CertificateDescription> {
    match registry.ask(QueryKind::DescribeCertificate(id("1"))) {
        Ok(QueryReply::Certificate(certificate)) => Some(*certificate),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

fn listed(registry: &Registry) -> Vec<String> {
    let page = PageRequest::default();
    names(registry.ask(QueryKind::ListCertificates { ascending: true, page }).unwrap())
}

fn outgoing(registry: &Registry) -> Vec<OutgoingCertificate> {
    let page = PageRequest::default();
    match registry.ask(QueryKind::ListOutgoingCertificates { ascending: true, page }).unwrap() {
        QueryReply::OutgoingCertificates(listed) => listed.items,
        other => panic!("{other:?}"),
    }
}

fn owners(registry: &Registry) -> Vec<String> {
    match registry.ask(QueryKind::CertificateOwners { certificate_id: id("1") }).unwrap() {
        QueryReply::Scopes(scopes) => scopes.into_iter().map(|scope| scope.account.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offer_is_seen_in_both_accounts_and_is_accepted_once() {
    for set_as_active in [false, true] {
        let mut registry = two();
        registry.run(transfer("1", TARGET)).unwrap();
        let mine = described(&registry).unwrap();
        assert_eq!(
            (mine.status, mine.owned_by),
            (CertificateStatus::PendingTransfer, registry.scope.account)
        );
        let offers = outgoing(&registry);
        assert_eq!((offers.len(), offers[0].transferred_to.as_str()), (1, TARGET));
        assert_eq!(offers[0].transfer_message.as_deref(), Some("yours"));
        let owner = registry.scope.account;
        at(&mut registry, TARGET, |registry| {
            let theirs = described(registry).unwrap();
            assert_eq!((theirs.status, theirs.owned_by), (CertificateStatus::PendingTransfer, owner));
            assert_eq!(theirs.transfer.unwrap().message.as_deref(), Some("yours"));
            assert_eq!(listed(registry), [id("1")]);
            assert!(outgoing(registry).is_empty());
            // Until it is accepted it cannot be used for anything.
            let activated = registry.run(set_status("1", CertificateStatus::Active));
            assert_eq!(refusal(activated), (CertificateStateException, 406));
            let deleted = registry.run(delete_certificate("1", true));
            assert_eq!(refusal(deleted), (CertificateStateException, 406));
        });
        assert_eq!(owners(&registry), [owner.to_string()]);
        at(&mut registry, TARGET, |registry| {
            registry.run(accept("1", set_as_active)).unwrap();
            let theirs = described(registry).unwrap();
            let expected =
                if set_as_active { CertificateStatus::Active } else { CertificateStatus::Inactive };
            assert_eq!(theirs.status, expected);
            assert_eq!((theirs.owned_by, theirs.previous_owner), (registry.scope.account, Some(owner)));
            assert!(theirs.transfer.unwrap().accepted_at.is_some());
            let again = registry.run(accept("1", false));
            assert_eq!(refusal(again), (TransferAlreadyCompletedException, 410));
            assert_eq!(refusal(registry.run(reject("1"))), (TransferAlreadyCompletedException, 410));
        });
        assert!(
            described(&registry).is_none() && listed(&registry).is_empty() && outgoing(&registry).is_empty()
        );
        assert_eq!(owners(&registry), [TARGET]);
        let cancelled = registry.run(Action::CancelCertificateTransfer(id("1")));
        assert_eq!(refusal(cancelled), (TransferAlreadyCompletedException, 410));
        // And back.
        at(&mut registry, TARGET, |registry| {
            registry.run(set_status("1", CertificateStatus::Inactive)).unwrap();
            registry.run(transfer("1", &owner.to_string())).unwrap();
        });
        registry.run(accept("1", true)).unwrap();
        assert_eq!(owners(&registry), [owner.to_string()]);
    }
}

#[test]
fn an_offer_that_is_rejected_or_cancelled_leaves_nothing_with_the_other_account() {
    for is_rejected in [true, false] {
        let mut registry = two();
        let before: Vec<_> = registry.view.entries().keys().cloned().collect();
        registry.run(transfer("1", TARGET)).unwrap();
        match is_rejected {
            true => at(&mut registry, TARGET, |registry| registry.run(reject("1"))).unwrap(),
            false => registry.run(Action::CancelCertificateTransfer(id("1"))).unwrap(),
        };
        let certificate = described(&registry).unwrap();
        assert_eq!(certificate.status, CertificateStatus::Inactive);
        let reason = certificate.transfer.unwrap().reject_reason;
        assert_eq!(reason.as_deref(), is_rejected.then_some("not ours"));
        let after: Vec<_> = registry.view.entries().keys().cloned().collect();
        let marker = |key: &bytes::Bytes| key.starts_with(b"global/_/scope/");
        assert_eq!(
            after.iter().filter(|key| !marker(key)).collect::<Vec<_>>(),
            before.iter().filter(|key| !marker(key)).collect::<Vec<_>>()
        );
        let nothing = registry.run(Action::CancelCertificateTransfer(id("1")));
        assert_eq!(refusal(nothing), (InvalidRequestException, 400));
        registry.run(set_status("1", CertificateStatus::Active)).unwrap();
    }
}

#[test]
fn what_cannot_be_offered() {
    let mut registry = two();
    for (account, refused) in
        [("123456789012", (InvalidRequestException, 400)), ("999999999999", (InvalidRequestException, 400))]
    {
        assert_eq!(refusal(registry.run(transfer("1", account))), refused);
    }
    assert_eq!(refusal(registry.run(transfer("2", TARGET))), (ResourceNotFoundException, 404));
    for status in [CertificateStatus::Active, CertificateStatus::Revoked] {
        let digit = if status == CertificateStatus::Active { "2" } else { "3" };
        registry.run(issue(digit, CertificateStatus::Inactive)).unwrap();
        registry.run(set_status(digit, status)).unwrap();
        assert_eq!(refusal(registry.run(transfer(digit, TARGET))), (CertificateStateException, 406));
    }
    registry.run(create_policy("p", DOCUMENT)).unwrap();
    registry.run(Action::AttachPolicy(target("p", &cert("1")))).unwrap();
    assert_eq!(refusal(registry.run(transfer("1", TARGET))), (TransferConflictException, 409));
    registry.run(Action::DetachPolicy(target("p", &cert("1")))).unwrap();
    registry.run(create_thing("t", None, &[])).unwrap();
    registry.run(attach_thing("t", &cert("1"), None)).unwrap();
    assert_eq!(refusal(registry.run(transfer("1", TARGET))), (TransferConflictException, 409));
    registry.run(detach_thing("t", &cert("1"))).unwrap();
    registry.run(transfer("1", TARGET)).unwrap();
    assert_eq!(refusal(registry.run(transfer("1", TARGET))), (TransferConflictException, 409), "twice");
    // Who offers it does not decide about it, nor does anybody else.
    assert_eq!(refusal(registry.run(accept("1", true))), (ResourceNotFoundException, 404));
    at(&mut registry, "333333333333", |registry| {
        assert_eq!(refusal(registry.run(accept("1", true))), (ResourceNotFoundException, 404));
        let cancelled = registry.run(Action::CancelCertificateTransfer(id("1")));
        assert_eq!(refusal(cancelled), (ResourceNotFoundException, 404));
    });
    at(&mut registry, TARGET, |registry| {
        let cancelled = registry.run(Action::CancelCertificateTransfer(id("1")));
        assert_eq!(refusal(cancelled), (InvalidRequestException, 400));
    });
    // One that was never offered.
    let unoffered = registry.run(accept("2", true));
    assert_eq!(refusal(unoffered), (InvalidRequestException, 400));
}
