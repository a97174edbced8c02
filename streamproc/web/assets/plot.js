// What every plot has: a frame of the room's own size in pixels, a zero baseline, few and round grid lines, and bands
// that say their numbers on pointing at them.

import { h } from "./dom.js";

export const LEFT = 48;
const TOP = 10;
const BOTTOM = 20;

/** A frame: `x(part)` and `y(value)` give pixels. `highest` is the largest value shown. */
export function frame({ width, height = 150, highest, right = 16, most = Infinity }) {
  const { top, ticks } = scale(highest, most);
  const inner = { left: LEFT, right: Math.max(LEFT + 40, width - right), top: TOP, bottom: height - BOTTOM };
  return {
    ...inner,
    width,
    height,
    ticks,
    x: (part) => inner.left + part * (inner.right - inner.left),
    y: (value) => inner.bottom - (Math.min(value, top) / top) * (inner.bottom - inner.top),
  };
}

/** The plot: grid, labels along the bottom, marks, then the bands on top. `name` is read aloud. */
export function drawn(one, { name, format, labels, marks, bands }) {
  return h(
    "svg",
    { class: "plot", width: one.width, height: one.height, role: "img", "aria-label": name, tabindex: "0" },
    one.ticks.map((value) => gridLine(one, value, format(value))),
    labels.map(({ at, text }) =>
      h("text", { class: "tick", x: at, y: one.height - 5, "text-anchor": "middle" }, text),
    ),
    marks,
    h("line", { class: "base", x1: one.left, x2: one.right, y1: one.bottom, y2: one.bottom }),
    bands.map(({ from, to, tip }) =>
      h("rect", {
        class: "hit",
        x: from,
        y: one.top,
        width: to - from,
        height: one.bottom - one.top,
        "data-tip": tip,
      }),
    ),
  );
}

/** The width that a plot in `room` has. */
export const widthOf = (room, plots = 1, gap = 24) =>
  Math.max(240, Math.floor((room.clientWidth - gap * (plots - 1)) / plots));

/** Every `n`th of a row of slots gets a label, so that they do not touch. */
export function every(slots, width, labelWidth) {
  const most = Math.max(1, Math.floor(width / labelWidth));
  return [1, 2, 3, 4, 6, 8, 12, 24, 48].find((n) => slots / n <= most) ?? slots;
}

function gridLine(one, value, text) {
  const y = Math.round(one.y(value)) + 0.5;
  return [
    value ? h("line", { class: "grid", x1: one.left, x2: one.right, y1: y, y2: y }) : null,
    h("text", { class: "tick", x: one.left - 6, y: y + 3.5, "text-anchor": "end" }, text),
  ];
}

/** Two to four round steps from 0 up to at least `highest`. */
function scale(highest, most) {
  const wanted = Math.min(highest > 0 ? highest : 1, most);
  const power = 10 ** Math.floor(Math.log10(wanted / 3));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => wanted / one <= 4);
  const steps = Math.min(Math.ceil(wanted / step - 1e-9), Math.floor(most / step + 1e-9) || 1);
  const ticks = Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toPrecision(12)));
  return { top: step * steps, ticks };
}
