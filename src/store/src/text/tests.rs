//! The index as a searcher meets it.

use super::*;
use proptest::prelude::*;

struct Box {
    dir: tempfile::TempDir,
    index: TextIndex,
}

fn empty() -> Box {
    let dir = tempfile::tempdir().unwrap();
    let index = TextIndex::open(dir.path()).unwrap();
    Box { dir, index }
}

/// Plain messages with these bodies, numbered from 1.
fn with(bodies: &[&str]) -> Box {
    let mut made = empty();
    let mails: Vec<String> =
        bodies.iter().map(|body| format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{body}")).collect();
    let numbered: Vec<(i64, &[u8])> = (1..).zip(mails.iter().map(String::as_bytes)).collect();
    made.index.index_many(&numbered).unwrap();
    made
}

fn find(index: &TextIndex, scope: Scope, needle: &str) -> Vec<i64> {
    index.search(&Query { scope, needle: needle.into() }).unwrap().unwrap()
}

#[test]
fn a_needle_is_found_in_the_middle_of_a_word_whatever_its_case_and_accents() {
    let made =
        with(&["Die RECHNUNGSNUMMER ist 4711-0815.", "Gr\u{fc}\u{df}e aus der Stra\u{df}e, caf\u{e9}", "Ёлка в ΟΔΟΣ"]);
    for (needle, ids) in [
        ("rechnung", vec![1]),
        ("NUNGSNUM", vec![1]),
        ("r", vec![1, 2]),
        ("er", vec![1, 2]),
        ("4711-0815", vec![1]),
        ("nummer ist 47", vec![1]),
        ("nummer  ist,\r\n 47", vec![1]),
        ("ist nummer", vec![]),
        ("GRUSSE", vec![2]),
        ("gr\u{fc}\u{df}e", vec![2]),
        ("strass", vec![2]),
        ("CAFE\u{301}", vec![2]),
        ("елк", vec![3]),
        ("οδος", vec![3]),
        ("οδοσ", vec![3]),
        ("nothing", vec![]),
    ] {
        assert_eq!(find(&made.index, Scope::Body, needle), ids, "{needle}");
    }
}

#[test]
fn mail_in_scripts_without_spaces_is_found_by_one_character_and_by_many() {
    let made = with(&[
        "我昨天去了东京都厅",
        "東京都に住んでいます。カタカナ",
        "ภาษาไทยไม่มีช่องว่าง",
        "안녕하세요 한국어입니다",
        "مُحَمَّد في المدينة",
    ]);
    for (needle, ids) in [
        ("东京", vec![1]),
        ("天", vec![1]),
        ("京", vec![1, 2]),
        ("京都厅", vec![1]),
        ("東京都に住", vec![2]),
        ("ｶﾀｶﾅ", vec![2]),
        ("ไทย", vec![3]),
        ("ช่อง", vec![3]),
        ("한국", vec![4]),
        ("세", vec![4]),
        ("하세요 한국", vec![4]),
        ("요한", vec![]),
        ("محمد", vec![5]),
        ("مدينة", vec![5]),
        ("都东", vec![]),
    ] {
        assert_eq!(find(&made.index, Scope::Any, needle), ids, "{needle}");
    }
}

#[test]
fn each_place_is_searched_by_itself() {
    let mut made = empty();
    let mail = "From: Anna Arendt <anna@sender.example>\r\nTo: Bob <bob@to.example>\r\nCc: carla@cc.example\r\n\
        Bcc: dora@bcc.example\r\nSubject: =?utf-8?b?w4RwZmVs?= und Birnen\r\nX-Project: apollo\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nthe body text\r\n--b\r\n\
        Content-Type: text/html\r\n\r\n<p>sch&ouml;n &amp; gut</p>\r\n\
        --b\r\nContent-Type: application/pdf\r\n\
        Content-Disposition: attachment; filename*=utf-8''Jahres%C3%BCbersicht.pdf\r\n\r\nx\r\n--b--\r\n";
    made.index.index_many(&[(7, mail.as_bytes())]).unwrap();
    for (scope, needle) in [
        (Scope::From, "arendt"),
        (Scope::From, "anna@sender.example"),
        (Scope::To, "bob"),
        (Scope::Cc, "carla"),
        (Scope::Bcc, "dora"),
        (Scope::Subject, "apfel und"),
        (Scope::Body, "schon gut"),
        (Scope::AttachmentName, "jahresubersicht.pdf"),
        (Scope::Body, "ubersicht"),
        (Scope::Headers, "apollo"),
        (Scope::Headers, "birnen"),
        (Scope::Any, "body"),
        (Scope::Any, "apollo"),
    ] {
        assert_eq!(find(&made.index, scope, needle), [7], "{needle}");
    }
    for (scope, needle) in [
        (Scope::From, "bob"),
        (Scope::Headers, "body"),
        (Scope::Body, "apollo"),
        (Scope::AttachmentName, "body"),
        (Scope::Body, "text schon"),
    ] {
        assert!(find(&made.index, scope, needle).is_empty(), "{needle}");
    }
}

#[test]
fn of_a_needle_without_a_letter_the_index_says_that_it_cannot_tell() {
    let made = with(&["what?!"]);
    for needle in ["", " ", "?!", "--"] {
        assert_eq!(made.index.search(&Query { scope: Scope::Any, needle: needle.into() }).unwrap(), None);
        assert_eq!(made.index.fuzzy(&Query { scope: Scope::Any, needle: needle.into() }).unwrap(), None);
    }
}

#[test]
fn what_is_forgotten_is_not_found_and_what_is_missing_is_told() {
    let mut made = with(&["apple one", "apple two", "apple three"]);
    assert_eq!(made.index.watermark().unwrap(), 3);
    made.index.forget(&[2, 99]).unwrap();
    assert_eq!(find(&made.index, Scope::Any, "apple"), [1, 3]);
    assert_eq!(made.index.indexed().unwrap(), [1, 3]);
    assert_eq!(made.index.missing(&[4, 3, 2, 1]).unwrap(), [4, 2]);
    // A message that is in it already is not put there twice.
    made.index.index_many(&[(3, b"\r\nsomething else"), (2, b"\r\napple two again")]).unwrap();
    assert_eq!(find(&made.index, Scope::Any, "apple"), [1, 2, 3]);
    assert!(find(&made.index, Scope::Any, "something").is_empty());
    drop(made.index);
    let index = TextIndex::open(made.dir.path()).unwrap();
    assert_eq!(find(&index, Scope::Any, "again"), [2]);
    assert!(index.size_bytes() > 0);
}

#[test]
fn tidying_comes_to_an_end_and_changes_no_answer() {
    let mut made = empty();
    for id in 1..200 {
        let mail = format!("Subject: apple {id}\r\n\r\n{}", "some words ".repeat(20));
        made.index.index_many(&[(id, mail.as_bytes())]).unwrap();
    }
    made.index.forget(&(1..100).collect::<Vec<_>>()).unwrap();
    let mut steps = 0;
    while made.index.tidy().unwrap() {
        steps += 1;
        assert!(steps < 100);
    }
    assert_eq!(find(&made.index, Scope::Subject, "apple"), (100..200).collect::<Vec<_>>());
    assert_eq!(find(&made.index, Scope::Any, "apple 150 some"), Vec::<i64>::new());
    assert_eq!(find(&made.index, Scope::Any, "apple 150"), [150]);
}

#[test]
fn a_reader_is_not_held_up_by_the_writer() {
    let mut made = with(&["apple"]);
    let reader = TextIndex::open(made.dir.path()).unwrap();
    let transaction = made.index.connection.transaction().unwrap();
    transaction.execute("INSERT INTO indexed VALUES (2)", []).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(find(&reader, Scope::Any, "apple"), [1]);
    assert_eq!(reader.missing(&[1, 2]).unwrap(), [2]);
    assert!(start.elapsed() < limits::BUSY / 2);
    transaction.commit().unwrap();
    made.index.index_many(&[(3, b"\r\napple pie")]).unwrap();
    assert_eq!(find(&reader, Scope::Any, "apple"), [1, 3]);
}

#[test]
fn an_index_that_is_damaged_or_of_another_version_is_made_anew() {
    for damage in ["garbage", "truncated", "version"] {
        let made = with(&["apple"]);
        let file = made.dir.path().join("text.db");
        made.index.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        match damage {
            "version" => made.index.connection.pragma_update(None, "user_version", 99).unwrap(),
            "garbage" => {
                drop(made.index);
                std::fs::write(&file, vec![7; 50_000]).unwrap();
            }
            _ => {
                drop(made.index);
                let length = std::fs::metadata(&file).unwrap().len();
                std::fs::File::options().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
            }
        }
        let mut index = TextIndex::open(made.dir.path()).unwrap();
        assert!(index.indexed().unwrap().is_empty(), "{damage}");
        index.index_many(&[(1, b"\r\npear")]).unwrap();
        assert_eq!(find(&index, Scope::Any, "pear"), [1], "{damage}");
    }
}

#[test]
fn damage_that_shows_while_indexing_is_told_and_mended() {
    let bodies: Vec<String> =
        (0..300).map(|mail| (0..60).map(|word| format!("w{mail}x{word} ")).collect::<String>()).collect();
    let made = with(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    made.index.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let Box { dir, index } = made;
    drop(index);
    let file = dir.path().join("text.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let pages = bytes.len() / 4096;
    let roots: Vec<usize> = {
        let index = TextIndex::open(dir.path()).unwrap();
        let mut query = index.connection.prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0").unwrap();
        query.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|page| page.unwrap() as usize).collect()
    };
    for page in (10..pages).filter(|page| !roots.contains(&(page + 1))) {
        bytes[page * 4096..(page + 1) * 4096].fill(0xEE);
    }
    std::fs::write(&file, bytes).unwrap();
    let mut index = TextIndex::open(dir.path()).unwrap();
    match index.index_many(&[(1000, b"\r\nw5x5 new words here")]) {
        Err(TextError::MadeAnew(_)) => index.index_many(&[(1000, b"\r\nw5x5 new words here")]).unwrap(),
        // The damage was seen on opening already.
        Ok(()) => assert_eq!(index.indexed().unwrap(), [1000]),
        Err(other) => panic!("{other}"),
    }
    assert_eq!(find(&index, Scope::Any, "words"), [1000]);
}

#[test]
fn a_fuzzy_needle_forgives_slips_and_puts_the_best_first() {
    let made = with(&[
        "your invoice invoice invoice",
        "the invocie that I sent among many other words which are about something else entirely",
        "a notice",
        "invoices of last year",
    ]);
    let fuzzy = |needle: &str| {
        let found = made.index.fuzzy(&Query { scope: Scope::Body, needle: needle.into() }).unwrap().unwrap();
        assert!(found.iter().all(|one| (1..=100).contains(&one.relevancy)));
        assert!(found.windows(2).all(|two| two[0].relevancy >= two[1].relevancy));
        assert!(found.is_empty() || found[0].relevancy == 100);
        found.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let found = fuzzy("Invoice");
    assert_eq!((found.len(), found[0]), (3, 1));
    assert!(!found.contains(&3));
    assert_eq!(fuzzy("invoice sent"), [2]);
    assert!(fuzzy("zzzzzz").is_empty());
}

/// Folded, and with one blank between words: what the index promises to search.
fn flat(text: &str) -> String {
    let mut folded = String::new();
    words::fold(text, &mut folded);
    words::separated(&folded)
}

fn letters() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[abAéßσςЖ1東京都あไทน한국 .,-]{0,12}").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_found_is_what_holds_the_needle(
        texts in proptest::collection::vec(letters(), 1..8), needles in proptest::collection::vec(letters(), 1..8),
    ) {
        let made = with(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let parts = texts.iter().flat_map(|text| text.split(' ').map(str::to_owned)).collect::<Vec<_>>();
        for needle in needles.iter().chain(&parts) {
            let wanted = flat(needle);
            let found = made.index.search(&Query { scope: Scope::Body, needle: needle.clone() }).unwrap();
            if wanted.is_empty() {
                prop_assert_eq!(found, None);
                continue;
            }
            let holding: Vec<i64> =
                (1..).zip(&texts).filter(|(_, text)| flat(text).contains(&wanted)).map(|(id, _)| id).collect();
            prop_assert_eq!(found, Some(holding), "{:?} in {:?}", needle, texts);
        }
    }
}

#[test]
fn needles_that_stand_for_very_many_words_are_answered_exactly() {
    // Words of one to five of four letters, and now and then a rare ending.
    let mut state = 7_u64;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut texts = Vec::new();
    for number in 0..600 {
        let mut text = String::new();
        for _ in 0..10 {
            (0..=draw(5)).for_each(|_| text.push(char::from(b'a' + draw(4) as u8)));
            text.push(' ');
        }
        if number % 9 == 0 {
            text.push_str(&format!("end{number}zz tail"));
        }
        texts.push(text);
    }
    let made = with(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    for needle in
        ["a", "zz", "z", "ab", "abc", "a b", "b abc d", "ab a cd a", "abca dab", "zz t", "zz tai", "d end", "c z"]
    {
        let wanted = flat(needle);
        let holding: Vec<i64> =
            (1..).zip(&texts).filter(|(_, text)| flat(text).contains(&wanted)).map(|(id, _)| id).collect();
        assert_eq!(find(&made.index, Scope::Body, needle), holding, "{needle}");
        assert_eq!(find(&made.index, Scope::Subject, needle), Vec::<i64>::new(), "{needle}");
    }
}
