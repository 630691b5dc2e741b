//! A wrong file says where it is wrong, in which setting, what was seen there and what to do.

use super::{Config, LEAST, Scratch, check, check_after};

#[test]
fn mistakes_of_syntax_are_all_placed() {
    check("x", "gateway.toml:1:2: key with no value, expected `=`");
    check(
        r#"public_url = http://localhost
[
"#,
        r#"gateway.toml:1:14: string values must be quoted, expected literal string
gateway.toml:2:2: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`"#,
    );
    check(
        r#"a = "b
c = 1
d = 
"#,
        r#"gateway.toml:1:7: invalid basic string, expected `"`
gateway.toml:3:5: string values must be quoted, expected literal string"#,
    );
    check_after(
        r#"[issuer]
mailbox = false
"#,
        r#"gateway.toml:8:2: issuer: is set twice
  hint: keep one of the two
gateway.toml:9:1: mailbox: is set twice
  hint: keep one of the two"#,
    );
    check(
        &[
            r#"listen = "127.0.0.1:1"
listen = "127.0.0.1:2"
"#,
            LEAST,
            r#"upstraem = 1
"#,
        ]
        .concat(),
        r#"gateway.toml:2:1: listen: is set twice
  hint: keep one of the two
gateway.toml:10:1: route[0].upstraem: unknown setting `upstraem`
  hint: did you mean `upstream`?"#,
    );
}

#[test]
fn a_missing_part_says_what_to_write() {
    check(
        r#"# nothing
"#,
        r#"gateway.toml: nothing says who signs visitors in: there is neither [mosaic] nor [issuer]
  hint: add `[mosaic]` for a Mosaic tenant, or `[issuer]` with `mailbox = true` to try linkgate out
gateway.toml: public_url: is missing
  hint: set it to the address in the visitor's browser, like `public_url = "https://app.example.com"`
gateway.toml: route: is missing
  hint: name your application: `[[route]]` and below it `upstream = "http://127.0.0.1:3000"`"#,
    );
}

#[test]
fn an_unknown_name_gets_the_nearest_valid_one() {
    check_after(
        r#"upstraem = "demo"
"#,
        r#"gateway.toml:8:1: route[0].upstraem: unknown setting `upstraem`
  hint: did you mean `upstream`?"#,
    );
    check_after(
        r#"[sesion]
lifetime = "1d"
"#,
        r#"gateway.toml:8:2: sesion: unknown setting `sesion`
  hint: did you mean `session`?"#,
    );
    check_after(
        r#"listen = "127.0.0.1:1"
"#,
        r#"gateway.toml:8:1: route[0].listen: unknown setting `listen`
  hint: `listen` belongs at the top of the file, above the first [section]"#,
    );
    check_after(
        r#"[log]
colour = true
"#,
        r#"gateway.toml:9:1: log.colour: unknown setting `colour`
  hint: known here: `level`, `format`"#,
    );
    check_after(
        r#"[identity_headers.names]
usr = "X-User"
"#,
        r#"gateway.toml:9:1: identity_headers.names.usr: unknown setting `usr`
  hint: did you mean `user`?"#,
    );
    check_after(
        r#"[session]
Idle-Timeout = "1h"
"#,
        r#"gateway.toml:9:1: session.Idle-Timeout: unknown setting `Idle-Timeout`
  hint: did you mean `idle_timeout`?"#,
    );
}

#[test]
fn a_value_of_the_wrong_type_says_what_was_expected() {
    check_after(
        r#"[session]
lifetime = "7"
idle_timeout = 5
"#,
        r#"gateway.toml:9:12: session.lifetime: expected a length of time with its unit, like "90s", "15m", "12h" or "7d" (seen: "7")
gateway.toml:10:16: session.idle_timeout: expected a text in quotes (seen: 5)"#,
    );
    check_after(
        r#"access = "pubic"
[route.allow]
roles = "x"
"#,
        r#"gateway.toml:8:10: route[0].access: expected "public", "optional" or "signed-in" (seen: "pubic")
gateway.toml:10:9: route[0].allow.roles: expected a list (seen: "x")"#,
    );
    check(
        &[
            r#"trusted_proxies = ["10.0.0.1", 5, "10.0.0.0/8", "x"]
threads = -1
listen = "localhost:80"
stop_timeout = "5"
"#,
            LEAST,
            "",
        ]
        .concat(),
        r#"gateway.toml:1:20: trusted_proxies[0]: expected a range of addresses, like "10.0.0.0/8" or "127.0.0.1/32" (seen: "10.0.0.1")
gateway.toml:1:32: trusted_proxies[1]: expected a range of addresses, like "10.0.0.0/8" or "127.0.0.1/32" (seen: 5)
gateway.toml:1:49: trusted_proxies[3]: expected a range of addresses, like "10.0.0.0/8" or "127.0.0.1/32" (seen: "x")
gateway.toml:2:11: threads: expected a whole number, not negative (seen: -1)
gateway.toml:3:10: listen: expected an address with its port, like "127.0.0.1:8080" (seen: "localhost:80")
gateway.toml:4:16: stop_timeout: expected a length of time with its unit, like "90s", "15m", "12h" or "7d" (seen: "5")"#,
    );
    check_after(
        r#"[[issuer.user]]
name = "x"
[[issuer.user]]
email = "x"
[theme]
accent = "red"
logo = 1
"#,
        r##"gateway.toml:8:1: issuer.user[1].email: is missing
gateway.toml:11:9: issuer.user[2].email: a mail address has the form name@example.com (seen: "x")
gateway.toml:13:10: theme.accent: expected a colour like "#2f6f4f" (seen: "red")
gateway.toml:14:8: theme.logo: expected a path in quotes (seen: 1)"##,
    );
    check_after(
        r#"[sign_in]
allow = ["example.com", "ada@example.com"]
links_in_all = 5000000000
[limits]
header_bytes = 1.5
"#,
        r#"gateway.toml:9:10: sign_in.allow[0]: expected "*", a domain like "@example.com", or an address like "ada@example.com" (seen: "example.com")
gateway.toml:10:16: sign_in.links_in_all: expected a whole number from 0 to 4294967295 (seen: 5000000000)
gateway.toml:12:16: limits.header_bytes: expected a whole number, not negative (seen: 1.5)"#,
    );
}

#[test]
fn a_table_is_a_table_and_a_list_is_a_list() {
    check_after(
        r#"[[session]]
lifetime = "7d"
"#,
        r#"gateway.toml:8:1: session: expected a table
  hint: write `[session]`, with one bracket: there is only one"#,
    );
    check_after(
        r#"allow = ["@example.com"]
"#,
        r#"gateway.toml:8:10: route[0].allow[0]: expected a table (seen: "@example.com")
  hint: a table is a [section] of its own, or `{ name = value }`"#,
    );
    check(
        r#"public_url = "http://localhost:8080"
[issuer]
mailbox = true
[route]
upstream = "demo"
"#,
        r#"gateway.toml:4:1: route: expected a list
  hint: write `[[route]]`, with two brackets: there may be several"#,
    );
    check(
        r#"public_url = "http://localhost:8080"
admin = 5
issuer = [true]
route = [1, { upstream = "demo" }, { upstream = "x", path = "/x" }]
"#,
        r#"gateway.toml:2:9: admin: expected a table (seen: 5)
  hint: a table is a [section] of its own, or `{ name = value }`
gateway.toml:3:10: issuer: expected a table
  hint: a table is a [section] of its own, or `{ name = value }`
gateway.toml:4:10: route[0]: expected a table (seen: 1)
  hint: a table is a [section] of its own, or `{ name = value }`
gateway.toml:4:49: route[2].upstream: expected "demo" or a URL like "http://127.0.0.1:3000" (seen: "x")"#,
    );
}

#[test]
fn hosts_are_plain() {
    check_after(
        r#"host = "LOCALHOST"
"#,
        r#"gateway.toml:8:8: route[0].host: is not in its plain form (seen: "LOCALHOST")
  hint: write it as "localhost""#,
    );
    check_after(
        r#"host = "localhost:8080"
"#,
        r#"gateway.toml:8:8: route[0].host: has a port; the port is that of `public_url` (seen: "localhost:8080")
  hint: write it as "localhost""#,
    );
    check_after(
        r#"host = "bücher.example"
"#,
        r#"gateway.toml:8:8: route[0].host: is not a host name (seen: "bücher.example")
  hint: write it as "xn--bcher-kva.example""#,
    );
}

#[test]
fn paths_are_those_that_requests_can_have() {
    check_after(
        r#"path = "a"
"#,
        r#"gateway.toml:8:8: route[0].path: must begin with `/` (seen: "a")"#,
    );
    check_after(
        r#"path = "/a/../b"
"#,
        r#"gateway.toml:8:8: route[0].path: must be plain, without `//`, `.` and `..` (seen: "/a/../b")"#,
    );
    check_after(
        r#"path = "/a//b"
"#,
        r#"gateway.toml:8:8: route[0].path: must be plain, without `//`, `.` and `..` (seen: "/a//b")"#,
    );
    check_after(
        r#"path = "/%61"
"#,
        r#"gateway.toml:8:8: route[0].path: must be plain: printable ASCII characters, without blanks, `?`, `#`, `%` and `\` (seen: "/%61")"#,
    );
    check_after(
        r#"path = "/a b"
"#,
        r#"gateway.toml:8:8: route[0].path: must be plain: printable ASCII characters, without blanks, `?`, `#`, `%` and `\` (seen: "/a b")"#,
    );
    check_after(
        r#"path = "/a?b"
"#,
        r#"gateway.toml:8:8: route[0].path: must be plain: printable ASCII characters, without blanks, `?`, `#`, `%` and `\` (seen: "/a?b")"#,
    );
    check_after(
        r#"path = "/a\\b"
"#,
        r#"gateway.toml:8:8: route[0].path: must be plain: printable ASCII characters, without blanks, `?`, `#`, `%` and `\` (seen: "/a\\b")"#,
    );
    check_after(
        r#"path = "/.Linkgate/x"
"#,
        r#"gateway.toml:8:8: route[0].path: lies below /.linkgate, which is the gateway's own (seen: "/.Linkgate/x")"#,
    );
}

#[test]
fn two_routes_differ() {
    check_after(
        r#"[[route]]
upstream = "demo"
path = "/"
"#,
        r#"gateway.toml:10:8: route[1].path: serves the same host and path as route[0] in line 6 (seen: "/")
  hint: give one of the two another `path`, or other `methods`"#,
    );
    check_after(
        r#"path = "/a/"
[[route]]
upstream = "demo"
host = "localhost"
path = "/a"
"#,
        r#"gateway.toml:12:8: route[1].path: serves the same host and path as route[0] in line 6 (seen: "/a")
  hint: give one of the two another `path`, or other `methods`"#,
    );
}

#[test]
fn methods_are_named_once_and_in_capital_letters() {
    check_after(
        r#"methods = []
"#,
        r#"gateway.toml:8:11: route[0].methods: names no method, so that nothing is served
  hint: leave it out to serve all of them"#,
    );
    check_after(
        r#"methods = ["GET", "post", "TRACE"]
"#,
        r#"gateway.toml:8:19: route[0].methods[1]: expected a method in capital letters, like "GET" (seen: "post")
gateway.toml:8:27: route[0].methods[2]: expected a method in capital letters, like "GET" (seen: "TRACE")"#,
    );
    check_after(
        r#"methods = ["GET", "PUT"]
[[route]]
upstream = "demo"
path = "/"
methods = ["POST", "PUT"]
"#,
        r#"gateway.toml:11:8: route[1].path: serves the same host and path as route[0] in line 6, and one of its methods (seen: "/")
  hint: give one of the two another `path`, or other `methods`"#,
    );
}

#[test]
fn several_servers_are_each_in_order() {
    check_after(
        r#"[[route]]
path = "/x"
upstream = ["http://a", "a:1", { url = "http://b", weight = 0 }, { url = "unix:b" }, { weight = 1 }, { url = "http://c", wieght = 1 }]
"#,
        r#"gateway.toml:10:25: route[1].upstream[1]: expected "demo" or a URL like "http://127.0.0.1:3000" (seen: "a:1")
gateway.toml:10:61: route[1].upstream[2].weight: expected a weight from 1 to 100 (seen: 0)
gateway.toml:10:74: route[1].upstream[3].url: expected the absolute path of a socket, of at most 107 bytes, like "unix:/run/app.sock" (seen: "unix:b")
gateway.toml:10:86: route[1].upstream[4].url: is missing
gateway.toml:10:122: route[1].upstream[5].wieght: unknown setting `wieght`
  hint: did you mean `weight`?"#,
    );
    check_after(
        r#"balance = "random"
retries = 6
http2 = true
[[route]]
path = "/x"
upstream = ["http://a", "http://127.0.0.1:8080", "http://a:80"]
[[route]]
path = "/y"
upstream = []
"#,
        r#"gateway.toml:8:11: route[0].balance: expected "round-robin" or "least-connections" (seen: "random")
gateway.toml:9:11: route[0].retries: must be at most 5 (seen: 6)
gateway.toml:10:9: route[0].http2: the demo application speaks HTTP/1.1 only (seen: true)
  hint: take it out
gateway.toml:13:25: route[1].upstream[1]: is the gateway itself: requests would go round in circles (seen: "http://127.0.0.1:8080")
gateway.toml:13:50: route[1].upstream[2]: is named twice; give it a `weight` for a larger share (seen: "http://a:80")
gateway.toml:16:12: route[2].upstream: names no server
  hint: name the application, like `upstream = "http://127.0.0.1:3000"`"#,
    );
}

#[test]
fn health_checks_and_tls_of_upstreams_make_sense() {
    check_after(
        r#"[route.health]
path = "healthz"
healthy_after = 0
status = [200, 99]
host = "a b"
[route.upstream_tls]
server_name = "a/b"
certificate_authority_file = "nowhere.pem"
certificate_file = "nowhere.pem"
"#,
        r#"gateway.toml:9:8: route[0].health.path: expected a path like "/healthz" (seen: "healthz")
gateway.toml:10:17: route[0].health.healthy_after: must be more than 0 (seen: 0)
gateway.toml:11:16: route[0].health.status[1]: is not the status of an answer, from 200 to 599 (seen: 99)
gateway.toml:12:8: route[0].health.host: expected a host name like "app.example.com", with a port where it needs one (seen: "a b")
gateway.toml:14:15: route[0].upstream_tls.server_name: expected a host name like "app.internal", or an address (seen: "a/b")
gateway.toml:15:30: route[0].upstream_tls.certificate_authority_file: the file cannot be read: No such file or directory (os error 2) (seen: "nowhere.pem")"#,
    );
}

#[test]
fn what_is_changed_on_the_way_is_not_the_gateways() {
    check_after(
        r#"strip_prefix = true
add_prefix = "base"
host_header = "a b"
body_bytes = 0
[route.request_headers]
set = { X-Forwarded-User = "root", Host = "x", "X A" = "b", X-B = "é" }
remove = ["x_request_id", "Remote-User", "Connection", "X-Fine"]
[route.response_headers]
set = { Content-Length = "1", X-Both = "a" }
remove = ["x-both"]
"#,
        r#"gateway.toml:8:16: route[0].strip_prefix: takes the `path` of the route off, and this one has none (seen: true)
  hint: take it out, or add a `path`
gateway.toml:9:14: route[0].add_prefix: must begin with `/` (seen: "base")
gateway.toml:10:15: route[0].host_header: expected "keep", "upstream" or a host like "app.example.com" (seen: "a b")
gateway.toml:11:14: route[0].body_bytes: must be more than 0 (seen: 0)
gateway.toml:13:28: route[0].request_headers.set.X-Forwarded-User: is a field of the gateway's own, which nobody else may write (seen: "root")
gateway.toml:13:43: route[0].request_headers.set.Host: is what `host_header` is for (seen: "x")
gateway.toml:13:56: route[0].request_headers.set."X A": is not the name of a header field (seen: "b")
gateway.toml:13:67: route[0].request_headers.set.X-B: is not the value of a header field: expected ASCII on one line, without blanks at its ends (seen: "é")
gateway.toml:14:11: route[0].request_headers.remove[0]: is a field of the gateway's own, which nobody else may write (seen: "x_request_id")
gateway.toml:14:27: route[0].request_headers.remove[1]: is a field of the gateway's own, which nobody else may write (seen: "Remote-User")
gateway.toml:14:42: route[0].request_headers.remove[2]: belongs to the connection, which the gateway sees to (seen: "Connection")
gateway.toml:16:26: route[0].response_headers.set.Content-Length: belongs to the connection, which the gateway sees to (seen: "1")
gateway.toml:17:11: route[0].response_headers.remove[0]: is set as well (seen: "x-both")
  hint: a field that is set needs no removing"#,
    );
}

#[test]
fn upstreams_are_applications() {
    check(
        r#"public_url = "http://localhost:8080"
[issuer]
mailbox = true
[[issuer.user]]
email = "ada@example.com"
[[route]]
"#,
        r#"gateway.toml:6:1: route[0].upstream: is missing
  hint: name the application, like `upstream = "http://127.0.0.1:3000"`"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "ftp://x"
"#,
        r#"gateway.toml:10:12: route[1].upstream: expected "demo" or a URL like "http://127.0.0.1:3000" (seen: "ftp://x")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http:x"
"#,
        r#"gateway.toml:10:12: route[1].upstream: expected "demo" or a URL like "http://127.0.0.1:3000" (seen: "http:x")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://x/path"
"#,
        r#"gateway.toml:10:12: route[1].upstream: has a path, which is not supported: `add_prefix` puts one before that of the request (seen: "http://x/path")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://x/?a"
"#,
        r#"gateway.toml:10:12: route[1].upstream: has a query or fragment, which is not supported (seen: "http://x/?a")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://user:hunter2@x"
"#,
        "gateway.toml:10:12: route[1].upstream: has a user name or password, which is not supported",
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://x:0"
"#,
        r#"gateway.toml:10:12: route[1].upstream: is no address that can be connected to: name a host and a port from 1 to 65535 (seen: "http://x:0")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://localhost:8080"
"#,
        r#"gateway.toml:10:12: route[1].upstream: is the gateway itself: requests would go round in circles (seen: "http://localhost:8080")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://127.0.0.1:8080"
"#,
        r#"gateway.toml:10:12: route[1].upstream: is the gateway itself: requests would go round in circles (seen: "http://127.0.0.1:8080")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://0.0.0.0:8080"
"#,
        r#"gateway.toml:10:12: route[1].upstream: is the gateway itself: requests would go round in circles (seen: "http://0.0.0.0:8080")"#,
    );
    check_after(
        r#"[[route]]
path = "/x"
upstream = "http://127.0.0.1:9180"
"#,
        r#"gateway.toml:10:12: route[1].upstream: is the gateway's own `admin.listen`, which visitors must not reach (seen: "http://127.0.0.1:9180")"#,
    );
}

#[test]
fn access_has_one_reading() {
    check_after(
        r#"access = "public"
"#,
        r#"gateway.toml:8:10: route[0].access: opens the whole site to everybody (seen: "public")
  hint: add a `path`, or `whole_site = true` if nothing on this host needs a sign-in"#,
    );
    check_after(
        r#"access = "public"
path = "/"
"#,
        r#"gateway.toml:8:10: route[0].access: opens the whole site to everybody (seen: "public")
  hint: add a `path`, or `whole_site = true` if nothing on this host needs a sign-in"#,
    );
    check_after(
        r#"whole_site = true
"#,
        r#"gateway.toml:8:14: route[0].whole_site: is for a route with `access = "public"` and no `path` (seen: true)
  hint: take it out"#,
    );
    check_after(
        r#"access = "optional"
allow = { roles = ["x"] }
"#,
        r#"gateway.toml:9:9: route[0].allow: chooses among signed-in visitors, and this route lets everybody pass
  hint: set `access = "signed-in"`, or take `allow` out"#,
    );
    check_after(
        r#"access = "public"
path = "/x"
allow = { roles = ["x"] }
"#,
        r#"gateway.toml:10:9: route[0].allow: chooses among signed-in visitors, and this route lets everybody pass
  hint: set `access = "signed-in"`, or take `allow` out"#,
    );
    check_after(
        r#"allow = {}
"#,
        r#"gateway.toml:8:9: route[0].allow: names nobody
  hint: list who may pass, or leave it out to let every signed-in visitor pass"#,
    );
    check_after(
        r#"allow = { domains = ["@example.com"] }
"#,
        r#"gateway.toml:8:21: route[0].allow.domains: expected domains like "example.com", not "@example.com""#,
    );
    check_after(
        r#"allow = { roles = ["admin", 5] }
"#,
        "gateway.toml:8:29: route[0].allow.roles[1]: expected a text in quotes (seen: 5)",
    );
}

#[test]
fn each_rule_names_somebody() {
    let hint = "\n  hint: list who may pass, or leave it out to let every signed-in visitor pass";
    check_after("allow = []\n", &format!("gateway.toml:8:9: route[0].allow: names nobody{hint}"));
    check_after(
        "allow = [{ groups = [\"ops\"] }, {}]\n",
        &format!("gateway.toml:8:32: route[0].allow[1]: names nobody{hint}"),
    );
    check_after(
        r#"allow = { groups = [], networks = ["10.0.0.0/8"] }
"#,
        r#"gateway.toml:8:20: route[0].allow.groups: names nobody
  hint: fill the list, or take it out if the rule is for everybody"#,
    );
    check_after(
        r#"deny = [{}]
"#,
        r#"gateway.toml:8:9: route[0].deny[0]: keeps everybody out
  hint: list who may not pass, or take it out"#,
    );
    check_after(
        r#"access = "public"
path = "/x"
deny = [{ networks = ["192.0.2.0/24"] }, { groups = ["guests"] }]
"#,
        r#"gateway.toml:10:42: route[0].deny[1]: can never be decided: nobody is known on a public route
  hint: keep to `networks` and `hours`, or let the route ask for a sign-in"#,
    );
}

#[test]
fn each_condition_is_one_that_can_hold() {
    check_after(
        r#"allow = [{ networks = ["10.0.0.1"], hours = { days = ["monday"], zone = "Berlin" }, max_sign_in_age = "1x" }]
"#,
        r#"gateway.toml:8:24: route[0].allow[0].networks[0]: expected a range of addresses, like "10.0.0.0/8" or "127.0.0.1/32" (seen: "10.0.0.1")
gateway.toml:8:55: route[0].allow[0].hours.days[0]: expected "mon", "tue", "wed", "thu", "fri", "sat" or "sun" (seen: "monday")
gateway.toml:8:73: route[0].allow[0].hours.zone: expected the name of a time zone, like "Europe/Berlin" or "UTC" (seen: "Berlin")
gateway.toml:8:103: route[0].allow[0].max_sign_in_age: expected a length of time with its unit, like "90s", "15m", "12h" or "7d" (seen: "1x")"#,
    );
    check_after(
        r#"allow = { hours = { from = "8:00", to = "08:60" } }
"#,
        r#"gateway.toml:8:19: route[0].allow.hours.zone: is missing
gateway.toml:8:28: route[0].allow.hours.from: expected a time of the day from "00:00" to "24:00" (seen: "8:00")
gateway.toml:8:41: route[0].allow.hours.to: expected a time of the day from "00:00" to "24:00" (seen: "08:60")"#,
    );
    check_after(
        r#"allow = { hours = { days = [], from = "08:00", to = "08:00", zone = "UTC" } }
deny = { groups = ["x"], max_sign_in_age = "1h" }
"#,
        r#"gateway.toml:8:19: route[0].allow.hours: begin and end at 08:00
  hint: leave `from` and `to` out for all of the day
gateway.toml:8:28: route[0].allow.hours.days: names no day
  hint: leave it out for every day
gateway.toml:9:44: route[0].deny.max_sign_in_age: is for `allow`: it asks for a recent sign-in (seen: "1h")
  hint: put it into a rule that lets pass"#,
    );
    check_after(
        r#"deny = { networks = ["192.0.2.0/24", "::ffff:10.0.0.0/104"] }
"#,
        r#"gateway.toml:8:38: route[0].deny.networks[1]: is no range that clients come from: such addresses are read as IPv4 (seen: "::ffff:10.0.0.0/104")
  hint: write it as an IPv4 range, like "10.0.0.0/8""#,
    );
    check_after(
        r#"allow = { max_sign_in_age = "59s" }
"#,
        r#"gateway.toml:8:29: route[0].allow.max_sign_in_age: must be at least 1m: it has to outlast the way from the sign-in (seen: "59s")"#,
    );
    check_after(
        r#"allow = { claims = { "custom_data.team" = 1.5, department = "x" } }
no_access_text = ""
"#,
        r#"gateway.toml:8:43: route[0].allow.claims."custom_data.team": expected a value, a list of values, or { contains = "…" } (seen: 1.5)
gateway.toml:8:61: route[0].allow.claims.department: expected a claim of Mosaic's ID tokens, like "organization" or "custom_data.department" (seen: "x")
gateway.toml:9:18: route[0].no_access_text: must be 1 to 300 characters on one line (seen: "")"#,
    );
}

#[test]
fn owners_can_be_asked_for_something_and_be_written_to() {
    check_after(
        r#"owners = ["ada@example.com"]
"#,
        r#"gateway.toml:8:10: route[0].owners: can be asked for nothing: without `allow`, whoever is signed in passes
  hint: add `allow` rules, or take it out"#,
    );
    let many: Vec<String> = (0..11).map(|number| format!("\"a{number}@example.com\"")).collect();
    let many = many.join(", ");
    check_after(
        &format!("allow = {{ groups = [\"staff\"] }}\nowners = [{many}]\n"),
        "gateway.toml:9:10: route[0].owners: are 11, and at most 10 can be\n  hint: name a shared mailbox",
    );
}

#[test]
fn public_parts_open_what_they_say_and_no_more() {
    check_after(
        r#"path = "/app"
public = [{ path = "/static" }, { path = "/application" }, { path = "/app/%41" }, { path = "/app/x", methods = ["get"] }]
"#,
        r#"gateway.toml:9:20: route[0].public[0].path: is not below the route's own path, "/app", so it opens nothing (seen: "/static")
  hint: write the whole path, as in the browser
gateway.toml:9:42: route[0].public[1].path: is not below the route's own path, "/app", so it opens nothing (seen: "/application")
  hint: write the whole path, as in the browser
gateway.toml:9:69: route[0].public[2].path: expected a plain path, like "/static", that stands for itself and all below it, and not the gateway's own (seen: "/app/%41")
gateway.toml:9:113: route[0].public[3].methods[0]: expected the name of a method in capitals, like "GET" (seen: "get")"#,
    );
    check_after(
        r#"public = { path = "/" }
"#,
        r#"gateway.toml:8:19: route[0].public.path: opens the whole site to everybody (seen: "/")
  hint: name a path, or set `whole_site = true` if that is meant"#,
    );
    check_after(
        r#"access = "public"
path = "/x"
public = { path = "/x/y" }
public_browser_files = true
"#,
        r#"gateway.toml:10:10: route[0].public: opens a part of what is public already
  hint: take it out
gateway.toml:11:24: route[0].public_browser_files: opens a part of what is public already (seen: true)
  hint: take it out"#,
    );
    check_after(
        r#"public = { path = "/x", methods = [] }
"#,
        r#"gateway.toml:8:35: route[0].public.methods: opens nothing
  hint: name methods, or leave it out for every method"#,
    );
}

#[test]
fn the_debug_page_is_not_for_everybody() {
    check(
        &format!("debug_page = [\"@example.com\", \"*\"]\n{LEAST}"),
        r#"gateway.toml:1:31: debug_page[1]: shows the rules of every route to everybody (seen: "*")
  hint: name addresses, or a domain like "@example.com""#,
    );
}

#[test]
fn pages_of_other_sites_are_named_as_browsers_name_them() {
    check_after(
        "[route.cors]\norigins = ['app2.example.com']\n",
        r#"gateway.toml:9:12: route[0].cors.origins[0]: expected an origin as browsers send it, like "https://app.example.com", or "*" (seen: 'app2.example.com')"#,
    );
    check_after(
        "[route.cors]\ncredentials = true\norigins = ['*']\n",
        r#"gateway.toml:9:15: route[0].cors.credentials: is not for every site there is
  hint: name the sites in `origins`, or take `credentials` out"#,
    );
    check_after(
        "[route.cors]\n",
        r#"gateway.toml:8:1: route[0].cors.origins: names no site
  hint: name it as browsers send it, like "https://app.example.com""#,
    );
}

#[test]
fn what_another_proxy_forwards_has_no_servers_here() {
    check_after(
        "[[route]]\npath = '/x'\nupstream = ['front-proxy', 'demo']\n",
        r#"gateway.toml:10:12: route[1].upstream: names servers beside "front-proxy"
  hint: name either the one or the others"#,
    );
    check_after(
        "[[route]]\npath = '/x'\nupstream = 'front-proxy'\n[route.cors]\norigins = ['*']\n",
        r#"gateway.toml:11:1: route[1].cors: is for answers that pass here, and those of this route do not
  hint: take it out, and let the application or that proxy say it"#,
    );
}

#[test]
fn mosaic_is_described_completely() {
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
"#,
        r#"gateway.toml:4:1: mosaic.client_id: is missing
  hint: copy it from the application in the Mosaic portal
gateway.toml:4:1: mosaic.client_secret_file: is missing
  hint: name the file that holds the secret, or its environment variable in `client_secret_env`
gateway.toml:4:1: mosaic.region: is missing
  hint: set the tenant's region, like `region = "eu"`"#,
    );
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
region = "eu"
base_url = "https://api.example.com"
client_id = "x"
client_secret_env = "A"
client_secret_file = "b"
"#,
        r#"gateway.toml:6:12: mosaic.base_url: stands beside `region`, which names another address (seen: "https://api.example.com")
  hint: keep one of the two
gateway.toml:8:21: mosaic.client_secret_env: stands beside `client_secret_file`, and there is only one secret
  hint: keep one of the two"#,
    );
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
region = "mars"
client_id = "x"
client_secret_file = "no-such-file"
"#,
        r#"gateway.toml:5:10: mosaic.region: expected "us", "eu", "ca", "au", "jp" or "sandbox" (seen: "mars")
gateway.toml:7:22: mosaic.client_secret_file: the file cannot be read: No such file or directory (os error 2)"#,
    );
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
base_url = "http://api.example.com"
client_id = "x"
client_secret_env = "no-such-variable"
"#,
        r#"gateway.toml:4:1: mosaic.issuer: is missing, and follows only from the regions us, eu, ca and au
  hint: set it to the `iss` of the tenant's tokens; `linkgate doctor` names that when yours is another
gateway.toml:5:12: mosaic.base_url: must begin with https://; plain http:// works on this machine only (seen: "http://api.example.com")
gateway.toml:7:21: mosaic.client_secret_env: there is no such environment variable"#,
    );
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
base_url = "https://api.example.com/cis/"
issuer = "https://id.example.com"
client_id = "x"
client_secret_env = "CARGO_PKG_NAME"
"#,
        r#"gateway.toml:5:12: mosaic.base_url: ends with /cis, which every path of the API begins with (seen: "https://api.example.com/cis/")
  hint: leave /cis out"#,
    );
    check_after(
        r#"[mosaic]
region = "eu"
client_id = "x"
client_secret_env = "CARGO_PKG_NAME"
"#,
        r#"gateway.toml:2:1: issuer: stands beside [mosaic], and only one can sign visitors in
  hint: keep one of the two"#,
    );
}

/// What is wrong with a file whose `[mosaic]` says how the client proves who it is.
#[track_caller]
fn check_authentication(settings: &str, expected: &str) {
    let head = "public_url = \"https://app.example.com\"\n[[route]]\nupstream = \"demo\"\n";
    check(&format!("{head}[mosaic]\nregion = \"eu\"\nclient_id = \"x\"\n{settings}"), expected);
}

#[test]
fn each_client_authentication_has_what_it_needs_and_nothing_else() {
    check_authentication(
        "client_authentication = \"private_key_jwt\"\nclient_secret_file = \"a\"\n",
        r#"gateway.toml:4:1: mosaic.private_key_file: is missing
  hint: "private_key_jwt" needs it: name the PEM file
gateway.toml:8:22: mosaic.client_secret_file: is not used: `client_authentication` is "private_key_jwt"
  hint: take it out, or choose the method that uses it"#,
    );
    check_authentication(
        "client_authentication = \"tls_client_auth\"\nprivate_key_file = \"a\"\nprivate_key_id = \"b\"\n",
        r#"gateway.toml:4:1: mosaic.certificate_file: is missing
  hint: "tls_client_auth" needs it: name the PEM file
gateway.toml:4:1: mosaic.certificate_key_file: is missing
  hint: "tls_client_auth" needs it: name the PEM file
gateway.toml:8:20: mosaic.private_key_file: is not used: `client_authentication` is "tls_client_auth" (seen: "a")
  hint: take it out, or choose the method that uses it
gateway.toml:9:18: mosaic.private_key_id: is not used: `client_authentication` is "tls_client_auth" (seen: "b")
  hint: take it out, or choose the method that uses it"#,
    );
    check_authentication(
        "client_authentication = \"client_secret_basic\"\ncertificate_file = \"a\"\n",
        r#"gateway.toml:4:1: mosaic.client_secret_file: is missing
  hint: name the file that holds the secret, or its environment variable in `client_secret_env`
gateway.toml:8:20: mosaic.certificate_file: is not used: `client_authentication` is "client_secret_basic" (seen: "a")
  hint: take it out, or choose the method that uses it"#,
    );
    check_authentication(
        "client_authentication = \"password\"\n",
        "gateway.toml:7:25: mosaic.client_authentication: expected \"client_secret_post\", \"client_secret_basic\", \
         \"private_key_jwt\", \"tls_client_auth\" or \"self_signed_tls_client_auth\" (seen: \"password\")",
    );
}

#[test]
fn keys_and_certificates_of_the_client_are_looked_at() {
    let scratch = Scratch::new("client-keys");
    let pair = || rcgen::KeyPair::generate().expect("a key can be made");
    let (own, other) = (pair(), pair());
    let certificate = rcgen::CertificateParams::default().self_signed(&own).expect("it can be signed").pem();
    scratch.file("own.pem", own.serialize_pem().as_bytes());
    scratch.file("other.pem", other.serialize_pem().as_bytes());
    scratch.file("certificate.pem", certificate.as_bytes());
    scratch.file("none.pem", b"hunter2");
    let problems_of = |settings: &str| {
        let head =
            "public_url = \"https://app.example.com\"\n[[route]]\nupstream = \"demo\"\n[mosaic]\nregion = \"eu\"\n";
        let text = format!("{head}client_id = \"x\"\n{settings}");
        let parsed = Config::parse(&text, &scratch.0.join("gateway.toml"));
        parsed.map(|_| ()).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>()
        })
    };
    let jwt =
        |key: &str| problems_of(&format!("client_authentication = \"private_key_jwt\"\nprivate_key_file = \"{key}\""));
    let tls = |certificate: &str, key: &str| {
        let files = format!("certificate_file = \"{certificate}\"\ncertificate_key_file = \"{key}\"");
        problems_of(&format!("client_authentication = \"self_signed_tls_client_auth\"\n{files}"))
    };
    let refused = |problem: &str| Err(vec![problem.to_owned()]);
    assert_eq!(jwt("own.pem"), Ok(()));
    let no_key = "there is no private key in it: expected PEM without a passphrase";
    assert_eq!(jwt("none.pem"), refused(&format!("mosaic.private_key_file: {no_key}")));
    let no_file = "the file cannot be read: No such file or directory (os error 2)";
    assert_eq!(jwt("nowhere.pem"), refused(&format!("mosaic.private_key_file: {no_file}")));
    assert_eq!(tls("certificate.pem", "own.pem"), Ok(()));
    let no_certificate = "there is no certificate in it: expected PEM";
    assert_eq!(tls("own.pem", "own.pem"), refused(&format!("mosaic.certificate_file: {no_certificate}")));
    assert_eq!(tls("certificate.pem", "none.pem"), refused(&format!("mosaic.certificate_key_file: {no_key}")));
    let other = "is the key of another certificate than the one in `certificate_file`";
    assert_eq!(tls("certificate.pem", "other.pem"), refused(&format!("mosaic.certificate_key_file: {other}")));
    let authority = problems_of("client_secret_env = \"CARGO_PKG_NAME\"\ncertificate_authority_file = \"own.pem\"");
    assert_eq!(authority, refused(&format!("mosaic.certificate_authority_file: {no_certificate}")));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
base_url = "foo://user:hunter2@x"
key_set_url = "user:hunter2@x"
client_id = "x"
client_secret = "hunter2"
client_secret_env = "hunter2"
"#,
        r#"gateway.toml:4:1: mosaic.issuer: is missing, and follows only from the regions us, eu, ca and au
  hint: set it to the `iss` of the tenant's tokens; `linkgate doctor` names that when yours is another
gateway.toml:5:12: mosaic.base_url: must begin with https://; plain http:// works on this machine only
gateway.toml:6:15: mosaic.key_set_url: must begin with https://; plain http:// works on this machine only
gateway.toml:8:1: mosaic.client_secret: unknown setting `client_secret`
  hint: did you mean `client_secret_env`?
gateway.toml:9:21: mosaic.client_secret_env: there is no such environment variable"#,
    );
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
region = "eu"
client_id = "x"
client_secret_file = "hunter2"
"#,
        "gateway.toml:7:22: mosaic.client_secret_file: the file cannot be read: No such file or directory (os error 2)",
    );
    check(
        r#"public_url = "https://app.example.com"
[[route]]
upstream = "demo"
[mosaic]
region = "eu"
client_id = "x"
client_secret_file = 5
"#,
        "gateway.toml:7:22: mosaic.client_secret_file: expected a path in quotes",
    );
}

#[test]
fn the_issuer_is_for_this_machine_while_it_shows_its_mail() {
    check(
        r#"public_url = "https://app.example.com"
listen = "0.0.0.0:80"
[issuer]
mailbox = true
[sign_up]
allow = ["@example.com", "*"]
[[route]]
upstream = "demo"
"#,
        r#"gateway.toml:4:11: issuer.mailbox: shows everybody's mail, so it works on this machine only, but `listen` is 0.0.0.0:80 and `public_url` is https://app.example.com (seen: true)
  hint: name a mail server in [issuer.mail] instead, or listen on 127.0.0.1 and use a localhost URL
gateway.toml:6:9: sign_up.allow: lets everybody in, so it works on this machine only, but `listen` is 0.0.0.0:80 and `public_url` is https://app.example.com
  hint: name the domains that may sign up, like "@example.com""#,
    );
    check(
        &[
            r#"listen = "[::]:8080"
"#,
            LEAST,
            "",
        ]
        .concat(),
        r#"gateway.toml:4:11: issuer.mailbox: shows everybody's mail, so it works on this machine only, but `listen` is [::]:8080 (seen: true)
  hint: name a mail server in [issuer.mail] instead, or listen on 127.0.0.1 and use a localhost URL"#,
    );
    check(
        r#"public_url = "http://localhost:8080"
[issuer]
[[route]]
upstream = "demo"
"#,
        r#"gateway.toml:2:1: issuer.mailbox: nothing says how the built-in issuer sends its mail
  hint: name your mail server in [issuer.mail], or set `mailbox = true` to try linkgate out"#,
    );
}

#[test]
fn numbers_and_spans_make_sense() {
    check(
        &[
            r#"threads = 0
"#,
            LEAST,
            r#"[session]
lifetime = "1h"
idle_timeout = "2h"
[sign_in]
link_lifetime = "30s"
links_per_mailbox = 0
links_per_peer = 0
links_in_all = 0
[theme]
name = ""
"#,
        ]
        .concat(),
        r#"gateway.toml:1:11: threads: must be more than 0 (seen: 0)
gateway.toml:11:16: session.idle_timeout: is longer than the session itself, `session.lifetime` is 1h (seen: "2h")
gateway.toml:13:17: sign_in.link_lifetime: must be between 1m and 24h (seen: "30s")
  hint: 10m suits most
gateway.toml:14:21: sign_in.links_per_mailbox: must be more than 0 (seen: 0)
gateway.toml:15:18: sign_in.links_per_peer: must be more than 0 (seen: 0)
gateway.toml:16:16: sign_in.links_in_all: must be more than 0 (seen: 0)
gateway.toml:18:8: theme.name: must be 1 to 60 characters on one line (seen: "")"#,
    );
    check(
        &[
            r#"threads = 5000
"#,
            LEAST,
            r#"[sign_in]
link_lifetime = "25h"
[limits]
header_bytes = 0
header_fields = 0
target_bytes = 0
body_bytes_per_second = 0
body_bytes = 0
connections = 0
connections_per_peer = 0
[theme]
name = "a\nb"
"#,
        ]
        .concat(),
        r#"gateway.toml:1:11: threads: must be at most 1024 (seen: 5000)
  hint: leave it out for one thread for each core
gateway.toml:10:17: sign_in.link_lifetime: must be between 1m and 24h (seen: "25h")
  hint: 10m suits most
gateway.toml:12:16: limits.header_bytes: must be more than 0 (seen: 0)
gateway.toml:13:17: limits.header_fields: must be more than 0 (seen: 0)
gateway.toml:14:16: limits.target_bytes: must be more than 0 (seen: 0)
gateway.toml:15:25: limits.body_bytes_per_second: must be more than 0 (seen: 0)
gateway.toml:16:14: limits.body_bytes: must be more than 0 (seen: 0)
gateway.toml:17:15: limits.connections: must be more than 0 (seen: 0)
gateway.toml:18:24: limits.connections_per_peer: must be more than 0 (seen: 0)
gateway.toml:20:8: theme.name: must be 1 to 60 characters on one line (seen: "a\nb")"#,
    );
}

#[test]
fn the_policy_of_codes_makes_sense() {
    check_after(
        r#"[issuer.codes]
length = 3
lifetime = "30s"
tries = 0
lockout = "25h"
"#,
        r#"gateway.toml:9:10: issuer.codes.length: must be between 4 and 8 (seen: 3)
  hint: 6 suits most
gateway.toml:10:12: issuer.codes.lifetime: must be between 1m and 24h (seen: "30s")
  hint: 10m suits most
gateway.toml:11:9: issuer.codes.tries: must be between 1 and 20 (seen: 0)
  hint: 5 suits most
gateway.toml:12:11: issuer.codes.lockout: must be between 1m and 24h (seen: "25h")
  hint: 15m suits most"#,
    );
}

#[test]
fn listeners_are_apart() {
    check_after(
        r#"[admin]
listen = "127.0.0.1:8080"
"#,
        r#"gateway.toml:9:10: admin.listen: is the address of the gateway itself, `listen` is 127.0.0.1:8080 (seen: "127.0.0.1:8080")
  hint: give it another port"#,
    );
    check_after(
        r#"[admin]
listen = "[::]:8080"
"#,
        r#"gateway.toml:9:10: admin.listen: is the address of the gateway itself, `listen` is 127.0.0.1:8080 (seen: "[::]:8080")
  hint: give it another port"#,
    );
}

#[test]
fn identity_headers_have_names_of_their_own() {
    check_after(
        r#"[identity_headers.names]
email = "X y"
user = "Cookie"
name = "X_Forwarded.For"
roles = "Content-Type"
"#,
        r#"gateway.toml:9:9: identity_headers.names.email: is not the name of a header field (seen: "X y")
gateway.toml:10:8: identity_headers.names.user: has a meaning of its own and cannot tell who the visitor is (seen: "Cookie")
gateway.toml:11:8: identity_headers.names.name: has a meaning of its own and cannot tell who the visitor is (seen: "X_Forwarded.For")
gateway.toml:12:9: identity_headers.names.roles: has a meaning of its own and cannot tell who the visitor is (seen: "Content-Type")"#,
    );
    check_after(
        r#"[identity_headers.names]
groups = "X_Forwarded_Roles"
"#,
        r#"gateway.toml:9:10: identity_headers.names.groups: is also the header of `roles`; case, `-`, `_` and `.` make no difference (seen: "X_Forwarded_Roles")"#,
    );
    check_after(
        r#"[identity_headers]
preset = "remote-user"
names = { roles = "remote.groups", preferred_username = "X-Name", name = "x-name" }
"#,
        r#"gateway.toml:10:19: identity_headers.names.roles: is also the header of `groups`; case, `-`, `_` and `.` make no difference (seen: "remote.groups")
gateway.toml:10:57: identity_headers.names.preferred_username: is also the header of `name`; case, `-`, `_` and `.` make no difference (seen: "X-Name")"#,
    );
}

/// What is wrong with a file that has `mail` below `[issuer.mail]`, where line 4 begins.
#[track_caller]
fn check_mail(mail: &str, expected: &str) {
    let text = LEAST.replace("mailbox = true", &format!("[issuer.mail]\n{mail}"));
    check(&text, expected);
}

#[test]
fn the_issuers_mail_goes_one_way_that_is_completely_described() {
    check(
        &LEAST.replace(
            "mailbox = true",
            "mailbox = true\n[issuer.mail]\nserver = \"a.example.com\"\nfrom = \"a@example.com\"",
        ),
        r#"gateway.toml:4:1: issuer.mail: stands beside `mailbox = true`, which shows mail instead of sending it
  hint: keep one of the two"#,
    );
    check_mail(
        "",
        r#"gateway.toml:3:1: issuer.mail.from: is missing
  hint: set the address that mail comes from, like `from = "noreply@example.com"`
gateway.toml:3:1: issuer.mail.server: is missing
  hint: name the server that takes your mail, like `server = "smtp.example.com:587"`"#,
    );
    check_mail(
        r#"server = "smtp://mail.example.com"
from = "noreply"
security = "ssl"
username = "linkgate"
password_file = "none"
password_env = "CARGO_PKG_NAME""#,
        r#"gateway.toml:4:10: issuer.mail.server: expected a mail server like "smtp.example.com:587" (seen: "smtp://mail.example.com")
gateway.toml:5:8: issuer.mail.from: a mail address has the form name@example.com (seen: "noreply")
gateway.toml:6:12: issuer.mail.security: expected "starttls", "tls" or "none" (seen: "ssl")
gateway.toml:9:16: issuer.mail.password_env: stands beside `password_file`, and there is only one password
  hint: keep one of the two"#,
    );
    check(
        &LEAST.replace("mailbox = true", "mail = 5"),
        r#"gateway.toml:3:8: issuer.mail: expected a table (seen: 5)
  hint: a table is a [section] of its own, or `{ name = value }`"#,
    );
}

#[test]
fn mail_without_tls_stays_on_this_machine_and_a_login_is_whole() {
    check_mail(
        r#"server = "mail.example.com"
from = "noreply@example.com"
security = "none"
username = "linkgate""#,
        r#"gateway.toml:3:1: issuer.mail.password_file: is missing: there is a `username`
  hint: name the file that holds it, or its environment variable in `password_env`
gateway.toml:6:12: issuer.mail.security: is for a mail server on this machine only: on a network, links could be read on their way (seen: "none")
  hint: use "starttls" or "tls""#,
    );
    check_mail(
        r#"server = "localhost:25"
from = "noreply@example.com"
security = "none"
password_env = "LINKGATE_NO_SUCH_VARIABLE""#,
        r#"gateway.toml:3:1: issuer.mail.username: is missing: there is a password
  hint: name the account at the server
gateway.toml:7:16: issuer.mail.password_env: there is no such environment variable"#,
    );
}

#[test]
fn files_of_the_issuers_mail_are_looked_at() {
    let scratch = Scratch::new("mail-files");
    let directory = scratch.0.display();
    let mail = |more: &str| format!("server = \"localhost\"\nfrom = \"noreply@example.com\"\n{more}");
    check_mail(
        &mail(&format!("certificate_authority_file = \"{directory}/ca.pem\"\ntemplates = \"{directory}\"")),
        &format!(
            r#"gateway.toml:6:30: issuer.mail.certificate_authority_file: cannot read `{directory}/ca.pem`: No such file or directory (os error 2) (seen: "{directory}/ca.pem")
gateway.toml:7:13: issuer.mail.templates: cannot find `mail.txt` or `mail.html` in `{directory}` (seen: "{directory}")"#
        ),
    );
    scratch.file("ca.pem", b"no certificate");
    scratch.file("mail.html", b"<p>{{ app }}\n{% if link %}\n<p>{{ lnik }}\n{% endif %}\n");
    check_mail(
        &mail(&format!("certificate_authority_file = \"{directory}/ca.pem\"\ntemplates = \"{directory}\"")),
        &format!(
            r#"gateway.toml:6:30: issuer.mail.certificate_authority_file: cannot find a certificate in PEM form in `{directory}/ca.pem` (seen: "{directory}/ca.pem")
gateway.toml:7:13: issuer.mail.templates: cannot use the template `{directory}/mail.html:3`: undefined value (seen: "{directory}")"#
        ),
    );
    scratch.file("mail.html", b"<p>{{ app }}\n{% if link %}\n");
    check_mail(
        &mail(&format!("templates = \"{directory}\"")),
        &format!(
            r#"gateway.toml:6:13: issuer.mail.templates: cannot use the template `{directory}/mail.html:2`: unexpected end of input, expected end of block (seen: "{directory}")"#
        ),
    );
}

#[test]
fn further_headers_tell_claims_under_names_of_their_own() {
    check_after(
        r#"[identity_headers]
extra = { X-Team = "team" }
"#,
        r#"gateway.toml:9:20: identity_headers.extra.X-Team: expected a claim of Mosaic's ID tokens, like "organization" or "custom_data.department" (seen: "team")"#,
    );
    check_after(
        r#"[identity_headers]
extra = { Cookie = "organization", X-Forwarded_Email = "custom_data.mail", X-A = "groups", x_a = "roles" }
"#,
        r#"gateway.toml:9:20: identity_headers.extra.Cookie: has a meaning of its own and cannot tell who the visitor is (seen: "organization")
gateway.toml:9:56: identity_headers.extra.X-Forwarded_Email: is also the header of `email`; case, `-`, `_` and `.` make no difference (seen: "custom_data.mail")
gateway.toml:9:98: identity_headers.extra.x_a: is also the header of `X-A`; case, `-`, `_` and `.` make no difference (seen: "roles")"#,
    );
}

#[test]
fn what_visitors_are_asked_for_is_a_name_that_somebody_knows() {
    check_after(
        r#"[sign_in]
identifier = "member id"
code_tries = 0
label = ""
silent_login_cookie = "a b"
"#,
        r#"gateway.toml:9:14: sign_in.identifier: expected "email", "phone_number", "user_id", "username", or the name of a custom identifier (seen: "member id")
gateway.toml:10:14: sign_in.code_tries: must be more than 0 (seen: 0)
gateway.toml:11:9: sign_in.label: must be 1 to 60 characters on one line (seen: "")
gateway.toml:12:23: sign_in.silent_login_cookie: is not the name of a cookie (seen: "a b")"#,
    );
    check_after(
        r#"[sign_in]
pattern = "[A-Z"
"#,
        r#"gateway.toml:9:11: sign_in.pattern: expected a regular expression, like "[A-Z]{2}[0-9]{6}" (seen: "[A-Z")"#,
    );
    check_after(
        r#"[sign_in]
identifier = "member_id"
silent_login_cookie = "__host-linkgate"
"#,
        r#"gateway.toml:9:14: sign_in.identifier: the built-in issuer knows no identifiers of your own (seen: "member_id")
  hint: use "email", "phone_number", "user_id" or "username"
gateway.toml:10:23: sign_in.silent_login_cookie: is a cookie of the gateway's own (seen: "__host-linkgate")
  hint: name the other application's"#,
    );
}

#[test]
fn assertions_and_their_keys_live_for_a_time_that_makes_sense() {
    check_after(
        "[assertion]\nlifetime = \"6m\"\nkey_lifetime = \"1d\"\n",
        r#"gateway.toml:9:12: assertion.lifetime: must be between 30s and 5m (seen: "6m")
  hint: 5m suits most
gateway.toml:10:16: assertion.key_lifetime: must be at least 2d: each key is shown a day before it signs (seen: "1d")
  hint: 30d suits most"#,
    );
}
