// The few numbers that tell how it goes, each with its unit, what it means, and a mark where it is part of a trouble.

import { h } from "./dom.js";
import { ago, count, counted, DASH, duration, moment, percent, perSecond } from "./format.js";
import { flowed } from "./flow.js";
import { imbalanceOf } from "./ledger.js";
import { isFresh, nowMs, state } from "./state.js";
import { explained, term } from "./terms.js";

/** A label, the value and what is beside it from what is known, and the troubles that mark it. */
const TILES = [
  [explained("Segments counted a second, over the last ten seconds.", "Throughput"), throughput],
  [
    explained(
      "Share of the segments of the last ten minutes that carry an error text. It tells of the dubbing; " +
        "this system is well with it.",
      "Error rate",
    ),
    errors,
  ],
  [term("lag", "Lag"), lag, ["lag", "lag_unknown"]],
  [term("low watermark", "Watermark behind"), watermark, ["watermark", "shards"]],
  [term("flush", "Last flush"), flush],
  [term("due", "Due to be stored"), due, ["overdue", "refused"]],
  [term("dead letter", "Dead letters"), letters, ["dead_letters"]],
  [term("ledger", "Ledger"), ledger, ["ledger", "lost", "shrunk", "diverged"]],
];

export function tiles() {
  const asking = !state.overview && !state.away;
  return h(
    "ul",
    { class: "tiles" },
    TILES.map(([label, figures, marks = []]) =>
      tile(label, state.known ? figures(state.known) : [DASH, asking ? "asking" : "not known"], marks),
    ),
  );
}

function tile(label, [value, sub], marks) {
  const severity = isFresh() ? severityOf(marks) : "";
  return h(
    "li",
    { class: `tile ${severity}` },
    h(
      "p",
      { class: "tile-label" },
      label.cloneNode(true),
      severity ? h("span", { class: "severity" }, severity) : null,
    ),
    h("p", { class: "tile-value" }, value),
    h("p", { class: "tile-sub" }, sub),
  );
}

function severityOf(marks) {
  const found = state.known.troubles.filter((one) => marks.includes(one.what)).map((one) => one.severity);
  return found.includes("critical") ? "critical" : (found[0] ?? "");
}

function throughput(known) {
  const now = flowed(known.throughput, Date.parse(known.at), 10);
  const average = flowed(known.throughput, Date.parse(known.at));
  return [
    now ? perSecond(now.perSecond) : DASH,
    average ? `${perSecond(average.perSecond)} over ${duration(Math.round(average.seconds))}` : "measuring",
  ];
}

function errors(known) {
  const flow = flowed(known.throughput, Date.parse(known.at));
  return flow?.segments
    ? [percent(flow.errorRate), `of about ${counted(Math.round(flow.segments), "segment")}`]
    : [DASH, "no segments in 10 min"];
}

function lag(known) {
  const seconds = Math.max(0, ...known.shards.map((one) => one.lag_seconds));
  const about = known.shards.every((one) => one.lag_known) ? "" : "about ";
  return [
    duration(seconds),
    `${about}${count(sum(known.shards, "lag_entries"))} waiting, ${count(sum(known.shards, "pending"))} pending`,
  ];
}

function watermark(known) {
  const last = known.shards.toSorted((a, b) => b.watermark_delay_seconds - a.watermark_delay_seconds)[0];
  return last ? [duration(last.watermark_delay_seconds), [moment(last.watermark_at), " UTC"]] : [DASH, "no shard yet"];
}

function flush(known) {
  const { last_at: at, last_windows: windows } = known.flush;
  return at
    ? [ago(at, nowMs()), [`${counted(windows, "window")} at `, moment(at)]]
    : ["none yet", "since these workers started"];
}

function due(known) {
  const sub = `${count(sum(known.shards, "open"))} open, ${count(sum(known.shards, "taken"))} being stored`;
  return [[count(known.flush.due), h("small", {}, known.flush.due === 1 ? " window" : " windows")], sub];
}

function letters(known) {
  const { kept, newest } = known.dead_letters;
  return [count(kept), newest.length ? `the last ${ago(newest[0].at, nowMs())}` : "nothing was refused"];
}

function ledger(known) {
  const imbalance = imbalanceOf(known.shards);
  const off = imbalance === null ? "not known" : `${count(imbalance)} off`;
  const added = known.shards.reduce((total, one) => total + one.ledger.entries_added, 0);
  return [imbalance === 0 ? "balances" : off, `${counted(added, "entry", "entries")} added`];
}

const sum = (list, field) => list.reduce((total, one) => total + one[field], 0);
