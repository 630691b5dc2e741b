"""oauth2-proxy, as the proxy itself and asked by nginx for each request.

Distributions do not package it: the binary is whatever OAUTH2_PROXY names. Its settings are those of its documentation
for an OpenID provider and for nginx, without logs and on one thread.
"""

import base64
import os
import subprocess
from contextlib import ExitStack

from openid_provider import Provider
from peer import Peer, Unavailable, wait_for
from peers.nginx import Nginx
from redirects import sign_in

ORDER = 80

BINARY = "OAUTH2_PROXY"

EMAIL = "ada@example.com"

NGINX_UPSTREAM = """\
    upstream oauth2_proxy {{
        server 127.0.0.1:{asked};
        keepalive 128;
        keepalive_requests 100000000;
    }}
"""

NGINX_LOCATIONS = """\
        location /oauth2/ {
            proxy_pass http://oauth2_proxy;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Auth-Request-Redirect $request_uri;
        }
        location = /oauth2/auth {
            internal;
            proxy_pass http://oauth2_proxy;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-Uri $request_uri;
        }
        location @sign_in {
            return 302 /oauth2/start?rd=$request_uri;
        }
        location / {
            auth_request /oauth2/auth;
            error_page 401 = @sign_in;
            auth_request_set $user $upstream_http_x_auth_request_user;
            auth_request_set $email $upstream_http_x_auth_request_email;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-User $user;
            proxy_set_header X-Email $email;
            proxy_pass http://application;
        }
"""


def peers(_options):
    return [OAuth2Proxy(), NginxAsks()]


class OAuth2Proxy(Peer):
    """oauth2-proxy as the proxy."""

    name = "oauth2-proxy"
    authenticates = True
    packages = (("openssl", "openssl"),)
    identity = ("X-Forwarded-Email", EMAIL)

    def __init__(self):
        super().__init__()
        self._provider = ExitStack()

    def launch(self, setting):
        self.run(setting, setting.port, {"upstream": f"http://{setting.upstream}/"})

    def run(self, setting, port, settings):
        """Starts it at a port of its own, for visitors who come to the first one."""
        if not os.environ.get(BINARY):
            raise Unavailable(f"set {BINARY} to a binary of oauth2-proxy")
        provider = self._provider.enter_context(Provider(EMAIL))
        settings = settings_for(provider.issuer, setting.port) | {"http-address": f"127.0.0.1:{port}"} | settings
        self.spawn(
            [os.environ[BINARY], *(f"--{name}={value}" for name, value in settings.items())],
            # As many threads as the others have: one.
            environment={"GOMAXPROCS": "1"},
        )

    def credential(self):
        return {"Cookie": sign_in(f"http://127.0.0.1:{self.setting.port}/")}

    def version(self):
        if not os.environ.get(BINARY):
            return ""
        return subprocess.run([os.environ[BINARY], "--version"], capture_output=True, text=True, check=False).stdout.strip()

    def stop(self):
        super().stop()
        self._provider.close()


class NginxAsks(OAuth2Proxy):
    """nginx as the proxy, which asks oauth2-proxy about each request. What both spend counts."""

    name = "nginx auth_request to oauth2-proxy"
    packages = Nginx.packages + OAuth2Proxy.packages
    identity = ("X-Email", EMAIL)

    def launch(self, setting):
        asked = setting.ports[2]
        self.run(setting, asked, {"upstream": "static://202", "reverse-proxy": "true", "set-xauthrequest": "true"})
        wait_for(asked, self.processes)
        Nginx.serve(self, setting, NGINX_LOCATIONS, NGINX_UPSTREAM.format(asked=asked))


def settings_for(issuer, port):
    """Those that are the same whoever forwards."""
    return {
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
        "request-logging": "false",
        "auth-logging": "false",
        "standard-logging": "false",
    }
