// Percentiles over hours or days: a line each with its name at the end; broken where nothing is stored.

import { h } from "./dom.js";
import { millisecondsTick } from "./format.js";
import { bandsOf, labelsOf } from "./bars.js";
import { drawn, frame } from "./plot.js";

const STRANDS = [
  ["p99_total_ms", "p99"],
  ["p95_total_ms", "p95"],
  ["p50_total_ms", "p50"],
];
const LABEL_PX = 13;

export function latencyPlot({ width, slots, name }) {
  const rows = slots.map((slot) => slot.row).filter(Boolean);
  const highest = Math.max(1, ...rows.map((row) => row.p99_total_ms ?? 0));
  const one = frame({ width, highest, right: 34 });
  const ends = [];
  const marks = STRANDS.map(([field, label]) => strand(one, slots, field, label, ends));
  return drawn(one, {
    name,
    format: millisecondsTick,
    labels: labelsOf(slots, one),
    marks,
    bands: bandsOf(slots, one),
  });
}

function strand(one, slots, field, label, ends) {
  const points = slots
    .map((slot, i) => ({ i, x: one.x((i + 0.5) / slots.length), value: slot.row?.[field] }))
    .filter((point) => point.value !== null && point.value !== undefined)
    .map((point) => ({ ...point, y: one.y(point.value) }));
  if (!points.length) {
    return null;
  }
  const d = points
    .map(
      (point, n) => `${n && point.i - points[n - 1].i === 1 ? "L" : "M"}${point.x.toFixed(1)},${point.y.toFixed(1)}`,
    )
    .join(" ");
  const last = points.at(-1);
  const y = ends.length ? Math.max(last.y + 4, ends.at(-1) + LABEL_PX) : last.y + 4;
  ends.push(y);
  return [
    h("path", { class: `strand ${label}`, d }),
    points.length > 40
      ? null
      : points.map((point) => h("circle", { class: `dot ${label}`, cx: point.x, cy: point.y, r: 2 })),
    h("text", { class: `strand-name ${label}`, x: one.right + 4, y }, label),
  ];
}
