"""Draws what a request costs: one panel for each mode, one bar for each peer, every sample as a dot.

The picture is SVG without anything from outside, and brings its own background, so that it can be read on a light page
and on a dark one.
"""

import math
from statistics import median
from xml.sax.saxutils import escape

MARKED = "linkgate"

WIDTH = 960
MARGIN = 36
ROW = 26
BAR = 16
SIZE = 13
# Room to the right of the longest bar, for its value.
VALUE = 190

PAPER, INK, QUIET, GRID = "#fcfbf8", "#1f2933", "#6b7480", "#e4e1d9"
AUTHENTICATES, FORWARDS, OURS, WRONG = "#5b8db8", "#b9bfc6", "#d9642b", "#b3261e"


def write(samples, path, forwarding):
    """Writes the picture of `samples` to `path`; `forwarding` are the names of peers that authenticate nobody."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(draw(samples, forwarding))


def draw(samples, forwarding):
    """The picture as text. Samples are dictionaries with `mode`, `peer`, `cpu_us` and `errors`."""
    panels = by_mode(samples)
    rounds = max((len(row["costs"]) for rows in panels.values() for row in rows), default=0)
    names = [row["peer"] for rows in panels.values() for row in rows]
    # Names stand to the left of all panels, so that the bars of all begin at one line.
    left = MARGIN + max((width(name) for name in names), default=0) + 14

    top = heading(rounds)
    parts, y = [top], 132
    for mode, rows in panels.items():
        text, y = panel(mode, rows, left, y, forwarding)
        parts.append(text)
    height = y + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        ' role="img" aria-labelledby="title" font-family="Inter, system-ui, -apple-system, \'Segoe UI\', Roboto, '
        f'\'Helvetica Neue\', \'DejaVu Sans\', Arial, sans-serif" font-size="{SIZE}" fill="{INK}">\n'
        f'<title id="title">CPU per request of each peer</title>\n'
        f'<rect width="100%" height="100%" rx="10" fill="{PAPER}"/>\n' + "".join(parts) + "</svg>\n"
    )


def by_mode(samples):
    """For each mode, in the order of the samples, its peers with their costs, the cheapest first."""
    panels = {}
    for sample in samples:
        rows = panels.setdefault(sample["mode"], {})
        row = rows.setdefault(sample["peer"], {"peer": sample["peer"], "costs": [], "errors": 0})
        row["errors"] += sample.get("errors") or 0
        if sample.get("cpu_us") is not None:
            row["costs"].append(sample["cpu_us"])
    return {
        mode: sorted((row for row in rows.values() if row["costs"]), key=lambda row: median(row["costs"]))
        for mode, rows in panels.items()
        if any(row["costs"] for row in rows.values())
    }


def heading(rounds):
    """The title, what the marks mean, and the legend."""
    each = f"Bars are the medians of {rounds} interleaved rounds; each dot is one round." if rounds > 1 else "One round."
    parts = [
        words(MARGIN, 48, "CPU per request", size=24, weight=700),
        words(MARGIN, 72, f"User and system time of all processes of a peer. {each} Less is better.", fill=QUIET),
    ]
    x = MARGIN
    for colour, text in [(OURS, MARKED), (AUTHENTICATES, "checks who is asking"), (FORWARDS, "forwards for anybody")]:
        parts.append(f'<rect x="{x}" y="89" width="12" height="12" rx="3" fill="{colour}"/>\n')
        parts.append(words(x + 19, 100, text))
        x += 19 + width(text) + 28
    parts.append(words(WIDTH - MARGIN, 100, f"× as much as {MARKED}", fill=QUIET, anchor="end"))
    return "".join(parts)


def panel(mode, rows, left, y, forwarding):
    """One mode from `y` on; gives the text and where the next one begins."""
    most = max(max(row["costs"]) for row in rows)
    unit, factor = ("ms", 1000) if most >= 5000 else ("µs", 1)
    step = round_step(most / factor)
    scale = (WIDTH - left - VALUE) / (most / factor)
    ours = next((median(row["costs"]) for row in rows if row["peer"] == MARKED), None)
    first = y + 34
    last = first + ROW * len(rows)

    parts = [
        f'<line x1="{MARGIN}" y1="{y - 8}" x2="{WIDTH - MARGIN}" y2="{y - 8}" stroke="{GRID}"/>\n',
        words(MARGIN, y + 16, mode, size=15, weight=700),
    ]
    for tick in range(int(most / factor / step + 1e-9) + 1):
        x = left + tick * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{first}" x2="{x:.1f}" y2="{last + 4}" stroke="{GRID}"/>\n')
        label = f"{tick * step:g}"
        parts.append(words(x, last + 20, label, size=11, fill=QUIET, anchor="middle"))
    parts.append(words(WIDTH - MARGIN, last + 20, f"{unit} per {what_of(mode)}", size=11, fill=QUIET, anchor="end"))
    for number, row in enumerate(rows):
        parts.append(bar(row, first + ROW * number, left, scale / factor, unit, factor, ours, forwarding))
    return "".join(parts), last + 52


def bar(row, y, left, scale, unit, factor, ours, forwarding):
    """One peer: its name, its median as a bar, its samples as dots, and its figures."""
    peer, costs = row["peer"], row["costs"]
    middle = median(costs)
    # Its variants are ours too; what the others are measured by is the plain one.
    is_ours = peer == MARKED or peer.startswith(f"{MARKED} ")
    colour = OURS if is_ours else FORWARDS if peer in forwarding else AUTHENTICATES
    weight = 700 if is_ours else 400
    centre = y + ROW / 2
    base = centre + SIZE * 0.36
    parts = [
        words(left - 12, base, peer, weight=weight, anchor="end"),
        f'<path d="{rounded(left, centre - BAR / 2, max(middle * scale, 2), BAR)}" fill="{colour}"/>\n',
    ]
    parts += [
        f'<circle cx="{left + cost * scale:.1f}" cy="{centre + 4 * (number % 3 - 1):.1f}" r="2.2" fill="{INK}" '
        f'fill-opacity="0.6"/>\n'
        # On three lines, so that equal ones can be told apart.
        for number, cost in enumerate(costs)
    ]
    x = left + max(costs) * scale + 12
    value = f"{figure(middle / factor)} {unit}"
    parts.append(words(x, base, value, weight=700 if is_ours else 600))
    x += width(value) * 1.08 + 10
    if ours and peer != MARKED:
        times = f"{figure(middle / ours)} ×"
        parts.append(words(x, base, times, size=12, fill=QUIET))
        x += width(times) + 8
    if row["errors"]:
        parts.append(words(x, base, f"{row['errors']} errors", size=12, fill=WRONG, weight=600))
    return "".join(parts)


def rounded(x, y, length, height):
    """A bar that begins straight and ends with round corners."""
    r = min(4, length)
    return (
        f"M{x:.1f} {y:.1f}h{length - r:.1f}a{r:.1f} {r:.1f} 0 0 1 {r:.1f} {r:.1f}v{height - 2 * r:.1f}"
        f"a{r:.1f} {r:.1f} 0 0 1 {-r:.1f} {r:.1f}h{r - length:.1f}z"
    )


def words(x, y, text, size=SIZE, weight=400, fill=INK, anchor="start"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        # The paper around the letters keeps lines of the grid away from them.
        f'text-anchor="{anchor}" paint-order="stroke" stroke="{PAPER}" stroke-width="3">{escape(str(text))}</text>\n'
    )


def width(text):
    """About how wide a text is; nothing here can measure it."""
    return len(text) * SIZE * 0.58


def figure(number):
    """Three digits, which is as much as the samples say."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def what_of(mode):
    """What is counted in a mode."""
    mode = mode.lower()
    return "sign-in" if "login" in mode else "message" if "websocket" in mode else "request"


def round_step(most):
    """A distance of ticks that people count in, for about six of them."""
    raw = most / 6
    power = 10 ** math.floor(math.log10(raw))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= raw)
