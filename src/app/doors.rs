//! What clients are shown and have to show: from the configuration, and again when it or its files change.
//!
//! Files are read again every few seconds and compared by what is in them: what a system has mounted in their place may
//! have any time, and any name behind the one that is configured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{self, ClientAuth, TlsVersion};
use crate::server::{self, Clients, ServerCertificate, TlsError, TlsSettings};
use crate::telemetry::{Metrics, Watched};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// How often it is said again that a certificate ends, or that a file cannot be used.
const REMIND: Duration = Duration::from_secs(12 * 60 * 60);

/// What lets clients in, as it is now. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// TLS, where it is spoken.
    tls: Option<server::Tls>,
    /// What it was made of.
    made_of: Mutex<config::Tls>,
    /// What was last said to be wrong with its files, and when.
    told: Mutex<Option<(String, SystemTime)>>,
    metrics: Metrics,
}

impl Doors {
    /// As the configuration has it.
    ///
    /// # Errors
    /// TLS cannot be like this.
    pub(super) fn new(config: &config::Config, metrics: Metrics) -> Result<Self, TlsError> {
        let tls = &config.tls;
        let is_spoken = !tls.listen.is_empty();
        let made = if is_spoken { Some(server::Tls::new(settings(tls))?) } else { None };
        let (made_of, told) = (Mutex::new(tls.clone()), Mutex::default());
        let doors = Self { inner: Arc::new(Inner { tls: made, made_of, told, metrics }) };
        if is_spoken {
            doors.inspect(tls);
        }
        Ok(doors)
    }

    /// TLS as it is spoken, and how long it may take to agree on it.
    pub(super) fn tls(&self) -> Option<(server::Tls, Duration)> {
        let within = self.made_of().handshake_timeout;
        self.inner.tls.clone().map(|tls| (tls, within))
    }

    /// Takes into use what a new configuration says.
    ///
    /// # Errors
    /// TLS cannot be like this; it stays as it was.
    pub(super) fn take(&self, new: &config::Tls) -> Result<(), TlsError> {
        let mut made_of = self.made_of();
        if let Some(tls) = &self.inner.tls
            && *made_of != *new
        {
            tls.replace(settings(new))?;
            self.inspect(new);
        }
        // Where it is listened stays as it was: that is for a restart.
        let (listen, handshake_timeout) = (made_of.listen.clone(), made_of.handshake_timeout);
        *made_of = config::Tls { listen, handshake_timeout, ..new.clone() };
        Ok(())
    }

    /// Looks at the files again and again, for as long as it is let.
    pub(super) async fn watch(self) {
        loop {
            sleep(EVERY).await;
            let doors = self.clone();
            // The files are on a disk that may be slow.
            if let Err(error) = spawn_blocking(move || doors.look()).await {
                tracing::error!(%error, "the files of TLS were not looked at");
            }
        }
    }

    /// Looks at the files once. Blocks.
    pub(super) fn look(&self) {
        let Some(tls) = &self.inner.tls else { return };
        let old = self.made_of().clone();
        let new = old.read_again().and_then(|new| {
            let replaced = if new == old { Ok(()) } else { tls.replace(settings(&new)) };
            replaced.map(|()| new).map_err(|error| error.to_string())
        });
        let refused = new.is_err();
        match new {
            Ok(new) if new != old => {
                tracing::info!("certificates have changed, and are taken into use");
                self.inspect(&new);
                // Unless the configuration was read again meanwhile, with these files or others.
                let mut made_of = self.made_of();
                if *made_of == old {
                    *made_of = new;
                }
            }
            Ok(_) => {}
            Err(why) => self.complain(&why),
        }
        if !refused {
            *self.inner.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.inner.metrics.files_refused(Watched::Tls, refused);
    }

    fn complain(&self, why: &str) {
        let mut told = self.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let again = told.as_ref().is_none_or(|(said, when)| {
            said != why || now.duration_since(*when).is_ok_and(|since| since >= REMIND)
        });
        if again {
            tracing::error!(
                reason = why,
                "certificates have changed and cannot be used; those from before stay in use"
            );
            *told = Some((why.to_owned(), now));
        }
    }

    /// Says what an operator should know of what clients are shown.
    fn inspect(&self, tls: &config::Tls) {
        let (remarks, ends) = server::inspect(&certificates(tls), SystemTime::now());
        for remark in remarks {
            tracing::warn!("{remark}");
        }
        let ends = ends.and_then(|ends| ends.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.inner.metrics.certificate_ends(ends.map_or(0, |ends| ends.as_secs()));
    }

    /// The configuration as it is in use, with what is in its files.
    pub(super) fn made_of(&self) -> MutexGuard<'_, config::Tls> {
        self.inner.made_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(tls: &config::Tls) -> TlsSettings {
    let clients = tls
        .client_ca
        .as_ref()
        .map(|ca| Clients { roots: ca.roots.clone(), required: tls.client_auth == ClientAuth::Required });
    TlsSettings { certificates: certificates(tls), clients, only_13: tls.min_version == TlsVersion::V13 }
}

fn certificates(tls: &config::Tls) -> Vec<ServerCertificate> {
    let one = |certificate: &config::Certificate| ServerCertificate {
        chain: certificate.identity.chain.clone(),
        key: Arc::clone(&certificate.identity.key),
    };
    tls.certificates.iter().map(one).collect()
}
