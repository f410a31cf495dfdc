use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const PEER: &str = "10.0.0.2:8080";

fn peer() -> PeerName {
    PEER.into()
}

fn volume(newest: u64) -> KnownVolume {
    KnownVolume { id: VolumeId(3), newest, copies: 1 }
}

/// A node with volume 3, which has a copy on another node, as time goes by in tenths of a second.
struct Node {
    replication: Replication,
    now: u64,
    newest: u64,
    /// Whether the other node answers probes, and the number of its start.
    answers: Option<u64>,
    /// Versions that the other node lacks.
    missing: BTreeSet<u64>,
}

impl Node {
    fn new(stored: Marks, newest: u64) -> Self {
        let replication = Replication::new(stored);
        let answers = Some(1);
        Self { replication, now: 0, newest, answers, missing: BTreeSet::new() }
    }

    /// A node whose copy is known and has everything.
    fn in_step() -> Self {
        let mut node = Self::new(Marks::new(), 0);
        node.tick();
        node.list(true);
        node.pass(1);
        assert!(!node.view().is_behind);
        node
    }

    fn list(&mut self, is_listed: bool) {
        let peers = if is_listed { vec![peer()] } else { vec![] };
        self.replication.listed(VolumeId(3), &peers, self.now);
    }

    fn tick(&mut self) {
        self.now += SECOND / 10;
        if self.now.is_multiple_of(SECOND) {
            let now = self.now;
            let answer = self.answers.map(|start| PeerAnswer { start: Some(start), asked_ns: now });
            self.replication.probed(PEER, answer, now);
        }
        self.replication.look(&[volume(self.newest)], |_| false, self.now);
    }

    /// Offers are carried out at once, and pieces are one change long.
    fn offer(&mut self) {
        for offer in self.replication.next_offers(1, self.now) {
            let first = self.missing.range(offer.from.version + 1..).next().copied();
            let next = first.unwrap_or(self.newest.max(offer.from.version));
            self.missing.remove(&next);
            let is_end = next >= self.newest;
            let next = StreamPosition::after(next);
            self.replication.offered(&offer, Some((next, is_end)), self.now);
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..10 * seconds {
            self.tick();
            self.offer();
        }
    }

    fn view(&self) -> CopyView {
        self.replication.copies(VolumeId(3)).next().unwrap()
    }

    fn is_held(&self) -> bool {
        self.replication.is_held(VolumeId(3))
    }
}

fn marks(mark: u64) -> Marks {
    BTreeMap::from([(VolumeId(3), BTreeMap::from([(PEER.to_owned(), mark)]))])
}

#[test]
fn mark_follows_the_volume_ten_seconds_later() {
    let mut node = Node::in_step();
    node.newest = 50;
    node.pass(9);
    assert_eq!(node.view().mark, 0);
    node.pass(3);
    assert_eq!(node.view().mark, 50);
    assert_eq!(node.replication.lowest_mark(VolumeId(3)), 50);
    assert_eq!(node.replication.marks(), marks(50));
}

#[test]
fn failed_exchange_holds_the_volume_until_it_was_made_up_for() {
    let mut node = Node::in_step();
    node.newest = 50;
    node.pass(12);
    node.newest = 60;
    node.missing.insert(60);
    node.replication.copy_failed(VolumeId(3), PEER, node.now);
    assert!(node.is_held() && node.view().is_behind);
    node.pass(4);
    assert_eq!((node.view().mark, node.missing.len()), (60, 0), "it was offered");
    assert!(node.is_held(), "for five seconds");
    node.pass(2);
    assert!(!node.is_held() && !node.view().is_behind);
    // Again, within ten minutes.
    node.replication.copy_failed(VolumeId(3), PEER, node.now);
    node.pass(9);
    assert!(node.is_held());
    node.pass(2);
    assert!(!node.is_held());
}

#[test]
fn failure_while_a_piece_is_offered_is_offered_again() {
    let mut node = Node::in_step();
    node.newest = 10;
    node.replication.copy_failed(VolumeId(3), PEER, node.now);
    let offer = node.replication.next_offers(4, node.now).pop().unwrap();
    assert_eq!(offer.from, StreamPosition::after(0));
    assert!(node.replication.next_offers(4, node.now).is_empty(), "one at a time");
    node.replication.copy_failed(VolumeId(3), PEER, node.now);
    node.replication.offered(&offer, Some((StreamPosition::after(10), true)), node.now);
    let next = node.replication.next_offers(4, node.now).pop().unwrap();
    assert_eq!(next.from, StreamPosition::after(10));
    // The answer to an earlier offer is not the one to this.
    node.replication.offered(&offer, Some((StreamPosition::after(99), true)), node.now);
    assert_eq!(node.view().mark, 10);
    assert!(node.replication.next_offers(4, node.now).is_empty());
}

#[test]
fn piece_that_did_not_arrive_is_offered_again_after_a_pause() {
    let mut node = Node::in_step();
    node.newest = 10;
    node.replication.copy_failed(VolumeId(3), PEER, node.now);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let offer = node.replication.next_offers(4, node.now).pop().unwrap();
        node.replication.offered(&offer, None, node.now);
        let began = node.now;
        while node.replication.next_offers(0, node.now).is_empty()
            && !node.replication.volumes[&VolumeId(3)].copies[PEER].wants_offer(node.now)
        {
            node.tick();
        }
        pauses.push((node.now - began) / SECOND);
    }
    assert_eq!(pauses, [1, 2, 4]);
}

#[test]
fn silent_restarted_and_vanished_nodes_hold_their_volumes() {
    type Step = fn(&mut Node);
    let cases: [(&str, Step, Step); 3] = [
        ("silent", |node| node.answers = None, |node| node.answers = Some(1)),
        ("restarted", |node| node.answers = Some(2), |_| ()),
        ("vanished", |node| node.list(false), |node| node.list(true)),
    ];
    for (name, fails, heals) in cases {
        let mut node = Node::in_step();
        fails(&mut node);
        node.pass(1);
        assert!(node.is_held(), "{name}");
        if name != "restarted" {
            node.newest = 10;
            node.missing.insert(10);
            node.pass(60);
            assert!(node.is_held() && node.missing.len() == 1, "{name}: nothing is sent there");
        }
        heals(&mut node);
        node.pass(3);
        assert!(node.is_held() && node.missing.is_empty(), "{name}");
        node.pass(6);
        assert!(!node.is_held(), "{name}");
    }
}

#[test]
fn start_offers_what_came_after_the_mark_and_holds_nothing() {
    for (stored, first) in [(marks(40), 40), (Marks::new(), 0), (marks(200), 100)] {
        let mut node = Node::new(stored, 100);
        node.tick();
        assert!(node.replication.next_offers(1, node.now).is_empty(), "not listed yet");
        node.list(true);
        let offer = node.replication.next_offers(1, node.now).pop().unwrap();
        assert_eq!(offer.from, StreamPosition::after(first));
        assert!(node.view().is_behind && !node.is_held());
        node.replication.offered(&offer, Some((StreamPosition::after(100), true)), node.now);
        node.pass(1);
        assert!(!node.view().is_behind && node.view().mark == 100);
    }
}

#[test]
fn start_holds_a_volume_whose_copy_is_not_there() {
    let mut node = Node::new(marks(40), 100);
    node.tick();
    assert!(!node.is_held(), "the master was not asked yet");
    node.list(false);
    assert!(node.is_held());
    assert_eq!(node.replication.lowest_mark(VolumeId(3)), 40);
}

#[test]
fn copy_that_has_moved_is_forgotten_and_the_new_one_gets_everything() {
    let mut node = Node::in_step();
    node.newest = 50;
    node.pass(12);
    node.list(false);
    assert!(node.is_held());
    let other: PeerName = "10.0.0.3:8080".into();
    node.replication.listed(VolumeId(3), std::slice::from_ref(&other), node.now);
    assert_eq!(node.replication.peers().collect::<Vec<_>>(), [&other]);
    assert!(!node.is_held() && node.view().is_behind, "it may lack everything");
    assert_eq!(node.replication.lowest_mark(VolumeId(3)), 0);
    assert_eq!(node.replication.next_offers(1, node.now)[0].from, StreamPosition::after(0));
}

#[test]
fn marks_of_volumes_that_are_not_open_are_kept_and_those_of_deleted_ones_are_not() {
    let mut replication = Replication::new(marks(40));
    replication.look(&[], |id| id == VolumeId(3), 0);
    assert_eq!(replication.marks(), marks(40));
    replication.look(&[volume(100)], |_| false, 1);
    assert_eq!(replication.marks(), marks(40));
    replication.look(&[], |_| true, 2);
    assert_eq!(replication.marks(), marks(40));
    assert_eq!(replication.lowest_mark(VolumeId(3)), 0, "it is not open");
    replication.look(&[], |_| false, 3);
    assert_eq!(replication.marks(), Marks::new());
}

#[test]
fn copy_that_was_never_listed_keeps_the_lowest_mark_at_zero() {
    let mut node = Node::new(Marks::new(), 100);
    node.tick();
    assert_eq!(node.replication.lowest_mark(VolumeId(3)), 0);
    node.list(false);
    assert!(!node.is_held(), "nobody knows of a copy");
}

#[test]
fn two_nodes_that_saw_each_other_fail_both_come_back() {
    let (mut first, mut last) = (Node::in_step(), Node::in_step());
    for node in [&mut first, &mut last] {
        node.answers = None;
        node.list(false);
        node.pass(3);
        assert!(node.is_held());
    }
    for node in [&mut first, &mut last] {
        node.answers = Some(2);
        node.list(true);
        node.pass(8);
        assert!(!node.is_held());
    }
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Event {
    /// A change that arrives everywhere.
    Write,
    /// A change that is lost, and the delay until its failure is reported (tenths of a second).
    Lose(u64),
    Silent,
    Answers,
    Restart,
    Vanish,
    Return,
    Pass(u64),
    NotOffered,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Write),
        2 => (0..30_u64).prop_map(Event::Lose),
        1 => Just(Event::Silent),
        2 => Just(Event::Answers),
        1 => Just(Event::Restart),
        1 => Just(Event::Vanish),
        2 => Just(Event::Return),
        4 => (1..150_u64).prop_map(Event::Pass),
        1 => Just(Event::NotOffered),
    ]
}

proptest! {
    /// Whatever happens, no change that the copy lacks is behind the mark, the mark does not fall, and at the
    /// end both have everything.
    #[test]
    fn nothing_that_is_missing_is_behind_the_mark(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut node = Node::in_step();
        let mut unnoticed: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut lowest = 0;
        for event in events {
            let mut tenths = 1;
            match event {
                Event::Write => node.newest += 1,
                Event::Lose(later) => {
                    node.newest += 1;
                    node.missing.insert(node.newest);
                    unnoticed.insert((node.now + later * SECOND / 10, node.newest));
                }
                Event::Silent => node.answers = None,
                Event::Answers => node.answers = node.answers.or(Some(1)),
                Event::Restart => node.answers = node.answers.map(|start| start + 1),
                Event::Vanish => node.list(false),
                Event::Return => node.list(true),
                Event::Pass(time) => tenths = time,
                Event::NotOffered => {
                    for offer in node.replication.next_offers(1, node.now) {
                        node.replication.offered(&offer, None, node.now);
                    }
                }
            }
            for _ in 0..tenths {
                while unnoticed.first().is_some_and(|(at, _)| *at <= node.now) {
                    unnoticed.pop_first();
                    node.replication.copy_failed(VolumeId(3), PEER, node.now);
                }
                node.tick();
                node.offer();
                let mark = node.view().mark;
                prop_assert!(mark >= lowest && mark <= node.newest);
                prop_assert!(node.missing.iter().all(|version| *version > mark));
                lowest = mark;
            }
        }
        node.answers = node.answers.or(Some(1));
        node.list(true);
        for _ in unnoticed {
            node.pass(3);
            node.replication.copy_failed(VolumeId(3), PEER, node.now);
        }
        node.pass(1300);
        prop_assert!(node.missing.is_empty() && !node.is_held());
        prop_assert_eq!(node.view().mark, node.newest);
    }
}
