// The live camera's frames go to WS stream, one at a time, and the answers come back. Neither side keeps a frame.

import { say } from "./dom.js";
import * as feed from "./feed.js";
import * as frames from "./frames.js";
import { apiKey } from "./service.js";

async function start(begin, loadInfo, askKey) {
  begin();
  const mine = Object.assign(feed.begin(), { refusal: null });
  try {
    const info = await loadInfo();
    if (!feed.isCurrent(mine)) return;
    if (info.needs_key && !apiKey()) {
      feed.stop();
      askKey("This service needs an API key.", () => start(begin, loadInfo, askKey));
      return;
    }
    await feed.open(mine);
    if (!feed.isCurrent(mine)) return;
    mine.gapMs = 1000 / info.limits.max_stream_fps;
    connect(mine);
  } catch (error) {
    if (feed.isCurrent(mine)) feed.stop("error", `The live camera cannot be used: ${error.message}.`);
  }
}

function connect(mine) {
  mine.socket = frames.connect();
  mine.close = () => mine.socket.close();
  mine.socket.addEventListener("open", () => { mine.opened = true; send(mine); });
  mine.socket.addEventListener("message", ({ data }) => { if (feed.isCurrent(mine)) take(mine, JSON.parse(data)); });
  mine.socket.addEventListener("close", () => { if (feed.isCurrent(mine)) feed.stop("away", why(mine)); });
}

function why(mine) {
  if (mine.refusal) return mine.refusal;
  return `${mine.opened ? "The service has closed the stream." : frames.notOpened()} The camera was stopped.`;
}

async function send(mine) {
  if (!feed.isCurrent(mine)) return;
  const canvas = feed.frame(mine);
  if (!canvas) return void setTimeout(send, 50, mine);
  const blob = await frames.encoded(canvas);
  if (feed.isCurrent(mine) && mine.socket.readyState === WebSocket.OPEN) mine.socket.send(blob);
}

/** Take an answer, and send the newest frame when it is time. */
function take(mine, answer) {
  if (answer.code) {
    mine.refusal = answer.error;
    say("away", answer.error);
    setTimeout(send, 1000 * (answer.retry_after_s ?? 1), mine);
    return;
  }
  mine.refusal = null;
  setTimeout(send, mine.askedAt + mine.gapMs - performance.now(), mine);
  feed.present(answer, mine);
}

/** Wire the button; `begin` clears the page, `loadInfo` returns the service's information, `askKey` gets an API key. */
export const wire = (begin, loadInfo, askKey) => feed.wire(() => start(begin, loadInfo, askKey));
