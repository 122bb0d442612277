//! A certificate of the owner's own, checked before it is served.

use crate::inspect;
use crate::pair::Pair;
use crate::{Certificate, CertsError};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads certificate, chain and key from one text, and says in one sentence what is wrong with them.
pub fn check(text: &str, hostname: &str, now: u64) -> Result<(Pair, Certificate), CertsError> {
    let refuse = |words: &str| CertsError::Refused(words.to_owned());
    let pair = Pair::parse(text);
    if pair.key.contains("ENCRYPTED") {
        return Err(refuse("the key is protected by a passphrase; write it without: openssl pkey -in KEY -out PLAIN"));
    }
    if pair.key.is_empty() {
        return Err(refuse(
            "there is no private key in PEM form (-----BEGIN PRIVATE KEY-----), and it is not for the key that is served",
        ));
    }
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pair.chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| CertsError::Refused(format!("the certificate cannot be read: {error}")))?;
    let Some(first) = chain.first() else {
        return Err(refuse("there is no certificate in PEM form (-----BEGIN CERTIFICATE-----)"));
    };
    let certificate = Certificate::of(first).map_err(CertsError::Refused)?;
    let key = KeyPair::from_pem(&pair.key)
        .map_err(|error| CertsError::Refused(format!("the key cannot be used: {error}")))?;
    if inspect::spki(&key) != certificate.spki {
        return Err(refuse("the key does not belong to the first certificate; put the box's own certificate first"));
    }
    in_order(&chain)?;
    if certificate.not_after <= now {
        let ended = base::time::readable(certificate.not_after);
        return Err(CertsError::Refused(format!("the certificate ended on {ended}; ask for a new one")));
    }
    if certificate.not_before > now {
        let begins = base::time::readable(certificate.not_before);
        return Err(CertsError::Refused(format!("the certificate is good from {begins} on; import it then")));
    }
    if !certificate.covers(hostname) {
        let names = certificate.names.join(", ");
        return Err(CertsError::Refused(format!(
            "the certificate is for {names} and not for {hostname}, the name by which programs know this box"
        )));
    }
    Ok((pair, certificate))
}

/// Each certificate is issued and signed by the next (RFC 8446 §4.4.2).
fn in_order(chain: &[CertificateDer<'_>]) -> Result<(), CertsError> {
    let read = |der: &CertificateDer<'_>| match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok((certificate.subject().to_string(), certificate.issuer().to_string())),
        Err(error) => Err(CertsError::Refused(format!("a certificate of the chain cannot be read: {error}"))),
    };
    for (below, above) in chain.iter().zip(chain.iter().skip(1)) {
        let ((subject, issuer), (above_subject, _)) = (read(below)?, read(above)?);
        if issuer != above_subject {
            return Err(CertsError::Refused(format!(
                "the chain is out of order: “{subject}” is issued by “{issuer}”, and “{above_subject}” follows it"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, date_time_ymd};

    const NOW: u64 = 1_795_248_000;

    struct Made {
        leaf: String,
        authority: String,
        key: String,
    }

    fn made(name: &str, until: i32) -> Made {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "Firm");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(until, 1, 1));
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap().pem();
        Made { leaf, authority: authority_pem, key: key.serialize_pem() }
    }

    fn why(text: &str) -> String {
        check(text, "box.example.org", NOW).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_certificate_is_taken_in_any_order_of_files_and_with_a_wildcard() {
        for name in ["box.example.org", "*.example.org"] {
            let Made { leaf, authority, key } = made(name, 2030);
            for text in [format!("{leaf}{authority}{key}"), format!("{key}\nnotes\n{leaf}{authority}")] {
                let (pair, certificate) = check(&text, "box.example.org", NOW).unwrap();
                assert!(pair.chain.starts_with("-----BEGIN CERTIFICATE-----") && pair.key.contains("PRIVATE KEY"));
                assert_eq!(certificate.names, [name]);
            }
        }
    }

    #[test]
    fn what_would_not_serve_is_refused_in_a_sentence() {
        let Made { leaf, authority, key } = made("box.example.org", 2030);
        let other = made("box.example.org", 2030);
        for (text, words) in [
            (format!("{leaf}{authority}{}", other.key), "does not belong"),
            (format!("{authority}{leaf}{key}"), "put the box's own certificate first"),
            (format!("{leaf}{}{authority}{key}", other.leaf), "out of order"),
            (format!("{leaf}{authority}"), "no private key"),
            (key.clone(), "no certificate"),
            (format!("{leaf}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE")), "passphrase"),
            (leaf.replace('M', "!") + &key, "cannot be read"),
        ] {
            assert!(why(&text).contains(words), "{words}: {}", why(&text));
        }
        let old = made("box.example.org", 2026);
        assert!(why(&format!("{}{}", old.leaf, old.key)).contains("ended on"));
        let foreign = made("mail.elsewhere.org", 2030);
        assert!(why(&format!("{}{}", foreign.leaf, foreign.key)).contains("for mail.elsewhere.org and not for"));
    }
}
