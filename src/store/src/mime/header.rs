//! Header fields (RFC 5322 §2.2) and the tokens of structured ones (RFC 2045 §5.1).

use crate::limits;

/// One field of a header; slices of the message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// What follows the colon, folds and the last line end included.
    pub value: &'a [u8],
    /// Name, value and line end, as they stand.
    pub raw: &'a [u8],
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header, up to its empty line. Lines that are no field are passed over.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    let lines = std::iter::from_fn(move || {
        let length = logical_line(rest);
        let (line, after) = rest.split_at(length);
        rest = after;
        (length > 0 && !is_blank(line)).then_some(line)
    });
    lines.take(limits::HEADER_FIELDS).filter_map(|raw| {
        let colon = raw.iter().position(|byte| *byte == b':')?;
        let name = raw[..colon].trim_ascii_end();
        let is_name = !name.is_empty() && name.iter().all(|byte| (0x21..0x7f).contains(byte));
        is_name.then_some(Field { name, value: &raw[colon + 1..], raw })
    })
}

/// The length of a line with the lines folded under it.
fn logical_line(bytes: &[u8]) -> usize {
    let mut end = line_length(bytes);
    while end < bytes.len() && matches!(bytes[end], b' ' | b'\t') && !is_blank(&bytes[..end]) {
        end += line_length(&bytes[end..]);
    }
    end
}

/// The length of the first line, its LF included.
pub fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

/// Whether a line has nothing but its end.
pub fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n" | b"\r" | b"")
}

/// A value as one line: line ends of folds removed (RFC 5322 §2.2.3), tabs as spaces so that it fits a quoted string,
/// space around it cut, NULs dropped, the length bounded.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let kept = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    let one_line: Vec<u8> = kept.map(|byte| if byte == b'\t' { b' ' } else { byte }).collect();
    let trimmed = one_line.trim_ascii();
    trimmed[..trimmed.len().min(limits::HEADER_VALUE)].to_vec()
}

/// Reads the tokens of a structured value one after the other.
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn skip(&mut self) {
        self.at += 1;
    }

    /// Takes the byte if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.at += 1;
        }
        there
    }

    /// Passes over white space and comments; returns the last comment's text.
    pub fn space(&mut self) -> Option<Vec<u8>> {
        let mut last = None;
        while let Some(byte) = self.peek() {
            match byte {
                // Whatever ends an atom, a form feed among them, has to be passed over here.
                byte if byte.is_ascii_whitespace() => self.at += 1,
                b'(' => last = Some(self.comment()),
                _ => break,
            }
        }
        last
    }

    /// The byte after a backslash, if there is one: a text may end there.
    fn escaped(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn comment(&mut self) -> Vec<u8> {
        let (mut depth, mut text) = (0u32, Vec::new());
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend(self.escaped());
                    continue;
                }
                _ => {}
            }
            text.push(byte);
        }
        text
    }

    /// A quoted string's content; the opening quote is next.
    pub fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    text.extend(self.escaped());
                }
                b'\r' | b'\n' => {}
                byte => text.push(byte),
            }
        }
        text
    }

    /// Bytes up to space or one of `stops`; perhaps none.
    pub fn atom(&mut self, stops: &[u8]) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| !byte.is_ascii_whitespace() && !stops.contains(&byte)) {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }
}
