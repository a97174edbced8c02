// Every busy channel now: how many segments, how many failed, how long they took. A channel's name leads to its page.

import { h } from "./dom.js";
import { count, counted, milliseconds, percent } from "./format.js";
import { nowMs, state, unknown } from "./state.js";
import { table } from "./table.js";
import { explained } from "./terms.js";

const SHOWN = 15;
const SPAN_PX = 120;
const APPROXIMATE =
  "Of the current and the last window. Approximate, as the workers count in steps; stored hours have exact ones.";

const COLUMNS = [
  { name: "Channel" },
  { name: "Segments", number: true },
  { name: "Errors", number: true },
  { name: explained(`Half of the segments took at most so long. ${APPROXIMATE}`, "≈ p50"), number: true },
  { name: explained(`95 of 100 segments took at most so long. ${APPROXIMATE}`, "≈ p95"), number: true },
  { name: explained("From p50 to p95, on one scale from 0 for all channels.", "p50 to p95") },
];

export const linkTo = (id) => `#/channel/${encodeURIComponent(id)}`;

export function channelsNow() {
  const channels = state.known?.live.channels ?? [];
  if (!channels.length) {
    return h("p", { class: "none" }, unknown() ?? "No segments yet in a current window.");
  }
  const shown = channels.slice(0, SHOWN);
  const highest = Math.max(...shown.map((one) => one.p95_total_ms ?? 0));
  const rows = shown.map((one) => ({ key: one.channel_id, cells: cells(one, highest) }));
  const more = channels.length - shown.length;
  return [
    table("Channels now", COLUMNS, rows),
    more > 0
      ? h("p", { class: "note" }, `and ${counted(more, "channel")} with fewer segments: find one by its name above`)
      : null,
  ];
}

const cells = (one, highest) => [
  h("a", { href: linkTo(one.channel_id) }, h("bdi", {}, one.channel_id)),
  count(one.segments),
  [count(one.errors), h("small", {}, ` ${percent(one.error_rate)}`)],
  milliseconds(one.p50_total_ms),
  milliseconds(one.p95_total_ms),
  span(one, highest),
];

function span(one, highest) {
  if (one.p50_total_ms === null || !highest) {
    return null;
  }
  const x = (ms) => 4 + (ms / highest) * (SPAN_PX - 8);
  return h(
    "svg",
    { class: "span", width: SPAN_PX, height: 14, "aria-hidden": "true" },
    h("line", { class: "grid", x1: 0.5, x2: 0.5, y1: 0, y2: 14 }),
    h("line", { class: "span-line", x1: x(one.p50_total_ms), x2: x(one.p95_total_ms), y1: 7, y2: 7 }),
    h("circle", { class: "dot p50", cx: x(one.p50_total_ms), cy: 7, r: 3.5 }),
    h("circle", { class: "dot p95", cx: x(one.p95_total_ms), cy: 7, r: 3.5 }),
  );
}

/** What a channel's own page says of it now. */
export function channelNow(id) {
  const one = state.known?.live.channels.find((channel) => channel.channel_id === id);
  if (!one) {
    return h(
      "p",
      { class: "none" },
      unknown() ?? "Nothing of it in the current windows, or other channels are busier.",
    );
  }
  const window = state.known.live.windows.find((each) => Date.parse(each.end) > nowMs());
  const pairs = [
    ["segments now", count(one.segments)],
    ["with an error", [count(one.errors), h("small", {}, ` ${percent(one.error_rate)}`)]],
    ["mean time", milliseconds(one.avg_total_ms)],
    ["≈ p50", milliseconds(one.p50_total_ms)],
    ["≈ p95", milliseconds(one.p95_total_ms)],
  ];
  return [
    h(
      "dl",
      { class: "numbers" },
      pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    h(
      "p",
      { class: "note" },
      `In the ${window ? "current and the last window" : "last windows"}, from the workers that run now.`,
    ),
  ];
}
