//! Who can become root of the machine, or log in to it with no password at all.

use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// Users with an empty password.
    pub without_password: Vec<String>,
    /// Users other than root whose number is root's.
    pub other_roots: Vec<String>,
}

pub fn look(passwd: &Path, shadow: &Path) -> Result<People, String> {
    let text = |file: &Path| std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    Ok(read(&text(passwd)?, &text(shadow)?))
}

/// passwd(5) and shadow(5): fields between colons.
fn read(passwd: &str, shadow: &str) -> People {
    let field = |line: &str, place: usize| line.split(':').nth(place).map(str::to_owned);
    let name = |line: &str| field(line, 0).unwrap_or_default();
    let empty = |line: &&str| !name(line).is_empty() && field(line, 1).is_some_and(|hash| hash.is_empty());
    let root = |line: &&str| field(line, 2).is_some_and(|number| number == "0") && name(line) != "root";
    People {
        without_password: shadow.lines().filter(empty).map(name).collect(),
        other_roots: passwd.lines().filter(root).map(name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_passwords_and_further_roots_are_found() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/bash\n";
        let shadow = "root:*:20000:0:99999:7:::\nann::20000:0:99999:7:::\nbob:!:20000::::::\n";
        let found = read(passwd, shadow);
        assert_eq!((found.without_password, found.other_roots), (vec!["ann".to_owned()], vec!["toor".to_owned()]));
        assert_eq!(read("garbage", "\n:"), People::default());
    }
}
