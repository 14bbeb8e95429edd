// Nets that are dropped on the page: looked at, not run, and kept by the browser alone.

import { askOnce } from "./api.js";
import { byId, complain, make, show } from "./dom.js";

const WEIGHTS = /\.(caffemodel|h5)$/i;

export class Dropped {
  constructor(page) {
    this.page = page;
  }

  async take(files) {
    const weights = files.find((file) => WEIGHTS.test(file.name));
    const net = files.find((file) => file !== weights);
    // Weights that come later belong to the net that is there.
    if (net) this.net = net;
    this.weights = weights ?? (net ? undefined : this.weights);
    const place = byId("inside-error");
    byId("inside").scrollIntoView({ block: "nearest" });
    if (!this.net) {
      complain(place, `${weights.name} holds parameters alone: drop the net’s prototxt, too.`);
      return;
    }
    const most = this.page.about.limits.bytes;
    const size = this.net.size + (this.weights?.size ?? 0);
    if (size > most) {
      complain(place, `The net has ${(size / 2 ** 20).toFixed(1)} MiB; ` +
        `${(most / 2 ** 20).toFixed(1)} are allowed. The prototxt alone will do.`);
      return;
    }
    const body = new FormData();
    body.append("net", this.net);
    if (this.weights) body.append("weights", this.weights);
    place.replaceChildren(make("p", { className: "loading", role: "status" },
      make("span", { className: "spinner" }), `Reading ${this.net.name} …`));
    try {
      const { answer, command } = await askOnce("/nets", { body });
      this.#tell(answer);
      this.page.inside.openDropped(answer, command, { name: this.net.name, dropped: true,
        looks: false, explains: false, body, graph: "/nets/graph",
        filters: this.weights ? "/nets/filters" : "" });
    } catch (error) {
      complain(place, error.message);
    }
  }

  // What is not known of it, and why.
  #tell({ notes }) {
    const place = byId("inside-error");
    const said = make("p", {}, make("strong", {}, this.net.name), this.weights
      ? ` with ${this.weights.name}: looked at, not run.` : ": looked at, not run.");
    const parts = [said];
    if (notes.length) {
      parts.push(make("details", {}, make("summary", {}, `${notes.length} notes`),
        make("ul", {}, ...notes.map((note) => make("li", {}, note)))));
    }
    place.replaceChildren(make("div", { className: "told" }, ...parts));
    show(place);
  }
}
