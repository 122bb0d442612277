//! A message to the text that is searched: headers decoded, bodies turned into text, names of attachments. Pure and
//! bounded; of malformed mail as much as can be read.

use super::limits::{DEPTH, HEADER_FIELDS, HEADER_VALUE, HTML_PER_TEXT, PARTS, TEXT};
use mail_parser::{HeaderForm, HeaderName, Headers, MessageParser, MessagePart, PartKind};
use std::sync::LazyLock;

/// Where a text stands in a message. The order is that of the index's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    From,
    To,
    Cc,
    Bcc,
    Subject,
    /// Any other header field.
    Header,
    Body,
    /// The name of an attachment.
    Name,
}

impl Place {
    pub const ALL: [Place; 8] =
        [Place::From, Place::To, Place::Cc, Place::Bcc, Place::Subject, Place::Header, Place::Body, Place::Name];
}

/// What is searched of one message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extract {
    /// Texts that do not run into each other.
    pub texts: Vec<(Place, String)>,
    /// Bytes that may still be added.
    left: usize,
    fields_left: usize,
}

/// Header fields are decoded one by one below, so the parser leaves them as they are.
static PARSER: LazyLock<MessageParser> =
    LazyLock::new(|| MessageParser::new().max_parts(PARTS).max_depth(DEPTH).max_encoded_nesting(3));

impl Extract {
    pub fn of(message: &[u8]) -> Self {
        let mut extract = Self { texts: Vec::new(), left: TEXT, fields_left: HEADER_FIELDS };
        let Some(message) = PARSER.parse(message) else { return extract };
        extract.header(&message.headers());
        for part in message.parts() {
            extract.part(&part);
        }
        extract
    }

    /// How much text it is, in bytes.
    pub fn bytes(&self) -> usize {
        self.texts.iter().map(|(_, text)| text.len()).sum()
    }

    /// All of one place, for tests and previews.
    pub fn of_place(&self, place: Place) -> String {
        let texts = self.texts.iter().filter(|(of, _)| *of == place);
        texts.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn part(&mut self, part: &MessagePart) {
        if let Some(name) = part.attachment_name() {
            self.add(Place::Name, name.to_owned());
        }
        match part.kind() {
            PartKind::Text => {
                if let Some(text) = part.text_prefix_bytes(self.left) {
                    self.add(Place::Body, text.into_owned());
                }
            }
            PartKind::Html => {
                if let Some(html) = part.text_prefix_bytes(self.left.saturating_mul(HTML_PER_TEXT)) {
                    self.add(Place::Body, mail_parser::html_to_text(&html));
                }
            }
            // Of an embedded message the header counts as body, as it does for IMAP; its parts come by themselves.
            PartKind::Message(embedded) => {
                for header in embedded.headers().iter().filter(|header| !is_noise(header.raw_name())) {
                    if !self.take_field() {
                        break;
                    }
                    self.add(Place::Body, decoded(header.raw_value()));
                }
            }
            PartKind::Binary | PartKind::InlineBinary | PartKind::Multipart => {}
        }
    }

    fn header(&mut self, headers: &Headers) {
        for header in headers.iter() {
            let place = match header.name() {
                HeaderName::From => Place::From,
                HeaderName::To => Place::To,
                HeaderName::Cc => Place::Cc,
                HeaderName::Bcc => Place::Bcc,
                HeaderName::Subject => Place::Subject,
                _ if is_noise(header.raw_name()) => continue,
                _ => Place::Header,
            };
            if !self.take_field() {
                break;
            }
            self.add(place, decoded(header.raw_value()));
        }
    }

    fn take_field(&mut self) -> bool {
        let left = self.fields_left > 0;
        self.fields_left = self.fields_left.saturating_sub(1);
        left
    }

    fn add(&mut self, place: Place, mut text: String) {
        text.truncate(text.floor_char_boundary(self.left));
        self.left -= text.len();
        if !text.is_empty() {
            self.texts.push((place, text));
        }
    }
}

/// Unfolded, with encoded words decoded (RFC 2047).
fn decoded(value: &[u8]) -> String {
    let bounded = &value[..value.len().min(HEADER_VALUE)];
    HeaderForm::Text.parse(bounded).value().as_text().unwrap_or_default().to_owned()
}

/// Fields that servers and filters leave behind, which would bring up each other's mail: traces, signatures, scores.
fn is_noise(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "received",
        "return-path",
        "received-spf",
        "authentication-results",
        "dkim-signature",
        "domainkey-signature",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
        "content-length",
        "lines",
        "status",
        "x-status",
        "x-mailstead-reasons",
        "x-uid",
    ];
    const BEGINNINGS: [&str; 7] =
        ["arc-", "x-ms-exchange-", "x-microsoft-", "x-google-", "x-gm-", "x-forefront-", "x-spam-"];
    let lower = name.to_ascii_lowercase();
    NAMES.contains(&lower.as_str()) || BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIXED: &str = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: a@example.org\r\nCC: c@example.org\r\n\
        Received: from nowhere.example\r\nDKIM-Signature: v=1; d=signer.example\r\nX-Project: Apollo\r\n\
        Subject: =?iso-8859-1?q?caf=E9?=\r\n =?iso-8859-1?q?_au_lait?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        preamble\r\n--b\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        0NLJ18XU\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        <html><head><style>p {color:red}</style></head><p>Stra=C3=9Fe &uuml;ber&nbsp;&#945;</p><p>next=\r\n one</p>\r\n\
        --b\r\nContent-Type: application/pdf; name=wrong.pdf\r\n\
        Content-Disposition: attachment;\r\n filename*0*=utf-8''R%C3%A9; filename*1*=sum%C3%A9;\r\n filename*2=.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nc2VjcmV0\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner subject\r\nReceived: inner.example\r\n\r\n\
        inner text\r\n--b--\r\n";

    #[test]
    fn every_part_is_decoded_to_its_text() {
        let extract = Extract::of(MIXED.as_bytes());
        assert_eq!(extract.of_place(Place::From), "Jürgen <j@example.org>");
        assert_eq!(extract.of_place(Place::To), "a@example.org");
        assert_eq!(extract.of_place(Place::Cc), "c@example.org");
        assert_eq!(extract.of_place(Place::Subject), "café au lait");
        assert_eq!(extract.of_place(Place::Header), "Apollo");
        assert_eq!(extract.of_place(Place::Name), "Résumé.pdf");
        let body = extract.of_place(Place::Body);
        for text in ["привет", "Straße über", "α", "next one", "inner subject", "inner text"] {
            assert!(body.contains(text), "{text} in {body}");
        }
        for text in ["color", "nowhere", "signer", "inner.example", "secret", "preamble"] {
            assert!(!format!("{extract:?}").contains(text), "{text}");
        }
    }

    #[test]
    fn legacy_charsets_of_asia_are_read() {
        for (charset, bytes, text) in [
            ("gb2312", &b"\xb6\xab\xbe\xa9"[..], "东京"),
            ("big5", b"\xaaF\xa8\xca", "東京"),
            ("shift_jis", b"\x93\x8c\x8b\x9e", "東京"),
            ("iso-2022-jp", b"\x1b$BEl5~\x1b(B", "東京"),
            ("euc-kr", b"\xc7\xd1\xb1\xb9", "한국"),
            ("tis-620", b"\xe4\xb7\xc2", "ไทย"),
            ("windows-1256", b"\xe3\xcd\xe3\xcf", "محمد"),
        ] {
            let mut mail = format!("Content-Type: text/plain; charset={charset}\r\n\r\n").into_bytes();
            mail.extend_from_slice(bytes);
            assert_eq!(Extract::of(&mail).of_place(Place::Body), text, "{charset}");
        }
    }

    #[test]
    fn a_huge_message_is_indexed_as_far_as_its_bound() {
        let mail = format!("Subject: big\r\n\r\n{}", "word ".repeat(TEXT));
        let body = Extract::of(mail.as_bytes()).of_place(Place::Body);
        assert!(body.len() <= TEXT && body.len() > TEXT / 2);
        let html = format!("Content-Type: text/html\r\n\r\n{}", "<b>&amp;w</b>".repeat(TEXT));
        let body = Extract::of(html.as_bytes()).of_place(Place::Body);
        assert!(body.len() <= TEXT);
    }

    #[test]
    fn a_broken_message_is_indexed_as_far_as_it_goes() {
        let mail = "Subject: =?utf-8?q?half\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst part";
        let extract = Extract::of(mail.as_bytes());
        assert!(extract.of_place(Place::Subject).contains("half"));
        assert_eq!(extract.of_place(Place::Body), "first part");
        assert_eq!(Extract::of(b"").texts, []);
    }

    proptest! {
        #[test]
        fn any_bytes_give_some_text(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            Extract::of(&bytes);
        }

        #[test]
        fn anything_like_mime_gives_some_text(
            lines in proptest::collection::vec(prop_oneof![
                Just("Content-Type: multipart/mixed; boundary=b"), Just("Content-Type: message/rfc822"),
                Just("Content-Type: text/html; charset=utf-16"), Just("Content-Transfer-Encoding: base64"),
                Just("Subject: =?x?q?=?="), Just("--b"), Just("--b--"), Just(""), Just(" filename*0*=x''%"),
                Just("Content-Disposition: attachment;"), Just("<a &#x110000; <"), Just("=C3=\u{e9}"),
            ], 0..60)
        ) {
            Extract::of(lines.join("\r\n").as_bytes());
        }
    }
}
