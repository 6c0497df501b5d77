//! Accounts and access keys.

use fleethaven_types::AccountId;

use crate::command::Action;
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::account_arguments;

fn key(id: &str) -> AccessKey {
    AccessKey { access_key_id: id.to_owned(), secret_access_key: Secret("other".to_owned()), user_name: None }
}

#[test]
fn bootstrapping_again_changes_nothing() {
    let mut registry = registry();
    let before = registry.view.clone();
    let again = account_arguments("AKIADIFFERENTKEY");
    assert!(is_done(registry.run(Action::BootstrapAccount(Box::new(again.clone())))));
    assert_eq!(registry.view, before);
    let created = registry.run(Action::CreateAccount(Box::new(again)));
    assert_eq!(refusal(created), (ResourceAlreadyExistsException, 409));
}

fn keys(registry: &crate::testing::Registry) -> Vec<(String, bool)> {
    match registry.ask(QueryKind::ListAccessKeys(PageRequest::default())).unwrap() {
        QueryReply::AccessKeys(page) => {
            page.items.into_iter().map(|key| (key.access_key_id, key.active)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_inactive_access_key_is_known_as_such() {
    let mut registry = registry();
    let id = "AKIATESTTESTTEST".to_owned();
    let mut update = |active| {
        let access_key_id = id.clone();
        let updated =
            registry.run(Action::UpdateAccessKey(Box::new(UpdateAccessKey { access_key_id, active })));
        assert!(is_done(updated));
        let QueryReply::AccessKey(owner) = registry.ask(QueryKind::AccessKey(id.clone())).unwrap() else {
            panic!("another answer");
        };
        (owner.map(|owner| owner.active), keys(&registry).first().map(|key| key.1))
    };
    assert_eq!(update(false), (Some(false), Some(false)));
    assert_eq!(update(true), (Some(true), Some(true)));
    registry.scope.account = AccountId::from_u64(1).unwrap();
    let foreign = UpdateAccessKey { access_key_id: id, active: false };
    let foreign = registry.run(Action::UpdateAccessKey(Box::new(foreign)));
    assert_eq!(refusal(foreign), (ResourceNotFoundException, 404));
}

#[test]
fn access_keys_lead_to_their_account() {
    let mut registry = registry();
    let owner = |registry: &crate::testing::Registry, id: &str| match registry
        .ask(QueryKind::AccessKey(id.to_owned()))
        .unwrap()
    {
        QueryReply::AccessKey(owner) => owner.map(|owner| (owner.account, owner.secret_access_key.0)),
        other => panic!("{other:?}"),
    };
    let account = AccountId::from_u64(123_456_789_012).unwrap();
    assert_eq!(owner(&registry, "AKIATESTTESTTEST"), Some((account, "secret".to_owned())));
    assert_eq!(owner(&registry, "AKIAUNKNOWNKEYID"), None);
    assert_eq!(owner(&registry, ""), None);
    registry.run(Action::CreateAccessKey(Box::new(key("AKIASECONDSECOND")))).unwrap();
    let again = registry.run(Action::CreateAccessKey(Box::new(key("AKIASECONDSECOND"))));
    assert_eq!(refusal(again), (ResourceAlreadyExistsException, 409));
    assert_eq!(
        keys(&registry),
        [("AKIASECONDSECOND".to_owned(), true), ("AKIATESTTESTTEST".to_owned(), true)]
    );
    registry.scope.account = AccountId::from_u64(1).unwrap();
    let foreign = registry.run(Action::DeleteAccessKey("AKIASECONDSECOND".to_owned()));
    assert_eq!(refusal(foreign), (ResourceNotFoundException, 404));
    let homeless = registry.run(Action::CreateAccessKey(Box::new(key("AKIATHIRDTHIRDTH"))));
    assert_eq!(refusal(homeless), (ResourceNotFoundException, 404));
    registry.scope.account = account;
    registry.run(Action::DeleteAccessKey("AKIASECONDSECOND".to_owned())).unwrap();
    assert_eq!(owner(&registry, "AKIASECONDSECOND"), None);
}

#[test]
fn accounts_scopes_and_issuing_cas() {
    let mut registry = registry();
    assert_eq!(registry.ask(QueryKind::Scopes).unwrap(), QueryReply::Scopes(vec![]));
    registry.run(create_thing("a", None, &[])).unwrap();
    assert_eq!(registry.ask(QueryKind::Scopes).unwrap(), QueryReply::Scopes(vec![registry.scope]));
    let issuing = registry.ask(QueryKind::IssuingCa).unwrap();
    assert!(matches!(issuing, QueryReply::IssuingCa(Some(ca)) if ca.certificate_pem == "certificate"));
    let accounts = registry.ask(QueryKind::Accounts).unwrap();
    assert!(matches!(accounts, QueryReply::Accounts(found) if found.len() == 1));
    registry.scope.account = AccountId::from_u64(1).unwrap();
    assert_eq!(registry.ask(QueryKind::IssuingCa).unwrap(), QueryReply::IssuingCa(None));
}

#[test]
fn an_account_gets_another_ca() {
    let mut registry = registry();
    let ca = |key| IssuingCa { certificate_pem: "another".to_owned(), key, sealed_under: None };
    let external = ca(IssuingKey::ExternalKey("pkcs11:object=ca".to_owned()));
    registry.run(Action::PutIssuingCa(Box::new(external.clone()))).unwrap();
    let stored = registry.ask(QueryKind::IssuingCa).unwrap();
    assert_eq!(stored, QueryReply::IssuingCa(Some(Box::new(external))));
    for key in ["", "a b", "ä", &"x".repeat(257)] {
        let put = Action::PutIssuingCa(Box::new(ca(IssuingKey::ExternalKey(key.to_owned()))));
        assert!(registry.run(put).is_err(), "{key}");
    }
    registry.scope.account = AccountId::from_u64(1).unwrap();
    let nobodys = Action::PutIssuingCa(Box::new(ca(IssuingKey::PrivateKeyPem(Secret("key".to_owned())))));
    assert_eq!(registry.run(nobodys).unwrap_err().code, ResourceNotFoundException);
}

#[test]
fn a_key_is_sealed_only_where_it_still_is_the_accounts() {
    let mut registry = registry();
    let sealed = |certificate: &str| IssuingCa {
        certificate_pem: certificate.to_owned(),
        key: IssuingKey::SealedKey(SealedKey { under: "file:1".to_owned(), sealed: "c2VhbGVk".to_owned() }),
        sealed_under: None,
    };
    let stored = |registry: &crate::testing::Registry| match registry.ask(QueryKind::IssuingCa).unwrap() {
        QueryReply::IssuingCa(Some(ca)) => *ca,
        other => panic!("{other:?}"),
    };
    let plain = stored(&registry);
    registry.run(Action::SealIssuingCa(Box::new(sealed("another")))).unwrap();
    assert_eq!(stored(&registry), plain, "the account has another CA");
    registry.run(Action::SealIssuingCa(Box::new(plain.clone()))).unwrap();
    assert_eq!(stored(&registry), plain, "not sealed");
    registry.run(Action::SealIssuingCa(Box::new(sealed("certificate")))).unwrap();
    assert_eq!(stored(&registry), sealed("certificate"));
    let external = IssuingCa { key: IssuingKey::ExternalKey("k".to_owned()), ..plain };
    registry.run(Action::PutIssuingCa(Box::new(external.clone()))).unwrap();
    registry.run(Action::SealIssuingCa(Box::new(sealed("certificate")))).unwrap();
    assert_eq!(stored(&registry), external, "its key is elsewhere by now");
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", Action::CreateAccessKey(Box::new(key("AKIASECONDSECOND"))));
    assert!(printed.contains("***") && !printed.contains("other"), "{printed}");
}
