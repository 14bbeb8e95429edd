// What the address bar says: behind the '#', which no server and no other site gets to see.

const WORDS = ["model", "device", "precision", "link", "layer", "view", "scale", "class", "at"];

// What people may have mistyped is left out; names are checked where they are looked up.
const KNOWN = { view: /^(responses|filters)$/, scale: /^(each|all)$/, class: /^\d+$/ };

export function readState() {
  const words = new URLSearchParams(location.hash.slice(1));
  const wanted = (word) => {
    const value = words.get(word) ?? "";
    return !KNOWN[word] || KNOWN[word].test(value) ? value : "";
  };
  return Object.fromEntries(WORDS.map((word) => [word, wanted(word)]));
}

export function writeState(state) {
  const words = new URLSearchParams(WORDS.filter((word) => state[word] !== "" &&
    state[word] !== undefined).map((word) => [word, state[word]]));
  history.replaceState(null, "", words.size ? `#${words}` : location.pathname);
}
