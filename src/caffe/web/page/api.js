// Asking the server, what is remembered of its answers, and what is told when it does not answer.

const TRIES = 4;
const MOST_KEPT = 64e6;

export class Failure extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

// `tell` hears when the server is busy and the request waits for its next try.
export async function ask(path, { query = {}, body, signal, tell, raw } = {}) {
  const words = new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== "" && value !== undefined),
  );
  const address = words.size ? `${path}?${words}` : path;
  const headers = {};
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  else if (body && !(body instanceof FormData)) {
    headers["Content-Type"] = body.type || "application/octet-stream";
  }
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await fetch(address, { method: body ? "POST" : "GET", headers, body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("The server does not answer. Is it still running?", "no_answer");
    }
    if (response.ok) {
      if (raw) return response.blob();
      const text = await response.text();
      return { answer: JSON.parse(text), command: commandFor(address, body), size: text.length };
    }
    const { code, message } = await reason(response);
    if (code !== "busy" || tries === TRIES) {
      throw new Failure(sentence(message), code);
    }
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    tell?.(`The server is busy; trying again in ${seconds} s …`);
    await pause(seconds * 1000, signal);
  }
}

const numbers = new WeakMap();
let pictures = 0;
const kept = new Map();
let keptSize = 0;

function keyFor(path, { query = {}, body }) {
  if (body && !numbers.has(body)) numbers.set(body, (pictures += 1));
  const words = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined);
  return JSON.stringify([path, words, body ? numbers.get(body) : 0]);
}

// What was answered before to the same question about the same picture.
export function remembered(path, options = {}) {
  const key = keyFor(path, options);
  const found = kept.get(key);
  if (found) {
    kept.delete(key);
    kept.set(key, found);
  }
  return found;
}

// As `ask`, but a question that was answered before is not asked again.
export async function askOnce(path, options = {}) {
  const before = remembered(path, options);
  if (before) {
    options.signal?.throwIfAborted();
    return before;
  }
  const found = await ask(path, options);
  const key = keyFor(path, options);
  keptSize += found.size - (kept.get(key)?.size ?? 0);
  kept.set(key, found);
  for (const [oldest, { size }] of kept) {
    if (keptSize <= MOST_KEPT) break;
    kept.delete(oldest);
    keptSize -= size;
  }
  return found;
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { code: "refused", message: `the server answers ${response.status}` };
  }
}

function sentence(message) {
  return message.charAt(0).toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(end);
      reject(new DOMException("aborted", "AbortError"));
    });
  });
}

function commandFor(address, body) {
  const url = `'${new URL(address, location.href)}'`;
  if (body instanceof FormData) {
    const parts = [...body.keys()].map((name) => `-F ${name}=@${name.toUpperCase()}`);
    return `curl ${parts.join(" ")} ${url}`;
  }
  return body ? `curl -F picture=@PICTURE ${url}` : `curl ${url}`;
}

// Lets only the newest of several requests go on.
export function newest() {
  let current = null;
  return () => {
    current?.abort();
    current = new AbortController();
    return current.signal;
  };
}
