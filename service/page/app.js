// Sends a photo to POST predict and shows the answer. Nothing is kept, in the page or on the server.

import * as camera from "./camera.js";
import { card, omissions, summary } from "./cards.js";
import { $, element, say } from "./dom.js";
import { placed } from "./faces.js";
import { explained, figure } from "./heat.js";
import * as live from "./live.js";
import { draw } from "./overlay.js";
import { blurred, prepared, turned } from "./photo.js";
import { Away, NoKey, apiKey, askFaces, askInfo, keepKey, patience } from "./service.js";

const TRIES = 8; // unasked; then the button alone

let info = null;
let current = null; // the photo: {file, abort, timer, answer}

function modelName(version) {
  return version === "starter" ? "starter model" : `model v${version}`;
}

async function loadInfo(signal) {
  info = await askInfo(signal);
  $("model").textContent = modelName(info.model_version);
  $("starter").hidden = !info.starter;
  if (info.starter) {
    $("starter-summary").textContent = info.starter.summary;
    $("starter-terms").textContent = info.starter.terms;
  }
  $("purpose").textContent = `purpose: ${info.purpose.replaceAll("_", " ")}`;
  $("purpose").hidden = false;
  $("synthetic").hidden = info.synthetic_data !== true;
  $("disclaimer").textContent = info.notice;
  $("limit").textContent = `, up to ${info.limits.max_body_mb} MB`;
  const lists = { prohibited: info.prohibited_uses, intended: info.intended_uses, scope: info.out_of_scope };
  for (const [id, lines] of Object.entries(lists)) {
    $(id).replaceChildren(...lines.map((line) => element("li", {}, line)));
  }
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
  live.stop();
  current?.abort?.abort();
  clearTimeout(current?.timer);
  current = { file };
  for (const id of ["overlay", "faces", "limits"]) $(id).replaceChildren();
  for (const id of ["meta", "done"]) $(id).textContent = "";
  for (const id of ["take", "nobody", "again", "busy", "key"]) $(id).hidden = true;
  URL.revokeObjectURL($("photo").src);
  if (file) $("photo").src = URL.createObjectURL(file);
  else $("photo").removeAttribute("src");
  $("photo").alt = "The image you chose";
  $("file").value = "";
  $("empty").hidden = $("steps").hidden = Boolean(file);
  $("shown").hidden = $("clear").hidden = !file;
  $("stage").classList.toggle("filled", Boolean(file));
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
      if (mine === current) await upright($("photo"), answer.rotation);
      if (mine === current) present(answer, sent);
    } finally {
      if (mine === current) $("busy").hidden = true;
    }
  });
}

/** Show the photo as the service turned it: the boxes are those of the upright image. */
async function upright(photo, degrees) {
  if (!degrees || !photo.naturalWidth) return;
  const before = photo.src;
  photo.src = await turned(photo, degrees);
  await photo.decode();
  URL.revokeObjectURL(before);
}

function present(sentAnswer, sent) {
  const photo = $("photo");
  const isShown = photo.naturalWidth > 0;
  const answer = isShown ? placed(sentAnswer, photo.naturalWidth, photo.naturalHeight) : placed(sentAnswer, sentAnswer.width, sentAnswer.height);
  current.answer = answer;
  say(...summary(answer, info.low_confidence));
  $("limits").replaceChildren(...omissions(answer, { sent, isShown }).map((line) => element("li", {}, line)));
  $("nobody").hidden = answer.faces.length > 0;
  $("faces").replaceChildren(...answer.faces.map((face, index) => card(face, index, choose, explain)));
  $("take").hidden = false;
  $("blur").hidden = !isShown || !answer.faces.length;
  draw(answer, choose);
  photo.alt = answer.faces.length
    ? `The image with ${answer.faces.map((face, index) => `face ${index + 1}: ${face.label}`).join(", ")}`
    : "The image; no face was found in it";
  const spent = Object.entries(answer.timing_ms).map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`).join(" · ");
  $("meta").textContent = `${modelName(answer.model_version)} · data ${answer.data_version.slice(0, 8)} · ${answer.width}×${answer.height} px · ${spent}`;
}

/** Mark a face on photo and card, and bring one of them into view: `where` is ".box" or ".card". */
function choose(index, where) {
  for (const each of document.querySelectorAll("[data-face]")) {
    const chosen = each.dataset.face === String(index);
    each.classList.toggle("chosen", chosen);
    each.querySelector(".pick")?.setAttribute("aria-pressed", String(chosen));
  }
  document.querySelector(`${where}[data-face="${index}"]`).scrollIntoView({ block: "nearest" });
}

/** Show a face's heat map on its card, or hide it; the first one asks the service, for all faces at once. */
async function explain(index, why) {
  const shown = why.parentElement.querySelector(".heat");
  if (shown) {
    shown.remove();
    why.setAttribute("aria-expanded", "false");
    return;
  }
  const mine = current;
  why.disabled = true;
  try {
    const { width, height } = mine.answer;
    mine.heat ??= askFaces(mine.blob, mine.abort.signal, "?explain=1&crops=1")
      .then((answer) => placed(explained(answer), width, height));
    const { faces, extras } = await mine.heat;
    const face = faces[index];
    if (face?.label !== mine.answer.faces[index].label) throw new Error("The service has another model by now. Choose the photo again.");
    if (!face.heat) throw new Error(`The service explains ${extras.faces_explained} faces of a photo; face ${index + 1} is none of them. Cut it out of the photo, and choose that.`);
    why.after(await figure(face.heat, face.crop, face.label));
    why.setAttribute("aria-expanded", "true");
  } catch (error) {
    if (error.name === "AbortError") return;
    mine.heat = null;
    $("done").textContent = error.message;
  } finally {
    why.disabled = false;
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(JSON.stringify(current.answer, null, 2));
    $("done").textContent = "The answer is copied, in pixels of the photo shown.";
  } catch {
    $("done").textContent = "The browser allows copying only on localhost or over HTTPS. The command at the end of the page prints the answer.";
  }
}

async function downloadBlurred() {
  const { answer, file } = current;
  if (answer.faces_found > answer.faces_returned) {
    $("done").textContent = `Only ${answer.faces_returned} of ${answer.faces_found} faces are in the answer; the copy would show the others. Cut the photo into pieces first.`;
    return;
  }
  try {
    const url = URL.createObjectURL(await blurred($("photo"), answer.faces));
    const name = (file.name ?? "photo").replace(/\.[^.]*$/, "");
    element("a", { href: url, download: `${name}-blurred.jpg` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be reading it
    $("done").textContent = "The copy is made in this browser. Look at it before you pass it on: a face that was not found is not blurred.";
  } catch (error) {
    $("done").textContent = error.message;
  }
}

const stage = $("stage");
document.addEventListener("dragover", (event) => { event.preventDefault(); stage.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) stage.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  if (event.dataTransfer.files[0]) predict(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files[0]) predict(event.clipboardData.files[0]);
});
$("file").addEventListener("change", () => { if ($("file").files[0]) predict($("file").files[0]); });
$("photo").addEventListener("load", () => {
  $("shown").style.setProperty("--w", $("photo").naturalWidth);
  $("shown").style.setProperty("--h", $("photo").naturalHeight);
});
// No preview: the browser cannot show what the service may still read, such as TIFF
$("photo").addEventListener("error", () => { $("shown").hidden = true; $("empty").hidden = false; });
$("clear").addEventListener("click", start);
$("copy").addEventListener("click", copy);
$("blur").addEventListener("click", downloadBlurred);
$("predict").textContent = new URL("predict", document.baseURI);
camera.wire(predict);
live.wire(() => begin(null), async () => {
  if (!info) await loadInfo();
  return info;
}, askKey);
start();
