// Hours or days side by side: bars from zero, filled by their state; gaps where nothing is stored.

import { h } from "./dom.js";
import { drawn, every, frame } from "./plot.js";

const FILLS = {
  segments: { final: "bar-final", rolling: "bar-rolling", revised: "bar-revised" },
  errors: { final: "bar-error", rolling: "bar-error-rolling", revised: "bar-error" },
};
const PATTERNS = { "bar-rolling": "url(#hatch)", "bar-error-rolling": "url(#hatch-error)" };

/** The legend of states: only those that are there, and "final" always. */
export function legend(rows) {
  const present = new Set(rows.map((row) => row.state));
  const said = [
    ["final", "final: as stored"],
    ["rolling", "rolling: still filling, or not stored yet"],
    ["revised", "revised: stored, and a late segment came; stored anew soon"],
  ];
  return h(
    "p",
    { class: "legend" },
    said.filter(([state]) => state === "final" || present.has(state)).map(([state, text]) => key(state, text)),
  );
}

/** The sign of a state, for legends and tables. */
export function sign(state) {
  const fill = FILLS.segments[state];
  return h(
    "svg",
    { class: "sign", width: 12, height: 12, "aria-hidden": "true" },
    h("rect", { class: fill, fill: PATTERNS[fill], x: 1, y: 1, width: 10, height: 10 }),
  );
}

const key = (state, text) => h("span", {}, sign(state), text);

/**
 * Bars of `value(row)` over slots. A slot is { label, tip, row }, its row null where nothing is stored.
 * `kind`: "segments" or "errors", which says the colour. `share`: whether the values are shares of 1.
 */
export function barPlot({ width, slots, value, kind, format, name, share = false }) {
  const rows = slots.map((slot) => slot.row).filter(Boolean);
  const lowest = share ? 0.01 : 4; // so that grid lines are whole numbers
  const one = frame({ width, highest: Math.max(lowest, ...rows.map(value)), most: share ? 1 : Infinity });
  const edge = (i) => one.x(i / slots.length);
  const gap = (edge(1) - edge(0)) * 0.14;
  const marks = slots.map(({ row }, i) =>
    row ? bar(one, edge(i) + gap, edge(i + 1) - gap, value(row), FILLS[kind][row.state]) : null,
  );
  return drawn(one, { name, format, labels: labelsOf(slots, one), marks, bands: bandsOf(slots, one) });
}

/** Labels of every so many slots, in the middle of each. */
export function labelsOf(slots, one, labelWidth = 46) {
  const n = every(slots.length, one.right - one.left, labelWidth);
  return slots
    .map((slot, i) => ({ at: one.x((i + 0.5) / slots.length), text: slot.label, index: slot.index }))
    .filter(({ index }) => index % n === 0);
}

export const bandsOf = (slots, one) =>
  slots.map((slot, i) => ({ from: one.x(i / slots.length), to: one.x((i + 1) / slots.length), tip: slot.tip }));

function bar(one, from, to, value, fill) {
  if (!value) {
    return null;
  }
  const y = Math.min(one.y(value), one.bottom - 1.5); // one of a million is still to be seen
  return h("rect", {
    class: fill,
    fill: PATTERNS[fill],
    x: from,
    y,
    width: Math.max(1, to - from),
    height: one.bottom - y,
  });
}
