//! What a router does before it serves, and before it lets go.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_fabric::membership::{DepthChange, Incarnation, Member, Phase, Role, RoutingTable, SlotOwner};
use fleethaven_lanes::router::keeper::GATHER;
use fleethaven_lanes::router::{Action, Keeper, LaneId, Serving, Slots};
use fleethaven_storage::Fence;
use fleethaven_topics::{DepthRules, Depths, Placement, Slot};

const ME: Incarnation = Incarnation(1);
const OTHER: Incarnation = Incarnation(2);
const GATEWAY: Incarnation = Incarnation(3);

/// A keeper with one slot of interest.
struct Bench {
    keeper: Keeper,
    slots: Arc<Slots>,
    slot: Slot,
    version: u64,
    depths: Depths,
    change: Option<DepthChange>,
    now: Instant,
}

fn lane(core: u16, number: u64) -> LaneId {
    LaneId { gateway: GATEWAY, core, number }
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
    fn new() -> Self {
        let now = Instant::now();
        let slots = Arc::new(Slots::new(now));
        slots.extend_lease(now + Duration::from_secs(3600));
        let keeper = Keeper::new(ME, slots.clone());
        let (slot, depths, change) = (Slot::new(7).unwrap(), Depths::default(), None);
        Self { keeper, slots, slot, version: 0, depths, change, now }
    }

    fn table(&mut self, phase: Phase, at: SlotOwner) {
        self.version += 1;
        let mut slots = vec![SlotOwner::default(); Slot::all().count()];
        slots[usize::from(self.slot.index())] = at;
        let member = |incarnation, role, phase| Member {
            incarnation,
            role,
            address: String::new(),
            phase,
            version: String::new(),
        };
        let members = Arc::new([
            member(ME, Role::Router, phase),
            member(OTHER, Role::Router, Phase::Serving),
            member(GATEWAY, Role::Gateway, Phase::Serving),
        ]);
        let table = RoutingTable {
            version: self.version,
            depths: self.depths.clone(),
            change: self.change,
            slots: slots.into(),
            members,
        };
        self.keeper.set_table(Arc::new(table));
    }

    fn advance(&mut self) -> Vec<Action> {
        self.keeper.advance(self.now)
    }

    fn serving(&self) -> (Serving, u64) {
        self.slots.get(self.slot)
    }

    fn level(&mut self) {
        for core in 0..2 {
            self.keeper.lane_level(lane(core, 1), self.version);
        }
    }

    /// Has it own the slot in epoch 5, with both lanes of the gateway open and level.
    fn owning() -> Self {
        let mut bench = Self::new();
        for core in 0..2 {
            bench.keeper.lane_opened(lane(core, 1), 2);
        }
        bench.table(Phase::Serving, owned(Some(ME), None, None));
        bench.level();
        assert_eq!(bench.advance(), [Action::Load { slots: vec![bench.slot], spread: true }]);
        bench.keeper.loaded(&[bench.slot], true);
        let fences = vec![Fence { slot: 7, epoch: 5 }];
        assert_eq!(bench.advance(), [Action::Fence(fences.clone())]);
        bench.keeper.fenced(&fences, true, bench.now);
        assert_eq!(bench.advance(), []);
        assert_eq!(bench.serving(), (Serving::Yes, 5));
        bench
    }
}

fn owned(owner: Option<Incarnation>, next: Option<Incarnation>, standby: Option<Incarnation>) -> SlotOwner {
    SlotOwner { owner, next, standby, epoch: 5 }
}

#[test]
fn a_new_router_offers_itself_when_it_has_loaded_what_it_stands_by_for() {
    let mut bench = Bench::new();
    bench.table(Phase::Loading, owned(Some(OTHER), None, Some(ME)));
    assert_eq!(bench.advance(), [Action::Load { slots: vec![bench.slot], spread: true }]);
    assert_eq!(bench.advance(), [], "once");
    bench.keeper.load_failed();
    assert_eq!(bench.advance(), [Action::Load { slots: vec![bench.slot], spread: true }], "again");
    bench.keeper.loaded(&[bench.slot], true);
    bench.keeper.lane_opened(lane(0, 1), 2);
    bench.keeper.lane_opened(lane(1, 1), 2);
    bench.keeper.lane_level(lane(0, 1), bench.version);
    assert_eq!(bench.advance(), [], "the gateway's other core has not told yet");
    bench.keeper.lane_level(lane(1, 1), bench.version);
    let load = Action::Load { slots: vec![bench.slot], spread: true };
    assert_eq!(bench.advance(), [load], "what was promised before it was known to gateways");
    bench.keeper.loaded(&[bench.slot], true);
    assert_eq!(bench.advance(), [Action::Serve]);
    assert_eq!(bench.advance(), []);
    assert_eq!(bench.serving(), (Serving::No, 5));
    bench.table(Phase::Serving, SlotOwner { epoch: 6, ..owned(Some(ME), None, Some(OTHER)) });
    assert_eq!(bench.serving(), (Serving::Warming, 6));
    let fences = vec![Fence { slot: 7, epoch: 6 }];
    assert_eq!(bench.advance(), [Action::Fence(fences.clone())], "what it stood by for it holds");
    bench.keeper.fenced(&fences, true, bench.now);
    bench.advance();
    assert_eq!(bench.serving(), (Serving::Yes, 6));
}

#[test]
fn other_depths_are_loaded_before_they_are_in_force_while_what_is_served_goes_on() {
    let mut bench = Bench::owning();
    let (mine, load) = (owned(Some(ME), None, None), Action::Load { slots: vec![bench.slot], spread: true });
    bench.depths.next = Some(DepthRules::new(5, Vec::new()).unwrap());
    bench.change = Some(DepthChange { since: bench.version + 1, switching: false });
    bench.table(Phase::Serving, mine);
    assert_eq!(bench.advance(), std::slice::from_ref(&load), "gateways have not told of what they want");
    bench.keeper.loaded(&[bench.slot], true);
    assert_eq!((bench.advance(), bench.serving()), (Vec::new(), (Serving::Yes, 5)));
    bench.level();
    assert_eq!(bench.advance(), [load]);
    bench.keeper.loaded(&[bench.slot], true);
    assert_eq!(bench.advance(), [Action::ReadyForDepth(bench.version)]);
    assert_eq!((bench.advance(), bench.serving()), (Vec::new(), (Serving::Yes, 5)));
    bench.change = bench.change.map(|change| DepthChange { switching: true, ..change });
    bench.table(Phase::Serving, mine);
    assert_eq!(bench.advance(), [Action::Release(vec![(bench.slot, 5)])]);
    bench.table(Phase::Serving, owned(None, Some(ME), None));
    assert_eq!((bench.advance(), bench.serving()), (Vec::new(), (Serving::No, 5)));
    // In force: what it has loaded counts.
    (bench.depths.now, bench.change) = (bench.depths.next.take().unwrap(), None);
    bench.table(Phase::Serving, SlotOwner { epoch: 9, ..mine });
    let fences = vec![Fence { slot: 7, epoch: 9 }];
    assert_eq!(bench.advance(), [Action::Fence(fences.clone())]);
    bench.keeper.fenced(&fences, true, bench.now);
    assert_eq!((bench.advance(), bench.serving()), (Vec::new(), (Serving::Yes, 9)));
}

#[test]
fn a_router_that_has_not_heard_of_other_depths_before_they_are_in_force_loads_first() {
    let mut bench = Bench::owning();
    bench.depths.now = DepthRules::new(5, Vec::new()).unwrap();
    bench.table(Phase::Serving, SlotOwner { epoch: 9, ..owned(Some(ME), None, None) });
    assert_eq!(bench.advance(), [Action::Load { slots: vec![bench.slot], spread: true }]);
    assert_eq!(bench.serving(), (Serving::Warming, 9));
}

#[test]
fn gateways_that_do_not_tell_are_waited_for_a_while_only() {
    let mut bench = Bench::new();
    bench.table(Phase::Serving, owned(Some(ME), None, None));
    bench.advance();
    bench.keeper.loaded(&[bench.slot], true);
    bench.advance();
    bench.keeper.fenced(&[Fence { slot: 7, epoch: 5 }], true, bench.now);
    bench.advance();
    assert_eq!(bench.serving(), (Serving::Warming, 5));
    assert_eq!(bench.keeper.next_timeout(), Some(bench.now + GATHER));
    bench.now += GATHER;
    for what in ["once more, after the fence", "again, as that failed"] {
        assert_eq!(bench.advance(), [Action::Load { slots: vec![bench.slot], spread: true }], "{what}");
        bench.keeper.load_failed();
    }
    bench.advance();
    assert_eq!(bench.serving(), (Serving::Warming, 5));
    bench.keeper.loaded(&[bench.slot], true);
    bench.advance();
    assert_eq!(bench.serving(), (Serving::Yes, 5));
}

#[test]
fn a_fence_that_was_not_raised_is_tried_again() {
    let mut bench = Bench::new();
    bench.table(Phase::Serving, owned(Some(ME), None, None));
    bench.advance();
    bench.keeper.loaded(&[bench.slot], true);
    let fences = vec![Fence { slot: 7, epoch: 5 }];
    for _ in 0..2 {
        assert_eq!(bench.advance(), [Action::Fence(fences.clone())]);
        bench.keeper.fenced(&fences, false, bench.now);
    }
    bench.table(Phase::Serving, SlotOwner { epoch: 6, ..owned(Some(OTHER), None, None) });
    assert_eq!(bench.advance(), [], "it is another's by now");
}

#[test]
fn a_slot_is_released_when_all_that_was_taken_is_answered() {
    let mut bench = Bench::owning();
    let mut intake = fleethaven_lanes::router::Intake::new(bench.slots.clone());
    let ticket = take(&mut intake, bench.slot, bench.now);
    bench.table(Phase::Serving, owned(Some(ME), Some(OTHER), Some(OTHER)));
    assert_eq!(bench.serving(), (Serving::Draining, 5));
    assert_eq!(bench.advance(), [], "one is not answered");
    assert!(bench.keeper.next_timeout().is_some());
    assert!(intake.published(ticket, true, Ok(()), bench.now).is_some());
    assert_eq!(bench.advance(), [Action::Release(vec![(bench.slot, 5)])]);
    assert_eq!(bench.advance(), []);
    assert!(!bench.keeper.owns_nothing());
    bench.table(Phase::Serving, SlotOwner { epoch: 6, ..owned(Some(OTHER), None, Some(ME)) });
    assert_eq!(bench.serving(), (Serving::No, 6));
    assert!(bench.keeper.owns_nothing());
}

#[test]
fn who_is_to_own_it_may_go_away_again() {
    let mut bench = Bench::owning();
    let mut intake = fleethaven_lanes::router::Intake::new(bench.slots.clone());
    take(&mut intake, bench.slot, bench.now);
    bench.table(Phase::Serving, owned(Some(ME), Some(OTHER), Some(OTHER)));
    bench.advance();
    bench.table(Phase::Serving, owned(Some(ME), None, None));
    assert_eq!(bench.serving(), (Serving::Yes, 5));
}

#[test]
fn what_was_let_go_of_is_loaded_anew() {
    let mut bench = Bench::owning();
    bench.table(Phase::Serving, SlotOwner { epoch: 6, ..owned(Some(OTHER), None, None) });
    assert_eq!(bench.advance(), []);
    bench.table(Phase::Serving, SlotOwner { epoch: 7, ..owned(Some(ME), None, None) });
    assert_eq!(bench.advance(), [Action::Load { slots: vec![bench.slot], spread: false }]);
}

/// Has a lane take a publish of the slot in epoch 5.
fn take(
    intake: &mut fleethaven_lanes::router::Intake,
    slot: Slot,
    now: Instant,
) -> fleethaven_storage::Ticket {
    use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
    let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 1 };
    let message = Message {
        topic: "t".into(),
        payload: bytes::Bytes::new(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: Timestamp(1),
        expires_at: None,
        sequence: 1,
        hops: 0,
        publisher: Arc::new(publisher),
    };
    let publication = fleethaven_lanes::frame::Publication {
        slot,
        epoch: 5,
        run: 1,
        stamp: 1,
        skipped: 0,
        acknowledge: true,
        message: Arc::new(message),
        from: None,
        once: None,
    };
    match intake.admit(&publication, now) {
        fleethaven_lanes::router::Admission::Take { ticket: Some(ticket), .. } => ticket,
        other => panic!("{other:?}"),
    }
}

/// A subscription may be promised once nobody else can acknowledge anything in what this router owns.
#[test]
fn fences_are_told_up_to_a_version_of_the_table() {
    let mut bench = Bench::owning();
    assert_eq!(bench.slots.fenced(), 1);
    bench.table(Phase::Serving, owned(Some(ME), None, Some(OTHER)));
    assert_eq!(bench.slots.fenced(), 2, "nothing new is owned");
    let at = SlotOwner { epoch: 6, ..owned(Some(ME), None, None) };
    bench.table(Phase::Serving, at);
    assert_eq!(bench.slots.fenced(), 2);
    let fences = vec![Fence { slot: 7, epoch: 6 }];
    assert!(bench.advance().contains(&Action::Fence(fences.clone())));
    bench.keeper.fenced(&fences, false, bench.now);
    assert_eq!(bench.slots.fenced(), 2, "the store could not be reached");
    assert!(bench.advance().contains(&Action::Fence(fences.clone())));
    bench.keeper.fenced(&fences, true, bench.now);
    assert_eq!(bench.slots.fenced(), 3);
    bench.table(Phase::Serving, owned(Some(OTHER), None, None));
    assert_eq!(bench.slots.fenced(), 4, "nothing is owned");
}

#[test]
fn it_is_known_since_when_filters_must_be_held() {
    let mut bench = Bench::new();
    let since = |bench: &Bench| bench.slots.held_since(Placement::Pinned(bench.slot));
    bench.table(Phase::Serving, owned(Some(OTHER), None, None));
    assert_eq!((since(&bench), bench.slots.held_since(Placement::Spread)), (0, 1));
    bench.table(Phase::Serving, owned(Some(OTHER), None, Some(ME)));
    bench.table(Phase::Serving, owned(Some(ME), None, None));
    assert_eq!((since(&bench), bench.slots.held_since(Placement::Spread)), (2, 1));
    bench.table(Phase::Serving, owned(Some(OTHER), None, None));
    assert_eq!(since(&bench), 0);
}
