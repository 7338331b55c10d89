//! From where somebody comes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A network, or the sockets in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Addresses.
    Of(IpNet),
    /// `unix`: by a socket in the file system.
    Socket,
}

impl Network {
    /// Whether somebody from there is in it. An IPv4 address is one however it is written.
    #[must_use]
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Of(network), Some(address)) => network.contains(&address.to_canonical()),
            (Self::Socket, None) => true,
            _ => false,
        }
    }
}

/// Whether somebody from there is in one of them.
#[must_use]
pub fn any_contains(networks: &[Network], address: Option<IpAddr>) -> bool {
    networks.iter().any(|network| network.contains(address))
}

impl FromStr for Network {
    type Err = ();

    /// A network with its length, one address, or `unix`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "unix" {
            return Ok(Self::Socket);
        }
        let one = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = one.or_else(|_| text.parse::<IpNet>()).map_err(drop)?;
        // Bits behind the length are most likely a length that is wrong.
        if network.trunc() == network { Ok(Self::Of(network)) } else { Err(()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(network) => network.fmt(f),
            Self::Socket => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses_however_they_are_written() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "10.0.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(Some(address.parse().unwrap())), inside, "{network} {address}");
            assert!(!network.contains(None));
        }
        assert!(Network::Socket.contains(None) && !Network::Socket.contains(Some("::1".parse().unwrap())));
        assert_eq!("unix".parse(), Ok(Network::Socket));
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "localhost", "10.0.0", "fd00::1/8", "10.0.0.0-10.0.0.9"]
        {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
    }
}
