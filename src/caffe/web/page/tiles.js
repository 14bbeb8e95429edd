// A layer's maps or filters as buttons, and the one under the pointer or the focus enlarged.

import { focusOn, make, readable, roving } from "./dom.js";

export async function tilesFigure(answer) {
  const picture = new Image();
  picture.src = answer.tiles;
  await picture.decode();
  const [height, width] = answer.tile;
  const draw = (canvas, i) => {
    canvas.width = width;
    canvas.height = height;
    const x = (i % answer.columns) * width;
    const y = Math.floor(i / answer.columns) * height;
    canvas.getContext("2d").drawImage(picture, x, y, width, height, 0, 0, width, height);
  };
  const large = make("canvas");
  const caption = make("figcaption");
  const loupe = make("figure", { className: "loupe", ariaHidden: "true" }, large, caption);
  const buttons = answer.maps.map((map, i) => {
    const canvas = make("canvas");
    draw(canvas, i);
    const dead = map.dead ? ", dead: nothing but zeros" : "";
    const button = make("button", { type: "button", className: "tile", tabIndex: i ? -1 : 0 },
      canvas);
    if (map.dead) button.classList.add("dead");
    button.setAttribute("aria-label",
      `${map.name}: ${readable(map.low)} to ${readable(map.high)}${dead}`);
    const enlarge = () => {
      draw(large, i);
      caption.replaceChildren(make("strong", {}, map.name), map.dead ? " dead: nothing but zeros"
        : ` ${readable(map.low)} to ${readable(map.high)}, mean ${readable(map.mean)}`);
      for (const other of buttons) other.classList.toggle("enlarged", other === button);
    };
    button.addEventListener("pointerenter", enlarge);
    button.addEventListener("focus", enlarge);
    button.addEventListener("click", () => {
      enlarge();
      focusOn(buttons, button);
    });
    return button;
  });
  const grid = make("div", { className: answer.kind === "matrix" ? "tiles one" : "tiles" },
    ...buttons);
  grid.style.setProperty("--ratio", `${width} / ${height}`);
  large.style.aspectRatio = `${width} / ${height}`;
  const across = () => {
    const top = buttons[0].offsetTop;
    const next = buttons.findIndex((button) => button.offsetTop > top);
    return next < 0 ? buttons.length : next;
  };
  roving(grid, across);
  buttons[0].dispatchEvent(new Event("pointerenter"));
  const alone = buttons.length === 1;
  return [scaleNote(answer), alone ? grid : make("div", { className: "maps" }, grid, loupe)];
}

function scaleNote(answer) {
  const range = `${readable(answer.black)} to ${readable(answer.white)}`;
  if (answer.kind === "colour") {
    return make("p", { className: "fine" }, `In colour, as the net reads them; one scale for ` +
      `all, ${range}.`);
  }
  if (answer.kind !== "maps") {
    const what = answer.kind === "matrix" ? `; outputs down, inputs across${every(answer.step)}` : ", for all of them";
    return make("p", { className: "fine" }, `Black to white is ${range}${what}.`);
  }
  const text = answer.scale === "all" ? `${range}, for all maps` : "each map’s own least to most";
  return make("p", { className: "fine" }, make("span", { className: "ramp" }),
    ` is ${text}. Where the layer answers strongly it is bright.`);
}

function every(step) {
  return step > 1 ? `; one of ${step} is shown, each way` : "";
}
