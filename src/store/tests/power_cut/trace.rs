//! Reading what `strace -f -xx` wrote, call by call, and doing the same to a [`Disk`].
//!
//! A call of one thread may begin before and end after those of others. It is taken to have happened when it ended; but
//! a sync makes last what was there when it began, and a descriptor is closed when its closing begins.

use super::disk::{Disk, Inode, Sync};
use super::workload::Told;
use std::collections::HashMap;
use std::path::Path;

struct Open {
    inode: Inode,
    place: u64,
}

pub struct Player {
    pub disk: Disk,
    pub told: Told,
    root: String,
    open: HashMap<i64, Open>,
    /// By thread: the first half of a call that has not ended, and the sync that began with it.
    begun: HashMap<String, (String, Option<Sync>)>,
    said: Vec<u8>,
}

/// Whether a line tells of something after which a power cut would be of interest.
pub fn changes_something(line: &str) -> bool {
    let call = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
    let call = call.strip_prefix("<... ").unwrap_or(call);
    let names = ["write", "pwrite", "rename", "unlink", "link", "mkdir", "rmdir", "ftruncate", "fsync", "fdatasync"];
    names.iter().any(|name| call.starts_with(name)) && !line.ends_with("<unfinished ...>") && !line.contains(" = -1 ")
}

impl Player {
    pub fn new(root: &Path) -> Player {
        Player {
            disk: Disk::new(),
            told: Told::default(),
            root: root.to_str().unwrap().to_owned(),
            open: HashMap::new(),
            begun: HashMap::new(),
            said: Vec::new(),
        }
    }

    pub fn play(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(' ') else { return };
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with("+++") {
            return;
        }
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            let first = first.trim_end().to_owned();
            let sync = self.begin(&first);
            self.begun.insert(thread.to_owned(), (first, sync));
        } else if let Some(after) = rest.strip_prefix("<... ") {
            let (_, second) = after.split_once(" resumed>").unwrap();
            let Some((first, sync)) = self.begun.remove(thread) else { return };
            self.end(&format!("{first}{second}"), sync);
        } else {
            let sync = self.begin(rest);
            self.end(rest, sync);
        }
    }

    fn begin(&mut self, call: &str) -> Option<Sync> {
        let (name, arguments) = call.split_once('(')?;
        let descriptor: i64 = arguments.split([',', ')']).next()?.trim().parse().ok()?;
        match name {
            "fsync" | "fdatasync" => self.open.get(&descriptor).map(|open| self.disk.begin_sync(open.inode)),
            "close" => {
                self.open.remove(&descriptor);
                None
            }
            _ => None,
        }
    }

    fn end(&mut self, call: &str, sync: Option<Sync>) {
        let Some((call, result)) = call.rsplit_once(" = ") else { return };
        let result: i64 = result.split(' ').next().unwrap().parse().unwrap_or(-1);
        if result < 0 {
            return;
        }
        if let Some(sync) = sync {
            return self.disk.end_sync(sync);
        }
        let (name, arguments) = call.split_once('(').unwrap();
        let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
        let all: Vec<&str> = arguments.split(", ").collect();
        match name {
            "openat" => self.opened(all[0], all[1], all[2], result),
            "open" | "creat" => self.opened("AT_FDCWD", all[0], all.get(1).unwrap_or(&"O_CREAT|O_TRUNC"), result),
            "write" => self.written(number(all[0]), None, &text(all[1])),
            "pwrite64" => self.written(number(all[0]), Some(number(all[3]) as u64), &text(all[1])),
            "rename" => self.renamed(("AT_FDCWD", all[0]), ("AT_FDCWD", all[1])),
            "renameat" | "renameat2" => self.renamed((all[0], all[1]), (all[2], all[3])),
            "unlink" | "rmdir" => self.unlinked("AT_FDCWD", all[0]),
            "unlinkat" => self.unlinked(all[0], all[1]),
            "link" => self.linked(("AT_FDCWD", all[0]), ("AT_FDCWD", all[1])),
            "linkat" => self.linked((all[0], all[1]), (all[2], all[3])),
            "mkdir" => self.made("AT_FDCWD", all[0]),
            "mkdirat" => self.made(all[0], all[1]),
            "ftruncate" => {
                if let Some(open) = self.open.get(&number(all[0])) {
                    self.disk.truncate(open.inode, number(all[1]) as u64);
                }
            }
            "fcntl" if all.get(1).is_some_and(|what| what.starts_with("F_DUPFD")) => self.duplicated(all[0], result),
            "dup" | "dup2" | "dup3" => self.duplicated(all[0], result),
            "fsync" | "fdatasync" | "close" | "fcntl" => {}
            // Not used by the store or SQLite; if it ever is, the model has to learn it.
            other => assert!(!self.concerns_account(&all), "{other} is not understood"),
        }
    }

    fn concerns_account(&self, arguments: &[&str]) -> bool {
        arguments.iter().any(|argument| match argument.parse::<i64>() {
            Ok(descriptor) => self.open.contains_key(&descriptor),
            Err(_) => argument.starts_with('"') && self.find("AT_FDCWD", argument).is_some(),
        })
    }

    /// The directory and the name that a path leads to; `None` outside of the account.
    fn find(&self, directory: &str, path: &str) -> Option<(Inode, String)> {
        let path = String::from_utf8(text(path)).unwrap();
        let (mut at, rest) = match path.strip_prefix('/') {
            Some(_) => (Disk::ROOT, path.strip_prefix(&self.root)?.to_owned()),
            None => (self.open.get(&directory.parse().ok()?)?.inode, path),
        };
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let (name, above) = parts.split_last()?;
        for part in above {
            at = self.disk.child(at, part)?;
        }
        Some((at, (*name).to_owned()))
    }

    fn opened(&mut self, directory: &str, path: &str, flags: &str, descriptor: i64) {
        let whole = String::from_utf8(text(path)).unwrap();
        if whole == self.root {
            self.open.insert(descriptor, Open { inode: Disk::ROOT, place: 0 });
            return;
        }
        let Some((parent, name)) = self.find(directory, path) else { return };
        let inode = match self.disk.child(parent, &name) {
            Some(inode) => inode,
            None => self.disk.make(parent, &name, false),
        };
        if flags.contains("O_TRUNC") && self.disk.length(inode) > 0 {
            self.disk.truncate(inode, 0);
        }
        self.open.insert(descriptor, Open { inode, place: 0 });
    }

    fn written(&mut self, descriptor: i64, offset: Option<u64>, bytes: &[u8]) {
        if descriptor == 1 {
            self.said.extend_from_slice(bytes);
            while let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                self.told.hear(String::from_utf8_lossy(&line).trim_end());
            }
        }
        let Some(open) = self.open.get_mut(&descriptor) else { return };
        let at = offset.unwrap_or(open.place);
        if offset.is_none() {
            open.place += bytes.len() as u64;
        }
        self.disk.write(open.inode, at, bytes);
    }

    fn renamed(&mut self, from: (&str, &str), to: (&str, &str)) {
        let (from, to) = (self.find(from.0, from.1), self.find(to.0, to.1));
        if let (Some(from), Some(to)) = (from, to) {
            self.disk.rename((from.0, &from.1), (to.0, &to.1));
        }
    }

    fn unlinked(&mut self, directory: &str, path: &str) {
        if let Some((parent, name)) = self.find(directory, path) {
            self.disk.unlink(parent, &name);
        }
    }

    fn linked(&mut self, from: (&str, &str), to: (&str, &str)) {
        if let (Some((at, name)), Some((parent, new))) = (self.find(from.0, from.1), self.find(to.0, to.1)) {
            let inode = self.disk.child(at, &name).unwrap();
            self.disk.link(inode, parent, &new);
        }
    }

    fn made(&mut self, directory: &str, path: &str) {
        if let Some((parent, name)) = self.find(directory, path) {
            self.disk.make(parent, &name, true);
        }
    }

    fn duplicated(&mut self, descriptor: &str, result: i64) {
        if let Some(open) = self.open.get(&number(descriptor)) {
            let copy = Open { inode: open.inode, place: open.place };
            self.open.insert(result, copy);
        }
    }
}

fn number(text: &str) -> i64 {
    text.trim_end_matches(')').trim().parse().unwrap()
}

/// A string of `\xNN`s between quotes.
fn text(quoted: &str) -> Vec<u8> {
    assert!(!quoted.ends_with("..."), "strace cut a string short");
    let inner = quoted.trim_matches('"').as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    inner.chunks_exact(4).map(|one| digit(one[2]) << 4 | digit(one[3])).collect()
}
