// Numbers as figures: a blob's values, how they are spread, and curves over a training.

import { counted, make, makeSvg, partsOf, readable } from "./dom.js";

const WIDTH = 640;
const HEIGHT = 180;

export function valuesFigure(values, labels) {
  const numbers = values.map((value) => value ?? 0);
  const range = `from ${readable(smallest(numbers))} to ${readable(largest(numbers))}`;
  return make("div", { className: "charts" },
    plot("Values", range, curve(numbers), ["0", String(numbers.length - 1)]),
    highest(numbers, labels));
}

// How all of a layer's values are spread.
export function spreadFigure(statistics, dead, total, what) {
  const { count, finite, low, high, mean, deviation, zeros, histogram } = statistics;
  if (!histogram) return make("p", { className: "fine" }, `None of ${counted(count)} is a number.`);
  const share = (part) => `${(100 * part / count).toFixed(part && part < count ? 1 : 0)} %`;
  const rows = [["values", counted(count)], ["mean", readable(mean)],
    ["deviation", readable(deviation)], ["zeros", share(zeros)]];
  if (finite < count) rows.push(["no numbers", counted(count - finite)]);
  if (dead !== undefined) rows.push([`dead ${what}`, `${dead} of ${total}`]);
  const list = make("dl", { className: "facts" }, ...rows.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  if (dead) list.lastChild.classList.add("warned");
  // One bar for all that is zero would hide the others.
  const heights = histogram.map((bin) => Math.sqrt(bin));
  return make("div", { className: "spread" },
    plot("Histogram", "heights by the square root of how many", bars(heights),
      [readable(low), readable(high)]), list);
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
