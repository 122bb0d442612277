//! Archives as reports come in: gzip, zip, or neither. Bounded while it unpacks.

use crate::{ReportError, limits};
use std::io::{Cursor, Read};

/// Unpacks what a part of a message holds; what is no archive is given back as it is.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ReportError> {
    match bytes {
        [0x1f, 0x8b, ..] => bounded(flate2::read::MultiGzDecoder::new(bytes)),
        [b'P', b'K', 3, 4, ..] => unzip(bytes),
        _ if bytes.len() > limits::UNPACKED => Err(ReportError::TooLarge),
        _ => Ok(bytes.to_vec()),
    }
}

/// The one file of an archive; what comes after it is not looked at.
fn unzip(bytes: &[u8]) -> Result<Vec<u8>, ReportError> {
    let archive = |error: zip::result::ZipError| ReportError::Archive(error.to_string());
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(archive)?;
    bounded(zip.by_index(0).map_err(archive)?)
}

fn bounded(reader: impl Read) -> Result<Vec<u8>, ReportError> {
    let mut out = Vec::new();
    let most = limits::UNPACKED as u64;
    reader.take(most + 1).read_to_end(&mut out).map_err(|error| ReportError::Archive(error.to_string()))?;
    if out.len() > limits::UNPACKED { Err(ReportError::TooLarge) } else { Ok(out) }
}

/// Packs a report of ours.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("report.xml", options).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn both_kinds_of_archive_are_unpacked() {
        for packed in [gzip(b"hello"), zipped(b"hello"), b"hello".to_vec()] {
            assert_eq!(unpack(&packed).unwrap(), b"hello");
        }
    }

    #[test]
    fn an_archive_that_unpacks_without_end_is_stopped() {
        let zeros = vec![0; limits::UNPACKED + 1];
        assert_eq!(unpack(&gzip(&zeros)), Err(ReportError::TooLarge));
        assert_eq!(unpack(&zipped(&zeros)), Err(ReportError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_without_a_crash(
            start in prop_oneof![Just(vec![0x1f, 0x8b, 8]), Just(b"PK\x03\x04".to_vec())],
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = unpack(&[start, rest].concat());
        }

        #[test]
        fn a_broken_archive_is_no_crash(at in 0..100usize, byte in any::<u8>()) {
            let mut bytes = zipped(b"some text that is packed");
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = unpack(&bytes);
        }
    }
}
