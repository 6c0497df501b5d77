//! Transfers of certificates between accounts (security.md section 4).

use fleethaven_registry::shapes::{
    AcceptCertificateTransfer, OutgoingCertificate, RejectCertificateTransfer, TransferCertificate,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::Value;

use super::expect_reply;
use crate::answer::{self, Answer, Outcome, members_of, seconds};
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

pub(super) async fn transfer(call: &Call<'_>) -> Outcome {
    let account = call.input.query_string("targetAwsAccount").ok_or_else(|| missing("targetAwsAccount"))?;
    let target_account =
        account.parse().map_err(|_| Error::invalid("'targetAwsAccount' must be 12 digits"))?;
    let object = call.input.json()?;
    let action = Action::TransferCertificate(Box::new(TransferCertificate {
        certificate_id: call.input.label("certificateId")?,
        target_account,
        transfer_message: Members::of_body(&object).string("transferMessage")?,
    }));
    let offered = expect_reply!(call.execute(action).await?, Reply::Certificate(offered) => offered);
    Ok(Answer::of([("transferredCertificateArn", offered.certificate_arn.into())]))
}

pub(super) async fn accept(call: &Call<'_>) -> Outcome {
    let action = Action::AcceptCertificateTransfer(Box::new(AcceptCertificateTransfer {
        certificate_id: call.input.label("certificateId")?,
        set_as_active: call.input.query_boolean("setAsActive")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::Empty)
}

pub(super) async fn reject(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let action = Action::RejectCertificateTransfer(Box::new(RejectCertificateTransfer {
        certificate_id: call.input.label("certificateId")?,
        reject_reason: Members::of_body(&object).string("rejectReason")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::Empty)
}

pub(super) async fn cancel(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::CancelCertificateTransfer(call.input.label("certificateId")?)).await?;
    Ok(Answer::Empty)
}

pub(super) async fn list_outgoing(call: &Call<'_>) -> Outcome {
    let ascending = call.input.query_boolean("isAscendingOrder")?;
    let query = QueryKind::ListOutgoingCertificates { ascending, page: call.input.marker_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::OutgoingCertificates(page) => page);
    let certificates = answer::list(page.items, outgoing);
    Ok(Answer::of([("outgoingCertificates", certificates), ("nextMarker", page.next.into())]))
}

fn outgoing(certificate: OutgoingCertificate) -> Value {
    members_of([
        ("certificateArn", certificate.certificate_arn.into()),
        ("certificateId", certificate.certificate_id.into()),
        ("transferredTo", certificate.transferred_to.into()),
        ("transferDate", seconds(certificate.transferred_at)),
        ("transferMessage", certificate.transfer_message.into()),
        ("creationDate", seconds(certificate.created_at)),
    ])
}
