//! A CA of our own, by openssl.

use super::run;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{path::Path, sync::Arc};

pub struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Self { folder };
        let (key, certificate) = (authority.key(), authority.certificate());
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=test CA",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        );
        authority
    }

    pub fn certificate(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }

    /// For a server in this process, under a certificate for 127.0.0.1 and localhost.
    pub fn server(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(self.folder.path(), "line");
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    fn key(&self) -> String {
        self.folder.path().join("ca.key").display().to_string()
    }

    /// A certificate for 127.0.0.1 and localhost, and its key.
    pub fn issue(&self, folder: &Path, name: &str) -> (String, String) {
        let path = |extension: &str| folder.join(format!("{name}.{extension}")).display().to_string();
        let (key, request, certificate, extensions) = (path("key"), path("csr"), path("cert"), path("ext"));
        std::fs::write(&extensions, "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
            .unwrap();
        run(
            "openssl",
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        run(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &self.certificate(),
                "-CAkey",
                &self.key(),
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &extensions,
                "-out",
                &certificate,
            ],
        );
        (certificate, key)
    }
}
