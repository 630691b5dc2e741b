"""Proxies that forward requests themselves and ask linkgate about each of them. What both spend counts.

The configurations are those that `linkgate snippet` prints, without what does not matter to one known request.
"""

from peer import PLAIN, wait_for
from peers.caddy import serve
from peers.linkgate import Linkgate
from peers.nginx import Nginx

ORDER = 60

NGINX_UPSTREAM = """\
    upstream linkgate {{
        server 127.0.0.1:{asked};
        keepalive 128;
        keepalive_requests 100000000;
    }}
"""

NGINX_LOCATIONS = """\
        location / {
            auth_request /.linkgate/auth;
            auth_request_set $cookie $upstream_http_x_linkgate_cookie;
            auth_request_set $email $upstream_http_x_forwarded_email;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Cookie $cookie;
            proxy_set_header X-Forwarded-Email $email;
            proxy_pass http://application;
        }
        location /.linkgate/ {
            proxy_pass http://linkgate;
        }
        location = /.linkgate/auth {
            internal;
            proxy_pass http://linkgate/.linkgate/auth?verdict=1;
            proxy_pass_request_body off;
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Method $request_method;
            proxy_set_header X-Forwarded-Uri $request_uri;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }
"""

CADDY = """\
        request_header -X-Forwarded-Email
        request_header -X-Linkgate-Cookie
        reverse_proxy /.linkgate/* 127.0.0.1:{asked}
        forward_auth 127.0.0.1:{asked} {{
            uri /.linkgate/auth
            copy_headers X-Linkgate-Cookie
            copy_headers X-Forwarded-Email
        }}
        request_header Cookie {{header.X-Linkgate-Cookie}}
        request_header -X-Linkgate-Cookie
        reverse_proxy {upstream}
"""


class Asked(Linkgate):
    """linkgate as another proxy asks it: that one has the port where visitors are."""

    modes = PLAIN
    top = 'trusted_proxies = ["127.0.0.1/32"]'

    def listen(self, setting):
        return setting.ports[2]

    def before(self, setting):
        return "front-proxy"

    def launch(self, setting):
        super().launch(setting)
        wait_for(self.listen(setting), self.processes)
        self.front(setting)


class NginxAsks(Asked):
    name = "nginx auth_request to linkgate"
    packages = Nginx.packages

    def front(self, setting):
        more = NGINX_UPSTREAM.format(asked=self.listen(setting))
        Nginx.serve(self, setting, NGINX_LOCATIONS, more)


class CaddyAsks(Asked):
    name = "caddy forward_auth to linkgate"
    packages = (("caddy", "caddy"),)

    def front(self, setting):
        serve(self, setting, CADDY.format(asked=self.listen(setting), upstream=setting.upstream))


def peers(options):
    return [NginxAsks(options.linkgate), CaddyAsks(options.linkgate)]
