//! Inputs that are uploaded instead of read from a bucket (provisioning.md section 7.5): begun, added to piece by piece, and
//! started as a task of the same id. The pieces go with the end of the task; an upload that never became a task, after a day.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_types::Timestamp;
use prost::Message;

use super::{FORGOTTEN_AT_ONCE, found, new_task, put_new};
use crate::command::{Context, Reply};
use crate::error::Error;
use crate::keys;
use crate::query::QueryReply;
use crate::record::{RegistrationInput, RegistrationTask, RegistrationUpload};
use crate::shapes::{BeginRegistrationUpload, PutRegistrationInput};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::template::{Purpose, Template};
use crate::view::Effects;

/// Bytes of each piece of an upload but the last, which may have fewer.
pub const UPLOAD_PIECE: usize = 32 << 10;
/// Most pieces of an upload: 16 MiB.
pub const UPLOAD_PIECES: u64 = 512;
/// Most uploads of a scope that are not tasks yet.
const WAITING: usize = 4;
/// How long an upload may take to become a task, in milliseconds (a day).
const WAITING_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// BeginRegistrationUpload: what the task will be called, and its template, so that one that is none is told before the upload.
pub(crate) fn begin(store: &Store<'_>, context: &Context, args: &BeginRegistrationUpload) -> Outcome {
    let id = &args.task_id;
    syntax::task_id(id)?;
    let invalid = |error: crate::template::Error| Error::invalid(error.to_string());
    Template::parse(&args.template_body, Purpose::Registration).map_err(invalid)?;
    let key = keys::registration_upload(store.scope, id);
    if store.exists(&key) || found(store, id)?.is_some() {
        return Err(Error::invalid(format!("the upload or task '{id}' is there already")));
    }
    if store.count(&keys::registration_uploads_prefix(store.scope), WAITING) >= WAITING {
        return Err(Error::limit(format!(
            "{WAITING} uploads wait to become tasks, which is the most allowed"
        )));
    }
    let upload = RegistrationUpload {
        template_body: args.template_body.clone(),
        created_at: context.now.as_millis(),
        ..RegistrationUpload::default()
    };
    let mut effects = Effects::default();
    effects.put(keys::due_registration_task(ends_at(&upload), store.scope, id), Vec::new());
    effects.put(key, upload.encode_to_vec());
    done(effects)
}

/// PutRegistrationInput: the next piece, or the last one once more.
pub(crate) fn put(store: &Store<'_>, args: &PutRegistrationInput) -> Outcome {
    let (id, piece) = (&args.task_id, args.piece);
    let mut upload = required(store, id)?;
    let data = STANDARD.decode(&args.data).map_err(|error| Error::invalid(format!("the data: {error}")))?;
    let size = data.len() as u64;
    if data.is_empty() || data.len() > UPLOAD_PIECE {
        return Err(Error::invalid(format!("a piece has 1 to {UPLOAD_PIECE} bytes, not {size}")));
    }
    if piece >= UPLOAD_PIECES {
        let most = UPLOAD_PIECES * UPLOAD_PIECE as u64;
        return Err(Error::invalid(format!("the input has more than {most} bytes: put it into a bucket")));
    }
    let before = piece.saturating_mul(UPLOAD_PIECE as u64);
    let is_next = upload.pieces == piece && upload.bytes == before;
    let is_last = upload.pieces == piece.saturating_add(1) && upload.bytes > before;
    if !is_next && !is_last {
        let told = format!("piece {piece} does not follow: {} bytes are there", upload.bytes);
        return Err(Error::invalid(told));
    }
    (upload.pieces, upload.bytes) = (piece.saturating_add(1), before.saturating_add(size));
    let mut effects = Effects::default();
    effects.put(keys::registration_input(store.scope, id, piece), RegistrationInput { data }.encode_to_vec());
    effects.put(keys::registration_upload(store.scope, id), upload.encode_to_vec());
    done(effects)
}

/// StartUploadedRegistration: the upload is a task from now on.
pub(crate) fn start(store: &Store<'_>, context: &Context, id: &str) -> Outcome {
    let upload = required(store, id)?;
    if upload.bytes == 0 {
        return Err(Error::invalid("nothing was uploaded"));
    }
    let mut effects = Effects::default();
    effects.delete(keys::registration_upload(store.scope, id));
    effects.delete(keys::due_registration_task(ends_at(&upload), store.scope, id));
    let task =
        RegistrationTask { template_body: upload.template_body, size: upload.bytes, ..new_task(context) };
    put_new(store, context, (id, &task), &mut effects)?;
    Ok((Reply::RegistrationTask(id.to_owned()), effects))
}

/// Some bytes of an uploaded input.
pub(crate) fn piece(store: &Store<'_>, id: &str, piece: u64) -> Result<QueryReply, Error> {
    let found: Option<RegistrationInput> = store.record(&keys::registration_input(store.scope, id, piece))?;
    Ok(QueryReply::RegistrationInput(found.map(|found| STANDARD.encode(found.data))))
}

/// Whether a task's input was uploaded.
pub(super) fn is_uploaded(task: &RegistrationTask) -> bool {
    task.bucket.is_empty()
}

/// The input of a task that has ended is not needed any more.
pub(super) fn drop_input(store: &Store<'_>, id: &str, task: &RegistrationTask, effects: &mut Effects) {
    if is_uploaded(task) {
        let pieces = task.size.div_ceil(UPLOAD_PIECE as u64);
        (0..pieces).for_each(|piece| effects.delete(keys::registration_input(store.scope, id, piece)));
    }
}

/// Forgets an upload that never became a task; whether there is more.
pub(super) fn forget(store: &Store<'_>, context: &Context, id: &str) -> Outcome {
    let mut effects = Effects::default();
    let Some(upload) = store.record::<RegistrationUpload>(&keys::registration_upload(store.scope, id))?
    else {
        return Ok((Reply::Ended(0), effects));
    };
    if ends_at(&upload) > context.now {
        return Ok((Reply::Ended(0), effects));
    }
    let found = store.view.scan(&keys::registration_inputs(store.scope, id), None, FORGOTTEN_AT_ONCE);
    let count = found.len();
    found.into_iter().for_each(|(key, _)| effects.delete(key));
    if count < FORGOTTEN_AT_ONCE {
        effects.delete(keys::registration_upload(store.scope, id));
        effects.delete(keys::due_registration_task(ends_at(&upload), store.scope, id));
    }
    Ok((Reply::Ended(count), effects))
}

fn required(store: &Store<'_>, id: &str) -> Result<RegistrationUpload, Error> {
    syntax::task_id(id)?;
    let upload = store.record(&keys::registration_upload(store.scope, id))?;
    upload.ok_or_else(|| Error::not_found("Upload", id))
}

fn ends_at(upload: &RegistrationUpload) -> Timestamp {
    Timestamp(upload.created_at.saturating_add(WAITING_MILLIS))
}
