//! Device shadows as they are stored, asked for and told of (shadow.md). What an update does to a document is
//! `fleethaven-shadow`'s.
//!
//! A shadow belongs to a thing's name, not to the registry's thing: it needs none, and outlives it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleethaven_shadow::document::Section;
use fleethaven_shadow::shadow::live;
use fleethaven_shadow::topic::{self, Operation};
use fleethaven_shadow::{Document, Entry, Rejection, Request, Shadow, ShadowName, answer, delete, update};
use fleethaven_types::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{DeleteThingShadow, Listed, PageRequest, UpdateThingShadow};
use crate::store::{Outcome, Store};
use crate::view::{Effects, Emit};

/// Names on a page when the request does not say, and at most.
const PAGE: u32 = 25;
const LARGEST_PAGE: u32 = 100;
/// How long a page token is good for.
const TOKEN_SECS: u64 = 15 * 60;
/// Bytes of a token before the name: when it was given, and what listing it belongs to.
const TOKEN_TIME: usize = 8;
const TOKEN_HEAD: usize = TOKEN_TIME + 8;
/// Deleted shadows that a deletion forgets whose time has come: more than it adds, so that they do not pile up.
const FORGOTTEN: usize = 4;

/// UpdateThingShadow: one log entry, with the messages that tell of it.
pub(crate) fn change(store: &Store<'_>, context: &Context, args: &UpdateThingShadow) -> Outcome {
    let name = named(&args.thing_name, args.shadow_name.as_deref())?;
    let limits = &context.limits.shadow;
    let request = Request::read(args.payload.as_bytes(), limits)
        .map_err(|Rejection { error, .. }| Error::from(error))?;
    let stored = stored(store, &name)?;
    let was_live = stored.as_ref().is_some_and(|entry| entry.live().is_some());
    let deleted_at = match &stored {
        Some(Entry::Deleted { at, .. }) => Some(*at),
        _ => None,
    };
    let updated = update(stored, &request, context.now, limits)?;
    let mut effects = Effects::default();
    effects.put(keys::shadow(store.scope, &name), encoded(&Entry::Live(updated.current.clone())));
    if !was_live {
        name_is_listed(store, &mut effects, &name, true);
    }
    if let Some(at) = deleted_at {
        effects.delete(keys::deleted_shadow(store.scope, at, &name));
    }
    let token = request.client_token();
    let accepted = updated.accepted(&request);
    let mut emit = |last: &str, payload: String| {
        effects.emits.push(Emit::new(store.scope, topic::of(&name, last), payload));
    };
    emit("update/accepted", accepted.clone());
    if let Some(delta) = updated.delta(token) {
        emit("update/delta", delta);
    }
    emit("update/documents", updated.documents(token));
    let reply = if args.answer { Reply::ThingShadow(accepted) } else { Reply::Done };
    Ok((reply, effects))
}

/// DeleteThingShadow: its version is remembered for 48 hours.
pub(crate) fn remove(store: &Store<'_>, context: &Context, args: &DeleteThingShadow) -> Outcome {
    let name = named(&args.thing_name, args.shadow_name.as_deref())?;
    let deleted = delete(stored(store, &name)?.as_ref(), &name, context.now)?;
    let mut effects = Effects::default();
    effects.put(keys::shadow(store.scope, &name), encoded(&deleted));
    effects.put(keys::deleted_shadow(store.scope, context.now, &name), keys::shadow(store.scope, &name));
    name_is_listed(store, &mut effects, &name, false);
    forget_some(store, context.now, &mut effects)?;
    let version = match deleted {
        Entry::Deleted { version, .. } | Entry::Live(Shadow { version, .. }) => version,
    };
    let payload = answer::deleted(version, context.now, args.client_token.as_deref());
    let topic = topic::accepted(&name, Operation::Delete);
    effects.emits.push(Emit::new(store.scope, topic, payload.clone()));
    Ok((Reply::ThingShadow(payload), effects))
}

/// Removes what is kept of the shadows that were deleted first, where that was long enough ago.
fn forget_some(store: &Store<'_>, now: Timestamp, effects: &mut Effects) -> Result<(), Error> {
    for (index, key) in store.view.scan(&keys::deleted_shadows(store.scope), None, FORGOTTEN) {
        let Some(entry) = store.record::<record::Shadow>(&key)?.map(decoded).transpose()? else { continue };
        if !entry.is_forgotten(now) {
            break;
        }
        effects.delete(key);
        effects.delete(index);
    }
    Ok(())
}

/// GetThingShadow.
pub(crate) fn get(
    store: &Store<'_>,
    (thing_name, shadow_name): (&str, Option<&str>),
    client_token: Option<&str>,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let name = named(thing_name, shadow_name)?;
    let entry = stored(store, &name)?;
    let shadow = live(entry.as_ref(), &name)?;
    Ok(QueryReply::ThingShadow(answer::document(shadow, now, client_token)))
}

/// ListNamedShadowsForThing: names in order; a thing that nobody knows has none.
pub(crate) fn list(
    store: &Store<'_>,
    thing_name: &str,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    named(thing_name, None)?;
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Error::invalid(format!("'pageSize' must be between 1 and {LARGEST_PAGE}")));
    }
    let prefix = keys::shadow_names(store.scope, thing_name);
    let after = page.token.as_deref().map(|token| after(store, thing_name, token, now)).transpose()?;
    let after = after.map(|name| [prefix.as_ref(), name.as_bytes()].concat());
    let limit = limit as usize;
    let pairs = store.view.scan(&prefix, after.as_deref(), limit + 1);
    let more = pairs.len() > limit;
    let names = pairs.iter().take(limit).filter_map(|(key, _)| keys::last_part(key).map(str::to_owned));
    let items: Vec<String> = names.collect();
    let next = items.last().filter(|_| more).map(|last| token(store, thing_name, last, now));
    Ok(QueryReply::Names(Listed { items, next }))
}

/// Where the page before ended. Names are no secret to who may list them, so the token is not signed, as those of the
/// registry are: the secret for that is not where shadows are. It tells its listing and its time.
fn token(store: &Store<'_>, thing_name: &str, last: &str, now: Timestamp) -> String {
    let head = [now.as_secs().to_be_bytes(), listing(store, thing_name)].concat();
    URL_SAFE_NO_PAD.encode([&head, last.as_bytes()].concat())
}

fn after(store: &Store<'_>, thing_name: &str, token: &str, now: Timestamp) -> Result<String, Error> {
    let invalid = || Error::invalid("'nextToken' is not one that an earlier answer gave");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (head, last) = bytes.split_at_checked(TOKEN_HEAD).ok_or_else(invalid)?;
    let (given, of) = head.split_at_checked(TOKEN_TIME).ok_or_else(invalid)?;
    let given = given.iter().fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
    if of != listing(store, thing_name) || now.as_secs().saturating_sub(given) > TOKEN_SECS {
        return Err(invalid());
    }
    String::from_utf8(last.to_vec()).map_err(|_| invalid())
}

fn listing(store: &Store<'_>, thing_name: &str) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(format!("{} {thing_name}", store.scope)).into();
    let mut start = [0; 8];
    start.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    start
}

fn named(thing_name: &str, shadow_name: Option<&str>) -> Result<ShadowName, Error> {
    ShadowName::new(thing_name, shadow_name).ok_or_else(|| {
        let shadow = shadow_name.map(|name| format!(" or shadow '{}'", crate::syntax::shortened(name)));
        let thing = crate::syntax::shortened(thing_name);
        Error::invalid(format!("Invalid name of thing '{thing}'{}", shadow.unwrap_or_default()))
    })
}

/// Named shadows have an entry of their own in the listing, so that a page is one range.
fn name_is_listed(store: &Store<'_>, effects: &mut Effects, name: &ShadowName, listed: bool) {
    let Some(shadow) = name.shadow() else { return };
    let key = keys::shadow_name(store.scope, name.thing(), shadow);
    if listed { effects.put(key, Vec::new()) } else { effects.delete(key) }
}

fn stored(store: &Store<'_>, name: &ShadowName) -> Result<Option<Entry>, Error> {
    store.record::<record::Shadow>(&keys::shadow(store.scope, name))?.map(decoded).transpose()
}

fn encoded(entry: &Entry) -> Vec<u8> {
    let record = match entry {
        Entry::Live(Shadow { document, version }) => {
            let [desired, reported] = document.to_sections().map(section_record);
            record::Shadow { version: *version, desired, reported, deleted_at: None }
        }
        Entry::Deleted { version, at } => record::Shadow {
            version: *version,
            deleted_at: Some(at.as_millis()),
            ..record::Shadow::default()
        },
    };
    record.encode_to_vec()
}

fn section_record(section: Section) -> Option<record::ShadowSection> {
    let Section { json, times, floats } = section;
    (!json.is_empty()).then_some(record::ShadowSection { json, times, floats })
}

fn decoded(record: record::Shadow) -> Result<Entry, Error> {
    let record::Shadow { version, desired, reported, deleted_at } = record;
    if let Some(at) = deleted_at {
        return Ok(Entry::Deleted { version, at: Timestamp(at) });
    }
    let section = |record: Option<record::ShadowSection>| {
        let read = |record::ShadowSection { json, times, floats }| Section { json, times, floats };
        record.map(read).unwrap_or_default()
    };
    let document = Document::from_sections(&section(desired), &section(reported))
        .map_err(|error| Error::internal(format!("a stored shadow cannot be read: {error}")))?;
    Ok(Entry::Live(Shadow { document, version }))
}

impl From<fleethaven_shadow::Error> for Error {
    fn from(error: fleethaven_shadow::Error) -> Self {
        let code = match error.code() {
            404 => ErrorCode::ResourceNotFoundException,
            409 => ErrorCode::ConflictException,
            413 => ErrorCode::RequestEntityTooLargeException,
            415 => ErrorCode::UnsupportedDocumentEncodingException,
            _ => ErrorCode::InvalidRequestException,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
