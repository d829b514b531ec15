// Requests to the service. All addresses are relative: the page may lie behind a path prefix.

const FIRST_WAIT_S = 3;
const LONGEST_WAIT_S = 30;

/** The service is away or busy: the same request may succeed after `waitS` seconds. */
export class Away extends Error {
  constructor(message, waitS) {
    super(message);
    this.waitS = waitS;
  }
}

/** How long to wait before a further try, where the service does not say. */
export const patience = (tries) => Math.min(FIRST_WAIT_S * 2 ** tries, LONGEST_WAIT_S);

/** The service wants an API key, or another one. */
export class NoKey extends Error {}

const KEY = "ferops-api-key"; // of sessionStorage: gone with the tab

export const apiKey = () => sessionStorage.getItem(KEY);
export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const dropKey = () => sessionStorage.removeItem(KEY);

async function ask(path, options) {
  let response;
  const headers = apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {};
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Away("The service cannot be reached.", null);
  }
  const answer = await response.json().catch(() => null); // a proxy answers with a page
  if (response.ok && answer) return answer;
  if (response.status === 401) {
    dropKey();
    throw new NoKey(answer?.code === "wrong_key" ? "The API key is wrong, or was revoked." : "This service needs an API key.");
  }
  const message = answer?.error ?? `The service answered ${response.status}.`;
  const retry = Number(response.headers.get("Retry-After"));
  if (retry) throw new Away(message, retry);
  if (!answer?.code && [502, 503, 504].includes(response.status)) throw new Away(message, null); // a proxy's answer
  throw new Error(message);
}

export const askInfo = (signal) => ask("info", { signal });

/** `extras` is a query, such as `?explain=1`. */
export function askFaces(blob, signal, extras = "") {
  const form = new FormData();
  form.append("image", blob, "photo"); // the file's name is nobody's business
  return ask(`predict${extras}`, { method: "POST", body: form, signal });
}
