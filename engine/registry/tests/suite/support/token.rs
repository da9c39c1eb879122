//! A token server for docker-registry: it signs what it grants, and grants what it is told.

use super::{
    http::{Reply, Request, Server},
    run,
};
use base64::{Engine, prelude::*};
use serde_json::json;
use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

pub struct TokenServer {
    pub server: Server,
    /// PEM of what its tokens are signed with.
    pub certificate: Vec<u8>,
    _folder: tempfile::TempDir,
    /// The scopes it was asked for, request by request.
    pub asked: Arc<Mutex<Vec<Vec<String>>>>,
}

/// docker-registry takes tokens for so long after their end.
const LEEWAY: u64 = 60;
pub const USER: &str = "me";
pub const PASSWORD: &str = "hunter2";
pub const REFRESH: &str = "refresh-hunter2";

impl TokenServer {
    /// Everybody may pull from `public/`; the user may do all, but pull from `closed/`. Tokens live for so long.
    pub fn start(seconds: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (key, certificate) = (path("key.pem"), path("cert.pem"));
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=tokens",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        );
        let der = run("openssl", &["x509", "-in", &certificate, "-outform", "DER"]);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let server = Server::start(move |request| answer(request, Path::new(&key), &der, seconds, &seen));
        Self { server, certificate: std::fs::read(certificate).unwrap(), _folder: folder, asked }
    }

    /// For the registry's configuration.
    pub fn auth(&self) -> String {
        format!(
            "  token:\n    realm: http://{}/token\n    service: test\n    issuer: issuer\n    rootcertbundle: FOLDER/tokens.pem",
            self.server.host()
        )
    }
}

fn answer(request: &Request, key: &Path, der: &[u8], seconds: u64, asked: &Mutex<Vec<Vec<String>>>) -> Reply {
    let text = match request.method.as_str() {
        "POST" => String::from_utf8_lossy(&request.body).into_owned(),
        _ => request.target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
    };
    let members: Vec<(String, String)> = text
        .split('&')
        .filter_map(|member| member.split_once('='))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let refresh = members.iter().any(|(name, value)| name == "refresh_token" && value == REFRESH);
    let is_user = match (request.method.as_str(), request.header("authorization")) {
        ("POST", None) if refresh => true,
        ("GET", Some(header)) if header == basic => true,
        ("GET", None) => false,
        _ => return Reply::new(401),
    };
    let scopes: Vec<String> = members
        .iter()
        .filter(|(name, _)| name == "scope")
        .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    asked.lock().unwrap().push(scopes.clone());
    let mut access = Vec::new();
    for scope in &scopes {
        let mut parts = scope.splitn(3, ':');
        let (Some(kind), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let may = |action: &&str| match *action {
            "pull" => name.starts_with("public/") || (is_user && !name.starts_with("closed/")),
            _ => is_user,
        };
        let granted: Vec<&str> = actions.split(',').filter(may).collect();
        access.push(json!({ "type": kind, "name": name, "actions": granted }));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [BASE64_STANDARD.encode(der)] });
    let claims = json!({
        "iss": "issuer", "sub": USER, "aud": "test", "exp": now + seconds - LEEWAY, "nbf": now - 100, "iat": now,
        "jti": "1", "access": access,
    });
    let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(sign(key, signed.as_bytes())));
    // Longer than is true: the registry is the first to notice that it is over.
    Reply::ok(json!({ "token": token, "expires_in": seconds + 60 }).to_string())
}

fn sign(key: &Path, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
