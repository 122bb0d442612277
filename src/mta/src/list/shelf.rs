//! Posts that wait: for a moderator (`.lists/held`), or for all members to have their copies queued (`.lists/out`).
//!
//! Each is one file, a line of JSON and then the message as it came in. It is written and synced before a post is
//! acknowledged, and goes when it is done with. Everything here blocks.

use crate::limits;
use crate::message::Message;
use crate::queue::entry::Needs;
use base::{Address, durable};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

/// What is known of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    pub id: String,
    pub list: Address,
    /// Who is shown to have written it.
    pub author: Option<Address>,
    /// Whether the author's domain asks to refuse what is not shown to be from it.
    pub strict: bool,
    pub needs: Needs,
    /// Seconds since 1970.
    pub at: u64,
    /// From the header, as far as one can be read.
    pub from: String,
    pub subject: String,
    /// Who gets it; known when it goes out.
    pub members: Vec<Address>,
}

#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        durable::create_dir_all(&folder, 0o700)?;
        Ok(Self { folder })
    }

    /// Every post, the oldest first. One that cannot be read is left for its owner to look at.
    pub fn all(&self) -> io::Result<Vec<Post>> {
        let mut posts = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name.contains('.') {
                continue;
            }
            match self.describe(&name) {
                Ok(post) => posts.push(post),
                Err(error) => tracing::error!("the list post {name} cannot be read: {error}; it is left alone"),
            }
        }
        posts.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(posts)
    }

    /// Keeps a post. When this returns, it survives a power cut.
    pub fn put(&self, post: &Post, message: &Message) -> io::Result<()> {
        // A post that has got somewhere has a second file, so this counts generously.
        if std::fs::read_dir(&self.folder)?.count() >= limits::LIST_POSTS {
            return Err(io::Error::other(format!("{} posts wait already", limits::LIST_POSTS)));
        }
        let mut bytes = serde_json::to_vec(post)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&message.head);
        bytes.extend_from_slice(&message.body);
        durable::write(&self.file(&post.id)?, &bytes, 0o600)
    }

    /// What is known of a post, without its message.
    fn describe(&self, id: &str) -> io::Result<Post> {
        let mut line = Vec::new();
        let file = std::fs::File::open(self.file(id)?)?;
        BufReader::new(file.take(limits::LIST_POST_LINE)).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }

    pub fn get(&self, id: &str) -> io::Result<(Post, Message)> {
        let bytes = std::fs::read(self.file(id)?)?;
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(io::ErrorKind::InvalidData)?;
        let (head, message) = bytes.split_at(end);
        let message = message.get(1..).unwrap_or_default().to_vec();
        Ok((serde_json::from_slice(head)?, Message::received(message).map_err(io::Error::other)?))
    }

    pub fn remove(&self, id: &str) -> io::Result<()> {
        durable::remove(&self.file(id)?)?;
        durable::remove(&self.file(id)?.with_extension("done"))
    }

    /// How many members have their copy in the queue.
    pub fn done(&self, id: &str) -> io::Result<usize> {
        match std::fs::read_to_string(self.file(id)?.with_extension("done")) {
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub fn set_done(&self, id: &str, count: usize) -> io::Result<()> {
        durable::write(&self.file(id)?.with_extension("done"), count.to_string().as_bytes(), 0o600)
    }

    /// A name from outside never leaves the folder.
    fn file(&self, id: &str) -> io::Result<PathBuf> {
        let plain =
            !id.is_empty() && id.len() <= 100 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if plain { Ok(self.folder.join(id)) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: &str, at: u64) -> Post {
        Post {
            id: id.into(),
            list: Address::parse("club@example.org").unwrap(),
            author: None,
            strict: false,
            needs: Needs::default(),
            at,
            from: "joe@example.net".into(),
            subject: "hi".into(),
            members: Vec::new(),
        }
    }

    #[test]
    fn a_kept_post_is_there_after_a_restart_with_how_far_it_got() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("held")).unwrap();
        let message = Message::received(b"Subject: hi\r\n\r\ntext\r\n".to_vec()).unwrap();
        shelf.put(&post("b-2", 2), &message).unwrap();
        shelf.put(&post("a-1", 1), &message).unwrap();
        shelf.set_done("a-1", 3).unwrap();
        std::fs::write(dir.path().join("held/broken"), b"{").unwrap();
        let again = Shelf::open(dir.path().join("held")).unwrap();
        assert_eq!(again.all().unwrap(), [post("a-1", 1), post("b-2", 2)]);
        assert_eq!((again.done("a-1").unwrap(), again.done("b-2").unwrap()), (3, 0));
        assert_eq!(again.get("b-2").unwrap(), (post("b-2", 2), message));
        again.remove("a-1").unwrap();
        assert_eq!((again.all().unwrap().len(), again.done("a-1").unwrap()), (1, 0));
        assert!(again.get("../held/b-2").is_err() && again.get("").is_err());
    }
}
