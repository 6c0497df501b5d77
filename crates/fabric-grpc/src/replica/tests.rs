use futures_util::{FutureExt, StreamExt};

use super::*;

fn at(revision: u64) -> Position {
    Position { incarnation: 1, group: 0, revision }
}

fn put(key: &'static str, revision: u64) -> WatchEvent {
    WatchEvent::Put { key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(b"v"), revision }
}

fn delete(key: &'static str, revision: u64) -> WatchEvent {
    WatchEvent::Delete { key: Bytes::from_static(key.as_bytes()), revision }
}

fn fed(events: impl IntoIterator<Item = WatchEvent>) -> Arc<Replica> {
    let replica = Arc::new(Replica::default());
    events.into_iter().for_each(|event| replica.accept(event));
    replica
}

/// The events that are ready now.
fn ready(watch: &mut WatchStream) -> Vec<WatchEvent> {
    std::iter::from_fn(|| watch.next().now_or_never().flatten()).collect()
}

fn all() -> Vec<Bytes> {
    vec![Bytes::new()]
}

#[test]
fn nothing_is_read_before_the_first_listing_is_complete() {
    let replica = fed([WatchEvent::Reset, put("a", 1)]);
    assert!(replica.read(|_| ()).is_none());
    replica.accept(WatchEvent::Synced(at(5)));
    assert_eq!(replica.read(|state| state.get(b"a")), Some(Some(Bytes::from_static(b"v"))));
    assert_eq!(replica.position(), Some(at(5)));
}

#[test]
fn a_watcher_lists_then_follows_its_prefixes() {
    let replica = fed([WatchEvent::Reset, put("a/1", 1), put("b/1", 2), WatchEvent::Synced(at(5))]);
    let mut watch = replica.watch(vec![Bytes::from_static(b"a/")], None);
    assert_eq!(ready(&mut watch), [WatchEvent::Reset, put("a/1", 5), WatchEvent::Synced(at(5))]);
    for event in [put("b/2", 6), put("a/2", 6), WatchEvent::Progress(at(6)), delete("a/1", 7)] {
        replica.accept(event);
    }
    assert_eq!(ready(&mut watch), [put("a/2", 6), WatchEvent::Progress(at(6)), delete("a/1", 7)]);
}

#[test]
fn a_present_position_needs_no_listing() {
    let replica = fed([WatchEvent::Reset, put("a", 1), WatchEvent::Synced(at(5))]);
    let mut watch = replica.watch(all(), Some(at(5)));
    assert_eq!(ready(&mut watch), []);
    replica.accept(put("b", 6));
    assert_eq!(ready(&mut watch), [put("b", 6)]);
    let mut late = replica.watch(all(), Some(at(4)));
    assert_eq!(ready(&mut late).first(), Some(&WatchEvent::Reset));
}

#[test]
fn what_a_new_listing_does_not_name_is_gone_for_everyone() {
    let replica = fed([WatchEvent::Reset, put("a", 1), put("b", 1), WatchEvent::Synced(at(5))]);
    replica.accept(WatchEvent::Reset);
    assert_eq!(replica.position(), None, "half a listing is nothing to resume from");
    let mut joined_meanwhile = replica.watch(all(), None);
    assert_eq!(ready(&mut joined_meanwhile), [WatchEvent::Reset, put("a", 0), put("b", 0)]);
    replica.accept(put("b", 8));
    replica.accept(WatchEvent::Synced(at(9)));
    let rest = [put("b", 8), delete("a", 9), WatchEvent::Synced(at(9))];
    assert_eq!(ready(&mut joined_meanwhile), rest);
    assert_eq!(replica.read(|state| state.scan(b"", None, 9).len()), Some(1));
}

#[test]
fn a_watcher_that_is_too_far_behind_lists_anew() {
    let replica = fed([WatchEvent::Reset, WatchEvent::Synced(at(1))]);
    let mut watch = replica.watch(all(), None);
    assert_eq!(ready(&mut watch).len(), 2);
    for revision in 0..=WATCHER_BOUND as u64 {
        replica.accept(put("a", 2 + revision));
    }
    replica.accept(WatchEvent::Progress(at(9_999)));
    let events = ready(&mut watch);
    let listing = [WatchEvent::Reset, put("a", 9_999), WatchEvent::Synced(at(9_999))];
    assert_eq!(events.get(WATCHER_BOUND..), Some(&listing[..]));
}

#[test]
fn closing_ends_watches() {
    let replica = fed([WatchEvent::Reset, WatchEvent::Synced(at(1))]);
    let mut watch = replica.watch(all(), None);
    ready(&mut watch);
    replica.close();
    assert_eq!(watch.next().now_or_never(), Some(None));
}

#[tokio::test(start_paused = true)]
async fn only_progress_says_that_the_copy_is_recent() {
    let replica = fed([WatchEvent::Reset, put("a", 1), WatchEvent::Synced(at(5))]);
    assert_eq!(replica.staleness(), Duration::MAX, "who listed it may be cut off");
    replica.accept(WatchEvent::Progress(at(5)));
    assert_eq!(replica.staleness(), Duration::ZERO);
    tokio::time::advance(Duration::from_secs(7)).await;
    replica.accept(put("b", 6));
    assert_eq!(replica.staleness(), Duration::from_secs(7));
    replica.accept(WatchEvent::Progress(at(6)));
    assert_eq!(replica.staleness(), Duration::ZERO);
}
