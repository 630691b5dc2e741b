//! The least that a reverse proxy on pingora can be: it forwards to one upstream, and nothing else. What linkgate costs
//! is said as a multiple of this.

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{HttpPeer, Opt, Result, Server, Session, http_proxy_service};
use pingora::proxy::ProxyHttp;
use pingora::server::configuration::ServerConf;

struct Bare {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

/// Serves until it is killed, on one thread, as `PROGRAM LISTEN UPSTREAM [CERTIFICATE KEY]` asks: addresses with their
/// ports, and files in PEM where it speaks TLS, with HTTP/2.
///
/// # Panics
/// When the arguments are not these, or cannot be served.
pub fn serve() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nothing was installed before");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, upstream, tls) = match arguments.as_slice() {
        [listen, upstream] => (listen, upstream, None),
        [listen, upstream, certificate, key] => (listen, upstream, Some((certificate, key))),
        _ => panic!("usage: LISTEN UPSTREAM [CERTIFICATE KEY]"),
    };
    let configuration = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), configuration);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream: upstream.clone() });
    match tls {
        None => service.add_tcp(listen),
        Some((certificate, key)) => {
            let mut settings =
                TlsSettings::intermediate(certificate, key).expect("the certificate and key are readable");
            settings.enable_h2();
            service.add_tls_with_settings(listen, None, settings);
        }
    }
    server.add_service(service);
    server.run_forever();
}
