// The page of one channel: its last 24 hours, its last 7 days, its recent segments.

import { ask } from "./api.js";
import { barPlot, legend } from "./bars.js";
import { byId, h, patch } from "./dom.js";
import { count, counted, inUtc, length, milliseconds, percent, percentTick } from "./format.js";
import { missingWords, STATES, stateOf } from "./hours.js";
import { Poll } from "./poll.js";
import { widthOf } from "./plot.js";
import { nowMs, state } from "./state.js";
import { latencyPlot } from "./strands.js";
import { table } from "./table.js";

const DAY_MS = 86_400_000;
const HOUR_S = 3600;
const DAYS = 7;
const MOST_SLOTS = 60;

/** Ask for a channel's hours and days as long as its page is open. `changed` is called with every answer. */
export function watchChannel(id, changed) {
  const path = `/api/channels/${encodeURIComponent(id)}`;
  const keep = (field, question) => async (current) => {
    const answer = await ask(question());
    if (current()) {
      state.channel[field] = answer;
      state.channel.troubles[field] = "";
      changed();
    }
  };
  const failed = (field) => (error) => {
    state.channel.troubles[field] = `No answer: ${error.message}.`;
    changed();
  };
  return [
    new Poll(
      10,
      keep("hourly", () => `${path}/hourly?hours=${span().hours}`),
      failed("hourly"),
    ),
    new Poll(
      30,
      keep("trends", () => `${path}/trends?days=${DAYS}`),
      failed("trends"),
    ),
  ];
}

/** How many windows the day's plot shows; short windows fill less than a day. */
function span() {
  const windowS = state.overview?.settings.window_seconds ?? HOUR_S;
  const slots = Math.min(MOST_SLOTS, Math.max(1, Math.round(DAY_MS / 1000 / windowS)));
  return { windowS, slots, hours: Math.max(1, Math.min(24, Math.ceil((slots * windowS) / HOUR_S))) };
}

export function drawChannel() {
  const { windowS, slots } = span();
  const whole = windowS * slots >= DAY_MS / 1000;
  patch(byId("head-day"), whole ? "Last 24 hours" : `Last ${slots} windows of ${length(windowS)}`);
  drawRows(byId("channel-hours"), "hourly", hourSlots(), windowS === HOUR_S ? "Hour, UTC" : "Window, UTC");
  drawRows(byId("channel-days"), "trends", daySlots(), "Day, UTC");
}

function drawRows(room, field, slots, first) {
  const answer = state.channel[field];
  const trouble = state.channel.troubles[field];
  if (!answer) {
    patch(room, h("p", { class: trouble ? "missing" : "none" }, trouble || "Asking."));
    return;
  }
  const words = trouble || missingWords(answer);
  const rows = slots.map((slot) => slot.row).filter(Boolean);
  patch(
    room,
    words ? h("p", { class: "missing" }, words) : null,
    rows.length ? plots(room, slots, rows, first) : empty(words),
  );
}

const empty = (words) =>
  h("p", { class: "none" }, words ? "Nothing else of this channel." : "No segments of this channel in this time.");

function plots(room, slots, rows, first) {
  const wide = room.clientWidth >= 900;
  const width = widthOf(room, wide ? 3 : 1);
  const segments = rows.reduce((total, row) => total + row.segments, 0);
  const errors = rows.reduce((total, row) => total + row.errors, 0);
  const figure = (title, plot) => h("figure", {}, h("figcaption", {}, title), plot);
  return [
    h(
      "div",
      { class: wide ? "plots three" : "plots" },
      figure(
        ["Segments: ", h("b", {}, count(segments))],
        barPlot({
          width,
          slots,
          kind: "segments",
          value: (row) => row.segments,
          format: count,
          name: `Segments: ${count(segments)} in all`,
        }),
      ),
      figure(
        ["Error rate: ", h("b", {}, percent(segments ? errors / segments : 0)), ` (${count(errors)})`],
        barPlot({
          width,
          slots,
          kind: "errors",
          value: (row) => row.error_rate,
          format: percentTick,
          share: true,
          name: `Error rate: ${percent(segments ? errors / segments : 0)} of all`,
        }),
      ),
      figure(
        "Time a segment took: p50, p95, p99",
        latencyPlot({ width, slots, name: "Percentiles of the time a segment took" }),
      ),
    ),
    legend(rows),
    h("details", {}, h("summary", {}, "As a table"), rowsTable(rows, slots, first)),
  ];
}

const COLUMNS = ["Segments", "Sessions", "Errors", "Error rate", "Mean", "p50", "p95", "p99"].map((name) => ({
  name,
  number: true,
}));

function rowsTable(rows, slots, first) {
  const labelled = new Map(slots.filter((slot) => slot.row).map((slot) => [slot.row, slot.name]));
  const cells = (row) => [
    labelled.get(row),
    stateOf(row.state),
    ...[row.segments, row.sessions, row.errors].map(count),
    percent(row.error_rate),
    ...[row.avg_total_ms, row.p50_total_ms, row.p95_total_ms, row.p99_total_ms].map(milliseconds),
  ];
  return table(
    first,
    [{ name: first }, { name: "State" }, ...COLUMNS],
    rows.toReversed().map((row) => ({ key: labelled.get(row), cells: cells(row) })),
  );
}

function hourSlots() {
  const { windowS, slots } = span();
  const windowMs = windowS * 1000;
  const last = Math.floor(nowMs() / windowMs);
  const rows = new Map((state.channel.hourly?.hours ?? []).map((row) => [Date.parse(row.hour), row]));
  return Array.from({ length: slots }, (_, i) => {
    const index = last - slots + 1 + i;
    const iso = new Date(index * windowMs).toISOString();
    const clock = inUtc(iso, windowS % 60 === 0 ? "hour" : "clock");
    const name = `${inUtc(iso, "day")} ${clock}`;
    return slot(index, clock, name, rows.get(index * windowMs));
  });
}

function daySlots() {
  const today = Math.floor(nowMs() / DAY_MS);
  const rows = new Map((state.channel.trends?.days ?? []).map((row) => [row.day, row]));
  return Array.from({ length: DAYS }, (_, i) => {
    const day = new Date((today - DAYS + 1 + i) * DAY_MS);
    const iso = inUtc(day.toISOString(), "day");
    const label = day.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", timeZone: "UTC" });
    return slot(today - DAYS + 1 + i, label, iso, rows.get(iso));
  });
}

function slot(index, label, name, row) {
  if (!row) {
    return { index, label, name, row: null, tip: `${name} UTC: no segments` };
  }
  const figures = [
    `${name} UTC, ${row.state}: ${STATES[row.state]}`,
    `${counted(row.segments, "segment")} of ${counted(row.sessions, "session")}`,
    `${counted(row.errors, "error")}, ${percent(row.error_rate)}`,
    ["p50", "p95", "p99"].map((name) => `${name} ${milliseconds(row[`${name}_total_ms`])}`).join(", "),
    `first ${inUtc(row.first_segment_at, "clock")}, last ${inUtc(row.last_segment_at, "clock")}`,
  ];
  return { index, label, name, row, tip: figures.join("\n") };
}
