// The windows that fill just now: how much time of each has passed, and what is in it so far.

import { h } from "./dom.js";
import { count, duration, length, moment, percent, windowStart } from "./format.js";
import { nowMs, state, unknown } from "./state.js";

export function windowsNow() {
  const known = state.known;
  const windows = known?.live.windows ?? [];
  if (!windows.length) {
    return h("p", { class: "none" }, unknown() ?? "No segments yet in a current window.");
  }
  const { window_seconds: windowS, grace_seconds: graceS } = known.settings;
  return [
    windows.map((one) => windowCard(one, windowS, graceS)),
    h(
      "p",
      { class: "note" },
      `Windows of ${length(windowS)}; each waits ${length(graceS)} for the last segments, then it is stored. `,
      "Counted by the workers that run now.",
    ),
  ];
}

function windowCard(one, windowS, graceS) {
  const now = nowMs();
  const passed = Math.max(0, Math.min(1, (now - Date.parse(one.start)) / (windowS * 1000)));
  const closesS = (Date.parse(one.end) - now) / 1000;
  return h(
    "div",
    { class: "window", "data-key": one.start },
    h(
      "h3",
      {},
      moment(one.start, "clock", windowStart(one.start, windowS, now)),
      " to ",
      moment(one.end, "clock", windowStart(one.end, windowS, now)),
      " UTC",
    ),
    progress(passed, `${Math.round(passed * 100)} % of its time has passed`),
    h("p", { class: "window-state" }, stateOf(closesS, graceS)),
    h(
      "dl",
      { class: "numbers" },
      pair("segments", count(one.segments)),
      pair(
        "with an error",
        one.segments ? [count(one.errors), h("small", {}, ` ${percent(one.errors / one.segments)}`)] : "0",
      ),
      pair(one.channels === 1 ? "channel" : "channels", count(one.channels)),
    ),
  );
}

function stateOf(closesS, graceS) {
  if (closesS > 0) {
    return `fills; ends in ${duration(Math.ceil(closesS))}`;
  }
  return closesS > -graceS ? `ended; waits for late segments` : `ended ${duration(Math.round(-closesS))} ago`;
}

const progress = (part, name) =>
  h("progress", { value: part.toFixed(3), max: 1, "aria-label": name, "data-tip": name });
const pair = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
