// What the address bar says: behind the '#', which no server and no other site gets to see.

const WORDS = ["model", "device", "precision", "link", "layer", "view", "scale", "class", "at"];

export function readState() {
  const words = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(WORDS.map((word) => [word, words.get(word) ?? ""]));
}

export function writeState(state) {
  const words = new URLSearchParams(WORDS.filter((word) => state[word] !== "" &&
    state[word] !== undefined).map((word) => [word, state[word]]));
  history.replaceState(null, "", words.size ? `#${words}` : location.pathname);
}
