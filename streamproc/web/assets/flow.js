// What flowed in the last ten minutes: segments a second as an area, the share of errors as bars of twenty seconds.

import { h } from "./dom.js";
import { count, inUtc, percent, percentTick, perSecond } from "./format.js";
import { drawn, frame, widthOf } from "./plot.js";

const SPAN_MS = 600_000;
const GAP_MS = 25_000; // the server looks every 10 s at least
const BIN_MS = 20_000;

/** Rates over the last `seconds`: what was counted, and what of it had an error. Null where nothing is known. */
export function flowed(throughput, nowMs, seconds = SPAN_MS / 1000) {
  const steps = stepsOf(throughput).filter((step) => step.toMs > nowMs - seconds * 1000);
  const total = sum(steps, (step) => step.forS);
  if (!total) {
    return null;
  }
  const segments = sum(steps, (step) => step.segments);
  const errors = sum(steps, (step) => step.errors);
  return {
    seconds: total,
    perSecond: segments / total,
    errorRate: segments ? Math.min(1, errors / segments) : null,
    segments,
    errors,
  };
}

export function throughputPlot(room, throughput, nowMs) {
  const points = throughput.map((one) => ({
    atMs: Date.parse(one.at),
    value: one.segments_per_s,
    duplicates: one.duplicates_per_s,
  }));
  const one = frame({ width: widthOf(room), highest: Math.max(0, ...points.map((point) => point.value)) });
  const x = (atMs) => one.x((atMs - (nowMs - SPAN_MS)) / SPAN_MS);
  const runs = runsOf(points.filter((point) => point.atMs >= nowMs - SPAN_MS));
  const marks = runs.map((run) => [
    h("path", {
      class: "area",
      d: `${path(run, x, one)} L${x(run.at(-1).atMs)},${one.bottom} L${x(run[0].atMs)},${one.bottom} Z`,
    }),
    h("path", { class: "line", d: path(run, x, one) }),
  ]);
  const bands = runs.flat().map((point) => ({
    from: x(point.atMs) - 1.5,
    to: x(point.atMs) + 1.5,
    tip: `${clock(point.atMs)} UTC: ${perSecond(point.value)} counted, ${perSecond(point.duplicates)} repeated`,
  }));
  const average = flowed(throughput, nowMs);
  const most = perSecond(Math.max(0, ...points.map((point) => point.value)));
  const name = average
    ? `Segments counted a second over ten minutes: ${perSecond(average.perSecond)} on average, at most ${most}`
    : "Nothing is known of the last ten minutes yet";
  return drawn(one, { name, format: (value) => count1(value), labels: minutes(x, nowMs), marks, bands });
}

export function errorPlot(room, throughput, nowMs) {
  const bins = binsOf(throughput, nowMs);
  const one = frame({ width: widthOf(room), highest: Math.max(0.01, ...bins.map((bin) => bin.rate ?? 0)), most: 1 });
  const x = (atMs) => one.x((atMs - (nowMs - SPAN_MS)) / SPAN_MS);
  const edges = (bin) => ({
    from: Math.max(one.left, x(bin.fromMs)),
    to: Math.min(one.right, x(bin.fromMs + BIN_MS)),
  });
  const marks = bins
    .filter((bin) => bin.rate)
    .map((bin) => {
      const { from, to } = edges(bin);
      return h("rect", {
        class: "bar-error",
        x: from + 1,
        y: one.y(bin.rate),
        width: Math.max(1, to - from - 2),
        height: one.bottom - one.y(bin.rate),
      });
    });
  const bands = bins
    .filter((bin) => bin.rate !== null && edges(bin).to > one.left)
    .map((bin) => ({
      ...edges(bin),
      tip: `${clock(bin.fromMs)} UTC, 20 s: ${percent(bin.rate)}, about ${ofSegments(bin)}`,
    }));
  const average = flowed(throughput, nowMs);
  const name = average?.segments
    ? `Share of segments with an error over ten minutes: ${percent(average.errorRate)}`
    : "No segments in the last ten minutes";
  return drawn(one, { name, format: percentTick, labels: minutes(x, nowMs), marks, bands });
}

/** Samples with the time they cover: from the sample before, or two seconds where there is none. */
function stepsOf(throughput) {
  return throughput.map((one, i) => {
    const toMs = Date.parse(one.at);
    const beforeMs = i ? Date.parse(throughput[i - 1].at) : toMs - 2000;
    const forS = (toMs - beforeMs <= GAP_MS ? toMs - beforeMs : 2000) / 1000;
    return { toMs, forS, segments: one.segments_per_s * forS, errors: one.errors_per_s * forS };
  });
}

function binsOf(throughput, nowMs) {
  const bins = new Map();
  for (const step of stepsOf(throughput)) {
    const fromMs = Math.floor(step.toMs / BIN_MS) * BIN_MS;
    const bin = bins.get(fromMs) ?? { fromMs, segments: 0, errors: 0 };
    bin.segments += step.segments;
    bin.errors += step.errors;
    bins.set(fromMs, bin);
  }
  return [...bins.values()]
    .filter((bin) => bin.fromMs + BIN_MS > nowMs - SPAN_MS && bin.fromMs + BIN_MS <= nowMs) // whole ones
    .map((bin) => ({ ...bin, rate: bin.segments ? Math.min(1, bin.errors / bin.segments) : null }));
}

/** Stretches without a gap. */
function runsOf(points) {
  const runs = [];
  points.forEach((point, i) => {
    if (i && point.atMs - points[i - 1].atMs <= GAP_MS) {
      runs.at(-1).push(point);
    } else {
      runs.push([point]);
    }
  });
  return runs;
}

const path = (run, x, one) =>
  run.map((point, i) => `${i ? "L" : "M"}${x(point.atMs).toFixed(1)},${one.y(point.value).toFixed(1)}`).join(" ");
const minutes = (x, nowMs) =>
  [8, 6, 4, 2]
    .map((ago) => ({ at: x(nowMs - ago * 60_000), text: `−${ago} min` }))
    .concat({ at: x(nowMs) - 10, text: "now" });
const count1 = (value) => (value < 10 ? String(Number(value.toFixed(2))) : count(value));
const clock = (atMs) => inUtc(new Date(atMs), "clock");
const ofSegments = (bin) => `${count(bin.errors)} of ${count(bin.segments)} segments`;
const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);
