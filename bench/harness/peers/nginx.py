"""nginx with one worker, as it forwards for everybody."""

import os
import subprocess

from peer import PATH, PLAIN, Peer

ORDER = 20

CONFIGURATION = """\
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{more}
    # A connection lasts as long as a run does.
    keepalive_requests 100000000;
    keepalive_timeout 300s;
    large_client_header_buffers 8 16k;
    map $http_upgrade $connection_field {{ default upgrade; "" ""; }}
    upstream application {{
        server {upstream};
        keepalive 128;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} {tls};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Connection "";
        location /ws {{
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_field;
            proxy_pass http://application;
        }}
{locations}
    }}
}}
"""

FORWARDING = """\
        location / { proxy_pass http://application; }
"""


class Nginx(Peer):
    name = "nginx"
    modes = PLAIN | {"tls-h2", "websocket"}
    packages = (("nginx", "nginx-light"),)

    def launch(self, setting):
        self.serve(setting, FORWARDING)

    def serve(self, setting, locations, more=""):
        """Starts it with these locations, and with `more` beside the server."""
        tls = "ssl http2" if setting.tls else ""
        if setting.tls:
            more += f"    ssl_certificate {setting.tls.certificate};\n    ssl_certificate_key {setting.tls.key};\n"
        configuration = setting.directory / "nginx.conf"
        text = CONFIGURATION.format(
            directory=setting.directory, upstream=setting.upstream, port=setting.port, tls=tls, locations=locations, more=more
        )
        # Its worker is another user's where root has started it, and writes into folders that must be there for it.
        configuration.write_text(("user root;\n" if os.geteuid() == 0 else "") + text)
        self.spawn(["nginx", "-c", configuration, "-e", setting.directory / "error.log"])

    def version(self):
        found = subprocess.run(["nginx", "-v"], capture_output=True, text=True, env={"PATH": PATH}, check=False).stderr
        return found.strip().removeprefix("nginx version: ")


def peers(_options):
    return [Nginx()]
