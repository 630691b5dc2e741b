"""Puts load on a peer, by the tool that each mode needs; all of them say requests, errors, seconds and latencies."""

import json
import subprocess
import tempfile
from pathlib import Path

from answers import among_others
from peer import pinned

CONNECTIONS = 64
RATE = 2000
MESSAGE_BYTES = 128
PEOPLE = 8
# A run that hangs must not hold up the others.
GRACE = 30

# wrk's own summary has no quantiles that a program can read.
SAY = """\
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"errors":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"p999_us":%d}\\n',
    summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""

# Each request has the next of some cookies, in place of one that is the same for all.
IN_TURN = """\
local cookies, at = {{}}, 0
for line in io.lines({path}) do
  if #cookies == {most} then break end
  cookies[#cookies + 1] = line
end
local before, after
init = function()
  local head = wrk.format()
  local from, to = head:find("HERE", 1, true)
  before, after = head:sub(1, from - 1), head:sub(to + 1)
end
request = function()
  at = at % #cookies + 1
  return before .. cookies[at] .. after
end
"""


def run(mode, peer, fields, seconds, options):
    """Runs one sample. Gives what the tool said."""
    port = peer.setting.port
    url = f"http://127.0.0.1:{port}/"
    if mode in ("keep-alive", "routes"):
        return wrk(url, fields, seconds)
    if mode == "new-connections":
        return wrk(url, fields | {"Connection": "close"}, seconds)
    if mode == "large":
        return wrk(f"{url}large", fields, seconds)
    if mode == "sessions":
        in_turn = IN_TURN.format(path=json.dumps(str(peer.cookies())), most=peer.in_use)
        return wrk(url, fields | {"Cookie": among_others("HERE")}, seconds, in_turn)
    if mode == "tls-h2":
        return h2load(peer, fields, seconds)
    program = options.program("load")
    # The program says the host of its URL.
    host = peer.host or f"127.0.0.1:{port}"
    fields = {name: value for name, value in fields.items() if name != "Host"}
    if mode == "rate":
        return load(program, ["rate", "--url", f"http://{host}/", "--rate", RATE, "--connections", CONNECTIONS], fields, seconds)
    if mode == "websocket":
        arguments = ["websocket", "--url", f"ws://{host}/ws", "--connections", CONNECTIONS, "--bytes", MESSAGE_BYTES]
        return load(program, arguments, fields, seconds)
    if mode == "login":
        return load(program, ["login", "--url", f"http://{host}/", "--parallel", PEOPLE], {}, seconds)
    raise ValueError(mode)


def wrk(url, fields, seconds, more=""):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(more + SAY)
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name]
        return said(command + headers("-H", fields) + [url], seconds)


def load(program, arguments, fields, seconds):
    return said([program, *arguments, "--seconds", seconds, *headers("--header", fields)], seconds)


def headers(option, fields):
    return [word for name, value in fields.items() for word in (option, f"{name}: {value}")]


def said(command, seconds):
    """The last line of a tool's output, which is JSON."""
    return json.loads(output(command, seconds).strip().splitlines()[-1])


def output(command, seconds):
    done = subprocess.run(
        pinned(0, [str(word) for word in command]), capture_output=True, text=True, check=False, timeout=seconds + GRACE
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def h2load(peer, fields, seconds):
    """HTTP/2 over TLS, with one request at a time on each connection."""
    port = peer.setting.port
    url = f"https://{peer.host or f'127.0.0.1:{port}'}/"
    fields = {name: value for name, value in fields.items() if name != "Host"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "requests")
        command = ["h2load", "-t1", f"-c{CONNECTIONS}", "-m1", "-D", seconds, f"--connect-to=127.0.0.1:{port}"]
        text = output([*command, f"--log-file={log}", *headers("-H", fields), url], seconds)
        if "Application protocol: h2" not in text:
            raise RuntimeError(f"{peer.name} does not speak HTTP/2: {text[-300:]}")
        # When it began, its status, and how long it took, in microseconds.
        rows = [line.split() for line in log.read_text().splitlines()]
    took = sorted(int(row[2]) for row in rows if row[1] == "200")
    if not took:
        raise RuntimeError(f"{peer.name} answered no request: {text[-300:]}")

    def quantile(share):
        return took[min(int(len(took) * share), len(took) - 1)]

    return {
        "requests": len(took),
        "errors": len(rows) - len(took),
        "seconds": float(seconds),
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
        "p999_us": quantile(0.999),
    }
