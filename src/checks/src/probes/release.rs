//! Whether a newer release of Mailstead is out, and what is new in it.

use super::web;
use crate::finding::{Finding, Problem};
use crate::world::World;

/// No newer release of Mailstead waits.
pub async fn newest(world: &World, own: &str) -> Finding {
    let wanted = "the newest release";
    if world.is_demo() {
        return Finding::skipped("a demo is not upgraded");
    }
    let base = world.config.releases.as_str();
    let newest = match web::fetch_anywhere(&format!("{base}/latest")).await {
        Ok(newest) => newest.trim().to_owned(),
        // That is no fault of the box, and its way out has checks of its own.
        Err(why) => return Finding::skipped(format!("{base}/latest cannot be fetched: {why}")),
    };
    match (version(&newest), version(own)) {
        (Some(there), Some(here)) if there > here => {
            // What is new in it is worth knowing, and its absence is no trouble.
            let changes = web::fetch_anywhere(&format!("{base}/{newest}/changes")).await.unwrap_or_default();
            let changes =
                if changes.trim().is_empty() { "(it says nothing of what is new)".to_owned() } else { changes };
            let seen = format!("this is {own}, {newest} is out");
            Finding::bad(vec![Problem::new("", seen, newest).detail(changes.trim())])
        }
        (Some(_), Some(_)) => Finding::good(own, wanted),
        _ => Finding::unknown(format!("{base}/latest says “{newest}”, which is no version"), wanted),
    }
}

/// Three numbers, as install.sh takes them.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let found = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("1.10.0") > version("1.9.9"));
        for wrong in ["", "1.2", "1.2.3.4", "1.2.x", "<html>"] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }
}
