// The page without a service: photos go to a worker of this page, which runs the networks.

import { ask, load } from "./asking.js";
import { decoded } from "./decoded.js";
import * as live from "./live.js";
import * as answers from "./page/answer.js";
import * as camera from "./page/camera.js";
import { $, say } from "./page/dom.js";
import { placed } from "./page/faces.js";
import * as feed from "./page/feed.js";
import * as film from "./page/film.js";
import * as heat from "./page/heat.js";
import * as intake from "./page/intake.js";

let current = null; // the photo: {file, answer}

const model = fetch("models/model.json").then((reply) => {
  if (!reply.ok) throw new Error(`models/model.json cannot be loaded (${reply.status}). Build the page again.`);
  return reply.json();
});
const ready = model.then(load); // at once: 20 MB

/** Begin anew: with a photo, or with none. */
function begin(file) {
  feed.stop();
  film.stop();
  current = { file };
  answers.show(file);
  return current;
}

async function predict(file) {
  const mine = begin(file);
  $("busy").hidden = false;
  try {
    say("", "Loading the models, once…");
    await ready;
    if (mine === current) say("", "Looking for faces…");
    const { bitmap, reduced } = await decoded(file);
    const answer = await ask("photo", bitmap);
    if (mine !== current) return;
    await answers.upright(answer.rotation);
    if (mine !== current) return;
    const more = reduced ? [`This browser holds no image of that size, so the photo was made smaller first: ${reduced}. Tiny faces may be missed.`] : [];
    mine.given = { ...answer, faces: answer.faces.map((face, place) => ({ ...face, place })) };
    mine.answer = answers.present(answer, { threshold: (await model).low_confidence, explain, more });
  } catch (error) {
    if (mine === current) say("error", error.message);
  } finally {
    if (mine === current) $("busy").hidden = true;
  }
}

/** Show a face's heat map on its card, or hide it. */
function explain(index, why) {
  const mine = current;
  return heat.toggle(why, async () => {
    const { label, place } = placed(mine.given, mine.answer.width, mine.answer.height).faces[index];
    const { heat: found, crop } = await ask("heat", place);
    return heat.figure(found, URL.createObjectURL(crop), label);
  });
}

/** Look at a video's frames with the networks of this page. */
async function watch(file) {
  begin(null);
  await film.watch(file, async (fps) => {
    await ready;
    await ask("live"); // forgets who was seen before
    let shots = 0;
    const look = async (canvas) => ask("shot", { bitmap: await createImageBitmap(canvas), timeS: shots++ / fps });
    return { look, close: () => {} };
  });
}

async function start() {
  const mine = begin(null);
  try {
    const about = await model;
    answers.describe({ version: about.model_version, synthetic: about.synthetic, notice: about.notice, uses: about, about });
    if (mine === current) say("", "Loading the models…");
    await ready;
    if (mine === current && !mine.file) say("", "No image yet.");
  } catch (error) {
    if (mine === current) say("error", error.message);
  }
}

$("clear").addEventListener("click", start);
answers.wire(() => current);
intake.wire({ photo: predict, video: watch });
film.wire();
camera.wire(predict);
live.wire(() => begin(null), ready);
start();
