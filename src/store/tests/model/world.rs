//! The model, and an account beside it to which the same is done.

use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Account, FlagChange, FlagUpdate, Flags, FolderId, FolderName, Image, Keywords, ModSeq, New, Row, Uid, Which,
};

/// What is done; what does not apply where it comes does nothing.
#[derive(Debug, Clone)]
pub enum Step {
    Deliver {
        folder: Index,
        count: u8,
        flags: u8,
        words: u8,
    },
    Flag {
        folder: Index,
        which: u16,
        change: u8,
        flags: u8,
        words: u8,
    },
    Transfer {
        from: Index,
        which: u16,
        to: Index,
        moving: bool,
    },
    Expunge {
        folder: Index,
        which: Option<u16>,
    },
    Create {
        name: Index,
    },
    Rename {
        from: Index,
        to: Index,
    },
    Delete {
        folder: Index,
    },
    BringBack {
        folder: Option<Index>,
    },
    /// Another program puts a file into `new/` or `cur/`.
    DropIn {
        folder: Index,
        new: bool,
        flags: u8,
    },
    /// Another program changes the flags in a file's name, perhaps in a form of its own.
    RenameFile {
        folder: Index,
        message: Index,
        flags: u8,
        form: u8,
    },
    RemoveFile {
        folder: Index,
        message: Index,
    },
    /// The owner takes a removed message's file out of a backup.
    PutFileBack {
        message: Index,
    },
    Look {
        folder: Index,
    },
    CatchUp {
        session: usize,
    },
    Select {
        session: usize,
        folder: Index,
    },
    Reopen,
    LoseIndex,
}

const NAMES: [&str; 6] = ["INBOX", "Archive", "Work", "Work/Deep", "Play", "Play/A.b"];
const WORDS: [&str; 3] = ["$Forwarded", "Blue", "work"];
const FLAGS: [Flags; 5] = [Flags::SEEN, Flags::ANSWERED, Flags::FLAGGED, Flags::DELETED, Flags::DRAFT];

type Words = BTreeSet<String>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    bytes: Vec<u8>,
    flags: u8,
    words: Words,
}

#[derive(Debug, Default)]
struct Mailbox {
    messages: BTreeMap<u32, Message>,
    /// What another program did that the store may not have noticed: new flags by UID, and what it dropped in.
    pending: BTreeMap<u32, u8>,
    dropped: Vec<Message>,
    dirty: bool,
}

/// What a session holds and what it was told.
#[derive(Default)]
struct Session {
    folder: Option<(FolderId, u32)>,
    image: Arc<Image>,
    picture: Vec<(u32, u8, Words)>,
}

pub struct World {
    dir: tempfile::TempDir,
    account: Option<Account>,
    folders: BTreeMap<String, Mailbox>,
    removed: Vec<(String, Message)>,
    sessions: [Session; 3],
    /// By UIDVALIDITY: every UID that anybody saw, and the highest modification sequence.
    uids: HashMap<u32, BTreeSet<u32>>,
    modseqs: HashMap<u32, ModSeq>,
    count: u32,
}

fn name(text: &str) -> FolderName {
    FolderName::parse(text).unwrap()
}

fn flags_of(bits: u8) -> Flags {
    FLAGS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).fold(Flags::NONE, |all, (_, flag)| all | *flag)
}

fn bits_of(flags: Flags) -> u8 {
    FLAGS.iter().enumerate().filter(|(_, flag)| flags.contains(**flag)).map(|(bit, _)| 1 << bit).sum()
}

const DELETED: u8 = 8;

fn words_of(bits: u8) -> Words {
    WORDS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, word)| (*word).to_owned()).collect()
}

fn keywords(words: &Words) -> Keywords {
    Keywords::new(words.iter().map(String::as_str))
}

fn shown(row: &Row) -> (u32, u8, Words) {
    (row.uid.0, bits_of(row.flags), row.keywords.iter().map(str::to_owned).collect())
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::open(dir.path()).unwrap();
        let mut world = World {
            dir,
            account: Some(account),
            folders: BTreeMap::new(),
            removed: Vec::new(),
            sessions: Default::default(),
            uids: HashMap::new(),
            modseqs: HashMap::new(),
            count: 0,
        };
        for folder in world.account().folders().unwrap() {
            world.folders.insert(folder.name.to_string(), Mailbox::default());
        }
        world
    }

    fn account(&self) -> &Account {
        self.account.as_ref().unwrap()
    }

    fn id(&self, folder: &str) -> FolderId {
        self.account().folder(&name(folder)).unwrap().unwrap().id
    }

    fn validity(&self, folder: &str) -> u32 {
        self.account().folder(&name(folder)).unwrap().unwrap().validity.0
    }

    /// One of the names of this test that exist.
    fn pick(&self, index: &Index) -> String {
        let there: Vec<&str> = NAMES.into_iter().filter(|name| self.folders.contains_key(*name)).collect();
        (*index.get(&there)).to_owned()
    }

    fn fresh(&mut self, flags: u8, words: u8) -> Message {
        self.count += 1;
        let text = format!("Subject: {}\r\n\r\n{}\r\n", self.count, "line\r\n".repeat(self.count as usize % 7));
        Message { bytes: text.into_bytes(), flags, words: words_of(words) }
    }

    /// Takes a message into the model under a UID that must be new.
    fn put(&mut self, folder: &str, uid: u32, message: Message) {
        let last = self.uids.get(&self.validity(folder)).and_then(|uids| uids.last().copied()).unwrap_or(0);
        assert!(uid > last, "UID {uid} in {folder} after {last}");
        self.put_found(folder, uid, message);
    }

    /// The same for one that came by itself, perhaps before others that are known.
    fn put_found(&mut self, folder: &str, uid: u32, message: Message) {
        assert!(self.uids.entry(self.validity(folder)).or_default().insert(uid), "UID {uid} in {folder} again");
        self.folders.get_mut(folder).unwrap().messages.insert(uid, message);
    }

    fn some(&self, folder: &str, which: u16) -> Vec<u32> {
        let all = self.folders[folder].messages.keys().enumerate();
        all.filter(|(place, _)| which & (1 << (place % 16)) != 0).map(|(_, uid)| *uid).collect()
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Deliver { folder, count, flags, words } => self.deliver(&self.pick(folder), *count, *flags, *words),
            Step::Flag { folder, which, change, flags, words } => {
                self.flag(&self.pick(folder), *which, *change, *flags, *words)
            }
            Step::Transfer { from, which, to, moving } => {
                self.transfer(&self.pick(from), *which, &self.pick(to), *moving)
            }
            Step::Expunge { folder, which } => self.expunge(&self.pick(folder), *which),
            Step::Create { name } => self.create(name.get::<&str>(&NAMES)),
            Step::Rename { from, to } => self.rename(&self.pick(from), to.get::<&str>(&NAMES)),
            Step::Delete { folder } => self.delete(&self.pick(folder)),
            Step::BringBack { folder } => self.bring_back(folder.as_ref().map(|folder| *folder.get(&NAMES))),
            Step::DropIn { folder, new, flags } => self.drop_in(&self.pick(folder), *new, *flags),
            Step::RenameFile { folder, message, flags, form } => {
                self.rename_file(&self.pick(folder), message, *flags, *form)
            }
            Step::RemoveFile { folder, message } => self.remove_file(&self.pick(folder), message),
            Step::PutFileBack { message } => self.put_file_back(message),
            Step::Look { folder } => self.look(&self.pick(folder)),
            Step::CatchUp { session } => self.catch_up(*session),
            Step::Select { session, folder } => self.select(*session, &self.pick(folder)),
            Step::Reopen => self.reopen(false),
            Step::LoseIndex => self.reopen(true),
        }
    }

    fn deliver(&mut self, folder: &str, count: u8, flags: u8, words: u8) {
        let all: Vec<Message> = (0..count).map(|_| self.fresh(flags, words)).collect();
        let news: Vec<New<'_>> = all
            .iter()
            .map(|message| New {
                bytes: &message.bytes,
                flags: flags_of(flags),
                keywords: keywords(&message.words),
                received: 1_700_000_000,
            })
            .collect();
        let stored = match news.as_slice() {
            [one] => vec![self.account().deliver(&name(folder), one).unwrap()],
            _ => self.account().deliver_many(&name(folder), &news).unwrap(),
        };
        assert_eq!(stored.len(), all.len());
        for (stored, message) in stored.iter().zip(&all) {
            assert_eq!(stored.validity.0, self.validity(folder));
            self.put(folder, stored.uid.0, message.clone());
        }
    }

    fn flag(&mut self, folder: &str, which: u16, change: u8, flags: u8, words: u8) {
        let (uids, words) = (self.some(folder, which), words_of(words));
        let update = FlagUpdate {
            change: [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][usize::from(change)],
            flags: flags_of(flags),
            keywords: keywords(&words),
            unchanged_since: None,
        };
        let asked: Vec<Uid> = uids.iter().copied().map(Uid).collect();
        let changed = self.account().update_flags(self.id(folder), &asked, &update).unwrap();
        let told: BTreeMap<u32, (u8, Words)> =
            changed.rows.iter().map(shown).map(|(uid, flags, words)| (uid, (flags, words))).collect();
        let untouched: BTreeSet<u32> = uids.iter().copied().filter(|uid| self.is_as_given(folder, *uid)).collect();
        let mailbox = self.folders.get_mut(folder).unwrap();
        for uid in uids {
            let message = mailbox.messages.get_mut(&uid).unwrap();
            let apply = |old: u8| [flags, old | flags, old & !flags][usize::from(change)];
            message.words = match change {
                0 => words.clone(),
                1 => message.words.union(&words).cloned().collect(),
                _ => message.words.difference(&words).cloned().collect(),
            };
            let (now, words) = &told[&uid];
            assert_eq!(*words, message.words);
            match mailbox.pending.remove(&uid) {
                None => assert_eq!(*now, apply(message.flags)),
                // The store had noticed what the other program did, or it had no reason to look at the file and will.
                Some(other) if *now == apply(other) && (*now == other || !untouched.contains(&uid)) => {}
                Some(other) => {
                    assert_eq!((*now, apply(message.flags)), (message.flags, message.flags));
                    mailbox.pending.insert(uid, other);
                }
            }
            message.flags = *now;
        }
        self.after(folder);
    }

    fn transfer(&mut self, from: &str, which: u16, to: &str, moving: bool) {
        let uids = self.some(from, which);
        let asked: Vec<Uid> = uids.iter().copied().map(Uid).collect();
        let done = self.account().transfer(self.id(from), &asked, self.id(to), moving).unwrap();
        assert_eq!(done.uids.iter().map(|(old, _)| old.0).collect::<Vec<_>>(), uids, "each message went, once");
        for (old, new) in done.uids {
            let mailbox = self.folders.get_mut(from).unwrap();
            let mut message = mailbox.messages[&old.0].clone();
            message.flags = mailbox.pending.get(&old.0).copied().unwrap_or(message.flags);
            if moving {
                mailbox.messages.remove(&old.0);
                mailbox.pending.remove(&old.0);
            }
            self.put(to, new.0, message);
        }
        self.after(from);
        self.after(to);
    }

    fn expunge(&mut self, folder: &str, which: Option<u16>) {
        let asked: Option<Vec<u32>> = which.map(|which| self.some(folder, which));
        let uids: Option<Vec<Uid>> = asked.as_ref().map(|uids| uids.iter().copied().map(Uid).collect());
        let told = self.account().expunge(self.id(folder), uids.as_deref()).unwrap();
        let mailbox = self.folders.get_mut(folder).unwrap();
        let told: BTreeSet<u32> = told.into_iter().map(|uid| uid.0).collect();
        for uid in mailbox.messages.keys().copied().collect::<Vec<_>>() {
            let meant = asked.as_ref().is_none_or(|asked| asked.contains(&uid));
            let deleted = mailbox.messages[&uid].flags & DELETED != 0;
            // One that another program touched is left alone until it is looked at again.
            let expected = meant && deleted && !mailbox.pending.contains_key(&uid);
            assert_eq!(told.contains(&uid), expected, "UID {uid}");
            if expected {
                let message = mailbox.messages.remove(&uid).unwrap();
                self.removed.push((folder.to_owned(), message));
            }
        }
        self.after(folder);
    }

    fn create(&mut self, folder: &str) {
        let made = self.account().create_folder(&name(folder));
        assert_eq!(made.is_err(), self.folders.contains_key(folder));
        if made.is_ok() {
            self.add_with_parents(folder);
        }
    }

    fn add_with_parents(&mut self, folder: &str) {
        let mut at = 0;
        while let Some(slash) = folder[at..].find('/') {
            self.folders.entry(folder[..at + slash].to_owned()).or_default();
            at += slash + 1;
        }
        self.folders.entry(folder.to_owned()).or_default();
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.settle_all();
        let below = |other: &str| other.strip_prefix(from).is_some_and(|rest| rest.starts_with('/'));
        let moved: Vec<(String, String)> = self
            .folders
            .keys()
            .filter(|other| *other == from || below(other))
            .map(|other| (other.clone(), format!("{to}{}", &other[from.len()..])))
            .collect();
        let inbox = from == "INBOX";
        let taken = |name: &String| self.folders.contains_key(name);
        let refused = taken(&to.to_owned()) || (!inbox && (below(to) || moved.iter().any(|(_, new)| taken(new))));
        let done = self.account().rename_folder(&name(from), &name(to));
        assert_eq!(done.is_err(), refused, "{done:?}");
        if refused {
            // The folders above were made, perhaps.
            return self.folders_as_they_are();
        }
        self.add_with_parents(to);
        if !inbox {
            for (old, new) in moved {
                let mailbox = self.folders.remove(&old).unwrap();
                self.folders.insert(new, mailbox);
            }
            return;
        }
        let messages = std::mem::take(&mut self.folders.get_mut(from).unwrap().messages);
        let rows: Vec<u32> = self.rows(to).iter().map(|row| row.uid.0).collect();
        assert_eq!(rows.len(), messages.len());
        rows.into_iter().zip(messages.into_values()).for_each(|(uid, message)| self.put(to, uid, message));
    }

    /// Takes empty folders that a refused operation made into the model.
    fn folders_as_they_are(&mut self) {
        for folder in self.account().folders().unwrap() {
            self.folders.entry(folder.name.to_string()).or_default();
        }
    }

    fn delete(&mut self, folder: &str) {
        self.settle(folder);
        let done = self.account().delete_folder(&name(folder));
        assert_eq!(done.is_err(), folder == "INBOX");
        if done.is_ok() {
            let mailbox = self.folders.remove(folder).unwrap();
            self.removed.extend(mailbox.messages.into_values().map(|message| (folder.to_owned(), message)));
        }
    }

    fn bring_back(&mut self, folder: Option<&str>) {
        self.settle_all();
        let done = self.account().bring_back(&Which { folder: folder.map(name), since: None }).unwrap();
        let (back, stay): (Vec<_>, Vec<_>) =
            self.removed.drain(..).partition(|(from, _)| folder.is_none_or(|folder| folder == from));
        self.removed = stay;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (from, mut message) in back {
            *counts.entry(from.clone()).or_default() += 1;
            self.add_with_parents(&from);
            message.flags &= !DELETED;
            self.folders.get_mut(&from).unwrap().dropped.push(message);
        }
        assert_eq!(done.into_iter().map(|(name, count)| (name.to_string(), count)).collect::<BTreeMap<_, _>>(), counts);
        counts.into_keys().for_each(|folder| self.take_dropped(&folder));
    }

    fn cur(&self, folder: &str) -> PathBuf {
        let maildir = self.dir.path().join("Maildir");
        match folder {
            "INBOX" => maildir.join("cur"),
            // Maildir++, with the dots of a name hidden.
            other => maildir.join(format!(".{}", other.replace('.', "&AC4-").replace('/', "."))).join("cur"),
        }
    }

    /// A message's file and its UID, unless another has the same bytes.
    fn file(&self, folder: &str, message: &Index) -> Option<(u32, PathBuf)> {
        let messages: Vec<(&u32, &Message)> = self.folders[folder].messages.iter().collect();
        if messages.is_empty() {
            return None;
        }
        let (uid, wanted) = message.get(&messages);
        let twins = messages.iter().filter(|(_, other)| other.bytes == wanted.bytes).count();
        let mut files = fs::read_dir(self.cur(folder)).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|file| fs::read(file).unwrap() == wanted.bytes)?;
        (twins == 1).then_some((**uid, file))
    }

    /// Whether a message's file has the flags that another program gave it.
    fn is_as_given(&self, folder: &str, uid: u32) -> bool {
        let mailbox = &self.folders[folder];
        let Some(given) = mailbox.pending.get(&uid) else { return false };
        let mut files = fs::read_dir(self.cur(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.any(|file| {
            let name = file.to_str().unwrap();
            let letters = name.rsplit_once(":2,").map_or("", |(_, letters)| letters);
            flags_in(letters) == *given && fs::read(&file).unwrap() == mailbox.messages[&uid].bytes
        })
    }

    /// Before another program changes a directory: file systems stamp them with the kernel's tick.
    fn tick(&mut self, folder: &str) {
        std::thread::sleep(Duration::from_millis(12));
        self.folders.get_mut(folder).unwrap().dirty = true;
    }

    fn drop_in(&mut self, folder: &str, new: bool, flags: u8) {
        self.tick(folder);
        let mut message = self.fresh(flags, 0);
        let base = format!("{}.{}.other.host", 1_000_000 + self.count, self.count);
        if new {
            message.flags = 0;
            fs::write(self.cur(folder).with_file_name("new").join(base), &message.bytes).unwrap();
        } else {
            let letters = letters(flags);
            fs::write(self.cur(folder).join(format!("{base}:2,{letters}")), &message.bytes).unwrap();
        }
        self.folders.get_mut(folder).unwrap().dropped.push(message);
    }

    fn rename_file(&mut self, folder: &str, message: &Index, flags: u8, form: u8) {
        let Some((uid, file)) = self.file(folder, message) else { return };
        self.tick(folder);
        let letters: String = match form {
            0 => letters(flags),
            // Not in the order that the specification wants.
            1 => letters(flags).chars().rev().collect(),
            // With the letter of a keyword, as Dovecot has them.
            _ => letters(flags) + "a",
        };
        let text = file.to_str().unwrap().to_owned();
        let (base, _) = text.rsplit_once(":2,").unwrap();
        fs::rename(&file, format!("{base}:2,{letters}")).unwrap();
        self.folders.get_mut(folder).unwrap().pending.insert(uid, flags);
    }

    fn remove_file(&mut self, folder: &str, message: &Index) {
        let Some((uid, file)) = self.file(folder, message) else { return };
        self.tick(folder);
        fs::remove_file(file).unwrap();
        let mailbox = self.folders.get_mut(folder).unwrap();
        mailbox.messages.remove(&uid);
        mailbox.pending.remove(&uid);
        // What follows in this test names only messages that are there.
        self.settle(folder);
    }

    fn put_file_back(&mut self, message: &Index) {
        let dir = self.dir.path().join("removed");
        let Ok(entries) = fs::read_dir(&dir) else { return };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        if files.is_empty() {
            return;
        }
        let file = message.get(&files);
        let bytes = fs::read(file).unwrap();
        let Some((folder, kept)) = self.removed.iter().find(|(_, kept)| kept.bytes == bytes).cloned() else { return };
        if !self.folders.contains_key(&folder) {
            return;
        }
        let base = file.file_name().unwrap().to_str().unwrap();
        // A file that is back already stays one file, however often it is put back.
        let is_it = |there: &str| there.split(':').next() == Some(base);
        let mut there = fs::read_dir(self.cur(&folder)).unwrap();
        if there.any(|entry| entry.unwrap().file_name().to_str().is_some_and(is_it)) {
            return;
        }
        self.tick(&folder);
        fs::copy(file, self.cur(&folder).join(format!("{base}:2,S"))).unwrap();
        let restored = Message { flags: 1, words: Words::new(), ..kept };
        self.folders.get_mut(&folder).unwrap().dropped.push(restored);
    }

    fn look(&mut self, folder: &str) {
        self.account().look_for_others(self.id(folder)).unwrap();
        self.settle(folder);
    }

    /// What must hold after an operation that met the doings of another program.
    fn after(&mut self, folder: &str) {
        if self.folders[folder].dirty {
            self.settle_all();
            assert_eq!(self.account().fsck(false).unwrap(), []);
        }
    }

    /// Lets the store look, and the model take what it finds.
    fn settle(&mut self, folder: &str) {
        self.account().select(self.id(folder), false).unwrap();
        let mailbox = self.folders.get_mut(folder).unwrap();
        for (uid, flags) in std::mem::take(&mut mailbox.pending) {
            mailbox.messages.get_mut(&uid).unwrap().flags = flags;
        }
        mailbox.dirty = false;
        self.take_dropped(folder);
    }

    fn settle_all(&mut self) {
        for folder in self.folders.keys().cloned().collect::<Vec<_>>() {
            self.settle(&folder);
        }
    }

    /// Finds messages whose UIDs the model cannot know among those that came.
    fn take_dropped(&mut self, folder: &str) {
        let mut expected = std::mem::take(&mut self.folders.get_mut(folder).unwrap().dropped);
        let known: BTreeSet<u32> = self.folders[folder].messages.keys().copied().collect();
        let mut found = Vec::new();
        for row in self.rows(folder).iter().filter(|row| !known.contains(&row.uid.0)) {
            let bytes = self.account().read(self.id(folder), row.uid).unwrap();
            let (uid, flags, words) = shown(row);
            found.push((uid, Message { bytes, flags, words }));
        }
        let mut sorted: Vec<Message> = found.iter().map(|(_, message)| message.clone()).collect();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected, "what came into {folder}");
        found.into_iter().for_each(|(uid, message)| self.put_found(folder, uid, message));
    }

    fn rows(&self, folder: &str) -> Vec<Row> {
        self.account().select(self.id(folder), false).unwrap().image.rows().cloned().collect()
    }

    fn select(&mut self, session: usize, folder: &str) {
        self.settle(folder);
        let selected = self.account().select(self.id(folder), session == 0).unwrap();
        assert!(selected.image.last().is_none_or(|last| last.uid < selected.uid_next));
        let picture = selected.image.rows().map(shown).collect();
        let folder = Some((selected.folder.id, selected.folder.validity.0));
        self.sessions[session] = Session { folder, image: selected.image, picture };
        self.check_picture(session);
    }

    /// What a session is told adds up to what there is.
    fn catch_up(&mut self, session: usize) {
        let Some((id, validity)) = self.sessions[session].folder else { return };
        let Some(folder) = self.account().folders().unwrap().into_iter().find(|folder| folder.id == id) else {
            assert!(self.account().image(id).is_err());
            self.sessions[session].folder = None;
            return;
        };
        assert_eq!(folder.validity.0, validity, "a folder keeps its UIDVALIDITY");
        self.settle(folder.name.as_str());
        let now = self.account().image(id).unwrap();
        let gone = self.account().removed_since(id, self.sessions[session].image.highest).unwrap();
        let state = &mut self.sessions[session];
        let told = state.image.until(&now);
        assert!(now.highest >= state.image.highest);
        for place in told.removed.iter().rev() {
            let (uid, _, _) = state.picture.remove(*place);
            assert!(gone.as_ref().is_none_or(|gone| gone.contains(&Uid(uid))), "the removal of {uid} is remembered");
        }
        for place in &told.added {
            let row = now.get(*place).unwrap();
            assert!(row.modseq > state.image.highest && row.modseq <= now.highest);
            assert_eq!(*place, state.picture.len(), "what is new comes last");
            assert!(state.picture.last().is_none_or(|last| last.0 < row.uid.0));
            state.picture.push(shown(row));
        }
        for place in &told.changed {
            let row = now.get(*place).unwrap();
            assert!(row.modseq > state.image.highest && row.modseq <= now.highest);
            state.picture[*place] = shown(row);
        }
        state.image = now;
        self.check_picture(session);
    }

    fn check_picture(&mut self, session: usize) {
        let state = &self.sessions[session];
        let (id, validity) = state.folder.unwrap();
        let folder = self.account().folders().unwrap().into_iter().find(|folder| folder.id == id).unwrap();
        let expected: Vec<(u32, u8, Words)> = self.folders[folder.name.as_str()]
            .messages
            .iter()
            .map(|(uid, message)| (*uid, message.flags, message.words.clone()))
            .collect();
        assert_eq!(state.picture, expected, "what a session of {} was told", folder.name);
        let highest = state.image.highest;
        assert!(state.image.rows().all(|row| row.modseq <= highest));
        let before = self.modseqs.insert(validity, highest);
        assert!(before.is_none_or(|before| before <= highest), "modification sequences go back");
    }

    /// The account is closed and opened again, its index lost between the two or not.
    fn reopen(&mut self, lost: bool) {
        self.settle_all();
        let validities: BTreeMap<String, u32> =
            self.folders.keys().map(|folder| (folder.clone(), self.validity(folder))).collect();
        self.account = None;
        if lost {
            fs::remove_file(self.dir.path().join("index.db")).unwrap();
        }
        self.account = Some(Account::open(self.dir.path()).unwrap());
        self.sessions = Default::default();
        let names: Vec<String> = self.folders.keys().cloned().collect();
        // The standard ones come back.
        self.folders_as_they_are();
        if !lost {
            assert!(names.iter().all(|folder| self.validity(folder) == validities[folder]));
            return;
        }
        let highest = self.uids.keys().chain(validities.values()).copied().max().unwrap_or(0);
        for folder in names {
            assert!(self.validity(&folder) > highest, "a rebuilt index has new UIDVALIDITYs");
            let mailbox = self.folders.get_mut(&folder).unwrap();
            let messages = std::mem::take(&mut mailbox.messages).into_values();
            // The Maildir does not tell keywords.
            mailbox.dropped = messages.map(|message| Message { words: Words::new(), ..message }).collect();
            self.take_dropped(&folder);
        }
        for (folder, message) in &mut self.removed {
            *folder = "INBOX".to_owned();
            (message.flags, message.words) = (0, Words::new());
        }
    }

    pub fn finish(mut self) {
        (0..3).for_each(|session| self.catch_up(session));
        self.settle_all();
        self.check_all();
        self.reopen(false);
        self.check_all();
    }

    fn check_all(&self) {
        assert_eq!(self.account().fsck(false).unwrap(), []);
        let there: BTreeSet<String> =
            self.account().folders().unwrap().into_iter().map(|folder| folder.name.to_string()).collect();
        assert_eq!(there, self.folders.keys().cloned().collect());
        for (folder, mailbox) in &self.folders {
            let id = self.id(folder);
            let mut found = BTreeMap::new();
            for row in self.rows(folder) {
                let (uid, flags, words) = shown(&row);
                let bytes = self.account().read(id, row.uid).unwrap();
                assert_eq!(bytes.len(), row.size as usize);
                found.insert(uid, Message { bytes, flags, words });
            }
            assert_eq!(found, mailbox.messages, "{folder}");
            let counts = self.account().status(&name(folder)).unwrap().counts;
            assert_eq!(counts.messages, found.len() as u64);
            assert_eq!(counts.unseen, found.values().filter(|message| message.flags & 1 == 0).count() as u64);
            assert_eq!(counts.deleted, found.values().filter(|message| message.flags & DELETED != 0).count() as u64);
        }
        let mut kept: Vec<String> =
            self.account().removed().unwrap().iter().map(|removed| removed.folder.to_string()).collect();
        let mut expected: Vec<String> = self.removed.iter().map(|(folder, _)| folder.clone()).collect();
        kept.sort();
        expected.sort();
        assert_eq!(kept, expected, "what is kept back");
    }
}

/// The letters of flags, in the order of a file's name.
const LETTERS: [(u8, char); 5] = [(16, 'D'), (4, 'F'), (2, 'R'), (1, 'S'), (8, 'T')];

fn letters(flags: u8) -> String {
    LETTERS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, letter)| letter).collect()
}

fn flags_in(letters: &str) -> u8 {
    LETTERS.iter().filter(|(_, letter)| letters.contains(*letter)).map(|(bit, _)| bit).sum()
}
