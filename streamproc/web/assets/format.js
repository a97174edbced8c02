// How numbers and times are said: thin separators, units that suit the size, times in UTC.

import { h } from "./dom.js";

const THIN = "\u202f"; // a narrow space that does not break
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

export const DASH = "–";

/** A count: 12 345. */
export const count = (number) => (known(number) ? grouped(Math.round(number)) : DASH);

/** A count with its noun: 1 window, 2 windows. */
export const counted = (number, noun, plural = `${noun}s`) => `${count(number)} ${number === 1 ? noun : plural}`;

/** A rate of events: 0, 0.4, 12, 1 234 a second. */
export const perSecond = (number) => `${significant(number)}${THIN}/s`;

/** A share of 1: 0 %, 0.03 %, 1.9 %, 100 %. Never 0 % of something that happened, never 100 % of almost all. */
export function percent(share) {
  if (!known(share)) {
    return DASH;
  }
  const value = share * 100;
  if (value === 0 || value === 100) {
    return `${value}${THIN}%`;
  }
  if (value < 0.01) {
    return `<0.01${THIN}%`;
  }
  return `${value < 0.995 ? value.toFixed(2) : Math.min(value, 99.9).toFixed(1)}${THIN}%`;
}

/** A round share, for an axis. */
export const percentTick = (share) => `${Number((share * 100).toFixed(2))}${THIN}%`;

/** Milliseconds, as ms, s or min. */
export function milliseconds(ms) {
  if (!known(ms)) {
    return DASH;
  }
  if (ms < 999.5) {
    return `${ms < 9.95 ? significant(ms) : Math.round(ms)}${THIN}ms`;
  }
  return ms < 100_000 ? `${(ms / 1000).toFixed(ms < 9995 ? 2 : 1)}${THIN}s` : duration(ms / 1000);
}

/** Round milliseconds, for an axis. */
export const millisecondsTick = (ms) =>
  ms && ms < 1000 ? `${ms}${THIN}ms` : `${Number((ms / 1000).toFixed(2))}${THIN}s`;

/** Seconds in the largest unit of which there are at least two: 0.4 s, 45 s, 12 min, 5 h, 3 d. */
export function duration(seconds) {
  for (const [unitS, unit] of [
    [DAY_S, "d"],
    [HOUR_S, "h"],
    [MINUTE_S, "min"],
  ]) {
    if (seconds >= 2 * unitS) {
      return `${Math.round(seconds / unitS)}${THIN}${unit}`;
    }
  }
  return `${seconds < 9.95 ? Number(seconds.toFixed(1)) : Math.round(seconds)}${THIN}s`;
}

/** A length that was set: 1 h, 90 min, 10 s. */
export function length(seconds) {
  if (seconds % HOUR_S === 0) {
    return `${seconds / HOUR_S}${THIN}h`;
  }
  return seconds % MINUTE_S === 0 ? `${seconds / MINUTE_S}${THIN}min` : `${seconds}${THIN}s`;
}

/** How long ago, by the server's clock, in whole seconds. */
export function ago(iso, nowMs) {
  const seconds = Math.round((nowMs - Date.parse(iso)) / 1000);
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

/** A moment in UTC, the local time on pointing at it. `form`: "clock" (with seconds), "hour", "day" or "full". */
export function moment(iso, form = "clock", ...children) {
  const said = children.length ? children : [inUtc(iso, form)];
  return h("time", { datetime: iso, "data-tip": `${inUtc(iso, "full")} UTC. Here: ${local(iso)}` }, said);
}

/** A moment in UTC as text. */
export function inUtc(iso, form) {
  const text = new Date(iso).toISOString();
  if (form === "day") {
    return text.slice(0, 10);
  }
  const clock = text.slice(11, form === "hour" ? 16 : 19);
  return form === "full" ? `${text.slice(0, 10)} ${clock}` : clock;
}

/** The start of a window: 14:00, or 14:03:20 where windows are no whole minutes; with the day unless it is today. */
export function windowStart(iso, windowS, nowMs) {
  const clock = inUtc(iso, windowS % MINUTE_S === 0 ? "hour" : "clock");
  const day = inUtc(iso, "day");
  return day === new Date(nowMs).toISOString().slice(0, 10) ? clock : `${day.slice(5)} ${clock}`;
}

const local = (iso) =>
  new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }) +
  ` (${Intl.DateTimeFormat().resolvedOptions().timeZone})`;

const known = (number) => number !== null && number !== undefined && Number.isFinite(number);
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, THIN);

function significant(number) {
  if (!known(number)) {
    return DASH;
  }
  if (number >= 99.95) {
    return grouped(Math.round(number));
  }
  return String(Number(number.toPrecision(number >= 9.95 ? 3 : 2)));
}
