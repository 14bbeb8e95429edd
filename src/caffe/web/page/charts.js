// A blob without height and width: its values above, the histogram of its positive ones below.

import { make, makeSvg, partsOf, readable } from "./dom.js";

const WIDTH = 640;
const HEIGHT = 180;
const BINS = 64;

export function valuesFigure(values, labels) {
  const numbers = values.map((value) => value ?? 0);
  const range = `from ${readable(smallest(numbers))} to ${readable(largest(numbers))}`;
  const parts = [plot("Values", range, curve(numbers), ["0", String(numbers.length - 1)])];
  const positive = numbers.filter((value) => value > 0);
  if (positive.length > 1) {
    const counts = histogram(positive);
    const most = `at most ${largest(counts)} of ${positive.length} in a bar`;
    const ends = [readable(smallest(positive)), readable(largest(positive))];
    parts.push(plot("Histogram of the positive values", most, bars(counts), ends));
  }
  parts.push(highest(numbers, labels));
  return make("div", { className: "charts" }, ...parts);
}

const largest = (numbers) => numbers.reduce((most, value) => Math.max(most, value), -Infinity);
const smallest = (numbers) => numbers.reduce((least, value) => Math.min(least, value), Infinity);

function plot(title, text, shape, ends) {
  const picture = makeSvg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none",
      "aria-label": `${title}, ${text}` },
    shape,
  );
  return make("figure", { className: "chart" },
    make("figcaption", {}, make("strong", {}, title), `, ${text}`),
    picture,
    make("p", { className: "axis" }, ...ends.map((end) => make("span", {}, end))));
}

function curve(numbers) {
  const low = Math.min(0, smallest(numbers));
  const span = Math.max(largest(numbers), 0) - low || 1;
  const y = (value) => (HEIGHT - 4 - ((value - low) / span) * (HEIGHT - 8)).toFixed(1);
  const step = WIDTH / numbers.length;
  // Every value is a bar of its own, however thin: a line would join what is not joined.
  const path = numbers.map((value, i) => `M${((i + 0.5) * step).toFixed(2)} ${y(0)}V${y(value)}`);
  return makeSvg("path", { d: path.join(""), class: "curve",
    "stroke-width": Math.max(step * 0.8, 1).toFixed(2) });
}

function histogram(positive) {
  const low = smallest(positive);
  const span = largest(positive) - low || 1;
  const counts = new Array(BINS).fill(0);
  for (const value of positive) {
    counts[Math.min(BINS - 1, Math.floor(((value - low) / span) * BINS))] += 1;
  }
  return counts;
}

function bars(counts) {
  const step = WIDTH / counts.length;
  const most = largest(counts);
  const path = counts.map((count, i) => {
    const height = count ? Math.max((count / most) * (HEIGHT - 4), 1.5) : 0;
    return `M${(i * step + 0.5).toFixed(1)} ${HEIGHT}v${(-height).toFixed(1)}h${
      (step - 1).toFixed(1)}v${height.toFixed(1)}z`;
  });
  return makeSvg("path", { d: path.join(""), class: "bars" });
}

function highest(numbers, labels) {
  const order = numbers.map((_, i) => i).sort((a, b) => numbers[b] - numbers[a]).slice(0, 5);
  const rows = order.map((i) => make("li", {},
    make("span", { className: "value" }, readable(numbers[i])),
    labels ? partsOf(labels[i]).name : `number ${i}`));
  return make("div", { className: "highest" }, make("strong", {}, "The highest"),
    make("ul", {}, ...rows));
}
