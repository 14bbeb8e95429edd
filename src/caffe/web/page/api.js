// Asking the server, and what is told when it does not answer as hoped.

const TRIES = 4;

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
  else if (body) headers["Content-Type"] = body.type || "application/octet-stream";
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
      const answer = await response.json();
      return { answer, command: commandFor(address, body) };
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
