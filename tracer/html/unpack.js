"use strict";
/* What the page shows: rows of JSON by their type, and the packed lanes and wake-ups as arrays.
 * loopscope writes both; tracer/page-lanes.h and page-wakes.h say how they are packed. */

const data = (() => {
  const rows = {};
  for (const line of document.getElementById("rows").textContent.split("\n")) {
    if (!line) continue;
    const row = JSON.parse(line);
    (rows[row.type] = rows[row.type] || []).push(row);
  }
  const all = (type) => rows[type] || [];
  const names = all("names")[0];

  const text = atob(document.getElementById("packed").textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);

  /* Numbers of 7 bits a byte; a double holds 53 bits, so no shifting. */
  let at = 0;
  function number() {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127);
    return value;
  }

  function unpackLane(row) {
    const lane = {
      n: row.slices,
      begin: new Float64Array(row.slices),
      end: new Float64Array(row.slices),
      busy: new Float64Array(row.slices + 1), /* before each slice: of all the earlier ones */
      name: new Uint32Array(row.slices),
      kind: new Uint8Array(row.slices),
      ending: new Uint8Array(row.slices),
      many: new Map(), /* of slices that stand for several calls */
    };
    let last = 0;
    at = row.at;
    for (let i = 0; i < lane.n; i++) {
      const head = number(), length = number(), what = number();
      lane.begin[i] = last + Math.floor(head / 8);
      last = lane.end[i] = lane.begin[i] + length;
      lane.ending[i] = (head >> 1) & 3;
      lane.name[i] = Math.floor(what / 16);
      lane.kind[i] = what % 16;
      let busy = length;
      if (head & 1) {
        const many = { count: number(), busy: number(), longest: number() };
        lane.many.set(i, many);
        busy = many.busy;
      }
      lane.busy[i + 1] = lane.busy[i] + busy;
    }
    return lane;
  }

  function unpackWakes(row) {
    const wakes = {
      n: row.count, leftOut: row.left_out,
      written: new Float64Array(row.count), found: new Float64Array(row.count),
      by: new Uint32Array(row.count), tid: new Uint32Array(row.count), name: new Uint32Array(row.count),
    };
    let last = 0;
    at = row.at;
    for (let i = 0; i < wakes.n; i++) {
      last = wakes.found[i] = last + number();
      wakes.written[i] = last - number();
      wakes.by[i] = number();
      wakes.tid[i] = number();
      wakes.name[i] = number();
    }
    return wakes;
  }

  const threads = all("thread").map((row) => ({ tid: row.thread, name: row.name, lanes: [], losses: [] }));
  const byTid = new Map(threads.map((thread) => [thread.tid, thread]));
  for (const row of all("lane")) {
    const thread = byTid.get(row.thread);
    if (thread) thread.lanes[row.depth] = unpackLane(row);
  }
  for (const row of all("loss")) {
    const thread = byTid.get(row.thread);
    if (thread) thread.losses.push(row);
  }
  for (const thread of threads) {
    for (let i = 0; i < thread.lanes.length; i++) thread.lanes[i] = thread.lanes[i] || null;
  }
  const span = all("span")[0];
  return {
    all, threads, byTid, span,
    names: names.texts, kinds: names.kinds,
    grain: all("lanes")[0].grain_ns,
    wakes: unpackWakes(all("wakes")[0]),
  };
})();

/* "950 ns", "12.3 \u00b5s", "4.56 ms", "78.9 s". */
function duration(ns) {
  if (ns < 1000) return `${Math.round(ns)} ns`;
  for (const [unit, size] of [["\u00b5s", 1e3], ["ms", 1e6], ["s", 1e9]]) {
    const value = ns / size;
    if (value < 999.5 || unit === "s") return `${value < 100 ? value.toPrecision(3) : Math.round(value)} ${unit}`;
  }
  return "";
}

function count(n) {
  return n.toLocaleString("en-US");
}
