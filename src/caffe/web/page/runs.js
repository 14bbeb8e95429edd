// Trainings: losses, scores and learning rates, as they go on.

import { ask } from "./api.js";
import { byId, make, makeSvg, readable, show } from "./dom.js";

const EVERY = 2000;
const WIDTH = 640;
const HEIGHT = 200;
const COLOURS = ["var(--curve-1)", "var(--curve-2)", "var(--curve-3)", "var(--curve-4)",
  "var(--curve-5)", "var(--curve-6)"];
const PANELS = [
  { title: "Loss", has: (name) => /loss/i.test(name) },
  { title: "Test scores", has: (name) => name.startsWith("test") && !/loss/i.test(name) },
  { title: "Learning rate", has: (name) => name === "lr" },
];

export class Runs {
  async start() {
    const { answer } = await ask("/runs").catch(() => ({ answer: { runs: [] } }));
    if (!answer.watched) return;
    show(byId("runs"));
    byId("run").addEventListener("change", () => this.#turn(byId("run").value));
    this.#offer(answer.runs);
    document.addEventListener("visibilitychange", () => this.#follow());
    this.#follow();
  }

  #offer(runs) {
    const names = runs.map((run) => run.name);
    if (names.join("\n") === this.names?.join("\n")) return;
    this.names = names;
    byId("run").replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    show(byId("run-option"), names.length > 1);
    if (!names.includes(this.name)) this.#turn(names[0]);
    byId("run").value = this.name ?? "";
    show(byId("runs-empty"), !names.length);
  }

  #turn(name) {
    this.name = name;
    this.version = "";
    byId("run-name").textContent = name ?? "";
    byId("curves").replaceChildren();
    if (name) this.#read();
  }

  // While somebody looks at the page.
  #follow() {
    clearTimeout(this.timer);
    if (document.hidden) return;
    this.timer = setTimeout(async () => {
      try {
        const { answer } = await ask("/runs");
        this.#offer(answer.runs);
        const run = answer.runs.find((one) => one.name === this.name);
        if (run && run.version !== this.version) await this.#read();
      } catch {
        // The next time will do.
      }
      this.#follow();
    }, EVERY);
  }

  async #read() {
    const { name } = this;
    try {
      const { answer } = await ask(`/runs/${encodeURIComponent(name)}`);
      if (name !== this.name) return;
      this.version = answer.version;
      this.#draw(answer);
    } catch (error) {
      byId("run-said").textContent = error.message;
      byId("curves").replaceChildren();
    }
  }

  #draw({ curves, iteration, seconds_ago: ago }) {
    const when = ago < 15 ? "being written now" : `last written ${agoText(ago)} ago`;
    byId("run-said").textContent = `iteration ${iteration.toLocaleString("en")}, ${when}`;
    const figures = PANELS.map(({ title, has }) => {
      const names = Object.keys(curves).filter(has);
      return names.length ? curvesFigure(title, names.map((one) => [one, curves[one]])) : null;
    });
    byId("curves").replaceChildren(...figures.filter(Boolean));
  }
}

function agoText(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} hours`;
  return `${Math.round(seconds / 86400)} days`;
}

// Lines over the iterations; where one points, the nearest values stand below.
function curvesFigure(title, curves) {
  const points = curves.flatMap(([, curve]) => curve).filter(([, value]) => value !== null);
  const range = (i) => points.reduce(([low, high], point) =>
    [Math.min(low, point[i]), Math.max(high, point[i])], [Infinity, -Infinity]);
  const [first, last] = range(0);
  let [low, high] = range(1);
  if (low === high) [low, high] = [low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1];
  const x = (at) => ((at - first) / (last - first || 1)) * WIDTH;
  const y = (value) => HEIGHT - 6 - ((value - low) / (high - low || 1)) * (HEIGHT - 12);
  const lines = curves.flatMap(([, curve], i) => {
    const known = curve.filter(([, value]) => value !== null);
    const places = known.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
    const style = { stroke: COLOURS[i % COLOURS.length] };
    const line = makeSvg("path", { d: `M${places.join("L")}`, ...style });
    return known.length > 40 ? [line] : [line, makeSvg("path", { class: "dots", ...style,
      d: places.map((place) => `M${place}h0`).join("") })];
  });
  const cursor = makeSvg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  const newest = curves.map(([name, curve]) => `${name} ${readable(curve.at(-1)[1])}`).join(", ");
  const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none",
    role: "img", "aria-label": `${title}, newest: ${newest}` }, ...lines, cursor);
  const values = curves.map(() => make("b"));
  const legend = make("ul", { className: "legend" }, ...curves.map(([name], i) => {
    const key = make("span", { className: "key" });
    key.style.background = COLOURS[i % COLOURS.length];
    return make("li", {}, key, name, " ", values[i]);
  }));
  const where = make("span");
  const tell = (at) => {
    where.textContent = at === null ? "" : `at ${at.toLocaleString("en")}`;
    for (const [i, [, curve]] of curves.entries()) {
      const point = at === null ? curve.at(-1) : curve.reduce((best, one) =>
        (Math.abs(one[0] - at) < Math.abs(best[0] - at) ? one : best));
      values[i].textContent = readable(point[1]);
    }
    const place = at === null ? -9 : x(at);
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
  };
  tell(null);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    tell(Math.round(first + ((event.clientX - box.left) / box.width) * (last - first)));
  });
  svg.addEventListener("pointerleave", () => tell(null));
  return make("figure", { className: "chart curves" },
    make("figcaption", {}, make("strong", {}, title), ` ${readable(low)} to ${readable(high)}`),
    svg,
    make("p", { className: "axis" }, make("span", {}, first.toLocaleString("en")), where,
      make("span", {}, last.toLocaleString("en"))),
    legend);
}
