// Who does the work, and what was refused.

import { h } from "./dom.js";
import { ago, count, counted, duration, moment } from "./format.js";
import { nowMs, state, unknown } from "./state.js";
import { table } from "./table.js";
import { explained, term } from "./terms.js";

const SHOWN = 12;

const WORKERS = [
  { name: term("worker", "Worker") },
  { name: "State" },
  { name: "Up for", number: true },
  { name: "Heard", number: true },
  { name: explained("Segments counted since it started.", "Counted"), number: true },
  { name: explained("Segments with an error among them.", "Errors"), number: true },
  { name: explained("Entries that were there already: delivered or published twice.", "Repeated"), number: true },
  { name: explained("Measurements stored in MongoDB since it started.", "Stored"), number: true },
];

export function workers() {
  const all = state.known?.workers ?? [];
  if (unknown()) {
    return h("p", { class: "none" }, unknown());
  }
  if (!all.length) {
    return h("p", { class: "none" }, "No worker is heard of. Start one: ", h("code", {}, "streamproc worker"));
  }
  const sorted = all.toSorted((a, b) => Number(a.ready) - Number(b.ready));
  const rows = sorted.slice(0, SHOWN).map((one) => ({ key: one.name, cells: worker(one) }));
  const more = sorted.length - SHOWN;
  return [
    table("Workers", WORKERS, rows),
    more > 0 ? h("p", { class: "note" }, `and ${counted(more, "worker")} that are ready`) : null,
  ];
}

const worker = (one) => [
  h("span", { class: "name", "data-tip": one.name }, one.name),
  workerState(one),
  h(
    "span",
    { "data-tip": `version ${one.version}` },
    duration(Math.max(0, (nowMs() - Date.parse(one.started_at)) / 1000)),
  ),
  ago(one.seen_at, nowMs()),
  count(one.counted),
  count(one.errors),
  count(one.duplicates),
  count(one.flushed),
];

function workerState(one) {
  if (one.silent) {
    return h("span", { class: "bad" }, "✕ silent");
  }
  return one.ready
    ? h("span", { class: "good" }, "✓ ready")
    : h("span", { class: "warn", tabindex: "0", "data-tip": one.troubles.join("\n") }, "! not ready");
}

const LETTERS = [{ name: "When, UTC" }, { name: "Reason" }, { name: "What is wrong", wide: true }];

export function deadLetters() {
  const { kept, newest } = state.known?.dead_letters ?? { kept: 0, newest: [] };
  if (!newest.length) {
    return h("p", { class: "none" }, unknown() ?? "None: every event could be read.");
  }
  const rows = newest.map((one) => ({ key: one.entry_id, cells: [moment(one.at), one.reason, one.detail] }));
  return [
    table("Newest dead letters", LETTERS, rows),
    h(
      "p",
      { class: "note" },
      `${count(newest.length)} of ${count(kept)} kept. `,
      h("code", {}, "streamproc dead-letters"),
      " lists all, and replays them once mended.",
    ),
  ];
}

const SHARDS = [
  { name: term("shard", "Shard") },
  { name: term("lag", "Lag"), number: true },
  { name: "Waiting", number: true },
  { name: term("pending", "Pending"), number: true },
  { name: term("low watermark", "Watermark behind"), number: true },
  { name: term("open", "Open"), number: true },
  { name: term("due", "Due"), number: true },
  { name: term("taken", "Taken"), number: true },
  { name: term("closed", "Closed"), number: true },
  { name: "Ledger" },
];

/** One row a shard; null where there is but one, which the tiles show. */
export function shards() {
  const { shards: all = [], missing_shards: missing = [] } = state.known ?? {};
  if (all.length + missing.length < 2) {
    return null;
  }
  const rows = [
    ...missing.map((number) => ({
      key: `${number}`,
      cells: [number, h("span", { class: "bad" }, "✕ no stream"), ...Array(8).fill("")],
    })),
    ...all.map((one) => ({ key: `${one.shard}`, cells: shard(one) })),
  ];
  return table("Shards", SHARDS, rows);
}

const shard = (one) => [
  one.shard,
  duration(one.lag_seconds),
  `${one.lag_known ? "" : "≈ "}${count(one.lag_entries)}`,
  count(one.pending),
  duration(one.watermark_delay_seconds),
  ...[one.open, one.due, one.taken, one.closed].map(count),
  one.imbalance === null
    ? "not known"
    : h(
        "span",
        { class: one.imbalance ? "bad" : "good" },
        one.imbalance ? `✕ ${count(one.imbalance)} off` : "✓ balances",
      ),
];
