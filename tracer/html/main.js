"use strict";
/* The page around the timeline: what was recorded, what is missing, tables; and #view=FROM,TO (ns)
 * &sort=COLUMN&find=WORDS in the address, so that a link leads to what is seen. */

const byId = (id) => document.getElementById(id);
const recording = data.all("recording")[0], total = data.all("total")[0];
const state = new URLSearchParams(location.hash.slice(1));

function remember(key, value) {
  if (value) state.set(key, value);
  else state.delete(key);
  try {
    history.replaceState(null, "", `#${state}`);
  } catch (error) {
    /* A page without an address of its own. */
  }
}

/* --- what was recorded ------------------------------------------------------------------------ */

function showRecording() {
  const exe = recording.exe || "an unknown program";
  byId("program").textContent = exe.slice(exe.lastIndexOf("/") + 1);
  const facts = [
    recording.version, recording.pid && `pid ${recording.pid}`, recording.build_id && `build ${recording.build_id.slice(0, 12)}`,
    recording.begin && `recorded ${recording.begin} for ${duration(recording.duration_ns)}`,
    recording.host_kernel && `Linux ${recording.host_kernel}`, `${many(recording.events, "event")} of ${many(recording.threads, "thread")}`,
    many(total.iterations, "iteration"), `by loopscope ${recording.tracer_version}`,
  ];
  byId("facts").textContent = facts.filter(Boolean).join(", ");
}

function many(n, what) {
  return `${count(n)} ${what}${n === 1 ? "" : "s"}`;
}

/* A colour and what it stands for. */
function swatch(colour, words) {
  const item = element("span", null, "item"), box = element("i", null, "swatch");
  box.style.background = `var(${colour})`;
  item.append(box, words);
  return item;
}

function warn(strong, words, how) {
  const box = element("div", null, how || "warning");
  box.append(element("b", strong), document.createTextNode(` ${words}`));
  byId("missing").append(box);
}

function showMissing() {
  if (recording.lost)
    warn(`${count(recording.lost)} events were lost.`,
      "All counts are too low, and a duration near a loss may join two calls. Red lines in the timeline show where.");
  for (const text of recording.damaged) warn("Damaged:", text);
  if (recording.cut_bytes) warn("Cut:", `${count(recording.cut_bytes)} bytes after a last whole packet; the recorder did not end well.`);
  if (recording.unknown) warn("Newer:", `${count(recording.unknown)} events are of a newer loopscope and were skipped.`);
  for (const text of recording.notes) warn("The recorder:", text);
  if (data.grain)
    warn("A long recording:", `calls of one row that follow each other within ${duration(data.grain)} are drawn as one. The tables are exact.`, "note");
  if (data.wakes.leftOut) warn("Many wake-ups:", `${count(data.wakes.leftOut)} are not drawn. The tables are exact.`, "note");
}

/* --- verdicts --------------------------------------------------------------------------------- */

function showVerdicts() {
  const verdicts = data.all("verdict");
  for (const verdict of verdicts) {
    const box = element("div", null, "verdict"), list = element("ul");
    box.append(element("b", verdict.verdict), ` ${verdict.role}, thread ${verdict.thread}, ${verdict.span}`);
    box.append(element("p", verdict.culprit));
    for (const line of verdict.evidence) list.append(element("li", line));
    box.append(list, element("p", `\u2192 ${verdict.advice}`));
    byId("verdicts").append(box);
  }
  if (!verdicts.length) byId("verdicts").append(element("p", "None: nothing that was recorded points to a fault.", "fine"));
}

/* --- loops ------------------------------------------------------------------------------------ */

const TIMES = [
  ["asleep", "asleep_ns", "--k7"], ["callbacks", "callbacks_ns", "--k0"], ["nested polls", "nested_asleep_ns", "--k8"],
  ["busy polling", "busy_poll_ns", "--k11"], ["waiting for the BQL", "bql_wait_ns", "--k12"],
  ["dispatch", "dispatch_ns", "--k6"], ["elsewhere", "other_ns", "--k5"], ["not known", "unknown_ns", "--bad"],
];

function showLoops() {
  for (const loop of data.all("loop")) {
    const box = element("div", null, "loop"), bar = element("div", null, "bar"), legend = element("p");
    const name = loop.thread_name ? ` (${loop.thread_name})` : "";
    box.append(element("h3", `${loop.loop}${name}, thread ${loop.thread}`));
    for (const [words, key, colour] of TIMES) {
      const share = loop.span_ns ? loop[key] / loop.span_ns : 0;
      if (!loop[key]) continue;
      const part = element("i");
      part.style.width = `${100 * share}%`;
      part.style.background = `var(${colour})`;
      bar.append(part);
      legend.append(swatch(colour, `${words} ${duration(loop[key])} (${(100 * share).toFixed(1)} %)`), " ");
    }
    const waits = `${count(loop.iterations)} waits: ${count(loop.polls_ready)} found fds ready, ` +
      `${count(loop.polls_timed_out)} timed out, ${count(loop.polls_no_wait)} did not wait` +
      (loop.polls_failed ? `, ${count(loop.polls_failed)} failed` : "") +
      (loop.nested_polls ? `; ${count(loop.nested_polls)} of them nested` : "");
    box.append(element("p", waits), bar, legend);
    if (loop.lost) box.append(element("p", `${count(loop.lost)} events of it were lost`, "lost"));
    if (loop.at_end) box.append(element("p", `When the recording ended, since ${duration(loop.at_end_for_ns)}: ${loop.at_end}`));
    byId("loops").append(box);
  }
}

/* --- tables ----------------------------------------------------------------------------------- */

const threadWords = (row) => (row.thread_name ? `${row.thread_name} ${row.thread}` : `${row.thread}`);
const time = (title, of) => ({ title, of, show: (row) => duration(of(row)), number: true });
const amount = (title, of) => ({ title, of, show: (row) => (of(row) ? count(of(row)) : "."), number: true });

function longest(row) {
  if (!row.count) return "";
  const button = element("button", duration(row.max_ns));
  button.type = "button";
  button.title = "show it in the timeline";
  button.addEventListener("click", () => {
    timeline.jump(row.thread, row.max_at_ns, Math.max(row.max_ns, 1000));
    timeline.canvas.scrollIntoView({ block: "center" });
  });
  return button;
}

const CALLBACKS = [
  { title: "callback", of: (row) => row.callback || row.callback_addr || "unknown", name: true },
  { title: "count", of: (row) => row.count, number: true,
    show: (row) => count(row.count) + (row.unfinished ? `+${count(row.unfinished)}` : "") },
  time("total", (row) => row.total_ns), time("p50", (row) => row.p50_ns), time("p99", (row) => row.p99_ns),
  { title: "max", of: (row) => row.max_ns, show: longest, number: true },
  { title: "kind", of: (row) => row.kind + (row.op && row.op !== "read" ? ` ${row.op}` : "") },
  { title: "context", of: (row) => row.ctx || row.ctx_addr || "" },
  { title: "fd", of: (row) => (row.fd === null ? -1 : row.fd), show: (row) => (row.fd === null ? "" : row.fd), number: true },
  { title: "thread", of: threadWords },
];

function showCallbacks() {
  const rows = data.all("callback"), index = (title) => CALLBACKS.findIndex((column) => column.title === title);
  const searched = (row) => [row.callback, row.callback_addr, row.kind, row.op, row.ctx, row.fd === null ? "" : `fd ${row.fd}`,
    threadWords(row)].join(" ");
  const table = makeTable(byId("callbacks"), CALLBACKS, rows, {
    sort: index("total"), searched,
    changed: (now) => remember("sort", `${now.up ? "-" : ""}${CALLBACKS[now.sort].title}`),
  });
  const find = () => {
    const found = table.find(byId("find").value);
    byId("found").textContent = `${count(found)} of ${count(rows.length)}`;
    remember("find", byId("find").value);
  };
  const sort = state.get("sort") || "", up = sort.startsWith("-");
  if (index(up ? sort.slice(1) : sort) >= 0) table.sort(index(up ? sort.slice(1) : sort), up);
  byId("find").value = state.get("find") || "";
  byId("find").addEventListener("input", find);
  find();
}

/* A table in its section, which is only there with rows. */
function showTable(id, columns, rows, options) {
  byId(`${id}-part`).hidden = !rows.length;
  if (rows.length) makeTable(byId(id), columns, rows, options);
}

function showTimeouts() {
  const rows = data.all("timeout"), ranges = rows.length ? Object.keys(rows[0].timeouts) : [];
  const used = ranges.filter((range) => rows.some((row) => row.timeouts[range]));
  showTable("timeouts", [
    { title: "who chose", of: (row) => row.words, name: true }, { title: "thread", of: threadWords },
    amount("waits", (row) => row.count),
    ...used.map((range) => amount(range.replace(/_/g, " "), (row) => row.timeouts[range])),
  ], rows, { sort: 2 });
}

function showWakeups() {
  const rows = data.all("wakeup"), sums = new Map();
  for (const row of rows) sums.set(row.thread, (sums.get(row.thread) || 0) + row.count);
  const share = (row) => {
    const cell = element("span"), bar = element("span", null, "share");
    bar.style.width = `${Math.round(60 * row.count / sums.get(row.thread))}px`;
    cell.append(bar, count(row.count));
    return cell;
  };
  showTable("wakeups", [
    { title: "what ended the wait", of: (row) => row.words, name: true }, { title: "cause", of: (row) => row.cause.replace(/_/g, " ") },
    { title: "thread", of: threadWords }, { title: "times", of: (row) => row.count, show: share, number: true },
  ], rows, { sort: 3 });
}

/* A tree: its order is its meaning. */
function showNested() {
  const rows = data.all("nested_call"), level = new Map();
  for (const row of rows) {
    const key = (number) => `${row.thread} ${number}`;
    level.set(key(row.number), row.inside ? level.get(key(row.inside)) + 1 : 0);
    row.level = level.get(key(row.number));
  }
  const indented = (row) => {
    const cell = element("span", row.kind === "aio_poll" || row.kind === "AIO_WAIT_WHILE" ? row.what : `${row.kind} ${row.what}`);
    cell.style.paddingLeft = `${18 * row.level}px`;
    return cell;
  };
  showTable("nested", [
    { title: "what waited, what ran meanwhile", of: (row) => row.what, show: indented, name: true },
    { title: "thread", of: threadWords }, amount("count", (row) => row.count), time("total", (row) => row.total_ns),
    time("asleep", (row) => row.asleep_ns), time("max", (row) => row.max_ns),
  ], rows, {});
}

function showBql() {
  showTable("bql", [
    { title: "taken at", of: (row) => row.site, name: true },
    amount("waits", (row) => row.wait.count), time("waited", (row) => row.wait.total_ns),
    time("p99", (row) => row.wait.p99_ns), time("max", (row) => row.wait.max_ns),
    amount("held", (row) => row.hold.count), time("for", (row) => row.hold.total_ns),
    time("p99", (row) => row.hold.p99_ns), time("max", (row) => row.hold.max_ns),
  ], data.all("bql"), { sort: 2 });
}

function showEvents() {
  const rows = data.all("event_count").filter((row) => row.count || row.from);
  makeTable(byId("events"), [
    { title: "event", of: (row) => row.event, name: true }, amount("count", (row) => row.count),
    { title: "from", of: (row) => row.from || "not known" },
  ], rows, { sort: 1 });
}

/* --- the timeline's surroundings -------------------------------------------------------------- */

function showLegend() {
  const seen = new Set();
  for (const thread of data.threads)
    for (const lane of thread.lanes) if (lane) lane.kind.forEach((kind) => seen.add(kind));
  data.kinds.forEach((kind, i) => {
    if (seen.has(i)) byId("legend").append(swatch(`--k${i}`, i === data.kinds.lastIndexOf("poll") ? "nested poll" : kind), " ");
  });
  if (data.wakes.n) byId("legend").append(swatch("--wake", "wake-up, from whoever wrote"));
}

function listen() {
  const canvas = timeline.canvas, tip = byId("tip"), pointers = new Map();
  let moved = 0;
  byId("zoom-in").addEventListener("click", () => timeline.zoom(0.5));
  byId("zoom-out").addEventListener("click", () => timeline.zoom(2));
  byId("earlier").addEventListener("click", () => timeline.move(-0.5));
  byId("later").addEventListener("click", () => timeline.move(0.5));
  byId("fit").addEventListener("click", () => timeline.show(timeline.full.from, timeline.full.to));
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) timeline.zoom(Math.pow(1.0025, event.deltaY), event.offsetX);
    else if (event.deltaX || event.shiftKey) timeline.move((event.deltaX || event.deltaY) / canvas.clientWidth);
    else return;
    event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => timeline.zoom(0.25, event.offsetX));
  canvas.addEventListener("keydown", (event) => {
    const act = { "+": () => timeline.zoom(0.5), "=": () => timeline.zoom(0.5), "-": () => timeline.zoom(2), ArrowLeft: () => timeline.move(-0.2),
      ArrowRight: () => timeline.move(0.2), 0: () => timeline.show(timeline.full.from, timeline.full.to) }[event.key];
    if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
    act();
    event.preventDefault();
  });
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event.offsetX);
    canvas.setPointerCapture(event.pointerId);
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) {
      showTip(event);
      return;
    }
    const before = [...pointers.values()], x = event.offsetX, by = x - pointers.get(event.pointerId);
    pointers.set(event.pointerId, x);
    moved += Math.abs(by);
    tip.hidden = true;
    const now = [...pointers.values()];
    if (now.length === 1) timeline.move(-by / canvas.clientWidth);
    else if (Math.abs(now[0] - now[1]) > 10)
      timeline.zoom(Math.abs(before[0] - before[1]) / Math.abs(now[0] - now[1]), (now[0] + now[1]) / 2);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (event) => {
      pointers.delete(event.pointerId);
      if (end === "pointerup" && moved < 4) choose(event.offsetX, event.offsetY);
    });
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  const seek = (event) => {
    const half = (timeline.view.to - timeline.view.from) / 2;
    const at = timeline.full.from + event.offsetX / timeline.overview.clientWidth * (timeline.full.to - timeline.full.from);
    timeline.show(at - half, at + half);
  };
  timeline.overview.addEventListener("pointerdown", seek);
  timeline.overview.addEventListener("pointermove", (event) => event.buttons && seek(event));

  function showTip(event) {
    const words = timeline.wordsAt(event.offsetX, event.offsetY);
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${event.clientY + 16 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 8 : event.clientY + 16}px`;
  }

  function choose(x, y) {
    timeline.select(timeline.sliceAt(x, y));
    byId("selected").textContent = timeline.wordsAt(x, y) || "Nothing is recorded there.";
  }
}

function showRange(view) {
  const whole = view.from <= timeline.full.from && view.to >= timeline.full.to;
  byId("range").textContent = `${duration(view.to - view.from)} from ${duration(view.from)} on`;
  remember("view", whole ? "" : `${Math.round(view.from)},${Math.round(view.to)}`);
}

showRecording();
showMissing();
showVerdicts();
showLoops();
showCallbacks();
showTimeouts();
showWakeups();
showNested();
showBql();
showEvents();
showLegend();
listen();
timeline.watch(showRange);
const wanted = (state.get("view") || "").split(",").map(Number);
if (wanted.length === 2 && wanted.every(Number.isFinite)) timeline.show(wanted[0], wanted[1]);
timeline.draw();
document.documentElement.dataset.ready = "yes";
