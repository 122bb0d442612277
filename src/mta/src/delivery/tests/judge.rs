//! TLSA matching against digests that OpenSSL made.

use super::*;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs openssl with these words and this input.
fn openssl(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new("openssl").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{words:?}");
    output.stdout
}

#[test]
fn records_match_what_openssl_computes() {
    let chain = Authority::new().sign("mx.example.net");
    let certificate = &chain.der[0];
    let pem = openssl(&["x509", "-inform", "DER", "-pubkey", "-noout"], certificate);
    let key = openssl(&["pkey", "-pubin", "-outform", "DER"], &pem);
    let other = Authority::new().sign("mx.example.net");
    for (selector, whole) in [(0, certificate.clone()), (1, key)] {
        let digests = [
            (0, whole.clone()),
            (1, openssl(&["dgst", "-sha256", "-binary"], &whole)),
            (2, openssl(&["dgst", "-sha512", "-binary"], &whole)),
        ];
        for (matching, data) in digests {
            for usage in [2, 3] {
                let record = Tlsa { usage, selector, matching, data: data.clone() };
                assert!(record.is_usable() && record.matches(certificate), "{usage} {selector} {matching}");
                assert!(!record.matches(&other.der[0]));
                let mut bent = record.clone();
                bent.data[5] ^= 1;
                assert!(!bent.matches(certificate));
            }
        }
    }
}

#[test]
fn records_with_numbers_or_lengths_that_smtp_does_not_use_are_unusable() {
    let record = |usage, selector, matching, length| Tlsa { usage, selector, matching, data: vec![1; length] };
    assert!(record(3, 1, 1, 32).is_usable() && record(2, 0, 2, 64).is_usable());
    for wrong in [
        record(0, 1, 1, 32),
        record(1, 1, 1, 32),
        record(4, 1, 1, 32),
        record(3, 2, 1, 32),
        record(3, 1, 3, 32),
        record(3, 1, 1, 31),
        record(3, 1, 2, 32),
        record(3, 0, 0, 100),
        record(3, 1, 0, 0),
    ] {
        assert!(!wrong.is_usable(), "{wrong:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_record_and_any_certificate_are_looked_at_without_a_crash(
        numbers in proptest::prelude::any::<[u8; 3]>(),
        data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let record = Tlsa { usage: numbers[0] % 5, selector: numbers[1] % 3, matching: numbers[2] % 4, data: data.clone() };
        let _ = record.is_usable();
        proptest::prop_assert!(record.matching != 0 || !record.matches(&data) || record.selector == 0);
    }
}
