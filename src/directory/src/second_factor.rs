//! Codes of the second factor: TOTP (RFC 6238) as every authenticator app knows it, with SHA-1, six digits and 30 seconds.
//! Pure; which step was used last is for the caller to keep.

use crate::limits::{CODE_SECONDS, CODE_SKEW};
use totp_rs::{Builder, Secret as Key, Totp};

/// Octets of a key: what HMAC-SHA-1 gives (RFC 4226 §4, R6 wants 16 and recommends 20).
pub const KEY: usize = 20;

/// As it is typed into an app.
pub fn base32(key: [u8; KEY]) -> String {
    Key::from(key).to_base32()
}

/// The time step of a code that is good now and newer than the one that was used last (RFC 6238 §5.2: a code lets in once).
/// A key of the wrong size fits no code.
pub fn fresh_step(key: &[u8], code: &str, now: u64, used: u64) -> Option<u64> {
    let digits: String = code.chars().filter(|sign| !sign.is_whitespace()).collect();
    totp(key)?.check(&digits, now).filter(|step| *step > used)
}

fn totp(key: &[u8]) -> Option<Totp> {
    let key: [u8; KEY] = key.try_into().ok()?;
    Builder::new().with_secret(key).with_skew(CODE_SKEW).with_step_duration(CODE_SECONDS).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, whose codes have eight digits: the last six of them.
    const KEY_OF_THE_RFC: &[u8; KEY] = b"12345678901234567890";

    #[test]
    fn the_codes_of_the_rfc_are_taken_with_blanks_and_without() {
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130"), (59, " 287 082 ")] {
            assert_eq!(fresh_step(KEY_OF_THE_RFC, code, time, 0), Some(time / CODE_SECONDS), "{code}");
        }
        for wrong in ["", "287083", "2870820", "28708", "-87082", "28708x", "٢٨٧٠٨٢"] {
            assert_eq!(fresh_step(KEY_OF_THE_RFC, wrong, 59, 0), None, "{wrong}");
        }
        assert_eq!(fresh_step(b"short", "287082", 59, 0), None);
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_a_code_lets_in_once() {
        let step = |now, used| fresh_step(KEY_OF_THE_RFC, "287082", now, used);
        assert_eq!([step(29, 0), step(89, 0)], [Some(1), Some(1)]);
        assert_eq!([step(119, 0), step(59, 1), step(59, 2)], [None; 3]);
    }

    #[test]
    fn a_key_is_written_in_base32() {
        assert_eq!(base32(*KEY_OF_THE_RFC), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
