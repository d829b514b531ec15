// A WebSocket to the service's /stream, of which each frame gets an answer. Neither side keeps a frame.

import { apiKey, dropKey } from "./service.js";

const QUALITY = 0.8;
const TRIES = 20; // of a frame that the service is too busy for

/** Return a WebSocket; `fps` says that its frames are those of a video. */
export function connect(fps = null) {
  const address = new URL(fps ? `stream?fps=${fps}` : "stream", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  return new WebSocket(address, apiKey() ? ["ferops", `key.${apiKey()}`] : []);
}

/** Return why a stream did not open; the key, which may be wrong, is forgotten. */
export function notOpened() {
  dropKey(); // a browser does not tell a wrong one from a service that is away
  return "The stream cannot be opened. The service is away, or the API key is wrong, or a proxy before it lets no WebSocket through, or serve.allowed_origins lacks this page's origin.";
}

export const encoded = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));

/** Open a stream for a video's frames; `look` returns the answer about one, `close` ends it. */
export async function open(fps, atMostFps) {
  const socket = connect(fps);
  const stream = { socket, refusal: null, waiting: null };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = () => reject(new Error(notOpened()));
  });
  socket.onmessage = ({ data }) => said(stream, JSON.parse(data));
  socket.onclose = () => said(stream, null);
  return { look: (canvas) => look(stream, canvas, 1000 / atMostFps), close: () => socket.close() };
}

function said(stream, answer) {
  if (answer?.code) stream.refusal = answer;
  const waiting = stream.waiting;
  stream.waiting = null;
  waiting?.(answer);
}

async function look(stream, canvas, gapMs) {
  const blob = await encoded(canvas);
  for (let tries = 0; tries < TRIES && stream.socket.readyState === WebSocket.OPEN; tries++) {
    const sentAt = performance.now();
    const answered = new Promise((resolve) => { stream.waiting = resolve; });
    stream.socket.send(blob);
    const answer = await answered;
    await pause(answer?.code ? 1000 * (answer.retry_after_s ?? 0) : sentAt + gapMs - performance.now());
    if (answer && !answer.code) return answer;
    if (answer && !answer.retry_after_s) break; // it will not be otherwise
  }
  throw new Error(stream.refusal?.error ?? "The service has closed the stream.");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(ms, 0)));
