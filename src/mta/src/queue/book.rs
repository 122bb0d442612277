//! Who is delivered next. Pure: times come in, work goes out.
//!
//! Every message has one piece of work for each destination that it still has to reach. Work that is due stands in the
//! *lane* of its destination, where senders take turns. A lane has a window, the number of deliveries at once: it
//! grows with each success and shrinks when the place is in trouble; then the lane rests, for longer each time.
//! Lanes take turns as well, so a busy destination does not hold up the others.
//!
//! Invariants: a piece of work is waiting, ready or busy, never two of them; a busy piece is never given out again
//! before it was given back; what is forgotten while it is busy is forgotten when it comes back.

use super::entry::{Destination, Entry, State};
use crate::limits;
use base::Address;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// A delivery to be made: the due recipients of one message at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The message's number in the database.
    pub number: i64,
    pub destination: Destination,
}

/// How a delivery went, as far as other mail for the same place is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// The place takes mail.
    Open,
    /// The place was not at fault, nor proved to be well.
    Unclear,
    /// The place itself is in trouble.
    Blocked,
}

/// How long lanes rest, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Rests {
    pub first: u64,
    pub longest: u64,
}

type LaneId = u64;
type AccountId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting(u64),
    Ready,
    /// Under way; with the time of the next try if there is to be one when it comes back.
    Busy(Option<u64>),
}

#[derive(Debug, Default)]
struct Brief {
    bytes: u64,
    account: AccountId,
    works: Vec<(LaneId, Place)>,
}

#[derive(Debug)]
struct Lane {
    destination: Destination,
    /// Senders that have something ready, in the order of their turns.
    turns: VecDeque<AccountId>,
    ready: HashMap<AccountId, VecDeque<i64>>,
    /// Pieces of work in any place.
    works: usize,
    busy: usize,
    window: f32,
    /// Failures of the place in a row.
    failures: u32,
    rests_until: u64,
    /// Whether it stands in `Book::turns`.
    queued: bool,
}

/// All work there is.
#[derive(Debug)]
pub struct Book {
    rests: Rests,
    names: HashMap<Destination, LaneId>,
    lanes: HashMap<LaneId, Lane>,
    next_lane: LaneId,
    accounts: HashMap<Option<Address>, AccountId>,
    messages: HashMap<i64, Brief>,
    waiting: BTreeSet<(u64, i64, LaneId)>,
    resting: BTreeSet<(u64, LaneId)>,
    turns: VecDeque<LaneId>,
    bytes: u64,
}

impl Book {
    pub fn new(rests: Rests) -> Self {
        Self {
            rests,
            names: HashMap::new(),
            lanes: HashMap::new(),
            next_lane: 0,
            accounts: HashMap::new(),
            messages: HashMap::new(),
            waiting: BTreeSet::new(),
            resting: BTreeSet::new(),
            turns: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Messages, and their octets.
    pub fn size(&self) -> (usize, u64) {
        (self.messages.len(), self.bytes)
    }

    /// Takes note of a message, new or changed.
    pub fn set(&mut self, number: i64, entry: &Entry) {
        let mut due: Vec<(Destination, u64)> = Vec::new();
        let waiting = entry.recipients.iter().filter(|recipient| recipient.state == State::Waiting && !entry.held);
        for recipient in waiting {
            let destination = recipient.destination();
            match due.iter_mut().find(|(known, _)| *known == destination) {
                Some((_, at)) => *at = (*at).min(recipient.next_try),
                None => due.push((destination, recipient.next_try)),
            }
        }
        let before = self.messages.remove(&number).unwrap_or_default();
        self.bytes = self.bytes - before.bytes + entry.bytes;
        let accounts = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        let account = *self.accounts.entry(entry.account.clone()).or_insert(accounts);
        let mut works = Vec::with_capacity(due.len());
        // What is under way stays so; the rest is put down anew.
        for (lane, place) in before.works {
            match place {
                Place::Busy(_) => works.push((lane, Place::Busy(None))),
                other => self.take_down(number, before.account, lane, other),
            }
        }
        for (destination, at) in due {
            let lane = self.lane(destination);
            if let Some((_, place)) = works.iter_mut().find(|(busy, _)| *busy == lane) {
                *place = Place::Busy(Some(at));
                continue;
            }
            self.waiting.insert((at, number, lane));
            self.lanes.entry(lane).and_modify(|lane| lane.works += 1);
            works.push((lane, Place::Waiting(at)));
        }
        self.messages.insert(number, Brief { bytes: entry.bytes, account, works });
    }

    /// Forgets a message that has left the queue.
    pub fn forget(&mut self, number: i64) {
        let Some(brief) = self.messages.remove(&number) else { return };
        self.bytes -= brief.bytes;
        for (lane, place) in brief.works {
            if !matches!(place, Place::Busy(_)) {
                self.take_down(number, brief.account, lane, place);
            }
        }
    }

    /// The next delivery to make now, if there is one.
    pub fn take(&mut self, now: u64) -> Option<Work> {
        self.wake(now);
        while let Some(id) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.queued = false;
            if lane.rests_until > now || lane.busy >= lane.window as usize {
                // It comes back when its rest or one of its deliveries ends.
                continue;
            }
            let Some(number) = lane.next() else { continue };
            lane.busy += 1;
            let work = Work { number, destination: lane.destination.clone() };
            if !lane.turns.is_empty() {
                lane.queued = true;
                self.turns.push_back(id);
            }
            self.place(number, id, Place::Busy(Some(now)));
            return Some(work);
        }
        None
    }

    /// Says that a delivery is to be tried again at `at`, when its new state could not be [`set`](Self::set).
    pub fn put_off(&mut self, work: &Work, at: u64) {
        if let Some(&id) = self.names.get(&work.destination) {
            self.place(work.number, id, Place::Busy(Some(at)));
        }
    }

    /// Gives a delivery back. Call it after the message's new state was [`set`](Self::set) or forgotten.
    pub fn finish(&mut self, work: &Work, passage: Passage, now: u64) {
        let Some(&id) = self.names.get(&work.destination) else { return };
        let brief = self.messages.get_mut(&work.number);
        let again = brief.and_then(|brief| {
            let at = brief.works.iter().position(|(lane, _)| *lane == id)?;
            match brief.works.swap_remove(at) {
                (_, Place::Busy(again)) => again.inspect(|at| brief.works.push((id, Place::Waiting(*at)))),
                other => {
                    brief.works.push(other);
                    None
                }
            }
        });
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.busy = lane.busy.saturating_sub(1);
            if again.is_none() {
                lane.works = lane.works.saturating_sub(1);
            }
        }
        self.waiting.extend(again.map(|at| (at, work.number, id)));
        self.judge(id, passage, now);
        self.offer(id);
        self.sweep(id);
    }

    /// Everything that stands ready at a place, which is marked as busy: for putting off together what would only meet
    /// the same trouble. Only from the second failure in a row on, and no more than `most`.
    pub fn take_blocked(&mut self, destination: &Destination, now: u64, most: usize) -> Vec<Work> {
        let mut taken = Vec::new();
        let Some(&id) = self.names.get(destination) else { return taken };
        while taken.len() < most {
            let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.failures >= 2) else { break };
            let Some(number) = lane.next() else { break };
            lane.busy += 1;
            self.place(number, id, Place::Busy(Some(now)));
            taken.push(Work { number, destination: destination.clone() });
        }
        taken
    }

    /// Ends every rest, because the owner wants it tried now.
    pub fn end_rests(&mut self) {
        for (_, id) in std::mem::take(&mut self.resting) {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.rests_until = 0;
                lane.failures = 0;
            }
            self.offer(id);
        }
    }

    /// When something becomes due or a rest ends; `None`: only a change will.
    pub fn next_due(&self) -> Option<u64> {
        let waiting = self.waiting.first().map(|(at, ..)| *at);
        let resting = self.resting.first().map(|(at, _)| *at);
        waiting.into_iter().chain(resting).min()
    }

    fn wake(&mut self, now: u64) {
        while let Some(&(until, id)) = self.resting.first().filter(|(until, _)| *until <= now) {
            self.resting.remove(&(until, id));
            self.offer(id);
            self.sweep(id);
        }
        while let Some(&(at, number, id)) = self.waiting.first().filter(|(at, ..)| *at <= now) {
            self.waiting.remove(&(at, number, id));
            self.place(number, id, Place::Ready);
            let account = self.messages.get(&number).map_or(0, |brief| brief.account);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.put(account, number);
            }
            self.offer(id);
        }
    }

    /// Grows or shrinks a lane's window by how a delivery went.
    fn judge(&mut self, id: LaneId, passage: Passage, now: u64) {
        let rests = self.rests;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match passage {
            Passage::Open => {
                lane.failures = 0;
                // One more for each round of successes.
                lane.window = (lane.window + 1.0 / lane.window).min(most_at_once(&lane.destination));
            }
            Passage::Unclear => {}
            Passage::Blocked => {
                lane.failures += 1;
                lane.window = (lane.window / 2.0).max(1.0);
                let wait = rests.first.saturating_mul(1 << (lane.failures - 1).min(16)).min(rests.longest);
                if wait > 0 {
                    self.resting.remove(&(lane.rests_until, id));
                    lane.rests_until = now + wait;
                    self.resting.insert((lane.rests_until, id));
                }
            }
        }
    }

    /// Gives a lane its place among the turns, if it has something ready.
    fn offer(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.queued && !lane.turns.is_empty()) {
            lane.queued = true;
            self.turns.push_back(id);
        }
    }

    /// Forgets a lane that has nothing left to remember.
    fn sweep(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get(&id)
            && lane.works == 0
            && lane.busy == 0
            && !self.resting.contains(&(lane.rests_until, id))
        {
            self.names.remove(&lane.destination);
            self.lanes.remove(&id);
        }
    }

    fn lane(&mut self, destination: Destination) -> LaneId {
        if let Some(id) = self.names.get(&destination) {
            return *id;
        }
        self.next_lane += 1;
        self.names.insert(destination.clone(), self.next_lane);
        self.lanes.insert(self.next_lane, Lane::new(destination));
        self.next_lane
    }

    fn place(&mut self, number: i64, id: LaneId, place: Place) {
        if let Some(work) =
            self.messages.get_mut(&number).and_then(|brief| brief.works.iter_mut().find(|(lane, _)| *lane == id))
        {
            work.1 = place;
        }
    }

    /// Takes one piece of work, which is not busy, out of where it stands.
    fn take_down(&mut self, number: i64, account: AccountId, id: LaneId, place: Place) {
        if let Place::Waiting(at) = place {
            self.waiting.remove(&(at, number, id));
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.works = lane.works.saturating_sub(1);
            if place == Place::Ready {
                lane.drop_ready(account, number);
            }
        }
        self.sweep(id);
    }
}

/// Deliveries at once to one place: at the start, and at most.
fn at_once_first(destination: &Destination) -> f32 {
    match destination {
        Destination::Mailboxes => most_at_once(destination),
        Destination::Elsewhere(_) => limits::DELIVERIES_TO_A_PLACE_FIRST,
    }
}

fn most_at_once(destination: &Destination) -> f32 {
    match destination {
        Destination::Mailboxes => limits::DELIVERIES_TO_MAILBOXES,
        Destination::Elsewhere(_) => limits::DELIVERIES_TO_A_PLACE,
    }
}

impl Lane {
    fn new(destination: Destination) -> Self {
        let window = at_once_first(&destination);
        Self {
            destination,
            turns: VecDeque::new(),
            ready: HashMap::new(),
            works: 0,
            busy: 0,
            window,
            failures: 0,
            rests_until: 0,
            queued: false,
        }
    }

    fn put(&mut self, account: AccountId, number: i64) {
        let queue = self.ready.entry(account).or_default();
        if queue.is_empty() {
            self.turns.push_back(account);
        }
        queue.push_back(number);
    }

    /// The next message of the sender whose turn it is.
    fn next(&mut self) -> Option<i64> {
        let account = self.turns.pop_front()?;
        let queue = self.ready.get_mut(&account)?;
        let number = queue.pop_front();
        if queue.is_empty() {
            self.ready.remove(&account);
        } else {
            self.turns.push_back(account);
        }
        number
    }

    fn drop_ready(&mut self, account: AccountId, number: i64) {
        if let Some(queue) = self.ready.get_mut(&account) {
            queue.retain(|other| *other != number);
            if queue.is_empty() {
                self.ready.remove(&account);
                self.turns.retain(|other| *other != account);
            }
        }
    }
}

#[cfg(test)]
mod tests;
