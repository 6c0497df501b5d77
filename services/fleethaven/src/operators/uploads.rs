//! Inputs of tasks that register things, uploaded in pieces that fit an admin port.

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::{BeginRegistrationUpload, PutRegistrationInput};
use fleethaven_registry::thing_registration_tasks::UPLOAD_PIECE;
use fleethaven_registry::{Action, Command, Reply};
use fleethaven_types::{AccountId, Region, Scope};
use uuid::Uuid;

use super::{Line, Request, meant};

/// What uploads an input and starts the task, one after the other.
pub(crate) fn requests(
    account: Option<AccountId>,
    region: Region,
    template_body: String,
    input: &[u8],
) -> Vec<Request> {
    let task_id = Uuid::new_v4().to_string();
    let begin = Request::BeginRegistrationUpload { account, region, task_id: task_id.clone(), template_body };
    let pieces = (0..).zip(input.chunks(UPLOAD_PIECE)).map(|(piece, data)| Request::PutRegistrationInput {
        account,
        region,
        task_id: task_id.clone(),
        piece,
        data: STANDARD.encode(data),
    });
    let start = Request::StartUploadedRegistration { account, region, task_id: task_id.clone() };
    [begin].into_iter().chain(pieces).chain([start]).collect()
}

/// Carries out one of them.
pub(super) async fn answer(metadata: &dyn Metadata, request: Request) -> Result<Vec<Line>> {
    let (account, region, action) = match request {
        Request::BeginRegistrationUpload { account, region, task_id, template_body } => {
            let begin = BeginRegistrationUpload { task_id, template_body };
            (account, region, Action::BeginRegistrationUpload(Box::new(begin)))
        }
        Request::PutRegistrationInput { account, region, task_id, piece, data } => {
            let put = PutRegistrationInput { task_id, piece, data };
            (account, region, Action::PutRegistrationInput(Box::new(put)))
        }
        Request::StartUploadedRegistration { account, region, task_id } => {
            (account, region, Action::StartUploadedRegistration(task_id))
        }
        _ => bail!("this request uploads nothing"),
    };
    let scope = Scope { account: meant(metadata, account).await?, region };
    Ok(match metadata.execute(Command::new(scope, action)).await?.reply {
        Reply::RegistrationTask(task_id) => {
            let account_id = scope.account.to_string();
            vec![Line::RegistrationTask { account_id, region, task_id }]
        }
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_cut_into_pieces_that_fit_the_admin_port() {
        let input = vec![b'x'; UPLOAD_PIECE * 2 + 1];
        let requests = requests(None, "us-east-1".parse().unwrap(), "{}".to_owned(), &input);
        let [Request::BeginRegistrationUpload { .. }, pieces @ .., Request::StartUploadedRegistration { .. }] =
            &requests[..]
        else {
            panic!("{requests:?}")
        };
        let numbers: Vec<_> = pieces
            .iter()
            .map(|request| match request {
                Request::PutRegistrationInput { piece, .. } => *piece,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(requests.iter().all(|request| serde_json::to_string(request).unwrap().len() < 64 << 10));
    }
}
