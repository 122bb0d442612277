//! Text to words: folding and cutting. Pure; the same for what is indexed and for what is searched.
//!
//! Folding: compatibility decomposition (NFKD), accents dropped, lower case, and letters that are a base letter with a
//! stroke (ø, ł, đ, dotless ı) taken as that letter; ß is ss, æ is ae, and a final sigma is a sigma. Signs that make
//! another letter stay: vowel signs of Indic scripts and Thai, voiced Japanese kana.
//!
//! Cutting: a word is a run of letters, digits and their signs; all else is white space. In scripts that are written
//! without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) and in Korean, a run `abc` is cut into `ab`, `bc` and
//! `c`: each character begins one piece, and the last piece alone is a single character.

use super::limits::{NEEDLE_WORD, NEEDLE_WORDS, WORD};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// Folds text, appending to `out`.
pub fn fold(text: &str, out: &mut String) {
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (plain, other) = rest.split_at(ascii);
        out.extend(plain.chars().map(|c| c.to_ascii_lowercase()));
        let foreign = other.bytes().position(|byte| byte.is_ascii()).unwrap_or(other.len());
        let (foreign, after) = other.split_at(foreign);
        fold_slowly(foreign, out);
        rest = after;
    }
}

fn fold_slowly(text: &str, out: &mut String) {
    let letters = text.chars().nfkd().filter(|c| !is_accent(*c) && !is_ignorable(*c));
    // Recomposing puts Korean syllables and voiced kana together again, so that each is one character.
    out.extend(letters.flat_map(lower).nfc());
}

/// Soft hyphen, zero-width characters and the like: nobody sees or types them.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}')
}

/// Marks above, below and through letters, by their combining class (Unicode §4.3): those of Latin, Greek, Cyrillic,
/// Hebrew, Arabic. Viramas, nuktas, Thai and Lao vowels, and the voicing of kana have classes of their own, and most
/// Indic vowel signs have none.
fn is_accent(c: char) -> bool {
    matches!(canonical_combining_class(c), 1..=6 | 10..=35 | 36 | 200..=240)
}

fn lower(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' | 'ẞ' => ('s', Some('s')),
        'ς' => ('σ', None),
        'ı' => ('i', None),
        'ø' | 'Ø' => ('o', None),
        'ł' | 'Ł' => ('l', None),
        'đ' | 'Đ' | 'ð' | 'Ð' => ('d', None),
        'ħ' | 'Ħ' => ('h', None),
        'æ' | 'Æ' => ('a', Some('e')),
        'œ' | 'Œ' => ('o', Some('e')),
        other => (other, None),
    };
    first.to_lowercase().chain(second)
}

/// Whether a character belongs to a script whose words are not told apart by spaces, or whose words are glued together.
fn is_dense(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF // Thai, Lao
        | 0x1000..=0x109F | 0x1780..=0x17FF // Burmese, Khmer
        | 0x1100..=0x11FF // Korean letters that make no syllable
        | 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3040..=0x312F | 0x3131..=0x318F // radicals, kana, bopomofo
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF // Chinese characters
        | 0xAC00..=0xD7FF) // Korean syllables
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// A run of characters of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run<'a> {
    text: &'a str,
    dense: bool,
}

/// The runs of folded text.
fn runs(folded: &str) -> impl Iterator<Item = Run<'_>> {
    let mut rest = folded;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !is_of_word(c));
        let dense = is_dense(rest.chars().next()?);
        // A sign belongs to what it stands on.
        let belongs = |c: char| is_of_word(c) && (is_dense(c) == dense || is_combining_mark(c));
        let end = rest.find(|c: char| !belongs(c)).unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Run { text, dense })
    })
}

/// Folded text as it is searched: its runs with one blank between them. A needle is found in a text if its own form is
/// a part of the text's, as long as no run is longer than [`WORD`].
pub fn separated(folded: &str) -> String {
    runs(folded).map(|run| run.text).collect::<Vec<_>>().join(" ")
}

/// Gives each word of folded text in order.
pub fn words(folded: &str, mut each: impl FnMut(&str)) {
    for run in runs(folded) {
        match run.dense {
            true => pairs(run.text, &mut each),
            false => pieces(run.text, &mut each),
        }
    }
}

fn pairs(run: &str, each: &mut impl FnMut(&str)) {
    let mut starts = run.char_indices().map(|(at, _)| at).chain([run.len(), run.len()]);
    let Some(mut start) = starts.next() else { return };
    let Some(mut middle) = starts.next() else { return };
    for end in starts {
        each(&run[start..end]);
        (start, middle) = (middle, end);
    }
}

fn pieces(run: &str, each: &mut impl FnMut(&str)) {
    if run.len() <= WORD || run.chars().count() <= WORD {
        return each(run);
    }
    let mut rest = run;
    loop {
        each(&rest[..characters(rest, WORD)]);
        if characters(rest, WORD) == rest.len() {
            return;
        }
        rest = &rest[characters(rest, WORD / 2)..];
    }
}

/// The length in bytes of the first characters of a text.
fn characters(text: &str, count: usize) -> usize {
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}

/// What a word in the text has to be for one step of a needle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Is(String),
    Begins(String),
    Ends(String),
    Contains(String),
}

/// The words that a needle stands for, one after the other. Empty if there is no word in it.
///
/// A needle is found as a part of the text: its first word may be the end of one in the text, its last the beginning.
pub fn needle(text: &str) -> Vec<Step> {
    let mut folded = String::new();
    fold(text, &mut folded);
    let runs: Vec<Run> = runs(&folded).take(NEEDLE_WORDS).collect();
    let mut steps = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let (first, last) = (index == 0, index + 1 == runs.len());
        match run.dense {
            true => dense_steps(run.text, last, &mut steps),
            false => steps.extend(spaced_steps(run.text, first, last)),
        }
    }
    steps
}

/// Each character of a run begins one piece of the text's, so where the run begins makes no difference. Where it ends
/// does: within a needle its last character ends the text's run as well.
fn dense_steps(run: &str, last: bool, steps: &mut Vec<Step>) {
    let mut pieces = Vec::new();
    pairs(run, &mut |piece| pieces.push(piece.to_owned()));
    let end = pieces.pop();
    let alone = pieces.is_empty();
    steps.extend(pieces.into_iter().map(Step::Is));
    match end {
        Some(end) if !last => steps.push(Step::Is(end)),
        Some(end) if alone => steps.push(Step::Begins(end)),
        _ => {}
    }
}

fn spaced_steps(run: &str, first: bool, last: bool) -> Vec<Step> {
    let head = || run[..characters(run, NEEDLE_WORD)].to_owned();
    let tail = || {
        let skip = run.chars().count().saturating_sub(NEEDLE_WORD);
        run[characters(run, skip)..].to_owned()
    };
    match (first, last) {
        (true, true) => vec![Step::Contains(head())],
        (true, false) => vec![Step::Ends(tail())],
        (false, true) => vec![Step::Begins(head())],
        (false, false) => {
            let mut steps = Vec::new();
            pieces(run, &mut |piece| steps.push(Step::Is(piece.to_owned())));
            steps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> String {
        let mut out = String::new();
        fold(text, &mut out);
        out
    }

    fn cut(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        words(&folded(text), |word| found.push(word.to_owned()));
        found
    }

    #[test]
    fn what_people_take_for_the_same_letter_is_folded_to_one() {
        for (text, same) in [
            ("Café CAFÉ cafe\u{301}", "cafe cafe cafe"),
            ("Straße STRASSE STRAẞE", "strasse strasse strasse"),
            ("Ёлка ёлка ЁЛКА", "елка елка елка"),
            ("ΌΔΟΣ όδος οδοσ", "οδοσ οδοσ οδοσ"),
            ("İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"),
            ("Søren Łódź Ærø œuvre", "soren lodz aero oeuvre"),
            ("ﬁn Ⅷ ｆｕｌｌ ½", "fin viii full 1⁄2"),
            ("مُحَمَّد محمد", "محمد محمد"),
            ("שָׁלוֹם שלום", "שלום שלום"),
            ("ｶﾞｷﾞ ガギ", "ガギ ガギ"),
            ("한국어", "한국어"),
            ("soft\u{ad}hyphen", "softhyphen"),
        ] {
            assert_eq!(folded(text), same);
        }
    }

    #[test]
    fn signs_that_make_another_letter_stay() {
        assert_ne!(folded("कि"), folded("का"));
        assert_ne!(folded("かき"), folded("がき"));
        assert_ne!(folded("ขี"), folded("ขู"));
    }

    #[test]
    fn words_end_where_letters_and_digits_end() {
        assert_eq!(
            cut("Hello, world! foo_bar x86-64 a@b.c"),
            ["hello", "world", "foo", "bar", "x86", "64", "a", "b", "c"]
        );
        assert_eq!(cut("हिन्दी भाषा").len(), 2);
    }

    #[test]
    fn runs_without_spaces_are_cut_into_pairs() {
        assert_eq!(cut("東京都"), ["東京", "京都", "都"]);
        assert_eq!(cut("JR東日"), ["jr", "東日", "日"]);
        assert_eq!(cut("会"), ["会"]);
        assert_eq!(cut("한국어 말"), ["한국", "국어", "어", "말"]);
    }

    #[test]
    fn of_a_very_long_run_every_half_is_kept() {
        let long: String = (0..300).map(|i| char::from(b'a' + (i * i / 7 % 26) as u8)).collect();
        let pieces = cut(&long);
        assert!(pieces.iter().all(|piece| piece.len() <= WORD));
        for start in 0..=long.len() - NEEDLE_WORD {
            let half = &long[start..start + NEEDLE_WORD];
            assert!(pieces.iter().any(|piece| piece.contains(half)), "{half}");
        }
    }

    #[test]
    fn a_needle_is_a_part_of_the_text() {
        use Step::*;
        let owned = str::to_owned;
        assert_eq!(needle("Invoice"), [Contains(owned("invoice"))]);
        assert_eq!(needle("llo big wor"), [Ends(owned("llo")), Is(owned("big")), Begins(owned("wor"))]);
        assert_eq!(needle("東京都"), [Is(owned("東京")), Is(owned("京都"))]);
        assert_eq!(needle("東"), [Begins(owned("東"))]);
        assert_eq!(needle("東 x"), [Is(owned("東")), Begins(owned("x"))]);
        assert_eq!(needle("x東"), [Ends(owned("x")), Begins(owned("東"))]);
        assert_eq!(needle(" -- "), []);
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }

        #[test]
        fn every_character_of_a_word_is_in_some_piece(text in "[\\PC]{0,60}") {
            let folded = folded(&text);
            let mut length = 0;
            words(&folded, |word| {
                length += word.len();
                assert!(word.chars().count() <= WORD && folded.contains(word));
            });
            let letters: usize = folded.chars().filter(|c| is_of_word(*c)).map(char::len_utf8).sum();
            prop_assert!(length >= letters);
        }
    }
}
