// What the words on the page mean. Each is a row of docs/glossary.md.

import { h } from "./dom.js";

const MEANINGS = {
  channel: "What a dubbed stream is of.",
  closed: "State of a window: stored, its detail still kept in Redis.",
  counted: "The segment was added to its window. Each segment counts once.",
  "dead letter":
    "An entry that broke a rule (malformed, future, too_late) or could not be processed (poison). " +
    "Kept with its reason; counts nowhere.",
  "dead-lettered": "The entry broke a rule and became a dead letter.",
  due: "Closed windows that could be stored by now: the low watermark has passed their end and grace.",
  duplicate: "The segment was in its window already: delivered or published twice. It counts once.",
  entry: "One item of the stream in Redis; it carries one segment.",
  erased: "The entry's user is erased for that window.",
  flush: "Storing the measurements of closed windows in MongoDB.",
  forwarded: "The entry was added to the shard where it belongs, where it counts as added again.",
  grace: "How long after its end a window waits for the last events before it is due.",
  imbalance: "Entries added that no line of the ledger accounts for. It must be 0.",
  lag: "Entries that no worker has read yet, and how long the first of them has waited.",
  ledger:
    "Counters of what became of every entry. It must balance: " +
    "added = counted + duplicates + dead-lettered + erased + pending + undelivered + lost.",
  lost: "The entry was deleted by somebody while it was pending. Its hour lacks it. It must be 0.",
  "low watermark":
    "Everything added before it is counted. Windows close by it, so a delay holds hours back, but makes none wrong.",
  open: "State of a window: segments are counted into it, or it waits to be stored.",
  pending: "Entries that a worker has read and not yet acknowledged.",
  segment: "A piece of dubbed video, 15 s long.",
  session: "One viewer's dubbing of one channel.",
  shard: "One stream with everything that belongs to it.",
  taken: "State of a window: a worker is storing it.",
  undelivered: "Entries that no worker has read yet.",
  window: "The segments of one session on one channel in one hour (or as long as WINDOW_SECONDS says).",
  worker: "A process of `streamproc worker`: it reads segments, counts them and stores closed windows.",
};

/** What a term means. */
export function meaning(name) {
  const found = MEANINGS[name];
  if (!found) {
    throw new Error(`no such term: ${name}`);
  }
  return found;
}

/** A term that explains itself when pointed at or focused. */
export const term = (name, label = name) => explained(meaning(name), label);

/** The same with an explanation of its own. */
export const explained = (text, ...label) => h("span", { class: "term", tabindex: "0", "data-tip": text }, label);
