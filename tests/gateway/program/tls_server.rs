//! Servers with TLS whose certificates are in order, or wrong in one way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;

impl Authority {
    /// A server whose certificate is for `name`. It answers every request with `answer`.
    pub(crate) async fn server(&self, name: &str, answer: &'static str) -> SocketAddr {
        self.serve(CertificateParams::new(vec![name.to_owned()]).unwrap(), answer).await
    }

    /// The same with a certificate that was good long ago.
    pub(crate) async fn expired_server(&self, name: &str) -> SocketAddr {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        self.serve(params, "").await
    }

    async fn serve(&self, params: CertificateParams, answer: &'static str) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate = self.sign(&params, &key);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    // The request is short, and comes in one piece or not at all.
                    if stream.read_u8().await.is_err() {
                        return;
                    }
                    stream.write_all(answer.as_bytes()).await.ok();
                    stream.shutdown().await.ok();
                });
            }
        });
        address
    }
}
