//! Which authorities may issue certificates, and by which account: what CAA records say.

use crate::records::Authority;
use base::Paths;
use base::acme::Acme;

/// A line for each account; there are few.
const MAX_FILE: u64 = 4_096;

/// The authorities that the box asks for certificates, the first choice first. None when one of them is not known by name:
/// then nobody is kept from issuing.
pub fn of(paths: &Paths, acme: &Acme) -> Vec<Authority> {
    let accounts = accounts(paths);
    let one = |authority: &base::acme::Authority| {
        let account = accounts.iter().find(|uri| host(uri) == Some(authority.host())).cloned();
        Some(Authority { name: authority.issuer()?, account })
    };
    let all: Option<Vec<Authority>> = acme.authorities().iter().map(one).collect();
    all.unwrap_or_default()
}

/// The accounts that the certs role has, as URIs, a line for each.
fn accounts(paths: &Paths) -> Vec<String> {
    let file = paths.tls().join("account-uri");
    let is_small = std::fs::metadata(&file).is_ok_and(|meta| meta.len() <= MAX_FILE);
    let text = if is_small { std::fs::read_to_string(&file).unwrap_or_default() } else { String::new() };
    // What would end the value or the quotes in a CAA record is no URI.
    let plain = |line: &&str| {
        line.starts_with("https://") && line.bytes().all(|byte| byte.is_ascii_graphic() && !b"\";\\".contains(&byte))
    };
    text.lines().map(str::trim).filter(plain).map(str::to_owned).collect()
}

fn host(url: &str) -> Option<&str> {
    url.strip_prefix("https://")?.split(['/', ':']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_named_with_the_account_there() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let names = |directories: &[&str]| {
            let mut acme = Acme { directory: directories[0].to_owned(), ..Acme::default() };
            acme.fallback = directories[1..]
                .iter()
                .map(|directory| serde_json::from_value(serde_json::json!({ "directory": directory })).unwrap())
                .collect();
            of(&paths, &acme)
        };
        let le = base::acme::LETS_ENCRYPT;
        let zero = "https://acme.zerossl.com/v2/DV90";
        assert_eq!(names(&[le]), [Authority { name: "letsencrypt.org".into(), account: None }]);
        std::fs::create_dir_all(paths.tls()).unwrap();
        let account = "https://acme-v02.api.letsencrypt.org/acme/acct/7";
        std::fs::write(paths.tls().join("account-uri"), format!("{account}\nhttps://evil/\";x\n")).unwrap();
        let both = names(&[le, zero]);
        assert_eq!(both[0].account.as_deref(), Some(account));
        assert_eq!((both[1].name.as_str(), &both[1].account), ("sectigo.com", &None));
        assert!(names(&[le, "https://ca.internal/directory"]).is_empty(), "an unknown one must not be shut out");
    }
}
