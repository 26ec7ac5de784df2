"use strict";
/* Tables that sort and filter. Text from the recording becomes text nodes, never markup. */

const ROWS_MAX = 200; /* until more are asked for */

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/*
 * columns: { title, of(row): what to sort by, show(row): text or a node, number, name }
 * options: { sort: index of the column, largest first; searched: words(row); onSort(index, up) }
 */
function makeTable(place, columns, rows, options) {
  const state = { sort: options.sort, up: Boolean(options.up), find: "", all: false };
  const wide = element("div", null, "wide"), table = element("table");
  const head = element("tr"), body = element("tbody"), more = element("p");

  columns.forEach((column, i) => {
    const cell = element("th", null, column.number ? "number" : "");
    const button = element("button", column.title);
    button.type = "button";
    button.addEventListener("click", () => {
      state.up = state.sort === i ? !state.up : !column.number;
      state.sort = i;
      fill();
      if (options.changed) options.changed(state);
    });
    cell.append(button);
    head.append(cell);
  });
  table.append(element("thead"), body);
  table.tHead.append(head);
  wide.append(table);
  place.replaceChildren(wide, more);

  function compare(a, b) {
    const x = columns[state.sort].of(a), y = columns[state.sort].of(b);
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return state.up ? order : -order;
  }

  function chosen() {
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    return rows.filter((row) => {
      const text = options.searched ? options.searched(row).toLowerCase() : "";
      return words.every((word) => text.includes(word));
    });
  }

  function addRow(row) {
    const line = element("tr");
    for (const column of columns) {
      const shown = (column.show || column.of)(row);
      const cell = element("td", null, column.number ? "number" : column.name ? "name" : "");
      cell.append(shown instanceof Node ? shown : document.createTextNode(shown === null || shown === undefined ? "" : shown));
      line.append(cell);
    }
    body.append(line);
  }

  function fill() {
    const found = chosen();
    if (state.sort !== undefined) found.sort(compare);
    head.querySelectorAll("th").forEach((cell, i) => {
      if (i === state.sort) cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
    body.replaceChildren();
    found.slice(0, state.all ? found.length : ROWS_MAX).forEach(addRow);
    more.replaceChildren();
    if (!state.all && found.length > ROWS_MAX) {
      const button = element("button", `show ${count(found.length - ROWS_MAX)} more rows`);
      button.type = "button";
      button.addEventListener("click", () => {
        state.all = true;
        fill();
      });
      more.append(button);
    }
    return found.length;
  }

  fill();
  return {
    columns,
    find(text) {
      state.find = text;
      return fill();
    },
    sort(index, up) {
      state.sort = index;
      state.up = up;
      fill();
    },
  };
}
