"""The peers' configurations, as texts. Pure: what is printed in the results is what ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Nobody is to close a connection because it was used often.
_REQUESTS_PER_CONNECTION = 1_000_000_000
_POLICY = "frame-ancestors 'self'; report-uri /api/security/csp-report; default-src 'none'"


@dataclass(frozen=True, slots=True)
class Place:
    """What a peer's configuration is filled with.

    Attributes:
        folder: for its files.
        port: where it listens on 127.0.0.1.
        web: port of the upstream of answers and files.
        sink: port of the upstream of uploads and WebSockets.
        user: a `user` that workers run as where the master is root; "" for none.
    """

    folder: str
    port: int
    web: int
    sink: int
    user: str = ""

    def target(self, prefix: str) -> int:
        """Return the upstream's port of a routed prefix."""
        return self.sink if prefix.endswith("/echo") else self.web


def _nginx_frame(place: Place, http: str) -> str:
    user = f"user {place.user};\n" if place.user else ""
    return f"""\
{user}worker_processes 1;
worker_rlimit_nofile 19000;
daemon off;
pid {place.folder}/nginx.pid;
error_log {place.folder}/error.log error;
events {{
    worker_connections 18000;
    multi_accept on;
}}
http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;
    keepalive_timeout 600s;
    keepalive_requests {_REQUESTS_PER_CONNECTION};
    client_body_temp_path {place.folder}/body;
    proxy_temp_path {place.folder}/proxy;
    fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi;
    scgi_temp_path {place.folder}/scgi;
{http}}}
"""


def nginx_upstream(place: Place, files: str, body: str) -> str:
    """Return the configuration of the upstream: a small answer with a Jupyter's headers, files."""
    return _nginx_frame(
        place,
        f"""\
    sendfile on;
    server {{
        listen 127.0.0.1:{place.web} backlog=4096;
        location / {{
            default_type application/json;
            add_header X-Content-Type-Options nosniff;
            add_header Content-Security-Policy "{_POLICY}";
            add_header Etag '"5f2d9cba74bd3d0e9e1f6ab7ae1d20f8c6a7b1e3"';
            return 200 '{body}';
        }}
        location ~ /files/(?<name>[a-z0-9.]+)$ {{
            alias {files}/$name;
        }}
    }}
""",
    )


def nginx(place: Place, prefixes: Mapping[str, str]) -> str:
    """Return nginx as a proxy; `prefixes` are routed prefixes by upstream's name."""
    upstreams = "".join(
        f"""\
    upstream {name} {{
        server 127.0.0.1:{port};
        keepalive 512;
        keepalive_requests {_REQUESTS_PER_CONNECTION};
        keepalive_timeout 600s;
    }}
"""
        for name, port in (("web", place.web), ("sink", place.sink))
    )
    locations = "".join(
        f"""\
        location {prefix}/ {{
            proxy_pass http://{name};
        }}
"""
        for prefix, name in prefixes.items()
    )
    return _nginx_frame(
        place,
        f"""\
{upstreams}\
    map $http_upgrade $connection_header {{
        default upgrade;
        ''      '';
    }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_header;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
{locations}\
    }}
""",
    )


def haproxy(place: Place, sink_prefixes: tuple[str, ...]) -> str:
    """Return haproxy as a proxy, one thread."""
    return f"""\
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout http-keep-alive 600s
    option http-keep-alive
    option forwardfor
    http-reuse always
frontend proxy
    bind 127.0.0.1:{place.port} backlog 4096
    use_backend sink if {{ path_beg {" ".join(f"{prefix}/" for prefix in sink_prefixes)} }}
    default_backend web
backend web
    server web 127.0.0.1:{place.web}
backend sink
    server sink 127.0.0.1:{place.sink}
"""


_HTTPD_MODULES = (
    "mpm_event",
    "authz_core",
    "proxy",
    "proxy_http",
    "reqtimeout",
    "rewrite",
)


def httpd(place: Place, modules: str) -> str:
    """Return httpd as a proxy whose targets come out of a GDBM map."""
    loaded = "\n".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _HTTPD_MODULES
    )
    user = f"User {place.user}\nGroup {place.user}\n" if place.user else ""
    return f"""\
{loaded}
ServerRoot {place.folder}
DefaultRuntimeDir {place.folder}
PidFile {place.folder}/httpd.pid
ErrorLog {place.folder}/error.log
LogLevel warn
ServerName localhost
Listen 127.0.0.1:{place.port}
ListenBacklog 4096
{user}\
ServerLimit 8
StartServers 4
ThreadsPerChild 128
ThreadLimit 128
MaxRequestWorkers 1024
MinSpareThreads 128
MaxSpareThreads 1024
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
LimitRequestBody 0
RequestReadTimeout header=0 body=0
Timeout 3600
ProxyTimeout 3600
ProxyPreserveHost On
AllowEncodedSlashes NoDecode
<Proxy "http://127.0.0.1:{place.web}">
    ProxySet keepalive=On
</Proxy>
<Proxy "http://127.0.0.1:{place.sink}">
    ProxySet keepalive=On
</Proxy>
RewriteEngine On
RewriteMap routes "dbm=gdbm:{place.folder}/routes.gdbm"
RewriteCond "%{{THE_REQUEST}}" "^[A-Z]+ ((/[^/ ]+/[^/ ]+)[^ ]*)"
RewriteRule ^ - [E=RAW:%1,E=KEY:%2]
RewriteCond "${{routes:%{{ENV:KEY}}}}" "^([0-9a-z._-]+:[0-9]+)$"
RewriteRule ^ - [E=TARGET:%1]
RewriteCond "%{{ENV:TARGET}}" "^$"
RewriteRule ^ - [R=404,L]
RewriteCond "%{{HTTP:Upgrade}}" "=websocket" [NC]
RewriteRule ^ "ws://%{{ENV:TARGET}}%{{ENV:RAW}}" [P,L,NE]
RewriteRule ^ "http://%{{ENV:TARGET}}%{{ENV:RAW}}" [P,L,NE]
"""
