// The answer in words: a card for each face, with its crop, and what an answer leaves out.

import { $, element } from "./dom.js";
import { HUES } from "./faces.js";
import { crop } from "./photo.js";

const percent = (value) => `${(100 * value).toFixed(1)} %`;
export const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Return the list of a face's probabilities. */
function bars(face) {
  return element("ul", { class: "bars" }, ...Object.entries(face.probabilities).map(([name, value]) => {
    const fill = element("i");
    fill.style.width = `${100 * value}%`;
    return element("li", name === face.label ? { class: "best" } : {},
      element("span", {}, name), element("span", { class: "bar", "aria-hidden": "true" }, fill),
      element("span", { class: "value" }, percent(value)));
  }));
}

/** Return what is said of a face's confidence. */
function mark(face) {
  const word = face.status === "low_confidence" ? ", needs review" : " confident";
  return element("span", { class: `mark ${face.status}` }, percent(face.confidence) + word);
}

/** Return a card; `choose` gets the face's number when a person asks for its box, `explain`, if there is one, when for its heat map. */
export function card(face, index, choose, explain) {
  const pick = element("button",
    { class: "pick", type: "button", "aria-pressed": "false", "aria-label": `${index + 1} ${face.label}: show this face in the image` },
    element("span", { class: "badge" }, `${index + 1}`), " ", element("span", { class: "label" }, face.label));
  pick.addEventListener("click", () => choose(index, ".box"));
  return element("li", { class: `card hue-${index % HUES}`, "data-face": index },
    ...crop($("photo"), face.box),
    element("div", { class: "said" },
      element("div", { class: "head" }, pick, mark(face)),
      bars(face), ...(explain ? [question(face, index, explain)] : [])));
}

/** Return the card of a face that is followed through frames. */
export function followed(face) {
  return element("li", { class: `card hue-${(face.track - 1) % HUES}`, "data-face": face.track },
    element("div", { class: "said" },
      element("div", { class: "head" },
        element("span", { class: "badge" }, `${face.track}`), element("span", { class: "label" }, face.label), mark(face)),
      bars(face)));
}

function question(face, index, explain) {
  const why = element("button", { class: "why", type: "button", "aria-expanded": "false", "aria-label": `Why ${face.label}? Heat map of face ${index + 1}` }, "Why?");
  why.addEventListener("click", () => explain(index, why));
  return why;
}

/** Return [kind, text] of the status line. */
export function summary(answer, threshold) {
  if (!answer.faces.length) return ["no_face", "No face found that can be judged."];
  const found = `${many(answer.faces_found, "face")} found`;
  const unsure = answer.faces.filter((face) => face.status === "low_confidence").length;
  if (!unsure) return ["ok", `${found}.`];
  const which = answer.faces.length === 1 ? "it needs" : unsure === 1 ? "1 needs" : `${unsure} need`;
  return ["low_confidence", `${found}; ${which} review by a person: the confidence is below ${(100 * threshold).toFixed(0)} %.`];
}

/** Return what an answer leaves out or changes, in sentences. */
export function omissions(answer, { sent, isShown }) {
  const left = answer.faces_found - answer.faces_returned;
  return [
    left > 0 && `${answer.faces_found} faces were found, and ${answer.faces_returned} are in the answer: the service's limit. Cut the photo into pieces to get the ${many(left, "other")}.`,
    answer.rotation > 0 && `No face was found in the photo as it is. It was turned clockwise by ${answer.rotation}°.`,
    answer.first_frame_only && "The file has further frames or pages. Only the first was looked at.",
    sent && `The photo was made smaller before it was sent: ${sent.width}×${sent.height} in place of ${answer.width}×${answer.height} pixels. Faces that are tiny in it may be missed.`,
    !isShown && "This browser cannot show the file, so there are no boxes.",
  ].filter(Boolean);
}
