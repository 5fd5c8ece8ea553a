//! Who may sign the certificates of receivers, beside those that this machine trusts.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates of authorities that sign those of receivers. The default is none: this machine's own are trusted alone.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// Why a file of authorities is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// There is no such file, or it may not be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing in it is a certificate.
    #[error("{}: there is no certificate in it; allowed: PEM, from -----BEGIN CERTIFICATE----- on", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of its certificates can't be trusted, whatever it is.
    #[error("{}: certificate {number} is broken: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Authorities {
    /// All certificates of a PEM file; what else it holds is passed over.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let pem = fs::read(path)
            .map_err(|source| AuthoritiesError::Unreadable { path: path.to_path_buf(), source })?;
        let mut found = Vec::new();
        for (number, read) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
            let broken = |why| AuthoritiesError::Broken { path: path.to_path_buf(), number, why };
            let certificate = read.map_err(|error| broken(error.to_string()))?;
            let trusted = RootCertStore::empty().add(certificate.clone());
            trusted.map_err(|error| broken(error.to_string()))?;
            found.push(certificate);
        }
        if found.is_empty() {
            return Err(AuthoritiesError::Empty { path: path.to_path_buf() });
        }
        Ok(Self(found))
    }

    /// Their certificates.
    pub(crate) fn certificates(self) -> Vec<CertificateDer<'static>> {
        self.0
    }
}
