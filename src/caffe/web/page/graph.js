// The net as a drawing that can be moved, enlarged and clicked.

import { byId, complain, make, makeSvg, show } from "./dom.js";

const STEP = 1.35;
const LEAST = 0.05;
const MOST = 4;

export class Graph {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.canvas = byId("graph");
    this.pointers = new Map();
    byId("nearer").addEventListener("click", () => this.#zoom(STEP));
    byId("farther").addEventListener("click", () => this.#zoom(1 / STEP));
    byId("fit").addEventListener("click", () => this.#fit());
    this.canvas.addEventListener("pointerdown", (event) => this.#press(event));
    this.canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, (event) => this.#release(event));
    }
    this.canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("resize", () => { if (this.nodes && this.fitted) this.#fit(); });
    this.forget();
  }

  forget() {
    this.nodes = null;
    this.shapes = [];
    this.canvas.replaceChildren();
  }

  wait() {
    this.forget();
    byId("graph-said").replaceChildren(make("p", { className: "loading", role: "status" },
      make("span", { className: "spinner" }), "Drawing the net …"));
    show(byId("graph-tools"), false);
  }

  fail(error, again) {
    complain(byId("graph-said"), error.message, again);
  }

  draw({ width, height, nodes, edges, boxes }) {
    byId("graph-said").replaceChildren();
    show(byId("graph-tools"));
    this.size = { width, height };
    this.nodes = nodes;
    this.view = makeSvg("g", {});
    this.view.append(...boxes.map(boxShape), ...edges.map(edgeShape));
    this.shapes = nodes.map((node, i) => this.#nodeShape(node, i));
    this.view.append(...this.shapes);
    this.canvas.replaceChildren(this.view);
    this.#fit();
  }

  #nodeShape(node, i) {
    const shape = makeSvg("g", { class: `node ${node.family}`, role: "button",
      tabindex: i ? -1 : 0, "aria-label": [node.layers[0], ...node.lines].join(", ") });
    shape.append(makeSvg("rect", { x: node.x, y: node.y, width: node.width, height: node.height,
      rx: 5 }));
    const lines = [node.layers[0], ...node.lines];
    const step = node.height / (lines.length + 0.4);
    shape.append(...lines.map((line, k) => {
      const text = makeSvg("text", { x: node.x + node.width / 2,
        y: node.y + step * (k + 0.92), class: k ? "small" : "" });
      text.textContent = line;
      // Graphviz and this browser may not have the same font.
      if (line.length * (k ? 4.7 : 6.4) > node.width - 8) {
        text.setAttribute("textLength", node.width - 10);
        text.setAttribute("lengthAdjust", "spacingAndGlyphs");
      }
      return text;
    }));
    shape.addEventListener("click", () => {
      if (!this.dragged) this.onChoose(node.layers[0]);
    });
    return shape;
  }

  find(wanted) {
    for (const [i, node] of (this.nodes ?? []).entries()) {
      const found = [...node.layers, ...node.lines].join(" ").toLowerCase().includes(wanted);
      this.shapes[i].classList.toggle("faint", !found);
    }
  }

  #indexOf(name) {
    return (this.nodes ?? []).findIndex((node) => node.layers.includes(name) ||
      node.stands_for?.includes(name));
  }

  matesOf(name) {
    const node = this.nodes?.[this.#indexOf(name)];
    return node?.layers.includes(name) ? node.layers : [name];
  }

  mark(name) {
    const chosen = this.#indexOf(name);
    for (const [i, shape] of this.shapes.entries()) {
      shape.classList.toggle("chosen", i === chosen);
      shape.setAttribute("tabindex", i === Math.max(chosen, 0) ? 0 : -1);
    }
    if (chosen >= 0) this.#bringIn(this.nodes[chosen]);
  }

  // Moves the drawing where a node is out of sight.
  #bringIn(node) {
    const { width, height } = this.canvas.getBoundingClientRect();
    const left = node.x * this.scale + this.x;
    const top = node.y * this.scale + this.y;
    const inside = left >= 0 && top >= 0 && left + node.width * this.scale <= width &&
      top + node.height * this.scale <= height;
    if (inside) return;
    this.x = width / 2 - (node.x + node.width / 2) * this.scale;
    this.y = height / 2 - (node.y + node.height / 2) * this.scale;
    this.#place();
  }

  // The whole width, from the top: a deep net would be too small to read if all were shown.
  #fit() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const whole = Math.min(width / (this.size.width + 24), height / (this.size.height + 24));
    this.scale = Math.min(Math.max(whole, Math.min(0.8, width / (this.size.width + 24))), 1.4);
    this.x = (width - this.size.width * this.scale) / 2;
    this.y = Math.max(12, (height - this.size.height * this.scale) / 2);
    if (this.size.height * this.scale > height) this.y = 12;
    this.fitted = true;
    this.#place();
  }

  #place() {
    this.view.setAttribute("transform",
      `translate(${this.x.toFixed(2)} ${this.y.toFixed(2)}) scale(${this.scale.toFixed(4)})`);
  }

  #zoom(by, at) {
    if (!this.nodes) return;
    const { width, height } = this.canvas.getBoundingClientRect();
    const { x, y } = at ?? { x: width / 2, y: height / 2 };
    const scale = Math.min(Math.max(this.scale * by, LEAST), MOST);
    this.x = x - (x - this.x) * (scale / this.scale);
    this.y = y - (y - this.y) * (scale / this.scale);
    this.scale = scale;
    this.fitted = false;
    this.#place();
  }

  #pan(x, y) {
    this.x += x;
    this.y += y;
    this.fitted = false;
    this.#place();
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #press(event) {
    this.pointers.set(event.pointerId, this.#at(event));
    this.dragged = false;
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.nodes) return;
    const now = this.#at(event);
    if (!this.dragged && Math.hypot(now.x - before.x, now.y - before.y) < 4) return;
    // From here on it is no click.
    if (!this.dragged) this.canvas.setPointerCapture(event.pointerId);
    this.dragged = true;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const [, other] = others[0];
      const apart = (a) => Math.hypot(a.x - other.x, a.y - other.y) || 1;
      this.#zoom(apart(now) / apart(before), other);
    } else {
      this.#pan(now.x - before.x, now.y - before.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  #release(event) {
    this.pointers.delete(event.pointerId);
  }

  // Without Ctrl the wheel scrolls the page, unless somebody works in the drawing.
  #wheel(event) {
    const within = this.canvas.contains(document.activeElement);
    if (!this.nodes || !(event.ctrlKey || event.metaKey || within)) return;
    event.preventDefault();
    this.#zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, this.#at(event));
  }

  #key(event) {
    const now = this.shapes.indexOf(document.activeElement);
    if (now < 0) return;
    const to = { ArrowDown: now + 1, ArrowRight: now + 1, ArrowUp: now - 1, ArrowLeft: now - 1,
      Home: 0, End: this.shapes.length - 1 }[event.key];
    if (to !== undefined) {
      const next = Math.min(Math.max(to, 0), this.shapes.length - 1);
      this.shapes[now].setAttribute("tabindex", -1);
      this.shapes[next].setAttribute("tabindex", 0);
      this.shapes[next].focus({ preventScroll: true });
      this.#bringIn(this.nodes[next]);
    } else if (event.key === "Enter" || event.key === " ") {
      this.onChoose(this.nodes[now].layers[0]);
    } else if (event.key === "+" || event.key === "=") {
      this.#zoom(STEP);
    } else if (event.key === "-") {
      this.#zoom(1 / STEP);
    } else if (event.key === "0") {
      this.#fit();
    } else {
      return;
    }
    event.preventDefault();
  }
}

function boxShape({ x, y, width, height, lines }) {
  const label = lines.map((line, i) => {
    const text = makeSvg("text", { x: x + 8, y: y + height - 9 - 12 * (lines.length - 1 - i) });
    text.textContent = line;
    return text;
  });
  return makeSvg("g", { class: "frame" }, makeSvg("rect", { x, y, width, height, rx: 8 }), ...label);
}

function edgeShape({ points, tip }) {
  const [start, ...rest] = points;
  let path = `M${start}`;
  for (let i = 0; i + 2 < rest.length; i += 3) path += `C${rest.slice(i, i + 3).join(" ")}`;
  const [x, y] = tip;
  const [fromX, fromY] = points.at(-1);
  const angle = (Math.atan2(y - fromY, x - fromX) * 180) / Math.PI;
  return makeSvg("g", { class: "edge" }, makeSvg("path", { d: path }),
    makeSvg("path", { class: "tip", d: "M0 0L-7 -3.2L-7 3.2Z",
      transform: `translate(${x} ${y}) rotate(${angle.toFixed(1)})` }));
}
