//! The book by examples, and by random histories.

use super::super::entry::Recipient;
use super::*;
use proptest::prelude::*;

const RESTS: Rests = Rests { first: 30, longest: 1_800 };

fn entry(account: Option<&str>, to: &[&str], due: u64) -> Entry {
    let recipient = |to: &&str| Recipient::new(Address::parse(to).unwrap(), to.ends_with("@example.org"), due);
    Entry {
        id: String::new(),
        sender: None,
        queued: 0,
        bytes: 10,
        eight_bit: false,
        judged: false,
        account: account.map(|it| Address::parse(it).unwrap()),
        needs: Default::default(),
        wish: Default::default(),
        held: false,
        recipients: to.iter().map(recipient).collect(),
    }
}

fn numbers(book: &mut Book, now: u64) -> Vec<i64> {
    std::iter::from_fn(|| book.take(now)).map(|work| work.number).collect()
}

#[test]
fn senders_take_turns_and_so_do_destinations() {
    let mut book = Book::new(RESTS);
    for number in 0..100 {
        book.set(number, &entry(Some("loud@example.org"), &["x@slow.net"], 0));
    }
    book.set(200, &entry(Some("quiet@example.org"), &["x@slow.net"], 0));
    book.set(300, &entry(Some("loud@example.org"), &["x@other.net"], 0));
    let first = numbers(&mut book, 0);
    assert_eq!(first, [0, 300, 200]);
    assert_eq!(numbers(&mut book, 0), Vec::<i64>::new());
}

#[test]
fn the_window_grows_with_success_and_a_place_in_trouble_is_left_alone_for_longer_each_time() {
    let mut book = Book::new(RESTS);
    (0..500).for_each(|number| book.set(number, &entry(None, &["x@peer.net"], 0)));
    let mut now = 0;
    let mut at_once = 0;
    for _ in 0..40 {
        let works: Vec<_> = std::iter::from_fn(|| book.take(now)).collect();
        at_once = works.len();
        for work in works {
            book.forget(work.number);
            book.finish(&work, Passage::Open, now);
        }
    }
    assert_eq!(at_once, limits::DELIVERIES_TO_A_PLACE as usize);
    for (failure, wait) in [30, 60, 120].into_iter().enumerate() {
        let works: Vec<_> = std::iter::from_fn(|| book.take(now)).collect();
        let (one, rest) = works.split_first().unwrap();
        book.finish(one, Passage::Blocked, now);
        rest.iter().for_each(|work| book.finish(work, Passage::Unclear, now));
        assert_eq!(book.take(now + wait - 1), None, "after failure {failure}");
        now += wait;
    }
    assert_eq!(book.take_blocked(&Destination::Elsewhere(base::Domain::parse("peer.net").unwrap()), now, 7).len(), 7);
}

#[test]
fn a_message_that_is_held_or_waits_for_its_time_is_not_given_out() {
    let mut book = Book::new(RESTS);
    let mut held = entry(None, &["x@a.net"], 0);
    held.held = true;
    book.set(1, &held);
    book.set(2, &entry(None, &["x@a.net"], 100));
    assert_eq!(book.take(99), None);
    assert_eq!(book.next_due(), Some(100));
    assert_eq!(book.take(100).unwrap().number, 2);
    held.held = false;
    book.set(1, &held);
    assert_eq!(book.take(100).unwrap().number, 1);
    assert_eq!(book.size(), (2, 20));
}

#[test]
fn what_changes_or_goes_while_it_is_under_way_is_not_given_out_twice() {
    let mut book = Book::new(RESTS);
    book.set(1, &entry(None, &["x@a.net", "y@b.net"], 0));
    let (a, b) = (book.take(0).unwrap(), book.take(0).unwrap());
    book.set(1, &entry(None, &["x@a.net", "y@b.net"], 0));
    assert_eq!(book.take(0), None);
    book.forget(1);
    book.finish(&a, Passage::Open, 0);
    book.finish(&b, Passage::Open, 0);
    assert_eq!((book.take(0), book.size()), (None, (0, 0)));
    assert!(book.lanes.is_empty() && book.names.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Set(i64, u8, bool, u64),
    Forget(i64),
    Take,
    Finish(usize, u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6i64, 0..8u8, any::<bool>(), 0..50u64).prop_map(|(n, to, held, due)| Step::Set(n, to, held, due)),
        (0..6i64).prop_map(Step::Forget),
        Just(Step::Take),
        Just(Step::Take),
        (any::<usize>(), 0..3u8).prop_map(|(n, how)| Step::Finish(n, how)),
        (0..40u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Nothing is given out twice, nothing is forgotten: after any history all that is left can be delivered.
    #[test]
    fn everything_is_delivered_once_in_the_end(steps in proptest::collection::vec(step(), 0..80)) {
        let places = ["x@a.net", "y@b.net", "z@example.org"];
        let (mut book, mut now, mut busy) = (Book::new(RESTS), 0, Vec::<Work>::new());
        let mut wanted: HashMap<i64, Entry> = HashMap::new();
        let mut gone = BTreeSet::new();
        for step in steps {
            match step {
                // The database gives no number twice.
                Step::Set(number, ..) if gone.contains(&number) => {}
                Step::Set(number, to, held, due) => {
                    let to: Vec<&str> = (0..3).filter(|bit| to & (1 << bit) != 0).map(|bit| places[bit]).collect();
                    let mut it = entry(None, &to, now + due);
                    it.held = held;
                    book.set(number, &it);
                    wanted.insert(number, it);
                }
                Step::Forget(number) => {
                    book.forget(number);
                    wanted.remove(&number);
                    gone.insert(number);
                }
                Step::Take => if let Some(work) = book.take(now) {
                    prop_assert!(!busy.contains(&work));
                    busy.push(work);
                },
                Step::Finish(n, how) if !busy.is_empty() => {
                    let work = busy.swap_remove(n % busy.len());
                    if let Some(it) = wanted.get_mut(&work.number) {
                        it.recipients.retain(|r| r.destination() != work.destination);
                        book.set(work.number, it);
                    }
                    let passage = [Passage::Open, Passage::Unclear, Passage::Blocked][usize::from(how)];
                    book.finish(&work, passage, now);
                }
                Step::Finish(..) => {}
                Step::Pass(seconds) => now += seconds,
            }
        }
        for it in wanted.values_mut() { it.held = false; }
        for (number, it) in &wanted { book.set(*number, it); }
        for _ in 0..200 {
            now += 2_000;
            busy.extend(std::iter::from_fn(|| book.take(now)));
            for work in busy.drain(..) {
                if let Some(it) = wanted.get_mut(&work.number) {
                    it.recipients.retain(|r| r.destination() != work.destination);
                    book.set(work.number, it);
                }
                book.finish(&work, Passage::Open, now);
            }
        }
        prop_assert!(wanted.values().all(|it| it.recipients.is_empty()), "{:?}", wanted);
        prop_assert!(book.waiting.is_empty() && book.turns.is_empty());
    }
}
