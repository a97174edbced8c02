// First of all: is it healthy, in plain words; then every trouble with what to do.

import { h } from "./dom.js";
import { ago, counted, duration, moment } from "./format.js";
import { flowed } from "./flow.js";
import { ageS, isAway, isFresh, nowMs, state } from "./state.js";

const WORDS = {
  healthy: "Healthy",
  degraded: "Degraded",
  down: "Down",
  unknown: "Unknown",
};
export const SIGNS = { healthy: "✓", degraded: "!", down: "✕", unknown: "?" };

/** healthy, degraded, down; unknown while nothing is heard of the server. */
export const verdict = () => (state.overview && !isAway() ? state.overview.verdict : "unknown");

/** The verdict as it is read aloud: it holds no figure that changes by itself. */
export function said() {
  const now = verdict();
  return [
    h("span", { class: "sign-of-verdict", "aria-hidden": "true" }, SIGNS[now]),
    h("div", {}, h("p", { class: "verdict-word" }, WORDS[now]), h("p", { class: "verdict-words" }, inWords(now))),
  ];
}

function inWords(now) {
  if (now === "unknown") {
    return state.away?.status === 401 ? "The server asks for its token." : unheard();
  }
  const { troubles } = state.overview;
  const warnings = troubles.filter((one) => one.severity === "warning").length;
  const others = troubles.length - warnings;
  const number = [others && counted(others, "trouble"), warnings && counted(warnings, "warning")]
    .filter(Boolean)
    .join(", ");
  return [meaningOf(now), number ? h("span", {}, ` ${number} below.`) : null];
}

const unheard = () => (isAway() ? "The dashboard's own server tells nothing new." : "Asking the server.");

function meaningOf(now) {
  if (now === "down") {
    return "Nothing is counted. What is published waits in the stream, as long as Redis has it.";
  }
  if (now === "degraded") {
    return "Segments are counted, but hours are late or wrong, or will be, unless somebody acts.";
  }
  if (isEmpty()) {
    return "Ready, and waiting for the first segment.";
  }
  const flow = flowed(state.overview.throughput, nowMs());
  const idle = flow && !flow.segments;
  return idle
    ? "Everything published is counted and every closed window is stored. Nothing comes in at the moment."
    : "Segments are counted as they come in, and closed windows are stored.";
}

/** Whether nothing was ever published. */
export function isEmpty() {
  const known = state.known;
  return (
    Boolean(known) &&
    !known.shards.some((shard) => shard.ledger.entries_added) &&
    !state.hours?.hours.length &&
    !known.dead_letters.kept
  );
}

/** Servers and workers in a line. */
export function facts() {
  const { overview } = state;
  if (!overview || isAway()) {
    return null;
  }
  const ready = overview.workers.filter((one) => one.ready).length;
  return h(
    "ul",
    { class: "facts" },
    server("Redis", overview.redis),
    server("MongoDB", overview.mongodb),
    isFresh()
      ? fact(
          ready === overview.workers.length && ready > 0,
          overview.workers.length ? `${ready} of ${counted(overview.workers.length, "worker")} ready` : "no worker",
        )
      : fact(false, "workers unknown"),
  );
}

const server = (name, one) =>
  fact(
    one.up,
    `${name} ${one.up ? "up" : "away"}`,
    `${name} at ${one.address}${one.up ? " answers" : `: ${one.trouble}`}`,
  );

const fact = (good, text, tip) =>
  h(
    "li",
    { class: good ? "good" : "bad", "data-tip": tip, tabindex: tip ? "0" : null },
    h("span", { "aria-hidden": "true" }, good ? "✓ " : "✕ "),
    text,
  );

/** Every trouble, the critical ones first, with its remedy. */
export function troubles() {
  if (!state.overview || isAway()) {
    return null;
  }
  const list = state.overview.troubles.map((one) =>
    h(
      "li",
      { class: `trouble ${one.severity}` },
      h("p", { class: "trouble-what" }, h("span", { class: "severity" }, one.severity), ` ${one.message}.`),
      h("p", { class: "trouble-remedy" }, h("b", {}, "What to do: "), `${one.remedy}.`),
    ),
  );
  return list.length ? h("ul", { class: "troubles" }, list) : null;
}

/** The last values are not of now: since when, and why. Null while they are. */
export function staleness() {
  if (isFresh() || !state.overview) {
    return null;
  }
  const why = isAway() ? "the dashboard's server tells nothing new" : "Redis cannot be read";
  if (!state.known) {
    return `No figures: ${why}.`;
  }
  return [`Last values, ${duration(ageS())} old (`, moment(state.known.at), ` UTC): ${why}.`];
}

/** Where the page itself stands. */
export function freshness() {
  if (!state.overview) {
    return state.away ? "no answer yet" : "asking";
  }
  const heard = new Date(nowMs() - (performance.now() - state.heardMs)).toISOString();
  return `${isAway() ? "last heard" : "updated"} ${ago(heard, nowMs())}`;
}

/** The banner while there is no answer. */
export function awayBanner() {
  if (!state.away) {
    return isAway()
      ? "The dashboard's server answers, but has not looked at the system for half a minute. See its log."
      : null;
  }
  const { message, retryS, status } = state.away;
  const again = `It is asked again every ${retryS}\u202fs.`;
  if (status === 403) {
    return `The server refuses to show figures: ${message}.`;
  }
  if (status) {
    return `The server answers with an error: ${message}. ${again}`;
  }
  const server = `The server of this page (streamproc web at ${location.host})`;
  return `${server} does not answer: ${message}. Start it again, or see its log. ${again}`;
}
