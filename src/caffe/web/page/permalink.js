// What the address bar says: behind the '#', which no server and no other site gets to see.
// Each thing that a person chooses is a step, and Back takes it back.

const WORDS = ["model", "device", "precision", "link", "layer", "view", "scale", "class", "at",
  "by", "beside"];

// What people may have mistyped is left out; names are checked where they are looked up.
const KNOWN = {
  view: /^(responses|filters)$/, scale: /^(each|all)$/, class: /^\d+$/,
  by: /^(grad-cam|saliency|integrated-gradients|occlusion)$/,
};

export function readState() {
  const words = new URLSearchParams(location.hash.slice(1));
  const wanted = (word) => {
    const value = words.get(word) ?? "";
    return !KNOWN[word] || KNOWN[word].test(value) ? value : "";
  };
  return Object.fromEntries(WORDS.map((word) => [word, wanted(word)]));
}

// `picture` is which of this page's own pictures is shown: no link says that.
export function writeState(state, picture) {
  const words = new URLSearchParams(WORDS.filter((word) => state[word] !== "" &&
    state[word] !== undefined).map((word) => [word, state[word]]));
  history.replaceState({ picture }, "", words.size ? `#${words}` : location.pathname);
}

// What is changed from here on is a step of its own.
export function beginStep() {
  history.pushState(history.state, "");
}

export function onBack(apply) {
  addEventListener("popstate", (event) => apply(readState(), event.state?.picture));
}
