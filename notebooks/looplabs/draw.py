# SPDX-License-Identifier: MIT
"""Pictures of a recording: each function draws one figure and returns it.

    steps(rec, "main loop", first=0, last=8)   an iteration a row: poll, then callbacks in their order
    timeline(rec)                              the same in real time, a thread a row
    callback_histogram(rec)                    which callback how often, and how long it took
    wakeup_graph(rec)                          who notifies whom, and how often that writes the eventfd
    nested_polls(rec, iteration=3)             one iteration's callbacks and polls, inside each other
    timeouts(rec, "main loop")                 how long each wait might have lasted, and who said so
    bql(rec)                                   who waits for the big lock, who holds it
    growth(costs)                              what an iteration costs, by the number of descriptors
    busy_polling(rec, "io0")                   for how long it polls before it sleeps, and what for

Steps have equal widths where order is what matters: an order is the same in every run, a time is not.
"""

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from .recording import Recording

# Colours that people who see fewer colours can tell apart (Okabe and Ito).
POLL, WAIT = "#d9dde3", "#b9c0ca"
KINDS = {
    "BH": "#e69f00",
    "handler": "#56b4e9",
    "handler write": "#0072b2",
    "poll_ready": "#9ad0f0",
    "timer": "#009e73",
    "GSource": "#cc79a7",
    "poll notifier": "#f0e442",
}
BY = {
    "nobody": POLL,
    "caller": "#999999",
    "source": "#cc79a7",
    "timer": "#009e73",
    "bh": "#e69f00",
    "idle_bh": "#f7c873",
    "poll_notifier": "#f0e442",
    "notified": "#56b4e9",
    "busy_poll": "#d55e00",
    "unknown": "#ffffff",
}


def _kind_colour(kind: str) -> str:
    return KINDS.get(kind) or KINDS.get(kind.rsplit(" ", 1)[0], "#bbbbbb")


def duration(ns: Optional[float]) -> str:
    """A time as people write it: 12 us, 3.5 ms, for ever."""
    if ns is None or (isinstance(ns, float) and math.isnan(ns)):
        return "?"
    if ns < 0:
        return "for ever"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns" if ns else "0"


def _figure(width: float, height: float, title: str) -> Tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.set_title(title, fontsize=10, loc="left")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    plt.close(
        figure
    )  # a notebook shows the value of a cell; otherwise it would show it twice
    return figure, axes


def _wrapped(text: str, limit: int, lines: int = 2) -> str:
    """A name on at most so many lines, broken behind an underscore or a blank where there is one."""
    limit, done = max(limit, 2), []
    while text and len(done) < lines:
        cut = len(text)
        if cut > limit:
            cut = max(text.rfind(c, 0, limit) for c in "_ (") + 1 or limit
        done.append(text[:cut].strip())
        text = text[cut:]
    return "\n".join(done) + ("…" if text else "")


CHARACTERS = 165  # of the smallest script, over the width of a figure


def _box(
    axes: Axes, x: float, y: float, width: float, text: str, colour: str, whole: float
) -> None:
    """A box with a text that fits into it, in a figure that is `whole` wide."""
    axes.add_patch(Rectangle((x, y - 0.36), width, 0.72, lw=0, fc=colour))
    text = _wrapped(text, int(width / whole * CHARACTERS))
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=7)


def _legend(axes: Axes, colours: Dict[str, str]) -> None:
    if colours:
        handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
        axes.legend(
            handles=handles,
            fontsize=7,
            ncol=len(handles),
            loc="upper left",
            bbox_to_anchor=(0, -0.02),
            frameon=False,
        )


def _nothing(title: str, why: str) -> Figure:
    figure, axes = _figure(7, 1.2, title)
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=9)
    axes.set_axis_off()
    return figure


def _called(rec: Recording, row: Any) -> pd.DataFrame:
    """An iteration's callbacks in their order; contexts, which only pass on, are left out."""
    calls = rec.callbacks()
    mine = calls[(calls.thread == row.thread) & (calls.iteration == row.n)]
    passes_on = (mine.kind == "GSource") & mine.cb.isin(list(rec.contexts.values()))
    return mine[~passes_on & (mine.kind != "poll notifier fill")]


def steps(
    rec: Recording, loop: str = "main loop", first: int = 0, last: int = 8
) -> Figure:
    """An iteration a row: the wait, what ended it, and the callbacks in their order."""
    rows = rec.iterations(loop).iloc[first : last + 1]
    title = f"{loop}: iterations {first} to {first + len(rows) - 1}, step by step"
    if rows.empty:
        return _nothing(title, "no such iteration in this recording")
    called = [list(_called(rec, row).itertuples()) for row in rows.itertuples()]
    whole = 6.4 + 2.65 * max(3, *map(len, called))
    figure, axes = _figure(10, 0.9 + 0.55 * len(rows), title)
    used: Dict[str, str] = {"wait": POLL}
    for y, row in enumerate(rows.itertuples()):
        who = f": {row.chooser or row.by}" if row.by not in ("nobody", "") else ""
        said = f"may sleep {duration(row.timeout_ns)}{who}"
        _box(axes, 0, y, 3.9, said, POLL, whole)
        ready = "fd " + " ".join(map(str, row.ready)) if row.ready else "nothing ready"
        _box(axes, 3.95, y, 2.3, ready, WAIT, whole)
        x = 6.4
        for call in called[y]:
            used[call.kind] = _kind_colour(call.kind)
            _box(axes, x, y, 2.6, call.cb, used[call.kind], whole)
            x += 2.65
    axes.set_xlim(0, whole)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [str(n) for n in rows.n], fontsize=8)
    axes.set_ylabel("iteration", fontsize=8)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    _legend(axes, used)
    return figure


def timeline(
    rec: Recording, begin_ns: float = 0, end_ns: Optional[float] = None
) -> Figure:
    """Real time: a thread a row, its waits in grey, its callbacks in colour."""
    polls, calls = rec.polls(), rec.callbacks()
    end_ns = end_ns or max([1, *polls.end_ns, *calls.end_ns])
    threads = list(dict.fromkeys([*polls.thread, *calls.thread]))
    if not threads:
        return _nothing("timeline", "no loop runs in this recording")
    figure, axes = _figure(10, 0.8 + 0.7 * len(threads), "what each thread does when")
    scale, unit = (1e6, "ms") if end_ns - begin_ns > 2e6 else (1e3, "us")
    used: Dict[str, str] = {}

    def span(row: Any, colour: str, height: float, order: int) -> None:
        stop = row.end_ns if row.end_ns >= 0 else end_ns
        if row.begin_ns < end_ns and stop > begin_ns:
            left, y = row.begin_ns / scale, threads.index(row.thread)
            axes.barh(
                y,
                (stop - row.begin_ns) / scale,
                left=left,
                height=height,
                color=colour,
                zorder=order,
            )

    for row in polls.itertuples():
        used["asleep"] = WAIT
        span(row, WAIT, 0.5, 3 if row.depth > 1 else 1)
    for row in calls.itertuples():
        used[row.kind] = _kind_colour(row.kind)
        span(row, used[row.kind], max(0.7 - 0.12 * row.depth, 0.2), 2)
    axes.set_xlim(begin_ns / scale, end_ns / scale)
    axes.set_ylim(len(threads) - 0.4, -0.6)
    axes.set_yticks(range(len(threads)), threads, fontsize=8)
    axes.set_xlabel(f"{unit} since the first event", fontsize=8)
    axes.tick_params(labelsize=8)
    handles = [Patch(color=c, label=n) for n, c in used.items()]
    axes.legend(
        handles=handles,
        fontsize=7,
        ncol=1,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
    )
    return figure


def callback_histogram(rec: Recording, most: int = 12) -> Figure:
    """Of each callback: how often it was called, and in powers of two how long it took."""
    calls = rec.callbacks()
    calls = calls[(calls.end_ns >= 0) & ~calls.cb.isin(list(rec.contexts.values()))]
    if calls.empty:
        return _nothing("callbacks", "no callback ran in this recording")
    names = list(calls.cb.value_counts().index[:most])
    figure, axes = _figure(
        10, 1.1 + 0.42 * len(names), "callbacks: how often, and how long each call took"
    )
    taken = calls[calls.cb.isin(names)]
    bins = (
        (taken.end_ns - taken.begin_ns).clip(lower=1).map(lambda ns: int(math.log2(ns)))
    )
    low, high = int(bins.min()), int(bins.max())
    for y, name in enumerate(names):
        mine = taken.cb == name
        for bucket, count in bins[mine].value_counts().items():
            share = count / mine.sum()
            axes.barh(
                y,
                0.94,
                left=bucket - low,
                height=0.3 + 0.5 * share,
                color=_kind_colour(taken[mine].kind.iloc[0]),
            )
            axes.text(
                bucket - low + 0.47, y, str(count), ha="center", va="center", fontsize=7
            )
    labels = [f"{name}  ×{int((taken.cb == name).sum())}" for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    ticks = range(high - low + 2)
    axes.set_xticks(list(ticks), [duration(2 ** (low + t)) for t in ticks], fontsize=7)
    axes.set_xlabel(
        "time of a call, in powers of two; the number is that of calls", fontsize=8
    )
    _legend_below(axes, {k: _kind_colour(k) for k in dict.fromkeys(taken.kind)})
    return figure


def _legend_below(axes: Axes, colours: Dict[str, str]) -> None:
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(
        handles=handles,
        fontsize=7,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
    )


def wakeup_graph(rec: Recording) -> Figure:
    """Threads on the left, contexts on the right: an arrow for each who calls aio_notify() on which.

    "3 written, 1 not": of four calls three wrote the eventfd; the fourth found nobody asleep.
    """
    notifies = rec.notifies()
    if notifies.empty:
        return _nothing(
            "who notifies whom", "nobody called aio_notify() in this recording"
        )
    left, right = list(dict.fromkeys(notifies.thread)), list(
        dict.fromkeys(notifies.ctx)
    )
    rows = max(len(left), len(right))
    figure, axes = _figure(9, 0.8 + 1.1 * rows, "aio_notify(): who wakes whom")
    place = {("l", n): (0.0, rows * (i + 0.5) / len(left)) for i, n in enumerate(left)}
    place |= {
        ("r", n): (3.0, rows * (i + 0.5) / len(right)) for i, n in enumerate(right)
    }
    for (thread, ctx), group in notifies.groupby(["thread", "ctx"], sort=False):
        begin, end = place["l", thread], place["r", ctx]
        written = int(group.written.sum())
        axes.add_patch(
            FancyArrowPatch(
                (begin[0] + 0.62, begin[1]),
                (end[0] - 0.66, end[1]),
                arrowstyle="-|>",
                mutation_scale=12,
                lw=0.8 + math.log2(len(group) + 1) * 0.5,
                ls="-" if written else "--",
                color="#0072b2" if written else "#999999",
            )
        )
        # At another part of the way for each thread: arrows of two threads cross, their words do not.
        part = 0.75 - 0.5 * left.index(thread) / max(len(left) - 1, 1)
        x = begin[0] + 0.62 + part * (end[0] - begin[0] - 1.28)
        y = begin[1] + part * (end[1] - begin[1])
        said = f"{written} written, {len(group) - written} not"
        axes.text(
            x,
            y,
            said,
            fontsize=7,
            ha="center",
            va="center",
            bbox={"fc": "white", "ec": "none", "pad": 1},
        )
    for (side, name), (x, y) in place.items():
        colour = "#f3e3b5" if side == "l" else "#cfe8f7"
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"fc": colour, "ec": "#777777", "boxstyle": "round,pad=0.5"},
        )
    axes.text(0, -0.15, "thread", ha="center", fontsize=8, color="#555555")
    axes.text(3, -0.15, "context", ha="center", fontsize=8, color="#555555")
    axes.set_xlim(-0.8, 3.8)
    axes.set_ylim(rows, -0.4)
    axes.set_axis_off()
    return figure


def nested_polls(rec: Recording, iteration: int, loop: str = "main loop") -> Figure:
    """One iteration from left to right, step by step; what happens inside of a call is below it."""
    title = f"{loop}, iteration {iteration}: what is inside of what"
    rows = rec.iterations(loop)
    rows = rows[rows.n == iteration]
    if rows.empty:
        return _nothing(title, "no such iteration in this recording")
    row = rows.iloc[0]
    spans: List[Tuple[int, int, str, str]] = []
    for table, name in (
        (rec.callbacks(), "cb"),
        (rec.nested(), "ctx"),
        (rec.polls(), "ready"),
    ):
        mine = table[(table.thread == row.thread) & (table.iteration == row.n)]
        for r in mine.itertuples():
            end = r.end_ns if r.end_ns >= 0 else row.end_ns
            if name == "cb":
                spans.append((r.begin_ns, end, r.cb, _kind_colour(r.kind)))
            elif name == "ctx":
                spans.append(
                    (r.begin_ns, end, f"aio_poll({r.ctx}), depth {r.depth}", "#f2b8a0")
                )
            else:
                spans.append(
                    (r.begin_ns, end, "sleeps" if r.timeout_ns else "polls", WAIT)
                )
    if not spans:
        return _nothing(title, "nothing ran in it")
    # What has nothing inside is as wide as a name needs; between two of those is a little gap.
    times = sorted({t for s in spans for t in s[:2]})
    bare = {s[:2] for s in spans}
    step = {times[0]: 0.0}
    for begin, end in zip(times, times[1:]):
        step[end] = step[begin] + (1.0 if (begin, end) in bare else 0.12)
    whole = max(step.values())
    spans.sort(key=lambda s: (s[0], -s[1]))
    depth_of = [
        sum(o[0] <= s[0] and s[1] <= o[1] and o is not s for o in spans) for s in spans
    ]
    figure, axes = _figure(10, 0.8 + 0.55 * (max(depth_of) + 1), title)
    room = CHARACTERS / max(whole, 1)  # characters a step has room for
    for (begin, end, text, colour), depth in zip(spans, depth_of):
        width = step[end] - step[begin]
        axes.add_patch(
            Rectangle((step[begin], depth - 0.42), width, 0.84, fc=colour, ec="white")
        )
        said = _wrapped(text, int(width * room), lines=3)
        axes.text(
            step[begin] + width / 2, depth, said, ha="center", va="center", fontsize=6.5
        )
    axes.set_xlim(0, whole)
    axes.set_ylim(max(depth_of) + 0.6, -0.6)
    axes.set_yticks(
        range(max(depth_of) + 1), [str(d) for d in range(max(depth_of) + 1)], fontsize=8
    )
    axes.set_ylabel("how deep inside", fontsize=8)
    axes.set_xticks([])
    axes.set_xlabel("step by step →", fontsize=8)
    return figure


def timeouts(rec: Recording, loop: str = "main loop") -> Figure:
    """A bar an iteration: how long the loop might sleep (its length), and who said so (its colour)."""
    rows = rec.iterations(loop)
    rows = rows[rows.by != ""]
    title = f"{loop}: how long might each wait last, and who said so?"
    if rows.empty:
        return _nothing(title, "no timeout was settled in this recording")
    figure, axes = _figure(10, 0.9 + 0.26 * len(rows), title)
    finite = [ns for ns in rows.timeout_ns if ns > 0]
    low = 3.0
    high = math.log10(max([1e6, *finite])) + 0.8
    for y, row in enumerate(rows.itertuples()):
        if row.timeout_ns < 0:
            width = high - low
        else:
            width = max(math.log10(max(row.timeout_ns, 1)) - low, 0) or 0.05
        axes.barh(
            y,
            width,
            left=low,
            height=0.7,
            color=BY.get(row.by, "#ffffff"),
            ec="#888888",
            lw=0.4,
        )
        who = row.chooser or row.by
        axes.text(
            low + width + 0.05,
            y,
            f"{duration(row.timeout_ns)}  {who}",
            va="center",
            fontsize=7,
        )
    axes.set_xlim(low, high + 2.2)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [str(n) for n in rows.n], fontsize=7)
    axes.set_ylabel("iteration", fontsize=8)
    ticks = range(int(low), int(high) + 1)
    axes.set_xticks(
        list(ticks), ["0" if t == low else duration(10**t) for t in ticks], fontsize=7
    )
    _legend_below(axes, {by: BY.get(by, "#ffffff") for by in dict.fromkeys(rows.by)})
    return figure


def bql(rec: Recording, threads: Sequence[str] = ()) -> Figure:
    """A thread a row: red while it waits for the big lock, green while it has it."""
    rows = rec.bql()
    if threads:
        rows = rows[rows.thread.isin(list(threads))]
    rows = rows[rows.acquired_ns >= 0]
    if rows.empty:
        return _nothing("the big lock", "nobody took it in this recording")
    names = list(dict.fromkeys(rows.thread))
    figure, axes = _figure(
        10, 0.9 + 0.6 * len(names), "the big lock: who waits for it, who has it"
    )
    last = max(int((rows.acquired_ns + rows.hold_ns.fillna(0)).max()), 1)
    scale, unit = (1e6, "ms") if last > 2e6 else (1e3, "us")
    for row in rows.itertuples():
        y = names.index(row.thread)
        held = row.hold_ns if not pd.isna(row.hold_ns) else last - row.acquired_ns
        axes.barh(
            y,
            row.wait_ns / scale,
            left=(row.acquired_ns - row.wait_ns) / scale,
            height=0.5,
            color="#d55e00",
            ec="white",
        )
        axes.barh(
            y, held / scale, left=row.acquired_ns / scale, height=0.5, color="#009e73"
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(f"{unit} since the first event", fontsize=8)
    axes.tick_params(labelsize=8)
    _legend_below(axes, {"waits": "#d55e00", "holds": "#009e73"})
    return figure


def growth(costs: pd.DataFrame) -> Figure:
    """A line a column: how many times its first row's each cost is, by the number of descriptors."""
    figure, axes = _figure(
        7, 3.6, "what an iteration costs, as a multiple of that with the fewest fds"
    )
    colours = ["#d55e00", "#0072b2", "#009e73", "#cc79a7"]
    marks = "osD^"
    first = costs.index[0]
    axes.plot(
        costs.index, costs.index / first, ls=":", color="#999999", label="number of fds"
    )
    for i, name in enumerate(costs.columns):
        axes.plot(
            costs.index,
            costs[name] / costs[name].iloc[0],
            marker=marks[i % len(marks)],
            color=colours[i % len(colours)],
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("descriptors that are watched; one of them is ready", fontsize=8)
    axes.set_ylabel("times", fontsize=8)
    axes.spines["left"].set_visible(True)
    axes.tick_params(labelsize=8)
    axes.set_xticks(list(costs.index), [str(n) for n in costs.index])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.legend(fontsize=8, frameon=False)
    return figure


def busy_polling(
    rec: Recording, loop: str, first: int = 0, last: Optional[int] = None
) -> Figure:
    """How long an IOThread would poll before each sleep, and what came of it in each iteration."""
    story = rec.walk.busy_polling(loop)
    story = story[story.n >= first]
    if last is not None:
        story = story[story.n <= last]
    title = f"{loop}: for how long it would poll before it sleeps, and what came of it"
    if story.empty:
        return _nothing(title, "no such iterations in this recording")
    figure, axes = _figure(10, 3, title)
    colours = {"found": "#009e73", "in vain": "#d55e00", "not tried": "#999999"}
    axes.step(story.n, story.poll_ns / 1e3, where="mid", color="#bbbbbb", lw=1)
    for what, colour in colours.items():
        mine = story[story.what == what]
        axes.scatter(mine.n, mine.poll_ns / 1e3, color=colour, s=22, zorder=3)
    axes.set_xlabel("iteration", fontsize=8)
    axes.set_ylabel("poll_ns, in us", fontsize=8)
    axes.spines["left"].set_visible(True)
    axes.tick_params(labelsize=8)
    _legend_below(axes, colours)
    return figure
