// The ledger of all shards together: every entry that was added is accounted for, or is named as missing.

import { h } from "./dom.js";
import { count, DASH } from "./format.js";
import { state, unknown } from "./state.js";
import { table } from "./table.js";
import { term } from "./terms.js";

const OUTCOMES = [
  ["counted", "counted", "counted"],
  ["duplicates", "duplicate", "duplicates"],
  ["dead_lettered", "dead-lettered", "dead-lettered"],
  ["erased", "erased", "erased"],
  ["forwarded", "forwarded", "forwarded"],
  ["pending", "pending", "pending"],
  ["undelivered", "undelivered", "undelivered"],
  ["lost", "lost", "lost"],
];
/** Left out where they are 0: they need several shards. */
const RARE = new Set(["forwarded"]);

/** What no line accounts for; null where that cannot be told just now. Shards do not make up for each other. */
export function imbalanceOf(shards) {
  if (shards.some((one) => one.imbalance === null)) {
    return null;
  }
  return shards.reduce((total, one) => total + Math.abs(one.imbalance), 0);
}

export function ledger() {
  const shards = state.known?.shards ?? [];
  if (!shards.length) {
    return h("p", { class: "none" }, unknown() ?? "No worker has begun with a stream yet.");
  }
  const lines = OUTCOMES.map(([field, name, label]) => ({ name, label, entries: total(shards, field) })).filter(
    (one) => one.entries !== 0 || !RARE.has(one.name),
  );
  const columns = [{ name: "What became of it" }, { name: "Entries", number: true }];
  const rows = [
    { cells: ["added to the stream", count(total(shards, "entries_added"))], class: "sum" },
    ...lines.map(({ name, label, entries }) => ({
      cells: [term(name, label), entries === null ? "not known" : count(entries)],
      class: name === "lost" && entries ? "bad" : "",
    })),
    result(imbalanceOf(shards)),
  ];
  return table("Ledger", columns, rows);
}

function result(imbalance) {
  const words =
    imbalance === null ? "more wait than are counted" : imbalance === 0 ? "✓ balances" : "✕ does not balance";
  const kind = imbalance === null ? "" : imbalance === 0 ? "good" : "bad";
  return {
    cells: [
      term("imbalance", "not accounted for"),
      [h("b", { class: kind }, words), ` ${imbalance === null ? DASH : count(imbalance)}`],
    ],
    class: "sum",
  };
}

function total(shards, field) {
  const numbers = shards.map((one) => one.ledger[field]);
  return numbers.includes(null) ? null : numbers.reduce((all, one) => all + one, 0);
}
