// The page without a service: photos go to a worker of this page, which runs the networks.

import { ask, load } from "./asking.js";
import { decoded } from "./decoded.js";
import * as live from "./live.js";
import * as answers from "./page/answer.js";
import * as camera from "./page/camera.js";
import { $, element, say } from "./page/dom.js";
import * as feed from "./page/feed.js";
import * as intake from "./page/intake.js";

let current = null; // the photo: {file, answer}

const model = fetch("models/model.json").then((reply) => {
  if (!reply.ok) throw new Error(`models/model.json cannot be loaded (${reply.status}). Build the page again.`);
  return reply.json();
});
const ready = model.then(load); // at once: 20 MB

function describe(about) {
  $("model").textContent = answers.modelName(about.model_version);
  $("summary").textContent = about.summary;
  $("terms").textContent = about.terms;
  $("synthetic").hidden = !about.synthetic;
  $("disclaimer").textContent = about.notice;
  const lists = { prohibited: about.prohibited_uses, intended: about.intended_uses, scope: about.out_of_scope };
  for (const [id, lines] of Object.entries(lists)) $(id).replaceChildren(...lines.map((line) => element("li", {}, line)));
}

/** Begin anew: with a photo, or with none. */
function begin(file) {
  feed.stop();
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
    mine.answer = answers.present(answer, { threshold: (await model).low_confidence, more });
  } catch (error) {
    if (mine === current) say("error", error.message);
  } finally {
    if (mine === current) $("busy").hidden = true;
  }
}

async function start() {
  const mine = begin(null);
  try {
    describe(await model);
    if (mine === current) say("", "Loading the models…");
    await ready;
    if (mine === current && !mine.file) say("", "No image yet.");
  } catch (error) {
    if (mine === current) say("error", error.message);
  }
}

$("clear").addEventListener("click", start);
answers.wire(() => current);
intake.wire(predict);
camera.wire(predict);
live.wire(() => begin(null), ready);
start();
