//! A disk that forgets what was not synced.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

pub type Inode = usize;

/// What of the unsynced is there after the cut.
#[derive(Debug, Clone, Copy)]
pub enum Survival {
    Nothing,
    /// A part by chance, from this seed.
    Some(u64),
}

/// A change of a file.
#[derive(Clone)]
enum Edit {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// A change of a directory: a name that leads to an inode now, or nowhere.
#[derive(Clone)]
struct Entry {
    operation: u64,
    name: String,
    to: Option<Inode>,
    /// Whether this is the half of a rename that takes the name away, the other half being in another directory.
    leaves: bool,
}

#[derive(Clone)]
enum Node {
    File { now: Vec<u8>, synced: Vec<u8>, edits: Vec<(u64, Edit)> },
    Directory { now: BTreeMap<String, Inode>, synced: BTreeMap<String, Inode>, edits: Vec<(u64, Entry)> },
}

/// What a sync that has begun will have written.
pub struct Sync {
    inode: Inode,
    state: Node,
    until: u64,
}

pub struct Disk {
    nodes: Vec<Node>,
    clock: u64,
    operations: u64,
}

impl Disk {
    pub const ROOT: Inode = 0;

    pub fn new() -> Disk {
        Disk { nodes: vec![empty_directory()], clock: 0, operations: 0 }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn child(&self, directory: Inode, name: &str) -> Option<Inode> {
        match &self.nodes[directory] {
            Node::Directory { now, .. } => now.get(name).copied(),
            Node::File { .. } => None,
        }
    }

    pub fn length(&self, inode: Inode) -> u64 {
        match &self.nodes[inode] {
            Node::File { now, .. } => now.len() as u64,
            Node::Directory { .. } => 0,
        }
    }

    pub fn make(&mut self, parent: Inode, name: &str, directory: bool) -> Inode {
        let node = match directory {
            true => empty_directory(),
            false => Node::File { now: Vec::new(), synced: Vec::new(), edits: Vec::new() },
        };
        self.nodes.push(node);
        let inode = self.nodes.len() - 1;
        self.operations += 1;
        self.point(parent, name, Some(inode), false);
        inode
    }

    pub fn link(&mut self, inode: Inode, parent: Inode, name: &str) {
        self.operations += 1;
        self.point(parent, name, Some(inode), false);
    }

    pub fn unlink(&mut self, parent: Inode, name: &str) {
        self.operations += 1;
        self.point(parent, name, None, false);
    }

    pub fn rename(&mut self, from: (Inode, &str), to: (Inode, &str)) {
        let Some(inode) = self.child(from.0, from.1) else { panic!("{} is renamed and is not there", from.1) };
        // Two names of one file: a rename from one to the other does nothing.
        if self.child(to.0, to.1) == Some(inode) {
            return;
        }
        self.operations += 1;
        self.point(to.0, to.1, Some(inode), false);
        self.point(from.0, from.1, None, from.0 != to.0);
    }

    fn point(&mut self, directory: Inode, name: &str, to: Option<Inode>, leaves: bool) {
        let (at, operation) = (self.tick(), self.operations);
        let Node::Directory { now, edits, .. } = &mut self.nodes[directory] else { panic!("{name}: no directory") };
        match to {
            Some(inode) => now.insert(name.to_owned(), inode),
            None => now.remove(name),
        };
        edits.push((at, Entry { operation, name: name.to_owned(), to, leaves }));
    }

    pub fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        self.edit(inode, Edit::Write(offset, bytes.to_vec()));
    }

    pub fn truncate(&mut self, inode: Inode, length: u64) {
        self.edit(inode, Edit::Length(length));
    }

    fn edit(&mut self, inode: Inode, edit: Edit) {
        let at = self.tick();
        let Node::File { now, edits, .. } = &mut self.nodes[inode] else { panic!("a directory is written") };
        edit.apply(now);
        edits.push((at, edit));
    }

    /// What is there when a sync begins is what it makes last.
    pub fn begin_sync(&self, inode: Inode) -> Sync {
        Sync { inode, state: self.nodes[inode].clone(), until: self.clock }
    }

    pub fn end_sync(&mut self, sync: Sync) {
        match (&mut self.nodes[sync.inode], sync.state) {
            (Node::File { synced, edits, .. }, Node::File { now, .. }) => {
                // Another sync that began later may have ended already.
                if edits.first().is_some_and(|(at, _)| *at <= sync.until) {
                    *synced = now;
                    edits.retain(|(at, _)| *at > sync.until);
                }
            }
            (Node::Directory { synced, edits, .. }, Node::Directory { now, .. }) => {
                if edits.first().is_some_and(|(at, _)| *at <= sync.until) {
                    *synced = now;
                    edits.retain(|(at, _)| *at > sync.until);
                }
            }
            _ => panic!("an inode changed its kind"),
        }
    }

    /// Builds the tree that is there after a cut.
    pub fn materialise(&self, at: &Path, survival: Survival) {
        fs::create_dir(at).unwrap();
        let mut survivors = Survivors { survival, fates: HashMap::new(), links: HashMap::new() };
        self.build(Self::ROOT, at, &mut survivors);
    }

    fn build(&self, directory: Inode, at: &Path, survivors: &mut Survivors) {
        let Node::Directory { synced, edits, .. } = &self.nodes[directory] else { panic!("no directory") };
        let mut entries = synced.clone();
        for (_, entry) in edits.iter().filter(|(_, entry)| survivors.keeps(entry)) {
            match entry.to {
                Some(inode) => entries.insert(entry.name.clone(), inode),
                None => entries.remove(&entry.name),
            };
        }
        for (name, inode) in entries {
            let path = at.join(&name);
            match &self.nodes[inode] {
                Node::Directory { .. } => {
                    fs::create_dir(&path).unwrap();
                    self.build(inode, &path, survivors);
                }
                // Mapped memory, not written by calls, and made anew by whoever opens the database first.
                Node::File { .. } if name.ends_with("-shm") => {}
                Node::File { synced, edits, .. } => {
                    if let Some(other) = survivors.links.get(&inode) {
                        fs::hard_link(other, &path).unwrap();
                        continue;
                    }
                    let mut bytes = synced.clone();
                    edits
                        .iter()
                        .filter(|(at, _)| survivors.keeps_bytes(*at))
                        .for_each(|(_, edit)| edit.apply(&mut bytes));
                    fs::write(&path, bytes).unwrap();
                    survivors.links.insert(inode, path);
                }
            }
        }
    }
}

fn empty_directory() -> Node {
    Node::Directory { now: BTreeMap::new(), synced: BTreeMap::new(), edits: Vec::new() }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Edit::Write(offset, written) => {
                let (start, end) = (*offset as usize, *offset as usize + written.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(written);
            }
            Edit::Length(length) => bytes.resize(*length as usize, 0),
        }
    }
}

struct Survivors {
    survival: Survival,
    fates: HashMap<u64, u64>,
    links: HashMap<Inode, std::path::PathBuf>,
}

/// Numbers that look like chance and are the same for the same seed (SplitMix64).
fn mixed(seed: u64, count: u64) -> u64 {
    let mut value = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(count.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Survivors {
    /// Of an operation on two directories both halves survive, or the new name, or neither.
    fn keeps(&mut self, entry: &Entry) -> bool {
        let Survival::Some(seed) = self.survival else { return false };
        let fate = *self.fates.entry(entry.operation).or_insert_with(|| mixed(seed, entry.operation) % 3);
        fate >= if entry.leaves { 2 } else { 1 }
    }

    fn keeps_bytes(&self, at: u64) -> bool {
        match self.survival {
            Survival::Nothing => false,
            Survival::Some(seed) => mixed(seed ^ 0x5555, at).is_multiple_of(2),
        }
    }
}
