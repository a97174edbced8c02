// The hours that were stored last, all channels together: how it went, and that storing goes on.

import { h } from "./dom.js";
import { sign } from "./bars.js";
import { count, milliseconds, moment, percent, windowStart } from "./format.js";
import { nowMs, state } from "./state.js";
import { table } from "./table.js";
import { explained, term } from "./terms.js";

export const STATES = {
  final: "As stored.",
  rolling: "Not all of it is stored yet.",
  revised: "Stored, and a late segment has come since; it is stored anew soon.",
};
const BAR_PX = 90;

export function lastHours() {
  const windowS = state.overview?.settings.window_seconds ?? 3600;
  if (!state.hours) {
    return state.hoursTrouble
      ? h("p", { class: "missing" }, state.hoursTrouble)
      : h("p", { class: "none" }, "Asking.");
  }
  if (!state.hours.hours.length) {
    return h(
      "p",
      { class: "none" },
      state.hoursTrouble || "Nothing is stored yet: the first window is stored when it has ended.",
    );
  }
  const highest = Math.max(...state.hours.hours.map((row) => row.segments));
  const rows = state.hours.hours.map((row) => ({ key: row.hour, cells: cells(row, windowS, highest) }));
  const shown = table("Last stored hours", columns(windowS), rows);
  const words = [state.hoursTrouble, state.hoursOld ? "These were read before." : ""].filter(Boolean).join(" ");
  const kind = state.hoursOld ? "stale" : null;
  return words ? [h("p", { class: "missing" }, words), h("div", { class: kind }, shown)] : shown;
}

const columns = (windowS) => [
  { name: windowS === 3600 ? "Hour, UTC" : "Window, UTC" },
  { name: "State" },
  { name: "Segments", number: true },
  { name: "" },
  { name: term("session", "Sessions"), number: true },
  { name: "Errors", number: true },
  { name: explained("Half of the segments took at most so long, from hearing to reinsertion.", "p50"), number: true },
  { name: explained("95 of 100 segments took at most so long.", "p95"), number: true },
  { name: explained("99 of 100 segments took at most so long.", "p99"), number: true },
];

const cells = (row, windowS, highest) => [
  moment(row.hour, "full", windowStart(row.hour, windowS, nowMs())),
  stateOf(row.state),
  count(row.segments),
  h(
    "svg",
    { class: "inline-bar", width: BAR_PX, height: 12, "aria-hidden": "true" },
    h("rect", { class: "bar-final", width: Math.max(1, (row.segments / highest) * BAR_PX), height: 12 }),
  ),
  count(row.sessions),
  [count(row.errors), h("small", {}, ` ${percent(row.error_rate)}`)],
  milliseconds(row.p50_total_ms),
  milliseconds(row.p95_total_ms),
  milliseconds(row.p99_total_ms),
];

/** A row's state with its sign. */
export const stateOf = (name) => h("span", { class: "state", "data-tip": STATES[name] }, sign(name), name);

/** What an answer lacks, in words; "" where it is complete. */
export const missingWords = (answer) =>
  answer.missing
    .map(
      (one) =>
        `${one.layer === "redis" ? "Redis" : "MongoDB"} is away, so what only it holds is missing here: ${one.reason}.`,
    )
    .join(" ");
