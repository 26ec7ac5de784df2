"use strict";
/* The canvas: for each thread a line with its name and its wake-ups, then a row for each depth of
 * nesting. However many slices lie in a pixel, drawing costs a binary search: the sums in lane.busy
 * tell which share of the pixel they fill. */

const ROW = 17, HEAD = 20, AXIS = 22, GAP = 8;
const NEAREST = 50; /* ns on the whole width: nearer is nothing to see */
const ARROW_ROOM = 25; /* pixels for an arrow: with less they would be a carpet */
const ENDINGS = ["", "its end is missing; it was over by here", "it went on when the recording ended"];

/* The first index whose value is above @limit. */
function firstAbove(values, limit, from) {
  let low = from || 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

const timeline = (() => {
  const canvas = document.getElementById("timeline"), overview = document.getElementById("overview");
  const scroll = document.getElementById("scroll"), spacer = document.getElementById("spacer");
  const context = canvas.getContext("2d"), small = overview.getContext("2d");
  const full = { from: data.span.from_ns, to: Math.max(data.span.to_ns, data.span.from_ns + 1000) };
  const view = { from: full.from, to: full.to };
  let colours = {}, width = 0, height = 0, selected = null, waiting = false;
  const watchers = [];

  /* Where each thread and row lies, from the top. */
  let contentHeight = AXIS;
  for (const thread of data.threads) {
    thread.top = contentHeight;
    contentHeight += HEAD + thread.lanes.length * ROW + GAP;
  }

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["back", "panel", "text", "quiet", "line", "bad", "bad-back", "grid", "wake", "slice-text", "accent"];
    for (const name of names) colours[name] = style.getPropertyValue(`--${name}`).trim();
    colours.kinds = data.kinds.map((_, i) => style.getPropertyValue(`--k${i}`).trim());
  }

  const xOf = (ns) => ((ns - view.from) / (view.to - view.from)) * width;
  const nsOf = (x) => view.from + (x / width) * (view.to - view.from);

  /* --- drawing -------------------------------------------------------------------------------- */

  /* Round times, some hundred pixels from each other. */
  function ticks() {
    const about = (view.to - view.from) / Math.max(2, width / 110);
    const ten = Math.pow(10, Math.floor(Math.log10(about)));
    const step = [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= about), found = [];
    for (let ns = Math.ceil(view.from / step) * step; ns <= view.to; ns += step) found.push([Math.round(xOf(ns)), tickLabel(ns, step)]);
    return found;
  }

  /* So many digits that neighbours differ. */
  function tickLabel(ns, step) {
    const [unit, size] = ns >= 1e9 ? ["s", 1e9] : ns >= 1e6 ? ["ms", 1e6] : ns >= 1e3 ? ["\u00b5s", 1e3] : ["ns", 1];
    const digits = Math.ceil(-Math.log10(step / size) - 1e-9);
    return ns === 0 ? "0" : `${(ns / size).toFixed(Math.max(0, Math.min(9, digits)))} ${unit}`;
  }

  function drawAxis() {
    context.fillStyle = colours.panel;
    context.fillRect(0, 0, width, AXIS);
    context.fillStyle = colours.quiet;
    for (const [x, label] of ticks()) {
      context.fillText(label, x + 3, 15);
      context.fillRect(x, 0, 1, AXIS);
    }
  }

  function drawGrid() {
    context.fillStyle = colours.grid;
    for (const [x] of ticks()) context.fillRect(x, AXIS, 1, height);
  }

  function drawSlice(lane, i, x, to, y) {
    const wide = to - x, visible = Math.max(x, 0);
    context.fillStyle = colours.kinds[lane.kind[i]];
    context.fillRect(visible, y, Math.min(to, width) - visible, ROW - 2);
    if (lane.many.has(i)) {
      context.fillStyle = colours.back;
      const many = lane.many.get(i), share = many.busy / Math.max(1, lane.end[i] - lane.begin[i]);
      context.globalAlpha = Math.min(0.8, 1 - share);
      context.fillRect(visible, y, Math.min(to, width) - visible, ROW - 2);
      context.globalAlpha = 1;
    }
    if (wide > 3 && x >= 0) {
      context.fillStyle = colours.line;
      context.fillRect(x, y, 1, ROW - 2);
    }
    if (lane.ending[i]) { /* a ragged end */
      context.fillStyle = colours.bad;
      context.fillRect(Math.min(to, width) - 2, y, 2, ROW - 2);
    }
    if (Math.min(to, width) - visible > 34) drawLabel(sliceLabel(lane, i), visible + 4, y, Math.min(to, width) - visible - 7);
  }

  function sliceLabel(lane, i) {
    const many = lane.many.get(i);
    return many ? `${count(many.count)} \u00d7 ${data.names[lane.name[i]]}` : data.names[lane.name[i]];
  }

  function drawLabel(label, x, y, room) {
    const letters = Math.floor(room / 6.6);
    context.fillStyle = colours["slice-text"];
    context.fillText(label.length <= letters ? label : `${label.slice(0, Math.max(1, letters - 1))}\u2026`, x, y + 11.5);
  }

  function drawLane(lane, y) {
    let i = firstAbove(lane.end, view.from);
    while (i < lane.n && lane.begin[i] < view.to) {
      const x = xOf(lane.begin[i]), to = xOf(lane.end[i]);
      if (to - x >= 1) {
        drawSlice(lane, i++, x, to, y);
        continue;
      }
      /* All that lie in this pixel, as one; not what only begins in it. */
      const pixel = Math.max(0, Math.floor(x));
      const next = Math.max(i + 1, firstAbove(lane.end, nsOf(pixel + 1), i));
      const share = (lane.busy[next] - lane.busy[i]) / (nsOf(1) - nsOf(0));
      context.globalAlpha = 0.35 + 0.65 * Math.min(1, share);
      context.fillStyle = colours.kinds[lane.kind[i]];
      context.fillRect(pixel, y, 1, ROW - 2);
      context.globalAlpha = 1;
      i = next;
    }
  }

  function drawLosses(thread, y) {
    for (const loss of thread.losses) {
      const x = Math.round(xOf(loss.at_ns));
      if (x < -60 || x > width) continue;
      context.fillStyle = colours.bad;
      context.fillRect(x - 1, y, 2, HEAD + thread.lanes.length * ROW);
      context.fillText(`${count(loss.count)} lost`, x + 4, y + 14);
    }
  }

  function drawThread(thread, top) {
    const y = thread.top - top;
    if (y > height || y + HEAD + thread.lanes.length * ROW < AXIS) return;
    thread.lanes.forEach((lane, depth) => {
      if (lane) drawLane(lane, y + HEAD + depth * ROW);
    });
    drawLosses(thread, y);
  }

  function drawName(thread, top) {
    const y = thread.top - top;
    const label = `${thread.name} ${thread.tid}`.trim();
    context.font = "bold 12px system-ui, sans-serif";
    const wide = Math.min(width, context.measureText(label).width + 10);
    context.fillStyle = colours.back;
    context.globalAlpha = 0.85;
    context.fillRect(0, y, wide, HEAD - 2);
    context.globalAlpha = 1;
    context.fillStyle = colours.text;
    context.fillText(label, 4, y + 14);
    context.font = "11px ui-monospace, monospace";
  }

  /* Where a wake-up begins and ends: in the lines of the names. */
  function drawWakes(top) {
    const wakes = data.wakes, first = firstAbove(wakes.found, view.from);
    const last = firstAbove(wakes.found, view.to), arrows = (last - first) * ARROW_ROOM <= width;
    let pixel = -1;
    context.strokeStyle = context.fillStyle = colours.wake;
    for (let i = first; i < last; i++) {
      const to = data.byTid.get(wakes.tid[i]), by = data.byTid.get(wakes.by[i]);
      const x = xOf(wakes.found[i]);
      if (!to || (!arrows && Math.floor(x) === pixel)) continue;
      pixel = Math.floor(x);
      const y = to.top - top + HEAD - 2;
      context.beginPath(); /* an arrow-head at whoever wakes */
      context.moveTo(x, y);
      context.lineTo(x - 4, y - 8);
      context.lineTo(x + 4, y - 8);
      context.fill();
      if (!arrows || !by) continue;
      const from = xOf(wakes.written[i]), start = by.top - top + HEAD - 6;
      context.beginPath();
      context.moveTo(from, start);
      context.bezierCurveTo(from + 20, (start + y) / 2, x - 20, (start + y) / 2, x, y - 8);
      context.stroke();
      context.fillRect(from - 2, start - 2, 4, 4);
    }
  }

  function drawSelected(top) {
    if (!selected) return;
    const { thread, depth, i } = selected, lane = thread.lanes[depth];
    const x = Math.max(-2, xOf(lane.begin[i])), to = Math.min(width + 2, xOf(lane.end[i]));
    context.strokeStyle = colours.text;
    context.lineWidth = 2;
    context.strokeRect(x, thread.top - top + HEAD + depth * ROW, Math.max(3, to - x), ROW - 2);
    context.lineWidth = 1;
  }

  /* How busy callbacks keep each thread, and which part is seen below. */
  function drawOverview() {
    const w = overview.clientWidth, h = overview.clientHeight, step = (full.to - full.from) / w;
    scale(overview, small, w, h);
    small.fillStyle = colours.panel;
    small.fillRect(0, 0, w, h);
    const shown = data.threads.slice(0, 5), each = h / Math.max(1, shown.length);
    shown.forEach((thread, row) => {
      const outer = thread.lanes.find((lane) => lane && lane.kind.some((kind) => kind <= 4));
      if (!outer) return;
      small.fillStyle = colours.quiet;
      for (let x = 0; x < w; x++) {
        const from = full.from + x * step, i = firstAbove(outer.end, from), next = firstAbove(outer.begin, from + step, i);
        let share = 0;
        if (next - i > 3) {
          const before = Math.max(0, from - outer.begin[i]), after = Math.max(0, outer.end[next - 1] - from - step);
          share = Math.max(0, outer.busy[next] - outer.busy[i] - before - after) / step;
        }
        else
          for (let k = i; k < next; k++)
            if (outer.kind[k] <= 4)
              share += (Math.min(outer.end[k], from + step) - Math.max(outer.begin[k], from)) / step;
        const high = Math.min(1, share) * (each - 2);
        if (high > 0) small.fillRect(x, (row + 1) * each - Math.max(1, high), 1, Math.max(1, high));
      }
    });
    const x = ((view.from - full.from) / (full.to - full.from)) * w;
    const wide = ((view.to - view.from) / (full.to - full.from)) * w;
    small.fillStyle = colours.accent;
    small.globalAlpha = 0.18;
    small.fillRect(x, 0, Math.max(2, wide), h);
    small.globalAlpha = 1;
    small.fillRect(x, 0, 2, h);
    small.fillRect(x + Math.max(2, wide) - 2, 0, 2, h);
  }

  function scale(what, brush, w, h) {
    const ratio = window.devicePixelRatio || 1;
    if (what.width !== Math.round(w * ratio) || what.height !== Math.round(h * ratio)) {
      what.width = Math.round(w * ratio);
      what.height = Math.round(h * ratio);
    }
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function draw() {
    const top = scroll.scrollTop;
    waiting = false;
    spacer.style.height = `${contentHeight}px`;
    canvas.style.height = `${Math.min(contentHeight, scroll.clientHeight || contentHeight)}px`;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    scale(canvas, context, width, height);
    context.fillStyle = colours.back;
    context.fillRect(0, 0, width, height);
    context.font = "11px ui-monospace, monospace";
    drawGrid();
    for (const thread of data.threads) drawThread(thread, top);
    drawWakes(top);
    for (const thread of data.threads) drawName(thread, top);
    drawSelected(top);
    drawAxis();
    drawOverview();
    for (const watcher of watchers) watcher(view);
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  }

  /* --- moving --------------------------------------------------------------------------------- */

  function show(from, to) {
    let span = Math.min(Math.max(to - from, NEAREST), full.to - full.from);
    view.from = Math.min(Math.max(from, full.from), full.to - span);
    view.to = view.from + span;
    redraw();
  }

  function zoom(factor, x) {
    const middle = x === undefined ? (view.from + view.to) / 2 : nsOf(x);
    show(middle - (middle - view.from) * factor, middle + (view.to - middle) * factor);
  }

  function move(share) {
    const by = (view.to - view.from) * share;
    show(view.from + by, view.to + by);
  }

  /* --- what is there -------------------------------------------------------------------------- */

  /* The slice at a point of the canvas, or the next one within two pixels. */
  function sliceAt(x, y) {
    const at = y + scroll.scrollTop, ns = nsOf(x), slack = nsOf(2) - nsOf(0);
    const thread = data.threads.find((t) => at >= t.top && at < t.top + HEAD + t.lanes.length * ROW);
    const depth = thread ? Math.floor((at - thread.top - HEAD) / ROW) : -1;
    const lane = thread && depth >= 0 ? thread.lanes[depth] : null;
    if (!lane || y < AXIS) return null;
    const i = firstAbove(lane.end, ns);
    if (i < lane.n && lane.begin[i] <= ns) return { thread, depth, i };
    if (i > 0 && lane.end[i - 1] >= ns - slack) return { thread, depth, i: i - 1 };
    return i < lane.n && lane.begin[i] <= ns + slack ? { thread, depth, i } : null;
  }

  function describe({ thread, depth, i }) {
    const lane = thread.lanes[depth], many = lane.many.get(i), kind = data.kinds[lane.kind[i]];
    const name = data.names[lane.name[i]], length = duration(lane.end[i] - lane.begin[i]);
    const what = name === kind || kind === "poll" ? name : `${kind} ${name}`;
    const lines = many
      ? [`${count(many.count)} calls within ${length}, ${duration(many.busy)} of it in them`,
         `the longest, ${duration(many.longest)}: ${what}`]
      : [what, length];
    lines.push(`from ${duration(lane.begin[i])} on, ${thread.name} ${thread.tid}`);
    if (lane.ending[i]) lines.push(ENDINGS[lane.ending[i]]);
    return lines.join("\n");
  }

  function wakeAt(x, y) {
    const wakes = data.wakes, at = y + scroll.scrollTop;
    const thread = data.threads.find((t) => at >= t.top && at < t.top + HEAD);
    if (!thread || y < AXIS) return null;
    for (let i = firstAbove(wakes.found, nsOf(x - 5)); i < wakes.n && wakes.found[i] <= nsOf(x + 5); i++)
      if (wakes.tid[i] === thread.tid) return i;
    return null;
  }

  function describeWake(i) {
    const wakes = data.wakes, by = data.byTid.get(wakes.by[i]);
    return `woken by thread ${wakes.by[i]}${by && by.name ? ` (${by.name})` : ""}\n${data.names[wakes.name[i]]}\n` +
      `${duration(wakes.found[i] - wakes.written[i])} after it was written`;
  }

  function wordsAt(x, y) {
    const wake = wakeAt(x, y);
    if (wake !== null) return describeWake(wake);
    const slice = sliceAt(x, y);
    return slice ? describe(slice) : null;
  }

  function select(slice) {
    selected = slice;
    redraw();
  }

  /* Show the call of a thread that began then, the innermost one of that length. */
  function jump(tid, begin, length) {
    const thread = data.byTid.get(tid);
    if (!thread) return;
    select(null);
    thread.lanes.forEach((lane, depth) => {
      const i = lane ? firstAbove(lane.end, begin) : 0;
      if (lane && i < lane.n && lane.begin[i] <= begin) select({ thread, depth, i });
    });
    show(begin - length, begin + 2 * length);
    scroll.scrollTop = Math.max(0, thread.top - AXIS - 10);
  }

  readColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    redraw();
  });
  new ResizeObserver(redraw).observe(scroll);
  scroll.addEventListener("scroll", redraw);
  return {
    canvas, overview, view, full, colours, draw, redraw, show, zoom, move, jump, select, selected: () => selected,
    sliceAt, wordsAt, describe, nsOf, watch: (watcher) => watchers.push(watcher),
  };
})();
