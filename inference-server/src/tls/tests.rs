use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;

/// A folder with a pair in it.
struct Pair {
    folder: tempfile::TempDir,
    settings: TlsSettings,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = TlsSettings {
            cert: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
            client_ca: None,
            handshake_timeout: Duration::from_secs(10),
        };
        let pair = Pair { folder, settings };
        pair.write(&fresh());
        pair
    }

    fn write(&self, (cert, key): &(String, String)) {
        fs::write(&self.settings.cert, cert).unwrap();
        fs::write(&self.settings.key, key).unwrap();
    }

    fn refused(&self) -> String {
        let opened = Tls::open(self.settings.clone());
        let sentence = opened.err().expect("it is refused").to_string();
        let folder = format!("{}/", self.folder.path().display());
        sentence.replace(&folder, "")
    }
}

fn fresh() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[test]
fn what_does_not_fit_together_is_refused_in_a_sentence() {
    let pair = Pair::new();
    let (cert, key) = fresh();
    let bad_base64 = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".to_owned();
    let no_der = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n".to_owned();
    for (cert, key, sentence) in [
        (
            &cert,
            &fresh().1,
            "the private key in tls.key does not belong to the certificate in tls.crt",
        ),
        (
            &key,
            &key,
            "there is no certificate in tls.crt: it must be a PEM file",
        ),
        (
            &cert,
            &cert,
            "there is no private key in tls.key: it must be a PEM file",
        ),
        (&bad_base64, &key, "cannot read the certificate in tls.crt: "),
        (
            &no_der,
            &key,
            "cannot use the certificate in tls.crt with the private key in tls.key: ",
        ),
    ] {
        pair.write(&(cert.clone(), key.clone()));
        let refused = pair.refused();
        assert!(refused.starts_with(sentence), "{refused}");
    }
    fs::remove_file(&pair.settings.key).unwrap();
    assert!(
        pair.refused()
            .starts_with("cannot read tls.key, which is needed for TLS: No such file"),
        "{}",
        pair.refused()
    );
}

#[test]
fn authorities_of_clients_must_be_there_where_they_are_asked_for() {
    let mut pair = Pair::new();
    let authorities = pair.folder.path().join("ca.crt");
    fs::write(&authorities, "nothing").unwrap();
    pair.settings.client_ca = Some(authorities.clone());
    assert_eq!(
        pair.refused(),
        "there is no certificate in ca.crt: it must be a PEM file"
    );
    fs::write(&authorities, fresh().0).unwrap();
    assert!(Tls::open(pair.settings).unwrap().asks_clients());
}

#[test]
fn a_whole_new_pair_is_taken_and_half_of_one_is_not() {
    let pair = Pair::new();
    let tls = Tls::open(pair.settings.clone()).unwrap();
    let same = |before: &Arc<ServerConfig>| Arc::ptr_eq(before, &tls.http());

    let first = tls.http();
    tls.look_again();
    assert!(same(&first), "nothing has changed");

    let (cert, key) = fresh();
    fs::write(&pair.settings.cert, cert).unwrap();
    tls.look_again();
    assert!(same(&first), "the key is still the old one");
    fs::write(&pair.settings.key, key).unwrap();
    tls.look_again();
    assert!(!same(&first));

    let second = tls.http();
    fs::remove_file(&pair.settings.cert).unwrap();
    tls.look_again();
    assert!(same(&second), "a file that is gone changes nothing");
    pair.write(&fresh());
    tls.look_again();
    assert!(!same(&second));
}

#[test]
fn the_end_of_the_certificate_is_known() {
    let pair = Pair::new();
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2031, 5, 6);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = parameters.self_signed(&key).unwrap();
    pair.write(&(cert.pem(), key.serialize_pem()));
    let tls = Tls::open(pair.settings.clone()).unwrap();
    let expires = humantime::format_rfc3339_seconds(tls.now().expires).to_string();
    assert_eq!(expires, "2031-05-06T00:00:00Z");
}
