//! `linkgate health`: asks a running gateway whether it is ready, for container health checks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::output::{fail, print};
use super::{FAILED, load_any};

/// Asks the admin listener that the configuration names.
pub(super) fn health(file: &Path) -> ExitCode {
    let config = match load_any(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match ask(config.admin.listen) {
        Ok(answer) => {
            let ready = answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200");
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            print(&format!("{}\n", body.trim_end()));
            if ready { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(error) => {
            let hint = format!("is linkgate running, with `admin.listen` {}?", config.admin.listen);
            fail(&error, Some(&hint), FAILED)
        }
    }
}

fn ask(admin: SocketAddr) -> io::Result<String> {
    let timeout = Duration::from_secs(3);
    let mut address = admin;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
