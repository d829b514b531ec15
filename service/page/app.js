// Sends a photo to POST predict and shows the answer. Nothing is kept, in the page or on the server.

import * as answers from "./answer.js";
import * as camera from "./camera.js";
import { $, say } from "./dom.js";
import { placed } from "./faces.js";
import * as feed from "./feed.js";
import * as film from "./film.js";
import * as frames from "./frames.js";
import { explained, figure, toggle } from "./heat.js";
import * as intake from "./intake.js";
import * as live from "./live.js";
import { prepared } from "./photo.js";
import { Away, NoKey, apiKey, askFaces, askInfo, keepKey, patience } from "./service.js";

const TRIES = 8; // unasked; then the button alone

let info = null;
let current = null; // the photo: {file, abort, timer, answer}

async function loadInfo(signal) {
  info = await askInfo(signal);
  answers.describe({ version: info.model_version, synthetic: info.synthetic_data, notice: info.notice, uses: info, about: info.starter });
  $("purpose").textContent = `purpose: ${info.purpose.replaceAll("_", " ")}`;
  $("purpose").hidden = false;
  $("limit").textContent = `, up to ${info.limits.max_body_mb} MB`;
}

/** Do `work` now, and again as long as the service is away or busy; `work` gets a signal that ends it. */
async function insist(mine, work, tries = 0) {
  clearTimeout(mine.timer);
  mine.abort?.abort();
  const { signal } = (mine.abort = new AbortController());
  $("again").hidden = true;
  try {
    await work(signal);
  } catch (error) {
    if (error.name === "AbortError" || mine !== current) return;
    if (error instanceof NoKey) {
      askKey(error.message, () => insist(mine, work, tries));
      return;
    }
    if (!(error instanceof Away)) {
      say("error", error.message);
      return;
    }
    const waitS = error.waitS ?? patience(tries);
    if (error.waitS === null) info = null; // what comes back may be another model
    const plan = tries < TRIES ? `The next try is in ${waitS} s.` : "";
    say("away", `${error.message} ${mine.file ? "The photo is kept in this page." : ""} ${plan}`.replaceAll(/ +/g, " "));
    $("again").hidden = false;
    $("again").onclick = () => insist(mine, work, tries + 1);
    if (plan) mine.timer = setTimeout(() => insist(mine, work, tries + 1), 1000 * waitS);
  }
}

/** Ask for an API key, and do `work` when there is one. */
function askKey(message, work) {
  say("away", message);
  $("key").hidden = false;
  $("key-text").value = "";
  $("key-text").focus();
  $("key").onsubmit = (event) => {
    event.preventDefault();
    keepKey($("key-text").value.trim());
    $("key").hidden = true;
    work();
  };
}

/** Begin anew: with a photo, or with none. */
function begin(file) {
  feed.stop();
  film.stop();
  current?.abort?.abort();
  clearTimeout(current?.timer);
  current = { file };
  answers.show(file);
  for (const id of ["again", "key"]) $(id).hidden = true;
  return current;
}

/** Show no photo, and what the model is. */
async function start() {
  await insist(begin(null), async (signal) => {
    if (!info) await loadInfo(signal);
    say("", "No image yet.");
  });
}

async function predict(file) {
  const mine = begin(file);
  await insist(mine, async (signal) => {
    $("busy").hidden = false;
    say("", "Looking for faces…");
    try {
      if (!info) await loadInfo(signal);
      const maxBytes = info.limits.max_body_mb * 1e6;
      const { blob, sent } = await prepared(file, $("photo"), maxBytes);
      if (blob.size > maxBytes) throw new Error(`The image is larger than ${info.limits.max_body_mb} MB. Choose a smaller one.`);
      const answer = await askFaces(blob, signal);
      mine.blob = blob;
      if (mine === current) await answers.upright(answer.rotation);
      if (mine === current) mine.answer = answers.present(answer, { threshold: info.low_confidence, sent, explain });
    } finally {
      if (mine === current) $("busy").hidden = true;
    }
  });
}

async function watch(file) {
  const mine = begin(null);
  await insist(mine, async (signal) => {
    if (!info) await loadInfo(signal);
    if (info.needs_key && !apiKey()) throw new NoKey("This service needs an API key.");
    if (mine === current) await film.watch(file, (fps) => frames.open(fps, info.limits.max_stream_fps));
  });
}

/** Show a face's heat map on its card, or hide it; the first one asks the service, for all faces at once. */
function explain(index, why) {
  const mine = current;
  return toggle(why, async () => {
    const { width, height } = mine.answer;
    mine.heat ??= askFaces(mine.blob, mine.abort.signal, "?explain=1&crops=1")
      .then((answer) => placed(explained(answer), width, height));
    const { faces, extras } = await mine.heat.catch((error) => { mine.heat = null; throw error; });
    const face = faces[index];
    if (face?.label !== mine.answer.faces[index].label) throw new Error("The service has another model by now. Choose the photo again.");
    if (!face.heat) throw new Error(`The service explains ${extras.faces_explained} faces of a photo; face ${index + 1} is none of them. Cut it out of the photo, and choose that.`);
    return figure(face.heat, face.crop, face.label);
  });
}

$("clear").addEventListener("click", start);
answers.wire(() => current);
intake.wire({ photo: predict, video: watch });
film.wire();
$("predict").textContent = new URL("predict", document.baseURI);
camera.wire(predict);
live.wire(() => begin(null), async () => {
  if (!info) await loadInfo();
  return info;
}, askKey);
start();
