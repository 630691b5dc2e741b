"""oauth2-proxy, as the proxy itself and asked by nginx for each request.

Distributions do not package it: the binary is whatever OAUTH2_PROXY names. Its settings are those of its documentation
for an OpenID provider and for nginx, without logs and on one thread.
"""

import base64
import os
import subprocess
from contextlib import ExitStack

from openid_provider import Provider
from peer import Peer, Unavailable, free_ports, wait_for
from redirects import sign_in

BINARY = "OAUTH2_PROXY"

EMAIL = "ada@example.com"

# The fields in which the application gets the address.
FIELDS = {"proxy": "X-Forwarded-Email", "nginx": "X-Email"}

NAMES = {"proxy": "oauth2-proxy", "nginx": "nginx auth_request to oauth2-proxy"}

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream application {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  upstream oauth2_proxy {{ server 127.0.0.1:{asked}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    location /oauth2/ {{
      proxy_pass http://oauth2_proxy;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Auth-Request-Redirect $request_uri;
    }}
    location = /oauth2/auth {{
      internal;
      proxy_pass http://oauth2_proxy;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-Uri $request_uri;
      proxy_set_header Content-Length "";
      proxy_pass_request_body off;
    }}
    location @sign_in {{
      return 302 /oauth2/start?rd=$request_uri;
    }}
    location / {{
      auth_request /oauth2/auth;
      error_page 401 = @sign_in;
      auth_request_set $user $upstream_http_x_auth_request_user;
      auth_request_set $email $upstream_http_x_auth_request_email;
      proxy_pass http://application;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-User $user;
      proxy_set_header X-Email $email;
    }}
  }}
}}
"""


def peers(_options):
    return [OAuth2Proxy("proxy"), OAuth2Proxy("nginx")]


class OAuth2Proxy(Peer):
    """One of the two ways to use it: "proxy" or "nginx"."""

    authenticates = True
    packages = (("nginx", "nginx-light"), ("openssl", "openssl"))

    def __init__(self, way):
        super().__init__()
        self.name = NAMES[way]
        self.identity = (FIELDS[way], EMAIL)
        self._way = way
        self._provider = ExitStack()

    def launch(self, setting):
        if not os.environ.get(BINARY):
            raise Unavailable(f"set {BINARY} to a binary of oauth2-proxy")
        provider = self._provider.enter_context(Provider(EMAIL))
        asked = setting.port if self._way == "proxy" else free_ports(1)[0]
        self.spawn(
            command(provider.issuer, setting.port, asked, setting.upstream, self._way),
            # As many threads as the others have: one.
            environment={"GOMAXPROCS": "1"},
        )
        if self._way == "nginx":
            configuration = setting.directory / "nginx.conf"
            configuration.write_text(
                NGINX.format(folder=setting.directory, port=setting.port, asked=asked, upstream=setting.upstream)
            )
            wait_for(asked, self.processes)
            self.spawn(["nginx", "-p", setting.directory, "-c", configuration])

    def credential(self):
        return {"Cookie": sign_in(f"http://127.0.0.1:{self.setting.port}/")}

    def version(self):
        """What the binary says of itself."""
        said = subprocess.run([os.environ.get(BINARY, ""), "--version"], capture_output=True, text=True, check=False)
        return said.stdout.strip()

    def stop(self):
        super().stop()
        self._provider.close()


def command(issuer, port, asked, upstream, way):
    """The command line: visitors come to `port`, and oauth2-proxy itself listens at `asked`."""
    settings = {
        "provider": "oidc",
        "oidc-issuer-url": issuer,
        "client-id": "bench",
        "client-secret": "9f3c1f0e5b7a4d2c8e6b",
        "redirect-url": f"http://127.0.0.1:{port}/oauth2/callback",
        "scope": "openid email",
        "email-domain": "*",
        "cookie-secret": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        # Without TLS a browser would not send it back otherwise.
        "cookie-secure": "false",
        "skip-provider-button": "true",
        "http-address": f"127.0.0.1:{asked}",
        "request-logging": "false",
        "auth-logging": "false",
        "standard-logging": "false",
    }
    if way == "proxy":
        settings |= {"upstream": f"http://{upstream}/"}
    else:
        settings |= {"upstream": "static://202", "reverse-proxy": "true", "set-xauthrequest": "true"}
    return [os.environ[BINARY], *(f"--{name}={value}" for name, value in settings.items())]
