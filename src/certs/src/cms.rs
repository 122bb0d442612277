//! Signing with the box's certificate as CMS does it (RFC 5652 §5): what is signed goes inside, with the chain.

use crate::CertsError;
use crate::pair::Pair;
use aws_lc_rs::digest::{self, SHA256, SHA384};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SigningKey};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};

const SIGNED_DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 2];
const DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 1];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113549, 1, 9, 3];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113549, 1, 9, 4];
const ID_SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const ID_SHA384: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 2];
const RSA_ENCRYPTION: &[u64] = &[1, 2, 840, 113549, 1, 1, 1];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const ECDSA_SHA384: &[u64] = &[1, 2, 840, 10045, 4, 3, 3];

/// How a kind of key signs (RFC 5754 §3).
struct Scheme {
    digest: &'static digest::Algorithm,
    digest_id: &'static [u64],
    signature_id: &'static [u64],
    /// Whether the signature's identifier has a NULL parameter.
    null: bool,
}

/// `None` for kinds of key that are rare in certificates.
fn scheme(key: &KeyPair) -> Option<Scheme> {
    if key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
        Some(Scheme { digest: &SHA256, digest_id: ID_SHA256, signature_id: ECDSA_SHA256, null: false })
    } else if key.is_compatible(&PKCS_ECDSA_P384_SHA384) {
        Some(Scheme { digest: &SHA384, digest_id: ID_SHA384, signature_id: ECDSA_SHA384, null: false })
    } else if key.is_compatible(&PKCS_RSA_SHA256) {
        Some(Scheme { digest: &SHA256, digest_id: ID_SHA256, signature_id: RSA_ENCRYPTION, null: true })
    } else {
        None
    }
}

/// A SignedData in DER that holds `content` and the chain; `None` when the key is of a kind that this does not know.
pub fn sign(pair: &Pair, content: &[u8]) -> Result<Option<Vec<u8>>, CertsError> {
    let key = pair.key_pair()?;
    let Some(scheme) = scheme(&key) else { return Ok(None) };
    let unreadable = |why: String| CertsError::Refused(format!("the chain cannot be read: {why}"));
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pair.chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(error.to_string()))?;
    let first = chain.first().ok_or_else(|| unreadable("it is empty".to_owned()))?;
    let (_, certificate) = X509Certificate::from_der(first).map_err(|error| unreadable(error.to_string()))?;
    let attributes = attributes(&scheme, content);
    // What is signed is the attributes as a SET OF, not under the tag that they are sent with (RFC 5652 §5.4).
    let signature = key.sign(&construct_der(|writer| write_set(writer, &attributes)))?;
    Ok(Some(construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&oid(SIGNED_DATA));
            writer.next().write_tagged(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_u8(1);
                    writer.next().write_set_of(|set| algorithm(set.next(), scheme.digest_id, false));
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(DATA));
                        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(content));
                    });
                    let certificates: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
                    writer.next().write_tagged_implicit(Tag::context(0), |writer| write_set(writer, &certificates));
                    writer.next().write_set_of(|set| {
                        set.next().write_sequence(|writer| {
                            writer.next().write_u8(1);
                            writer.next().write_sequence(|writer| {
                                writer.next().write_der(certificate.tbs_certificate.issuer.as_raw());
                                writer.next().write_der(&integer(certificate.tbs_certificate.raw_serial()));
                            });
                            algorithm(writer.next(), scheme.digest_id, false);
                            writer
                                .next()
                                .write_tagged_implicit(Tag::context(0), |writer| write_set(writer, &attributes));
                            algorithm(writer.next(), scheme.signature_id, scheme.null);
                            writer.next().write_bytes(&signature);
                        });
                    });
                });
            });
        });
    })))
}

/// Type and digest of what is signed (RFC 5652 §11.1, §11.2).
fn attributes(scheme: &Scheme, content: &[u8]) -> Vec<Vec<u8>> {
    let attribute = |kind: &[u64], value: Vec<u8>| {
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_oid(&oid(kind));
                writer.next().write_set_of(|set| set.next().write_der(&value));
            });
        })
    };
    let hash = digest::digest(scheme.digest, content);
    vec![
        attribute(CONTENT_TYPE, construct_der(|writer| writer.write_oid(&oid(DATA)))),
        attribute(MESSAGE_DIGEST, construct_der(|writer| writer.write_bytes(hash.as_ref()))),
    ]
}

/// A SET OF values that are in DER already; the writer sorts them.
fn write_set(writer: DERWriter<'_>, values: &[Vec<u8>]) {
    writer.write_set_of(|set| values.iter().for_each(|value| set.next().write_der(value)));
}

fn algorithm(writer: DERWriter<'_>, id: &[u64], null: bool) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(id));
        if null {
            writer.next().write_null();
        }
    });
}

fn oid(parts: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(parts)
}

/// An INTEGER from its content octets; serial numbers have twenty at most (RFC 5280 §4.1.2.2).
fn integer(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len().min(127)).unwrap_or(127);
    let mut der = vec![0x02, length];
    der.extend_from_slice(content.get(..usize::from(length)).unwrap_or_default());
    der
}
