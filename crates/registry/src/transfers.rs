//! Transfers of certificates between accounts (security.md section 4). While one is offered, the certificate is
//! `PENDING_TRANSFER` in both: it still belongs to the source, and nobody can connect with it.

use bytes::Bytes;
use fleethaven_types::{AccountId, Scope, Timestamp};
use prost::Message;

use crate::certificates;
use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys::{self, Order};
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    AcceptCertificateTransfer, CertificateStatus, Listed, OutgoingCertificate, PageRequest,
    RegisteredCertificate, RejectCertificateTransfer, TransferCertificate, TransferData,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// Longest message and reason, in characters.
const TEXT: usize = 128;

/// A certificate in the two accounts that it is between.
struct Offer<'a> {
    source: (Store<'a>, record::Certificate),
    target: (Store<'a>, record::Certificate),
}

/// TransferCertificate: offers it to another account.
pub(crate) fn transfer(store: &Store<'_>, context: &Context, args: &TransferCertificate) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    check_text("transferMessage", args.transfer_message.as_deref())?;
    let target = other(store, args.target_account)?;
    let mut certificate = certificates::required(store, &id)?;
    if certificate.claim_template.is_some() {
        return Err(Error::invalid("the certificate of a provisioning claim cannot be transferred"));
    }
    let conflict = |message: String| Err(Error::new(ErrorCode::TransferConflictException, message));
    match certificate.status() {
        CertificateStatus::Inactive => {}
        CertificateStatus::PendingTransfer => {
            return conflict(format!("certificate '{id}' is being transferred already"));
        }
        _ => {
            let message = format!("certificate '{id}' must be INACTIVE to be transferred");
            return Err(Error::new(ErrorCode::CertificateStateException, message));
        }
    }
    let arn = store.arn("cert", &id);
    if store.any(&keys::policies_of_target(store.scope, &arn)) {
        return conflict(format!("policies are still attached to certificate '{id}'"));
    }
    if store.any(&keys::things_of_principal(store.scope, &arn)) {
        return conflict(format!("certificate '{id}' is still attached to a thing"));
    }
    if !store.exists(&keys::account(args.target_account)) {
        return Err(Error::invalid(format!("there is no account {}", args.target_account)));
    }
    if target.exists(&keys::certificate(target.scope, &id)) {
        return conflict(format!("account {} has certificate '{id}' already", args.target_account));
    }
    let now = context.now.as_millis();
    let offer = |peer: AccountId| record::Transfer {
        peer: peer.as_u64(),
        message: args.transfer_message.clone(),
        offered_at: now,
        ..record::Transfer::default()
    };
    let mut effects = Effects::default();
    let mut offered = certificate.clone();
    offered.transfer = Some(offer(store.scope.account));
    put(&target, &mut effects, &id, &mut offered, (CertificateStatus::PendingTransfer, now));
    for index in certificates::listing_keys(&target, &id, &offered) {
        effects.put(index, Bytes::new());
    }
    let marker = keys::scope_marker(target.scope);
    if !store.exists(&marker) {
        effects.put(marker, Vec::new());
    }
    certificate.transfer = Some(offer(args.target_account));
    put(store, &mut effects, &id, &mut certificate, (CertificateStatus::PendingTransfer, now));
    for order in Order::BOTH {
        effects.put(keys::outgoing_certificate(store.scope, order, context.now, &id), Bytes::new());
    }
    let reply = RegisteredCertificate { certificate_arn: arn, certificate_id: id };
    Ok((Reply::Certificate(Box::new(reply)), effects))
}

/// AcceptCertificateTransfer: from here on it is the target's.
pub(crate) fn accept(store: &Store<'_>, context: &Context, args: &AcceptCertificateTransfer) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    let Offer { source: (source, sent), target: (_, mut certificate) } = received(store, &id)?;
    let status = if args.set_as_active { CertificateStatus::Active } else { CertificateStatus::Inactive };
    let mut effects = Effects::default();
    if let Some(transfer) = &mut certificate.transfer {
        transfer.accepted_at = Some(context.now.as_millis());
    }
    certificate.previous_owner = Some(source.scope.account.as_u64());
    put(store, &mut effects, &id, &mut certificate, (status, context.now.as_millis()));
    effects.put(keys::certificate_owner(&id, store.scope), Bytes::new());
    certificates::remove(&source, &mut effects, &id, &sent);
    no_longer_outgoing(&source, &mut effects, &id, &sent);
    done(effects)
}

/// RejectCertificateTransfer: it stays with the source.
pub(crate) fn reject(store: &Store<'_>, context: &Context, args: &RejectCertificateTransfer) -> Outcome {
    let id = syntax::certificate_id(&args.certificate_id)?;
    check_text("rejectReason", args.reject_reason.as_deref())?;
    let offer = received(store, &id)?;
    Ok(back(offer, context, &id, |transfer| {
        transfer.reject_reason = args.reject_reason.clone();
        transfer.rejected_at = Some(context.now.as_millis());
    }))
}

/// CancelCertificateTransfer: the source does not offer it any more.
pub(crate) fn cancel(store: &Store<'_>, context: &Context, id: &str) -> Outcome {
    let id = syntax::certificate_id(id)?;
    let Some(certificate) = store.record::<record::Certificate>(&keys::certificate(store.scope, &id))? else {
        return Err(gone(store, &id)?);
    };
    if !is_offered(&certificate) || !store.exists(&keys::certificate_owner(&id, store.scope)) {
        return Err(not_offered(&id));
    }
    let Some(target) = peer(store, &certificate)? else { return Err(not_offered(&id)) };
    let offered = certificates::required(&target, &id)?;
    let offer = Offer { source: (*store, certificate), target: (target, offered) };
    Ok(back(offer, context, &id, |_| {}))
}

/// The certificate as it was before it was offered.
fn back(
    offer: Offer<'_>,
    context: &Context,
    id: &str,
    note: impl FnOnce(&mut record::Transfer),
) -> (Reply, Effects) {
    let Offer { source: (source, mut certificate), target: (target, offered) } = offer;
    let mut effects = Effects::default();
    effects.delete(keys::certificate(target.scope, id));
    for index in certificates::listing_keys(&target, id, &offered) {
        effects.delete(index);
    }
    no_longer_outgoing(&source, &mut effects, id, &certificate);
    if let Some(transfer) = &mut certificate.transfer {
        note(transfer);
    }
    put(&source, &mut effects, id, &mut certificate, (CertificateStatus::Inactive, context.now.as_millis()));
    (Reply::Done, effects)
}

fn put(
    store: &Store<'_>,
    effects: &mut Effects,
    id: &str,
    certificate: &mut record::Certificate,
    (status, now): (CertificateStatus, u64),
) {
    certificate.set_status(status);
    certificate.modified_at = now;
    certificate.customer_version = certificate.customer_version.saturating_add(1);
    effects.put(keys::certificate(store.scope, id), certificate.encode_to_vec());
}

fn no_longer_outgoing(store: &Store<'_>, effects: &mut Effects, id: &str, sent: &record::Certificate) {
    let offered_at = sent.transfer.as_ref().map_or(0, |transfer| transfer.offered_at);
    for order in Order::BOTH {
        effects.delete(keys::outgoing_certificate(store.scope, order, Timestamp(offered_at), id));
    }
}

/// A certificate that another account has offered to this one.
fn received<'a>(store: &Store<'a>, id: &str) -> Result<Offer<'a>, Error> {
    let certificate = certificates::required(store, id)?;
    // What is offered by this account is not for it to decide.
    if store.exists(&keys::certificate_owner(id, store.scope)) && is_offered(&certificate) {
        return Err(Error::not_found("Certificate", id));
    }
    if !is_offered(&certificate) {
        let accepted = certificate.transfer.as_ref().is_some_and(|transfer| transfer.accepted_at.is_some());
        return Err(if accepted { completed(id) } else { not_offered(id) });
    }
    let Some(source) = peer(store, &certificate)? else { return Err(not_offered(id)) };
    let sent = certificates::required(&source, id)?;
    Ok(Offer { source: (source, sent), target: (*store, certificate) })
}

fn is_offered(certificate: &record::Certificate) -> bool {
    certificate.status() == CertificateStatus::PendingTransfer
}

/// The other account's part of the certificate's transfer.
fn peer<'a>(store: &Store<'a>, certificate: &record::Certificate) -> Result<Option<Store<'a>>, Error> {
    let Some(transfer) = &certificate.transfer else { return Ok(None) };
    let account = AccountId::from_u64(transfer.peer)
        .ok_or_else(|| Error::internal("a stored transfer is with no account"))?;
    Ok(Some(Store { view: store.view, scope: Scope { account, region: store.scope.region } }))
}

/// Another account in the same region.
fn other<'a>(store: &Store<'a>, account: AccountId) -> Result<Store<'a>, Error> {
    if account == store.scope.account {
        return Err(Error::invalid("targetAwsAccount must be another account"));
    }
    Ok(Store { view: store.view, scope: Scope { account, region: store.scope.region } })
}

/// Why a certificate that is not here any more cannot be taken back.
fn gone(store: &Store<'_>, id: &str) -> Result<Error, Error> {
    for (key, _) in store.view.scan(&keys::certificate_owners(id), None, page::MAX) {
        let Some(owner) = keys::certificate_owner_of(&key) else { continue };
        let record: Option<record::Certificate> = store.record(&keys::certificate(owner, id))?;
        let previous = record.and_then(|certificate| certificate.previous_owner);
        if previous == Some(store.scope.account.as_u64()) {
            return Ok(completed(id));
        }
    }
    Ok(Error::not_found("Certificate", id))
}

fn completed(id: &str) -> Error {
    let message = format!("the transfer of certificate '{id}' is completed");
    Error::new(ErrorCode::TransferAlreadyCompletedException, message)
}

fn not_offered(id: &str) -> Error {
    Error::invalid(format!("certificate '{id}' is not being transferred"))
}

fn check_text(what: &str, text: Option<&str>) -> Result<(), Error> {
    match text {
        Some(text) if text.chars().count() > TEXT => {
            Err(Error::invalid(format!("{what} has more than {TEXT} characters")))
        }
        _ => Ok(()),
    }
}

/// Whose a certificate is: until an offer is accepted, the source's.
pub(crate) fn owner(store: &Store<'_>, id: &str, transfer: Option<&record::Transfer>) -> AccountId {
    let source = || transfer.and_then(|transfer| AccountId::from_u64(transfer.peer));
    match store.exists(&keys::certificate_owner(id, store.scope)) {
        true => store.scope.account,
        false => source().unwrap_or(store.scope.account),
    }
}

/// What is told of a transfer.
pub(crate) fn description(transfer: record::Transfer) -> TransferData {
    TransferData {
        message: transfer.message,
        reject_reason: transfer.reject_reason,
        offered_at: Timestamp(transfer.offered_at),
        accepted_at: transfer.accepted_at.map(Timestamp),
        rejected_at: transfer.rejected_at.map(Timestamp),
    }
}

/// ListOutgoingCertificates, by the date of the offer.
pub(crate) fn list(
    store: &Store<'_>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let order = Order::ascending(ascending);
    let filters = [order.name()];
    let prefix = keys::outgoing_certificates(store.scope, order);
    let listing = Listing::new("ListOutgoingCertificates", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, _) in &pairs {
        let id = keys::last_part(key).unwrap_or_default();
        let certificate = certificates::required(store, id)?;
        let Some(transfer) = certificate.transfer else { continue };
        items.push(OutgoingCertificate {
            certificate_arn: store.arn("cert", id),
            certificate_id: id.to_owned(),
            transferred_to: format!("{:012}", transfer.peer),
            transferred_at: Timestamp(transfer.offered_at),
            transfer_message: transfer.message,
            created_at: Timestamp(certificate.created_at),
        });
    }
    Ok(QueryReply::OutgoingCertificates(Listed { items, next }))
}

#[cfg(test)]
mod tests;
