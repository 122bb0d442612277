//! What a large account costs: a folder of many messages, and many folders. Prints seconds and milliseconds; a tool, not a
//! test.
//!
//!     cargo run -p store --release --example large -- DIRECTORY MESSAGES FOLDERS

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;
use store::{Account, FlagChange, FlagUpdate, Flags, FolderName, Keywords, New};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, messages, folders] = arguments.as_slice() else {
        return Err("usage: large DIRECTORY MESSAGES FOLDERS".into());
    };
    let dir = Path::new(dir);
    fs::create_dir_all(dir)?;
    for count in [100, messages.parse()?] {
        let place = dir.join(count.to_string());
        println!("{count} messages in one folder");
        one_folder(&place, count)?;
    }
    println!("{folders} folders");
    many_folders(&dir.join("folders"), folders.parse()?)
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T, store::StoreError>) -> Result<T, store::StoreError> {
    let began = Instant::now();
    let done = work()?;
    println!("  {what}: {:.2} ms", began.elapsed().as_secs_f64() * 1000.0);
    Ok(done)
}

fn letter(number: usize) -> String {
    format!("From: a@example.org\r\nSubject: number {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\ntext\r\n")
}

fn one_folder(dir: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let cur = dir.join("Maildir/cur");
    fs::create_dir_all(&cur)?;
    for number in 0..count {
        fs::write(cur.join(format!("{}.M{number}.by.hand:2,", 1_700_000_000 + number)), letter(number))?;
    }
    let account = timed("opening", || Account::open(dir))?;
    let inbox = account.folder(&FolderName::inbox())?.ok_or("no inbox")?;
    timed("first select, which takes the files in", || account.select(inbox.id, true))?;
    drop(account);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let account = timed("opening again", || Account::open(dir))?;
    let selected = timed("first select after that", || account.select(inbox.id, true))?;
    timed("another session's select", || account.select(inbox.id, true))?;
    let middle = selected.image.get(count / 2).ok_or("no message")?.uid;
    let flags = FlagUpdate {
        change: FlagChange::Add,
        flags: Flags::SEEN,
        keywords: Keywords::default(),
        unchanged_since: None,
    };
    timed("one flag", || account.update_flags(inbox.id, &[middle], &flags))?;
    let bytes = letter(count);
    let new = New { bytes: bytes.as_bytes(), flags: Flags::NONE, keywords: Keywords::default(), received: 1 };
    timed("one new message", || account.deliver(&FolderName::inbox(), &new))?;
    let difference = timed("telling a session of both", || Ok(selected.image.until(&*account.image(inbox.id)?)))?;
    assert_eq!((difference.changed.len(), difference.added.len()), (1, 1));
    timed("status", || account.status(&FolderName::inbox()))?;
    Ok(())
}

fn many_folders(dir: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let account = Account::open(dir)?;
    timed("making them", || {
        for number in 0..count {
            account.create_folder(&FolderName::parse(&format!("Folder {}/{number}", number % 50))?)?;
        }
        Ok(())
    })?;
    drop(account);
    let account = timed("opening", || Account::open(dir))?;
    let folders = timed("listing", || account.folders())?;
    timed("status of all", || folders.iter().try_for_each(|folder| account.status(&folder.name).map(drop)))?;
    timed("status of all again", || folders.iter().try_for_each(|folder| account.status(&folder.name).map(drop)))?;
    let bytes = letter(1);
    let new = New { bytes: bytes.as_bytes(), flags: Flags::NONE, keywords: Keywords::default(), received: 1 };
    timed("one new message", || account.deliver(&folders[count / 2].name, &new))?;
    timed("select", || account.select(folders[count / 2].id, true))?;
    Ok(())
}
