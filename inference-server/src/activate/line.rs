//! The connection of a client in; the moment at which the client leaves out.
//!
//! Over HTTP/1.1 nobody reads from a connection while the body of its request is left with its sender, and so nobody would
//! notice that the sender is gone. The kernel does: it is asked here, by a second handle of the same connection.

use std::{future::pending, io, net, os::fd::AsFd, sync::Arc};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::{io::Interest, net::TcpStream};

use crate::{
    ports::{Client, Plain},
    tls::handshakes::{Secured, Shown},
};

/// A second handle of a client's connection.
#[derive(Clone, Debug, Default)]
pub struct Line(Option<Arc<TcpStream>>);

impl Line {
    fn of(stream: &TcpStream) -> Line {
        let twin = stream.as_fd().try_clone_to_owned().map(net::TcpStream::from);
        // With too many files open it is not known when a client leaves.
        Line(twin.and_then(TcpStream::from_std).ok().map(Arc::new))
    }

    /// Ends when the client has closed its side.
    pub async fn closed(&self) {
        let Some(stream) = &self.0 else {
            return pending().await;
        };
        while let Ok(ready) = stream.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // What has come is not read here: wait for the next event.
            let nothing = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
            let _ = stream.try_io(Interest::READABLE, nothing);
        }
    }
}

/// What is known of a client.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its connection.
    pub line: Line,
    /// Whether it has shown a certificate.
    pub shown: Shown,
}

impl Client for Peer {}

impl From<Peer> for Shown {
    fn from(peer: Peer) -> Shown {
        peer.shown
    }
}

impl Connected<IncomingStream<'_, Plain>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Plain>) -> Self {
        Peer {
            line: Line::of(stream.io()),
            shown: Shown(false),
        }
    }
}

impl Connected<IncomingStream<'_, Secured>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Secured>) -> Self {
        let line = Line::of(stream.io().get_ref().0);
        Peer {
            line,
            shown: Shown::connect_info(stream),
        }
    }
}
