// A channel's recent segments, one by one, those with an error marked.

import { ask } from "./api.js";
import { byId, h, patch } from "./dom.js";
import { count, counted, milliseconds, moment, percent } from "./format.js";
import { missingWords } from "./hours.js";
import { Poll } from "./poll.js";
import { state } from "./state.js";
import { table } from "./table.js";

const SHOWN = 100;

const COLUMNS = [
  { name: "Received, UTC" },
  { name: "Result" },
  { name: "Total", number: true },
  { name: "Session" },
  { name: "Segment" },
  { name: "Languages" },
  { name: "Platform" },
  { name: "Extract", number: true },
  { name: "Dub", number: true },
  { name: "Reinsert", number: true },
  { name: "Retries", number: true },
];

export const minutes = () => Number(byId("segments-minutes").value);

/** Ask for the recent segments as long as the page is open. */
export function watchSegments(id, changed) {
  const question = () => `/api/channels/${encodeURIComponent(id)}/segments?minutes=${minutes()}`;
  const act = async (current) => {
    const answer = await ask(question());
    if (current()) {
      state.channel.segments = answer;
      state.channel.troubles.segments = "";
      changed();
    }
  };
  const failed = (error) => {
    state.channel.troubles.segments = `No answer: ${error.message}.`;
    changed();
  };
  return new Poll(4, act, failed);
}

export function drawSegments() {
  const answer = state.channel.segments;
  const trouble = state.channel.troubles.segments;
  const room = byId("segments");
  if (!answer) {
    patch(room, h("p", { class: trouble ? "missing" : "none" }, trouble || "Asking."));
    return;
  }
  const words = trouble || missingWords(answer);
  patch(room, words ? h("p", { class: "missing" }, words) : null, listed(answer, byId("segments-errors").checked));
}

function listed(answer, errorsOnly) {
  const failed = answer.segments.filter((one) => one.error !== null);
  const wanted = errorsOnly ? failed : answer.segments;
  const all = answer.segments.length;
  if (!wanted.length) {
    return h("p", { class: "none" }, all ? "None with an error in this time." : "No segments in this time.");
  }
  const shown = wanted.slice(0, SHOWN);
  const number = `${counted(all, "segment")}${answer.cut ? " and more" : ""}`;
  const rate = `${number}, ${count(failed.length)} with an error (${percent(failed.length / all)})`;
  return [
    h("p", { class: "note" }, rate, shown.length < wanted.length ? `; the newest ${SHOWN} are shown` : ""),
    table(
      "Recent segments",
      COLUMNS,
      shown.map((one) => ({ class: one.error === null ? "" : "failed", key: keyOf(one), cells: cells(one) })),
    ),
  ];
}

const keyOf = (one) => `${one.session_id}\n${one.segment_id}`;

const cells = (one) => [
  moment(one.received_at),
  one.error === null
    ? h("span", { class: "good" }, "✓ dubbed")
    : h("span", { class: "error-text" }, "✕ ", h("bdi", {}, one.error)),
  milliseconds(one.total_ms),
  h("bdi", { class: "name", "data-tip": one.session_id }, one.session_id),
  h("bdi", { class: "name", "data-tip": one.segment_id }, one.segment_id),
  `${one.source_language} → ${one.target_language}`,
  one.platform,
  milliseconds(one.extraction_ms),
  milliseconds(one.dubbing_ms),
  milliseconds(one.reinsertion_ms),
  one.retry_count ? count(one.retry_count) : "0",
];
