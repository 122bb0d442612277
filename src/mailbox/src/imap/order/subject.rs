//! The base subject (RFC 5256 §2.1).

/// A subject without what replies and forwards put around it, and whether there was any of that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// Folded for comparison.
    pub text: String,
    pub is_reply: bool,
}

impl Base {
    /// Of a subject whose encoded words are undone.
    pub fn of(subject: &str) -> Base {
        // Step 1: one space where there was any white space.
        let one_spaced = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut rest = one_spaced.as_str();
        let mut is_reply = false;
        loop {
            rest = without_trailers(rest, &mut is_reply);
            rest = without_leaders(rest, &mut is_reply);
            // Step 6.
            match unwrapped(rest) {
                Some(inner) => {
                    is_reply = true;
                    rest = inner;
                }
                None => return Base { text: super::folded(rest), is_reply },
            }
        }
    }
}

/// Step 2: `(fwd)` and space at the end.
fn without_trailers<'a>(mut text: &'a str, is_reply: &mut bool) -> &'a str {
    loop {
        text = text.trim_end();
        match cut_end(text, "(fwd)") {
            Some(shorter) => {
                *is_reply = true;
                text = shorter;
            }
            None => return text,
        }
    }
}

/// Steps 3 to 5: `Re:`, `Fwd:` and `[blobs]` at the front.
fn without_leaders<'a>(mut text: &'a str, is_reply: &mut bool) -> &'a str {
    loop {
        text = text.trim_start();
        if let Some(shorter) = leader(text) {
            *is_reply = true;
            text = shorter;
            continue;
        }
        match blob(text) {
            // Step 4: not when it would leave nothing.
            Some(shorter) if !shorter.is_empty() => text = shorter,
            _ => return text,
        }
    }
}

/// What follows any blobs and one `re:`, `fw:` or `fwd:`, which may have a blob before its colon.
fn leader(mut text: &str) -> Option<&str> {
    while let Some(shorter) = blob(text) {
        text = shorter;
    }
    let rest = ["re", "fwd", "fw"].iter().find_map(|word| {
        let rest = cut_start(text, word)?.trim_start();
        let rest = blob(rest).unwrap_or(rest);
        rest.strip_prefix(':')
    })?;
    Some(rest)
}

/// What follows a `[blob]` and the space after it.
fn blob(text: &str) -> Option<&str> {
    let (inner, rest) = text.strip_prefix('[')?.split_once(']')?;
    (!inner.contains('[')).then(|| rest.trim_start())
}

fn unwrapped(text: &str) -> Option<&str> {
    cut_start(text, "[fwd:")?.strip_suffix(']')
}

fn cut_start<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

fn cut_end<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(word.len())?;
    text.get(at..)?.eq_ignore_ascii_case(word).then(|| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_replies_and_forwards_add_is_taken_off_as_the_rfc_says() {
        for (subject, base, is_reply) in [
            ("Lunch", "LUNCH", false),
            ("Re: Lunch", "LUNCH", true),
            ("re:re: FW:fwd:  Lunch", "LUNCH", true),
            ("Re[2]: Lunch", "LUNCH", true),
            ("[list] Re: [list] Lunch", "LUNCH", true),
            ("[list] Lunch", "LUNCH", false),
            ("[PATCH] [v2] Lunch", "LUNCH", false),
            // A blob that is all there is stays.
            ("[list]", "[LIST]", false),
            ("Re: [list]", "[LIST]", true),
            ("Lunch (fwd)", "LUNCH", true),
            ("Lunch (fwd) (FWD) ", "LUNCH", true),
            ("[Fwd: Lunch]", "LUNCH", true),
            ("[fwd: Re: Lunch (fwd)]", "LUNCH", true),
            ("Regarding: Lunch", "REGARDING: LUNCH", false),
            ("  Lunch\t at\n one ", "LUNCH AT ONE", false),
            ("Re: ", "", true),
            ("[a[b]] Lunch", "[A[B]] LUNCH", false),
            ("Grüße", "GRÜSSE", false),
        ] {
            assert_eq!(Base::of(subject), Base { text: base.into(), is_reply }, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn any_subject_has_a_base_that_is_its_own_base(subject in "\\PC{0,40}|(\\[|\\]|re|fwd|:| |\\(fwd\\)|x){0,20}") {
            let base = Base::of(&subject);
            if !base.text.is_empty() {
                prop_assert_eq!(&Base::of(&base.text).text, &base.text);
            }
        }
    }
}
