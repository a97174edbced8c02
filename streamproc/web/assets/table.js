// Tables with headers, that scroll by themselves where the page is narrow.

import { h } from "./dom.js";

/**
 * `columns`: { name, number, tip }, the name of the first is that of the rows.
 * `rows`: { cells, class, key }; the first cell is the row's header.
 */
export function table(caption, columns, rows) {
  const kind = (i) => (columns[i].number ? "number" : columns[i].wide ? "text" : null);
  const heads = columns.map((one, i) => h("th", { scope: "col", class: kind(i) }, one.name));
  const body = rows.map((row) =>
    h(
      "tr",
      { class: row.class || null, "data-key": row.key },
      row.cells.map((cell, i) => (i ? h("td", { class: kind(i) }, cell) : h("th", { scope: "row" }, cell))),
    ),
  );
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, heads)),
      h("tbody", {}, body),
    ),
  );
}
