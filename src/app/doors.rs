//! What lets clients in: from the configuration, and again when it or its files change.
//!
//! Files are read again every few seconds and compared by what is in them: what a system has mounted in their place may
//! have any time, and any name behind the one that is configured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{self, ClientAuth, Config, TlsVersion};
use crate::server::{self, AccessSettings, Clients, ServerCertificate, TlsError, TlsSettings};
use crate::telemetry::{Metrics, Watched};

use super::remarks::Remarks;

/// How often files are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// What lets clients in, as it is now. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// TLS, where it is spoken.
    tls: Option<server::Tls>,
    access: server::Access,
    made_of: Mutex<MadeOf>,
    remarks: Remarks,
    metrics: Metrics,
}

/// The configuration of the doors as it is in use, with what is in its files.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MadeOf {
    pub(super) tls: config::Tls,
    pub(super) access: config::Access,
}

impl Doors {
    /// As the configuration has it.
    ///
    /// # Errors
    /// TLS cannot be like this.
    pub(super) fn new(config: &Config, metrics: Metrics) -> Result<Self, TlsError> {
        let is_spoken = !config.tls.listen.is_empty();
        let tls = if is_spoken { Some(server::Tls::new(settings(&config.tls))?) } else { None };
        let made_of = MadeOf { tls: config.tls.clone(), access: config.access.clone() };
        let access = server::Access::new(admission(&made_of), metrics.clone());
        let (made_of, remarks) = (Mutex::new(made_of), Remarks::new(metrics.clone()));
        let doors = Self { inner: Arc::new(Inner { tls, access, made_of, remarks, metrics }) };
        doors.inspect(&config.tls);
        Ok(doors)
    }

    /// TLS as it is spoken.
    pub(super) fn tls(&self) -> Option<server::Tls> {
        self.inner.tls.clone()
    }

    /// Who may have what.
    pub(super) fn access(&self) -> server::Access {
        self.inner.access.clone()
    }

    /// Takes into use what a new configuration says.
    ///
    /// # Errors
    /// TLS cannot be like this; all stays as it was.
    pub(super) fn take(&self, new: &Config) -> Result<(), TlsError> {
        let mut made_of = self.made_of();
        // Where it is listened stays as it was: that is for a restart.
        let tls = config::Tls { listen: made_of.tls.listen.clone(), ..new.tls.clone() };
        let new = MadeOf { tls, access: new.access.clone() };
        self.replace(&made_of, &new)?;
        *made_of = new;
        Ok(())
    }

    fn replace(&self, old: &MadeOf, new: &MadeOf) -> Result<(), TlsError> {
        if let Some(tls) = &self.inner.tls
            && old.tls != new.tls
        {
            tls.replace(settings(&new.tls))?;
            self.inspect(&new.tls);
        }
        if old != new {
            self.inner.access.replace(admission(new));
        }
        Ok(())
    }

    /// Looks at the files again and again, for as long as it is let.
    pub(super) async fn watch(self) {
        loop {
            sleep(EVERY).await;
            let doors = self.clone();
            // The files are on a disk that may be slow.
            if let Err(error) = spawn_blocking(move || doors.look()).await {
                tracing::error!(%error, "the files of the doors were not looked at");
            }
        }
    }

    /// Looks at the files once. Blocks.
    pub(super) fn look(&self) {
        let old = self.made_of().clone();
        let (tls, access) = (old.tls.read_again(), old.access.read_again());
        let mut new = MadeOf {
            tls: tls.as_ref().unwrap_or(&old.tls).clone(),
            access: access.as_ref().unwrap_or(&old.access).clone(),
        };
        let mut tls = tls.map(drop);
        {
            let mut made_of = self.made_of();
            // Unless the configuration was read again meanwhile, with these files or others.
            if *made_of != old {
                return;
            }
            if let Err(error) = self.replace(&old, &new) {
                tls = Err(error.to_string());
                new.tls = old.tls.clone();
                self.inner.access.replace(admission(&new));
            }
            if new != old {
                tracing::info!("files of certificates or users have changed, and are taken into use");
            }
            *made_of = new;
        }
        self.inner.remarks.tell(Watched::Tls, tls);
        self.inner.remarks.tell(Watched::Users, access.map(drop));
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

    /// What they are made of now.
    pub(super) fn made_of(&self) -> MutexGuard<'_, MadeOf> {
        self.inner.made_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn admission(made_of: &MadeOf) -> AccessSettings {
    let MadeOf { tls, access } = made_of;
    AccessSettings {
        rules: access.rules(tls),
        networks: access.networks.clone(),
        proxies: access.proxies.clone(),
        users: access.htpasswd.as_ref().map(|htpasswd| htpasswd.users.clone()),
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
