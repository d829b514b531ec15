// An answer on the page: the photo with its boxes, a card for each face, and what a person can take away.

import { card, omissions, summary } from "./cards.js";
import { $, element, say } from "./dom.js";
import { placed } from "./faces.js";
import { draw } from "./overlay.js";
import { blurred, turned } from "./photo.js";

function modelName(version) {
  return version === "starter" ? "starter model" : `model v${version}`;
}

/** Say what a model is: `about` has its summary and terms, if there are some; `uses` the lists of uses. */
export function describe({ version, synthetic, notice, uses, about }) {
  $("model").textContent = modelName(version);
  $("synthetic").hidden = !synthetic;
  $("disclaimer").textContent = notice;
  $("about").hidden = !about;
  if (about) for (const name of ["summary", "terms"]) $(name).textContent = about[name];
  const lists = { prohibited: uses.prohibited_uses, intended: uses.intended_uses, scope: uses.out_of_scope };
  for (const [id, lines] of Object.entries(lists)) $(id).replaceChildren(...lines.map((line) => element("li", {}, line)));
}

/** Show a photo without an answer, or none. */
export function show(file) {
  for (const id of ["overlay", "faces", "limits"]) $(id).replaceChildren();
  for (const id of ["meta", "done"]) $(id).textContent = "";
  for (const id of ["take", "nobody", "busy"]) $(id).hidden = true;
  URL.revokeObjectURL($("photo").src);
  if (file) $("photo").src = URL.createObjectURL(file);
  else $("photo").removeAttribute("src");
  $("photo").alt = "The image you chose";
  $("file").value = "";
  $("empty").hidden = $("steps").hidden = Boolean(file);
  $("shown").hidden = $("clear").hidden = !file;
  $("stage").classList.toggle("filled", Boolean(file));
}

/** Turn the photo that is shown as the answer's was turned: the boxes are those of the upright image. */
export async function upright(degrees) {
  const photo = $("photo");
  if (!degrees || !photo.naturalWidth) return;
  const before = photo.src;
  photo.src = await turned(photo, degrees);
  await photo.decode();
  URL.revokeObjectURL(before);
}

/**
 * Show an answer, and return it in pixels of the photo shown.
 *
 * `threshold` is the confidence below which a person should look, `sent` the photo's size where it was made smaller,
 * `explain` as for `card`; `more` are sentences about what the answer leaves out.
 */
export function present(given, { threshold, sent = null, explain = null, more = [] }) {
  const photo = $("photo");
  const isShown = photo.naturalWidth > 0;
  const answer = isShown ? placed(given, photo.naturalWidth, photo.naturalHeight) : placed(given, given.width, given.height);
  say(...summary(answer, threshold));
  const left = [...omissions(answer, { sent, isShown }), ...more];
  $("limits").replaceChildren(...left.map((line) => element("li", {}, line)));
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
  return answer;
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

async function copy(answer) {
  try {
    await navigator.clipboard.writeText(JSON.stringify(answer, null, 2));
    $("done").textContent = "The answer is copied, in pixels of the photo shown.";
  } catch {
    $("done").textContent = "The browser allows copying only on localhost or over HTTPS.";
  }
}

async function downloadBlurred(answer, file) {
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

/** Wire the buttons below an answer; `current` returns `answer` and `file` of the photo shown. */
export function wire(current) {
  $("copy").addEventListener("click", () => copy(current().answer));
  $("blur").addEventListener("click", () => downloadBlurred(current().answer, current().file));
}
