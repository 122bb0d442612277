//! THREAD (RFC 5256 §3): ORDEREDSUBJECT, and REFERENCES by the algorithm of its six steps.
//!
//! Containers lie in one vector and point at each other by index; nothing recurses, so no mail can exhaust the stack.

use super::Facts;
use std::collections::HashMap;

/// Levels of replies; deeper ones begin a thread of their own. It bounds the look for loops.
const DEPTH: usize = 1000;

/// A message of the answer with what replied to it; without a number, a message that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub number: Option<u32>,
    /// Indices of further nodes.
    pub children: Vec<usize>,
}

/// Threads: the nodes, and which of them are roots, in order.
pub type Threads = (Vec<Node>, Vec<usize>);

/// By base subject; each thread has its oldest message at its root and the others below it.
pub fn ordered_subject(mut facts: Vec<Facts>) -> Threads {
    facts.sort_by(|a, b| {
        let subject = a.subject.text.cmp(&b.subject.text);
        subject.then(a.sent.cmp(&b.sent)).then(a.number.cmp(&b.number))
    });
    let mut nodes: Vec<Node> = Vec::with_capacity(facts.len());
    let mut roots: Vec<usize> = Vec::new();
    for (at, one) in facts.iter().enumerate() {
        nodes.push(Node { number: Some(one.number), children: Vec::new() });
        match roots.last() {
            Some(root) if facts[*root].subject.text == one.subject.text => nodes[*root].children.push(at),
            _ => roots.push(at),
        }
    }
    roots.sort_by_key(|root| (facts[*root].sent, facts[*root].number));
    (nodes, roots)
}

/// By who answered whom.
pub fn references(facts: Vec<Facts>) -> Threads {
    let mut forest = Forest { boxes: Vec::new(), by_id: HashMap::new(), facts };
    forest.link();
    let roots = forest.pruned();
    let roots = forest.gathered(roots);
    forest.in_order(roots)
}

#[derive(Default)]
struct Container {
    /// Its message's place among the facts.
    message: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

struct Forest {
    boxes: Vec<Container>,
    by_id: HashMap<String, usize>,
    facts: Vec<Facts>,
}

impl Forest {
    /// Step 1.
    fn link(&mut self) {
        for at in 0..self.facts.len() {
            let id = self.facts[at].message_id.clone();
            let own = match id.and_then(|id| self.free_container(id)) {
                Some(own) => own,
                // No Message-ID, or one that another message has: as if it had one of its own.
                None => self.new_container(),
            };
            self.boxes[own].message = Some(at);
            let mut above: Option<usize> = None;
            for id in std::mem::take(&mut self.facts[at].references) {
                let next = match self.by_id.get(&id) {
                    Some(known) => *known,
                    None => {
                        let new = self.new_container();
                        self.by_id.insert(id, new);
                        new
                    }
                };
                if let Some(above) = above
                    && self.boxes[next].parent.is_none()
                {
                    self.put_below(next, above);
                }
                above = Some(next);
            }
            if let Some(above) = above {
                self.put_below(own, above);
            }
        }
    }

    /// The container of an id, if no message is in it yet.
    fn free_container(&mut self, id: String) -> Option<usize> {
        if let Some(known) = self.by_id.get(&id) {
            return self.boxes[*known].message.is_none().then_some(*known);
        }
        let new = self.new_container();
        self.by_id.insert(id, new);
        Some(new)
    }

    fn new_container(&mut self) -> usize {
        self.boxes.push(Container::default());
        self.boxes.len() - 1
    }

    /// Moves a container below another, unless that would make a loop.
    fn put_below(&mut self, child: usize, parent: usize) {
        let mut above = Some(parent);
        for _ in 0..DEPTH {
            match above {
                None => {
                    self.boxes[child].parent = Some(parent);
                    return;
                }
                Some(at) if at == child => return,
                Some(at) => above = self.boxes[at].parent,
            }
        }
    }

    /// Steps 2 and 3: the roots, with containers that have no message taken out.
    fn pruned(&mut self) -> Vec<usize> {
        for at in 0..self.boxes.len() {
            if let Some(parent) = self.boxes[at].parent {
                self.boxes[parent].children.push(at);
            }
        }
        let roots: Vec<usize> = (0..self.boxes.len()).filter(|at| self.boxes[*at].parent.is_none()).collect();
        let mut order = roots.clone();
        let mut at = 0;
        while at < order.len() {
            order.extend_from_slice(&self.boxes[order[at]].children);
            at += 1;
        }
        // From the leaves up: the children of an empty one take its place.
        for at in order.into_iter().rev() {
            let children = std::mem::take(&mut self.boxes[at].children);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                match self.boxes[child].message {
                    Some(_) => kept.push(child),
                    None => kept.append(&mut self.boxes[child].children),
                }
            }
            self.boxes[at].children = kept;
        }
        let mut out = Vec::with_capacity(roots.len());
        for root in roots {
            match (self.boxes[root].message, self.boxes[root].children.as_slice()) {
                (None, []) => {}
                (None, [only]) => out.push(*only),
                _ => out.push(root),
            }
        }
        out
    }

    /// The message that stands for a root: its own, or its first child's once sorted.
    fn face(&self, root: usize) -> Option<&Facts> {
        let first = || self.boxes[root].children.iter().filter_map(|child| self.boxes[*child].message);
        let oldest = || first().min_by_key(|at| (self.facts[*at].sent, self.facts[*at].number));
        self.boxes[root].message.or_else(oldest).map(|at| &self.facts[at])
    }

    fn date(&self, root: usize) -> (i64, u32) {
        self.face(root).map_or((0, 0), |facts| (facts.sent, facts.number))
    }

    /// Steps 4 and 5: threads of one base subject are one.
    fn gathered(&mut self, mut roots: Vec<usize>) -> Vec<usize> {
        roots.sort_by_key(|root| self.date(*root));
        let mut table: HashMap<String, usize> = HashMap::new();
        for root in &roots {
            let Some(face) = self.face(*root).filter(|face| !face.subject.text.is_empty()) else { continue };
            let is_dummy = self.boxes[*root].message.is_none();
            let better = table.get(&face.subject.text).is_none_or(|held| {
                let held_dummy = self.boxes[*held].message.is_none();
                let held_reply = self.face(*held).is_some_and(|held| held.subject.is_reply);
                (is_dummy && !held_dummy) || (!held_dummy && held_reply && !face.subject.is_reply)
            });
            if better {
                table.insert(face.subject.text.clone(), *root);
            }
        }
        let mut gone = vec![false; self.boxes.len() + roots.len()];
        for at in 0..roots.len() {
            let root = roots[at];
            let Some(face) = self.face(root) else { continue };
            let (subject, is_reply) = (face.subject.text.clone(), face.subject.is_reply);
            let Some(held) = table.get(&subject).copied().filter(|held| *held != root) else { continue };
            let held_reply = self.face(held).is_some_and(|held| held.subject.is_reply);
            match (self.boxes[held].message, self.boxes[root].message) {
                (None, None) => {
                    let children = std::mem::take(&mut self.boxes[root].children);
                    self.boxes[held].children.extend(children);
                    gone[root] = true;
                }
                (None, Some(_)) => {
                    self.boxes[held].children.push(root);
                    gone[root] = true;
                }
                (Some(_), _) if is_reply && !held_reply => {
                    self.boxes[held].children.push(root);
                    gone[root] = true;
                }
                _ => {
                    let above = self.new_container();
                    self.boxes[above].children = vec![held, root];
                    (gone[held], gone[root]) = (true, true);
                    roots.push(above);
                    table.insert(subject, above);
                }
            }
        }
        roots.into_iter().filter(|root| !gone[*root]).collect()
    }

    /// Step 6: siblings and roots by date.
    fn in_order(mut self, mut roots: Vec<usize>) -> Threads {
        for at in 0..self.boxes.len() {
            let mut children = std::mem::take(&mut self.boxes[at].children);
            children.sort_by_key(|child| self.date(*child));
            self.boxes[at].children = children;
        }
        roots.sort_by_key(|root| self.date(*root));
        let facts = &self.facts;
        let number = |message: Option<usize>| message.map(|at| facts[at].number);
        let nodes = self.boxes.iter_mut().map(|container| Node {
            number: number(container.message),
            children: std::mem::take(&mut container.children),
        });
        (nodes.collect(), roots)
    }
}

/// `(3 6 (4 23)(44 7 96))` (RFC 5256 §4).
pub fn write_threads(out: &mut Vec<u8>, (nodes, roots): &Threads) {
    enum Step {
        Thread(usize),
        Close,
    }
    let mut steps: Vec<Step> = roots.iter().rev().map(|root| Step::Thread(*root)).collect();
    while let Some(step) = steps.pop() {
        let Step::Thread(start) = step else {
            out.push(b')');
            continue;
        };
        out.push(b'(');
        steps.push(Step::Close);
        let mut at = start;
        loop {
            if let Some(number) = nodes[at].number {
                if out.last() != Some(&b'(') {
                    out.push(b' ');
                }
                out.extend_from_slice(number.to_string().as_bytes());
            }
            match nodes[at].children.as_slice() {
                [] => break,
                [only] => at = *only,
                several => {
                    if out.last() != Some(&b'(') {
                        out.push(b' ');
                    }
                    steps.extend(several.iter().rev().map(|child| Step::Thread(*child)));
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of number, subject, id and references; numbers are dates as well.
    fn message(number: u32, subject: &str, id: &str, references: &str) -> Facts {
        let header = format!("Subject: {subject}\r\nMessage-ID: <{id}>\r\nReferences: {references}\r\n\r\n");
        Facts::of(number, number, &header)
    }

    fn shown(threads: &Threads) -> String {
        let mut out = Vec::new();
        write_threads(&mut out, threads);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_stand_below_what_they_answer() {
        let facts = vec![
            message(1, "a", "1", ""),
            message(2, "Re: a", "2", "<1>"),
            message(3, "Re: a", "3", "<1> <2>"),
            message(4, "Re: a", "4", "<1>"),
            message(5, "b", "5", ""),
        ];
        assert_eq!(shown(&references(facts)), "(1 (2 3)(4))(5)");
    }

    #[test]
    fn siblings_whose_parent_is_not_there_are_shown_as_such() {
        let facts = vec![message(3, "Re: x", "3", "<0>"), message(4, "Re: x", "4", "<0>")];
        assert_eq!(shown(&references(facts)), "((3)(4))");
    }

    #[test]
    fn threads_of_one_subject_are_gathered() {
        // An answer whose references are lost goes below the original.
        let facts = vec![message(1, "Lunch", "1", ""), message(2, "Re: Lunch", "2", "")];
        assert_eq!(shown(&references(facts)), "(1 2)");
        // Two of the same subject, neither an answer, are siblings.
        let facts = vec![message(1, "Lunch", "1", ""), message(2, "Lunch", "2", "")];
        assert_eq!(shown(&references(facts)), "((1)(2))");
        let facts = vec![message(1, "", "1", ""), message(2, "", "2", "")];
        assert_eq!(shown(&references(facts)), "(1)(2)");
    }

    #[test]
    fn loops_and_duplicate_ids_do_no_harm() {
        let facts = vec![
            message(1, "a", "1", "<2>"),
            message(2, "b", "2", "<1>"),
            message(3, "c", "1", "<3> <3>"),
            message(4, "d", "4", "<4>"),
        ];
        let (nodes, roots) = references(facts);
        assert_eq!(shown(&(nodes, roots)).matches(|c: char| c.is_ascii_digit()).count(), 4);
    }

    #[test]
    fn ordered_subject_makes_flat_threads() {
        let facts = vec![
            message(1, "b", "1", ""),
            message(2, "a", "2", ""),
            message(3, "Re: b", "3", ""),
            message(4, "Fwd: b", "4", ""),
        ];
        assert_eq!(shown(&ordered_subject(facts)), "(1 (3)(4))(2)");
    }

    #[test]
    fn a_very_long_thread_needs_no_stack() {
        let chain = (1..=50_000).map(|n| message(n, "Re: x", &n.to_string(), &format!("<{}>", n - 1)));
        let out = shown(&references(chain.collect()));
        assert_eq!(out.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()).count(), 50_000);
    }

    proptest! {
        #[test]
        fn every_message_stands_in_exactly_one_thread(
            mails in proptest::collection::vec((0u32..12, proptest::collection::vec(0u32..14, 0..4), "(re: )?[ab]?"), 1..12)
        ) {
            let facts: Vec<Facts> = (1u32..).zip(&mails).map(|(number, (id, above, subject))| {
                let above: Vec<String> = above.iter().map(|id| format!("<{id}>")).collect();
                message(number, subject, &id.to_string(), &above.join(" "))
            }).collect();
            for threads in [references(facts.clone()), ordered_subject(facts)] {
                let text = shown(&threads);
                let mut numbers: Vec<u32> = text.split(|c: char| !c.is_ascii_digit())
                    .filter_map(|word| word.parse().ok()).collect();
                numbers.sort_unstable();
                prop_assert_eq!(numbers, (1..=mails.len() as u32).collect::<Vec<_>>());
            }
        }
    }
}
