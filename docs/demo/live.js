// The live camera's frames go to the worker, one at a time: the newest when the last one is answered.

import { ask } from "./asking.js";
import * as feed from "./page/feed.js";

const GAP_MS = 1000 / 15; // as the service has it: more frames would only warm the device

async function start(begin, ready) {
  begin();
  const mine = feed.begin();
  try {
    await feed.open(mine);
    await ready;
    await ask("live");
    while (feed.isCurrent(mine)) await look(mine);
  } catch (error) {
    if (feed.isCurrent(mine)) feed.stop("error", `The live camera cannot be used: ${error.message}.`);
  }
}

async function look(mine) {
  const canvas = feed.frame(mine);
  if (!canvas) return pause(50); // no frame yet
  const answer = await ask("frame", await createImageBitmap(canvas));
  if (!feed.isCurrent(mine)) return;
  feed.present(answer, mine);
  await pause(mine.askedAt + GAP_MS - performance.now());
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(ms, 0)));

/** Wire the button; `begin` clears the page, `ready` settles when the networks are loaded. */
export const wire = (begin, ready) => feed.wire(() => start(begin, ready));
