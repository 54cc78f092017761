//! DIGEST-MD5 as Hadoop uses it for tokens: both ends' steps, quality of protection `auth` only.
//!
//! ```text
//! server: realm="default",nonce="…",qop="auth",charset=utf-8,algorithm=md5-sess
//! client: charset=utf-8,username="…",realm="default",nonce="…",nc=00000001,cnonce="…",digest-uri="/default",…,response=…
//! server: rspauth=…
//! ```
//! User name and password are a token's identifier and password in Base64; protocol and host of the digest URI are empty
//! and `default`. Both sides prove that they know the password; it never travels. Nonces come from outside.
//! Source: RFC 2831; Hadoop `SaslRpcServer`, `SaslRpcClient`; Java's `DigestMD5Server`.

use super::base64;
use bytes::Bytes;
use md5::{Digest, Md5};
use std::collections::HashMap;

/// The mechanism's name.
pub const DIGEST_MD5: &str = "DIGEST-MD5";
/// Realm and server id of every Hadoop server.
pub const DEFAULT_REALM: &str = "default";
/// Longest message of either side.
const MAX_LEN: usize = 16 << 10;
const DIGEST_URI: &str = "/default";
const FIRST_USE: &str = "00000001";
const QOP: &str = "auth";

/// A step that cannot be followed; the text says why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("DIGEST-MD5: {0}")]
pub struct DigestError(&'static str);

/// A server's side of one negotiation.
#[derive(Debug)]
pub struct DigestServer {
    nonce: String,
}

impl DigestServer {
    /// A negotiation with `nonce` out of at least 16 random bytes.
    pub fn new(nonce: &[u8]) -> Self {
        Self {
            nonce: base64::encode(nonce),
        }
    }

    /// The first message.
    pub fn challenge(&self) -> Bytes {
        let nonce = &self.nonce;
        let text =
            format!("realm=\"{DEFAULT_REALM}\",nonce=\"{nonce}\",qop=\"{QOP}\",charset=utf-8,algorithm=md5-sess");
        text.into()
    }

    /// Reads the client's answer.
    ///
    /// Errors: it is malformed, or answers another challenge.
    pub fn read(&self, answer: &[u8]) -> Result<DigestAnswer, DigestError> {
        let mut fields = directives(answer)?;
        let mut take = |name: &str| fields.remove(name);
        let nonce = take("nonce").ok_or(DigestError("no nonce"))?;
        if nonce != self.nonce {
            return Err(DigestError("nonce is not the challenge's"));
        }
        let nc = take("nc").ok_or(DigestError("no nonce count"))?;
        if nc != FIRST_USE {
            return Err(DigestError("nonce count is not 1"));
        }
        if take("realm").is_some_and(|realm| realm != DEFAULT_REALM) {
            return Err(DigestError("unknown realm"));
        }
        if take("qop").is_some_and(|qop| qop != QOP) {
            return Err(DigestError("unsupported quality of protection"));
        }
        let uri = take("digest-uri").ok_or(DigestError("no digest URI"))?;
        if uri != DIGEST_URI {
            return Err(DigestError("digest URI is not this server's"));
        }
        Ok(DigestAnswer {
            user: take("username").ok_or(DigestError("no user name"))?,
            cnonce: take("cnonce").ok_or(DigestError("no client nonce"))?,
            authzid: take("authzid"),
            response: take("response").ok_or(DigestError("no response"))?,
            nonce,
        })
    }
}

/// What a client answered; good only when [`DigestAnswer::verify`] says so.
#[derive(Debug)]
pub struct DigestAnswer {
    user: String,
    nonce: String,
    cnonce: String,
    authzid: Option<String>,
    response: String,
}

impl DigestAnswer {
    /// The identifier of the token that the client claims to have.
    ///
    /// Errors: the user name is not Base64.
    pub fn identifier(&self) -> Result<Bytes, DigestError> {
        let bytes = base64::decode(&self.user).ok_or(DigestError("user name is not an identifier"))?;
        Ok(bytes.into())
    }

    /// Checks the proof against the token's password; the server's own proof if it is good.
    pub fn verify(&self, password: &[u8]) -> Option<Bytes> {
        let proof = Proof {
            user: &self.user,
            password: &base64::encode(password),
            nonce: &self.nonce,
            cnonce: &self.cnonce,
            authzid: self.authzid.as_deref(),
        };
        let expected = proof.of("AUTHENTICATE:");
        let differing = expected
            .bytes()
            .zip(self.response.bytes())
            .fold(0, |all, (a, b)| all | (a ^ b));
        let good = differing == 0 && expected.len() == self.response.len();
        good.then(|| format!("rspauth={}", proof.of(":")).into())
    }
}

/// A client's side of one negotiation.
#[derive(Debug)]
pub struct DigestClient {
    answer: Bytes,
    expected: Bytes,
}

impl DigestClient {
    /// Answers a server's challenge; `cnonce`: at least 16 random bytes.
    ///
    /// Errors: the challenge is malformed, or leaves out quality of protection `auth`.
    pub fn new(challenge: &[u8], identifier: &[u8], password: &[u8], cnonce: &[u8]) -> Result<Self, DigestError> {
        let fields = directives(challenge)?;
        let nonce = fields.get("nonce").ok_or(DigestError("no nonce"))?;
        let offered = fields.get("qop").map_or(QOP, String::as_str);
        if !offered.split(',').any(|qop| qop.trim() == QOP) {
            return Err(DigestError("server wants another quality of protection than auth"));
        }
        let (user, cnonce) = (base64::encode(identifier), base64::encode(cnonce));
        let proof = Proof {
            user: &user,
            password: &base64::encode(password),
            nonce,
            cnonce: &cnonce,
            authzid: None,
        };
        let answer = format!(
            "charset=utf-8,username=\"{user}\",realm=\"{DEFAULT_REALM}\",nonce=\"{nonce}\",nc={FIRST_USE},\
             cnonce=\"{cnonce}\",digest-uri=\"{DIGEST_URI}\",maxbuf=65536,response={},qop={QOP}",
            proof.of("AUTHENTICATE:")
        );
        Ok(Self {
            answer: answer.into(),
            expected: format!("rspauth={}", proof.of(":")).into(),
        })
    }

    /// What to send.
    pub fn answer(&self) -> Bytes {
        self.answer.clone()
    }

    /// Whether the server proved that it knows the password.
    pub fn verify(&self, last: &[u8]) -> bool {
        self.expected == last
    }
}

/// What goes into a proof.
struct Proof<'a> {
    user: &'a str,
    password: &'a str,
    nonce: &'a str,
    cnonce: &'a str,
    authzid: Option<&'a str>,
}

impl Proof<'_> {
    /// The digest of RFC 2831, section 2.1.2.1; `method` tells client and server apart.
    fn of(&self, method: &str) -> String {
        let secret = Md5::digest(format!("{}:{DEFAULT_REALM}:{}", self.user, self.password));
        let mut session = Md5::new();
        session.update(secret);
        session.update(format!(":{}:{}", self.nonce, self.cnonce));
        if let Some(authzid) = self.authzid {
            session.update(format!(":{authzid}"));
        }
        let (session, target) = (
            hex(&session.finalize()),
            hex(&Md5::digest(format!("{method}{DIGEST_URI}"))),
        );
        let (nonce, cnonce) = (self.nonce, self.cnonce);
        hex(&Md5::digest(format!(
            "{session}:{nonce}:{FIRST_USE}:{cnonce}:{QOP}:{target}"
        )))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Splits `name=value,name="quoted value",…`; the last of equal names counts.
fn directives(message: &[u8]) -> Result<HashMap<String, String>, DigestError> {
    if message.len() > MAX_LEN {
        return Err(DigestError("message is too long"));
    }
    let mut rest = std::str::from_utf8(message).map_err(|_| DigestError("message is not UTF-8"))?;
    let mut found = HashMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(found);
        }
        let (name, value) = rest.split_once('=').ok_or(DigestError("directive without a value"))?;
        let name = name.trim().to_owned();
        let value = value.trim_start();
        match value.strip_prefix('"') {
            Some(quoted) => {
                let (text, behind) = unquote(quoted)?;
                found.insert(name, text);
                rest = behind;
            }
            None => {
                let (text, behind) = value.split_once(',').unwrap_or((value, ""));
                found.insert(name, text.trim_end().to_owned());
                rest = behind;
            }
        }
    }
}

/// Reads up to the closing quote; a backslash takes the next character as it is.
fn unquote(quoted: &str) -> Result<(String, &str), DigestError> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next().ok_or(DigestError("unfinished escape"))?.1),
            char => text.push(char),
        }
    }
    Err(DigestError("unfinished quote"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDENTIFIER: &[u8] = b"\x8a\x01\x8b identifier";
    const PASSWORD: &[u8] = &[7; 20];

    #[test]
    fn both_sides_convince_each_other() {
        let server = DigestServer::new(&[1; 16]);
        let client = DigestClient::new(&server.challenge(), IDENTIFIER, PASSWORD, &[2; 16]).unwrap();
        let answer = server.read(&client.answer()).unwrap();
        assert_eq!(answer.identifier().unwrap(), IDENTIFIER);
        let last = answer.verify(PASSWORD).expect("the password is right");
        assert!(client.verify(&last));
        assert!(!client.verify(b"rspauth=00"));
        assert_eq!(answer.verify(&[8; 20]), None);
        assert!(
            DigestServer::new(&[3; 16]).read(&client.answer()).is_err(),
            "another challenge's answer"
        );
    }

    #[test]
    fn messages_are_javas() {
        let challenge = "realm=\"default\",nonce=\"AQEBAQEBAQEBAQEBAQEBAQ==\",qop=\"auth\",charset=utf-8,\
                         algorithm=md5-sess";
        assert_eq!(DigestServer::new(&[1; 16]).challenge(), challenge);
        let client = DigestClient::new(challenge.as_bytes(), b"id", b"pw", &[2; 16]).unwrap();
        // The digest is that of Python's hashlib over RFC 2831's formula.
        let answer = "charset=utf-8,username=\"aWQ=\",realm=\"default\",nonce=\"AQEBAQEBAQEBAQEBAQEBAQ==\",nc=00000001,\
                      cnonce=\"AgICAgICAgICAgICAgICAg==\",digest-uri=\"/default\",maxbuf=65536,\
                      response=1f435176f1e5f88b8a7c3c184aec6577,qop=auth";
        assert_eq!(client.answer(), answer);
    }

    #[test]
    fn what_is_missing_or_foreign_is_refused() {
        let server = DigestServer::new(&[1; 16]);
        let client = DigestClient::new(&server.challenge(), IDENTIFIER, PASSWORD, &[2; 16]).unwrap();
        let good = String::from_utf8(client.answer().to_vec()).unwrap();
        for (from, to) in [
            ("nonce=\"AQ", "nonce=\"BQ"),
            ("nc=00000001", "nc=00000002"),
            ("qop=auth", "qop=auth-conf"),
            ("realm=\"default\"", "realm=\"other\""),
            ("digest-uri=\"/default\"", "digest-uri=\"nn/default\""),
            ("response=", "answer="),
            ("username=", "user="),
            ("qop=auth", "qop=\"auth"),
            ("qop=auth", "qop"),
        ] {
            assert!(good.contains(from));
            assert!(
                server.read(good.replacen(from, to, 1).as_bytes()).is_err(),
                "{from} -> {to}"
            );
        }
        let strict = server.challenge().to_vec();
        let strict = String::from_utf8(strict).unwrap().replace("\"auth\"", "\"auth-conf\"");
        assert!(DigestClient::new(strict.as_bytes(), IDENTIFIER, PASSWORD, &[2; 16]).is_err());
    }

    #[test]
    fn values_may_be_quoted_and_spaced() {
        let found = directives(b"a=1, b=\"two, \\\"2\\\"\" ,c= 3 ,,a=4").unwrap();
        let of = |name: &str| found.get(name).map(String::as_str);
        assert_eq!((of("a"), of("b"), of("c")), (Some("4"), Some("two, \"2\""), Some("3")));
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            let server = DigestServer::new(&[1; 16]);
            let _ = (server.read(&bytes), server.read(text.as_bytes()));
            let _ = DigestClient::new(&bytes, b"i", b"p", b"c");
        }
    }
}
