//! The tree of parts (RFC 2046), with bounds on depth and number.

use super::envelope::Envelope;
use super::header::{Scanner, fields, is_blank, line_length, unfold};
use crate::limits;
use serde::{Deserialize, Serialize};

/// A range of the message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// The bytes; none where the message is shorter than it was.
    pub fn of(self, message: &[u8]) -> &[u8] {
        message.get(self.start..self.end).unwrap_or_default()
    }

    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A header value, or a parameter's name or value. Not always UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Text(Option<Vec<u8>>);

impl Text {
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Text(Some(bytes))
    }
}

/// One part of a message, or the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The header with its empty line.
    pub header: Span,
    pub body: Span,
    /// Lines of the body.
    pub lines: usize,
    /// Type and subtype as written.
    pub kind: (String, String),
    pub params: Vec<(Text, Text)>,
    pub id: Text,
    pub description: Text,
    pub encoding: Text,
    pub md5: Text,
    pub disposition: Option<(Text, Vec<(Text, Text)>)>,
    pub language: Vec<Text>,
    pub location: Text,
    pub content: Content,
}

/// What a part contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Leaf,
    Multipart(Vec<Part>),
    /// An embedded message with its envelope.
    Message(Box<(Envelope, Part)>),
}

impl Part {
    /// The parts directly within.
    pub fn children(&self) -> &[Part] {
        match &self.content {
            Content::Leaf => &[],
            Content::Multipart(parts) => parts,
            Content::Message(inner) => std::slice::from_ref(&inner.1),
        }
    }

    /// A parameter of the content type, by its name in lower case.
    pub fn param(&self, wanted: &str) -> Option<&[u8]> {
        let named = |name: &Text| name.bytes().is_some_and(|name| name.eq_ignore_ascii_case(wanted.as_bytes()));
        self.params.iter().find(|(name, _)| named(name)).and_then(|(_, value)| value.bytes())
    }

    pub fn is(&self, kind: &str) -> bool {
        self.kind.0.eq_ignore_ascii_case(kind)
    }
}

/// Parses a whole message.
pub fn parse(message: &[u8]) -> Part {
    let mut parser = Parser { message, parts: 0 };
    parser.entity(Span { start: 0, end: message.len() }, 0, false)
}

struct Parser<'a> {
    message: &'a [u8],
    parts: usize,
}

impl Parser<'_> {
    fn entity(&mut self, span: Span, depth: usize, in_digest: bool) -> Part {
        self.parts += 1;
        let split = span.start + header_length(span.of(self.message));
        let header = Span { start: span.start, end: split };
        let body = Span { start: split, end: span.end };
        let mut part = described(header.of(self.message), in_digest);
        (part.header, part.body) = (header, body);
        part.lines = body.of(self.message).iter().filter(|byte| **byte == b'\n').count();
        let roomy = depth < limits::MIME_DEPTH && self.parts < limits::MIME_PARTS;
        if part.is("multipart") {
            if roomy {
                part.content = Content::Multipart(self.multipart(&part, depth));
            } else {
                part.kind = ("application".into(), "octet-stream".into());
            }
        } else if part.is("message") && part.kind.1.eq_ignore_ascii_case("rfc822") {
            if roomy {
                let inner = self.entity(body, depth + 1, false);
                let envelope = Envelope::of(inner.header.of(self.message));
                part.content = Content::Message(Box::new((envelope, inner)));
            } else {
                part.kind = ("application".into(), "octet-stream".into());
            }
        }
        part
    }

    fn multipart(&mut self, part: &Part, depth: usize) -> Vec<Part> {
        let boundary = part
            .params
            .iter()
            .find_map(|(name, value)| name.bytes()?.eq_ignore_ascii_case(b"boundary").then(|| value.bytes())?);
        let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) else { return Vec::new() };
        let in_digest = part.kind.1.eq_ignore_ascii_case("digest");
        let mut children = Vec::new();
        for span in between(self.message, part.body, boundary) {
            if self.parts >= limits::MIME_PARTS {
                break;
            }
            children.push(self.entity(span, depth + 1, in_digest));
        }
        children
    }
}

/// The length of a header with its empty line; all of it when there is none.
pub fn header_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let length = line_length(&bytes[at..]);
        let line = &bytes[at..at + length];
        at += length;
        if is_blank(line) {
            break;
        }
    }
    at
}

/// The spans between boundary lines (RFC 2046 §5.1.1); the line end before a boundary belongs to the boundary.
fn between(message: &[u8], body: Span, boundary: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = body.start;
    while at < body.end {
        let length = line_length(&message[at..body.end]);
        if let Some(rest) = delimiter(&message[at..at + length], boundary) {
            if let Some(start) = open.take() {
                spans.push(Span { start, end: without_line_end(message, start, at) });
            }
            if rest.starts_with(b"--") {
                return spans;
            }
            open = Some(at + length);
        }
        at += length;
        if spans.len() >= limits::MIME_PARTS {
            return spans;
        }
    }
    // A multipart that is cut off still shows what there is of its last part.
    spans.extend(open.map(|start| Span { start, end: body.end }));
    spans
}

/// What follows the boundary on a line that is one.
fn delimiter<'a>(line: &'a [u8], boundary: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let tail = rest.strip_prefix(b"--").unwrap_or(rest);
    tail.iter().all(u8::is_ascii_whitespace).then_some(rest)
}

fn without_line_end(message: &[u8], start: usize, end: usize) -> usize {
    match &message[start..end] {
        [.., b'\r', b'\n'] => end - 2,
        [.., b'\n'] => end - 1,
        _ => end,
    }
}

/// A part with everything that its header says.
fn described(header: &[u8], in_digest: bool) -> Part {
    let nowhere = Span { start: 0, end: 0 };
    let mut part = Part {
        header: nowhere,
        body: nowhere,
        lines: 0,
        kind: (String::new(), String::new()),
        params: Vec::new(),
        id: Text::default(),
        description: Text::default(),
        encoding: Text::default(),
        md5: Text::default(),
        disposition: None,
        language: Vec::new(),
        location: Text::default(),
        content: Content::Leaf,
    };
    for field in fields(header) {
        let Some(rest) = field.name.to_ascii_lowercase().strip_prefix(b"content-").map(<[u8]>::to_vec) else {
            continue;
        };
        let value = || Text(Some(unfold(field.value)).filter(|value| !value.is_empty()));
        match rest.as_slice() {
            b"type" if part.kind.0.is_empty() => {
                if let Some((kind, params)) = content_type(field.value) {
                    (part.kind, part.params) = (kind, params);
                }
            }
            b"transfer-encoding" => part.encoding = first_token(field.value),
            b"id" => part.id = value(),
            b"description" => part.description = value(),
            b"md5" => part.md5 = value(),
            b"location" => part.location = value(),
            b"language" => part.language = languages(field.value),
            b"disposition" => part.disposition = disposition(field.value),
            _ => {}
        }
    }
    if part.kind.0.is_empty() {
        if in_digest {
            part.kind = ("message".into(), "rfc822".into());
        } else {
            // RFC 2045 §5.2: without a type that can be read, plain ASCII text.
            part.kind = ("text".into(), "plain".into());
        }
    }
    // RFC 2045 §5.2 again: the default is told, as other servers do.
    let has_charset =
        part.params.iter().any(|(name, _)| name.bytes().is_some_and(|n| n.eq_ignore_ascii_case(b"charset")));
    if part.is("text") && !has_charset {
        part.params.push((b"charset".to_vec().into(), b"us-ascii".to_vec().into()));
    }
    part
}

type Params = Vec<(Text, Text)>;

fn content_type(value: &[u8]) -> Option<((String, String), Params)> {
    let mut scan = Scanner::new(value);
    scan.space();
    let kind = token(&mut scan)?;
    scan.space();
    if !scan.take(b'/') {
        return None;
    }
    scan.space();
    let subtype = token(&mut scan)?;
    Some(((kind, subtype), params(&mut scan)))
}

fn token(scan: &mut Scanner<'_>) -> Option<String> {
    let bytes = scan.atom(b"()<>@,;:\\\"/[]?=");
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.is_ascii() && text.len() <= 127).then(|| text.to_owned())
}

/// `; name=value` pairs up to the end, passing over what is malformed.
fn params(scan: &mut Scanner<'_>) -> Params {
    let mut out = Vec::new();
    while out.len() < 100 {
        scan.space();
        match scan.peek() {
            None => break,
            Some(b';') => scan.skip(),
            Some(b'"') => drop(scan.quoted()),
            Some(_) => {
                let name = scan.atom(b"=;\"(").to_vec();
                scan.space();
                if !scan.take(b'=') {
                    if name.is_empty() {
                        scan.skip();
                    }
                    continue;
                }
                scan.space();
                let value = match scan.peek() {
                    Some(b'"') => scan.quoted(),
                    _ => scan.atom(b";\"(").to_vec(),
                };
                if !name.is_empty() {
                    out.push((unfold(&name).into(), unfold(&value).into()));
                }
            }
        }
    }
    out
}

fn first_token(value: &[u8]) -> Text {
    let mut scan = Scanner::new(value);
    scan.space();
    let token = scan.atom(b";(,\"").to_vec();
    Text((!token.is_empty()).then_some(token))
}

fn languages(value: &[u8]) -> Vec<Text> {
    let words = value.split(|byte| *byte == b',').map(unfold).filter(|word| !word.is_empty());
    words.take(20).map(Text::from).collect()
}

fn disposition(value: &[u8]) -> Option<(Text, Params)> {
    let mut scan = Scanner::new(value);
    scan.space();
    let kind = scan.atom(b";=\"(").to_vec();
    (!kind.is_empty()).then(|| (kind.into(), params(&mut scan)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: &[u8] =
        b"Content-Type: multipart/mixed; boundary=\"out\"\r\n\r\npreamble\r\n--out\r\n\r\nHello\r\n--out\r\n\
Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
--in\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n--in--\r\n--out--\r\nepilogue\r\n";

    #[test]
    fn a_message_within_a_message_is_found_with_its_parts() {
        let root = parse(NESTED);
        let [text, message] = root.children() else { panic!("{root:?}") };
        assert_eq!(text.body.of(NESTED), b"Hello");
        assert_eq!(text.kind.0, "text");
        let Content::Message(inner) = &message.content else { panic!("{message:?}") };
        assert_eq!(inner.0.subject.as_deref(), Some(b"inner".as_slice()));
        assert_eq!(inner.1.children()[0].body.of(NESTED), b"<p>");
    }

    #[test]
    fn a_type_that_cannot_be_read_is_plain_text() {
        for header in ["", "Content-Type: text\r\n", "Content-Type: \r\n", "Content-Type: /x\r\n"] {
            assert_eq!(parse(format!("{header}\r\nx").as_bytes()).kind, ("text".into(), "plain".into()), "{header}");
        }
    }

    #[test]
    fn nesting_without_end_is_cut_off() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(5000);
        let mut part = &parse(deep.as_bytes());
        let mut depth = 0;
        while let Some(child) = part.children().first() {
            part = child;
            depth += 1;
        }
        assert_eq!(depth, limits::MIME_DEPTH);
    }
}
