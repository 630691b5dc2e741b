"""The table of a run, in Markdown: a part for each mode, medians of all rounds, CPU per request first."""

from statistics import median

BARE, NGINX = "bare pingora", "nginx"
COLUMNS = ("Peer", "CPU µs", "× bare pingora", "× nginx", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "memory MB", "errors")


def text(facts, samples, absent):
    """`facts` are pairs for the head, `absent` says by peer why it has no row."""
    parts = ["# What a request costs\n", "\n".join(f"- {name}: {value}" for name, value in facts) + "\n"]
    for mode in dict.fromkeys(sample["mode"] for sample in samples):
        parts.append(_part(mode, [sample for sample in samples if sample["mode"] == mode]))
    if absent:
        parts.append("## Not measured\n")
        parts.append("\n".join(f"- {name}: not measured: {_one_line(reason)}" for name, reason in absent.items()) + "\n")
    return "\n".join(parts)


def _part(mode, samples):
    rows = [_medians(peer, samples) for peer in dict.fromkeys(sample["peer"] for sample in samples)]
    rows.sort(key=lambda row: row["cpu_us"])
    costs = {row["peer"]: row["cpu_us"] for row in rows}
    lines = [f"## {mode}\n", _line(COLUMNS), _line(["---"] + ["---:"] * (len(COLUMNS) - 1))]
    lines += [_line(_cells(row, costs)) for row in rows]
    return "\n".join(lines) + "\n"


def _medians(peer, samples):
    own = [sample for sample in samples if sample["peer"] == peer]
    row = {name: median(sample[name] for sample in own) for name in ("cpu_us", "rps", "p50_us", "p99_us", "p999_us", "rss_mb")}
    return row | {"peer": peer, "errors": sum(sample["errors"] for sample in own)}


def _cells(row, costs):
    return [
        row["peer"],
        f"{row['cpu_us']:.1f}",
        _ratio(row, costs, BARE),
        _ratio(row, costs, NGINX),
        f"{row['rps']:.0f}",
        *(f"{row[name] / 1000:.2f}" for name in ("p50_us", "p99_us", "p999_us")),
        f"{row['rss_mb']:.0f}",
        str(row["errors"]),
    ]


def _ratio(row, costs, other):
    return f"{row['cpu_us'] / costs[other]:.2f}" if costs.get(other) else ""


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _one_line(reason):
    return " ".join(str(reason).split())
