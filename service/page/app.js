"use strict";
// Sends an image to POST /predict and shows the answer. Nothing is kept, in the page or on the server.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let info = null;
let request = null;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function say(kind, text) {
  $("status").className = `status ${kind}`;
  $("status").textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

function modelName(version) {
  return version === "starter" ? "starter model" : `model v${version}`;
}

async function loadInfo() {
  info = await (await fetch("/info")).json();
  $("model").textContent = modelName(info.model_version);
  if (info.starter) {
    $("starter-summary").textContent = info.starter.summary;
    $("starter-terms").textContent = info.starter.terms;
    $("starter").hidden = false;
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

function show(file) {
  URL.revokeObjectURL($("photo").src);
  $("photo").src = URL.createObjectURL(file);
  $("photo").alt = "The image you chose";
  $("overlay").replaceChildren();
  $("empty").hidden = true;
  $("shown").hidden = false;
  $("clear").hidden = false;
  $("stage").classList.add("filled");
}

function clearAll() {
  request?.abort();
  URL.revokeObjectURL($("photo").src);
  $("photo").removeAttribute("src");
  $("overlay").replaceChildren();
  $("faces").replaceChildren();
  $("meta").textContent = "";
  $("file").value = "";
  for (const id of ["shown", "clear", "busy"]) $(id).hidden = true;
  for (const id of ["empty", "steps"]) $(id).hidden = false;
  $("stage").classList.remove("filled");
  say("", "No image yet.");
}

async function predict(file) {
  request?.abort();
  const mine = (request = new AbortController());
  show(file);
  $("faces").replaceChildren();
  $("meta").textContent = "";
  $("steps").hidden = true;
  $("busy").hidden = false;
  say("", "Looking for faces…");
  try {
    if (info && file.size > info.limits.max_body_mb * 1e6) {
      throw new Error(`The image is larger than ${info.limits.max_body_mb} MB. Choose a smaller one.`);
    }
    const form = new FormData();
    form.append("image", file);
    const response = await fetch("/predict", { method: "POST", body: form, signal: mine.signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error ?? `The service answered ${response.status}.`);
    if (mine === request) present(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    say("error", error instanceof TypeError ? "The service cannot be reached. Is it running?" : error.message);
  } finally {
    if (mine === request) $("busy").hidden = true;
  }
}

function present(answer) {
  const count = answer.faces.length;
  const faces = `${count} ${count === 1 ? "face" : "faces"} found`;
  const unsure = answer.faces.filter((face) => face.status === "low_confidence").length;
  const messages = {
    ok: `${faces}.`,
    low_confidence: `${faces}; ${count === 1 ? "it needs" : unsure === 1 ? "1 needs" : `${unsure} need`} human review: the confidence is below ${(100 * info.low_confidence).toFixed(0)} %.`,
    no_face: "No face found. Try an image with a larger, unobstructed face.",
  };
  say(answer.status, messages[answer.status]);
  $("faces").replaceChildren(...answer.faces.map(card));
  draw(answer);
  const spent = Object.entries(answer.timing_ms).map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`).join(" · ");
  $("meta").textContent = `${modelName(answer.model_version)} · data ${answer.data_version.slice(0, 8)} · ${answer.width}×${answer.height} px · ${spent}`;
}

function card(face, index) {
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const bars = Object.entries(face.probabilities).map(([name, value]) => {
    const fill = element("i");
    fill.style.width = `${100 * value}%`;
    return element("li", name === face.label ? { class: "best" } : {},
      element("span", {}, name), element("span", { class: "bar", "aria-hidden": "true" }, fill),
      element("span", { class: "value" }, percent(value)));
  });
  const review = face.status === "low_confidence";
  const pick = element("button", { class: "pick", type: "button", "aria-label": `Show face ${index + 1}, ${face.label}, in the image` },
    element("span", { class: "number" }, `Face ${index + 1} `), element("span", { class: "label" }, face.label));
  const made = element("li", { class: "card", "data-face": index },
    element("header", {}, pick, element("span", { class: `mark ${face.status}` },
      review ? `${percent(face.confidence)}, review` : `${percent(face.confidence)} confident`)),
    element("ul", { class: "bars" }, ...bars));
  pick.addEventListener("click", () => choose(index));
  return made;
}

function draw(answer) {
  const overlay = $("overlay");
  overlay.setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
  const unit = answer.width / Math.max($("photo").clientWidth, 1); // image pixels per screen pixel
  overlay.replaceChildren(...answer.faces.map((face, index) => {
    const group = shape("g", { class: "face", "data-face": index });
    const { x1, y1, x2, y2 } = face.box;
    const frame = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: 6 * unit };
    const text = `${index + 1} ${face.label}`;
    const high = 22 * unit;
    const wide = (text.length * 8.2 + 14) * unit;
    const left = Math.max(0, Math.min(x1, answer.width - wide));
    const top = y1 > high + 4 * unit ? y1 - high - 3 * unit : Math.min(y2 + 3 * unit, answer.height - high);
    group.append(shape("rect", { ...frame, class: "box under" }), shape("rect", { ...frame, class: `box over ${face.status}` }));
    for (const [x, y] of Object.values(face.landmarks)) group.append(shape("circle", { class: "dot", cx: x, cy: y, r: 3 * unit }));
    group.append(shape("rect", { class: "tag", x: left, y: top, width: wide, height: high, rx: 6 * unit }),
      shape("text", { class: "tag-text", x: left + 7 * unit, y: top + 15.5 * unit, "font-size": 13 * unit }, text));
    group.addEventListener("click", () => choose(index));
    return group;
  }));
  $("photo").alt = answer.faces.length
    ? `The image with ${answer.faces.map((face, index) => `face ${index + 1}: ${face.label}`).join(", ")}`
    : "The image; no face was found in it";
}

function choose(index) {
  for (const part of document.querySelectorAll("[data-face]")) {
    part.classList.toggle("chosen", part.dataset.face === String(index));
  }
  document.querySelector(`.card[data-face="${index}"]`).scrollIntoView({ block: "nearest" });
}

async function openCamera() {
  try {
    if (!navigator.mediaDevices) throw new Error("browsers allow the camera only on localhost or over HTTPS");
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    $("viewfinder").showModal();
  } catch (error) {
    say("error", `The camera cannot be used: ${error.message}. Choose a photo instead.`);
  }
}

function takePhoto() {
  const video = $("video");
  if (!video.videoWidth) return; // no frame yet
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => predict(blob), "image/jpeg", 0.95);
  $("viewfinder").close();
}

function closeCamera() {
  $("video").srcObject?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
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
// No preview: the browser cannot show what the service may still read, such as TIFF
$("photo").addEventListener("error", () => { $("shown").hidden = true; $("empty").hidden = false; });
$("camera").addEventListener("click", openCamera);
$("snap").addEventListener("click", takePhoto);
$("close").addEventListener("click", () => $("viewfinder").close());
$("viewfinder").addEventListener("close", closeCamera);
$("clear").addEventListener("click", clearAll);
$("origin").textContent = location.origin;
loadInfo().catch(() => say("error", "The service cannot be reached. Is it running?"));
