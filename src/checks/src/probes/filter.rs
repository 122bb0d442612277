//! Whether the filter still judges: two messages are weighed, of which one is a letter and the other calls itself spam.
//!
//! Both are weighed by form and words alone, so that neither DNS nor names can spoil the answer.

use crate::finding::{Finding, Problem};
use crate::world::World;
use wire::filter::{Action, Verdict, Weigh};

/// What people write to each other, in words that no sender of spam is known for.
const LETTER: &str = "From: Ann <ann@letters.example>\r\nTo: Bob <bob@letters.example>\r\nSubject: Thursday\r\n\
    Date: Mon, 5 Jan 2026 10:00:00 +0000\r\nMessage-ID: <sample@letters.example>\r\n\r\n\
    Dear Bob,\r\n\r\nthank you for the minutes of the meeting. I read them yesterday, and have only one question: did we\r\n\
    agree to discuss the garden next week, or the week after?\r\n\r\nSee you on Thursday\r\nAnn\r\n";

/// The same with the test string that every filter takes for spam (Generic Test for Unsolicited Bulk Email).
const MARK: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";

const WANTED: &str = "a letter is taken for wanted, and a message that bears the mark of spam for junk";

/// The filter knows a letter from spam.
pub async fn samples(world: &World) -> Finding {
    let spam = [LETTER, MARK].concat();
    let (letter, spam) = tokio::join!(weigh(world, LETTER), weigh(world, &spam));
    match (letter, spam) {
        (Ok(letter), Ok(spam)) => judge(&letter, &spam),
        (Err(why), _) | (_, Err(why)) => Finding::unknown(why, WANTED),
    }
}

async fn weigh(world: &World, message: &str) -> Result<Verdict, String> {
    let weighed = world.client.ask_with_body(&Weigh {}, message.as_bytes()).await;
    weighed.map(|(verdict, _)| verdict).map_err(|error| error.to_string())
}

fn judge(letter: &Verdict, spam: &Verdict) -> Finding {
    let mut problems = Vec::new();
    if letter.action != Action::Accept {
        problems.push(Problem::new("a letter", format!("junk, at {}", words(letter)), "wanted"));
    }
    if spam.action == Action::Accept {
        problems.push(Problem::new("a message with the mark of spam", format!("wanted, at {}", words(spam)), "junk"));
    }
    Finding::judge(problems, format!("a letter at {:.1}, spam at {:.1} of 10", letter.score, spam.score), WANTED)
}

/// The score with what counts against the message.
fn words(verdict: &Verdict) -> String {
    let against = verdict.reasons.iter().filter(|reason| reason.score > 0.0);
    let reasons: Vec<&str> = against.map(|reason| reason.words.as_str()).collect();
    format!("{:.1} of 10: {}", verdict.score, reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict as Found;
    use wire::filter::Reason;

    fn verdict(action: Action, score: f32) -> Verdict {
        let reasons = vec![Reason { rule: "words".into(), score, words: "its words are those of spam".into() }];
        Verdict { action, score, reasons, headers: String::new(), author: None, strict: false }
    }

    #[test]
    fn a_filter_that_takes_all_for_junk_and_one_that_takes_nothing_are_told() {
        let judge = |letter, spam| judge(&verdict(letter, 6.0), &verdict(spam, 1.0));
        assert_eq!(judge(Action::Accept, Action::Junk).verdict, Found::Good);
        assert!(judge(Action::Junk, Action::Junk).seen.starts_with("a letter: junk, at 6.0 of 10: its words"));
        assert!(judge(Action::Accept, Action::Accept).seen.starts_with("a message with the mark of spam: wanted"));
    }
}
