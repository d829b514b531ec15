// The boxes over the photo: each with its tag inside, in the colour of its card.

import { $, element } from "./dom.js";
import { HUES, corner, shares } from "./faces.js";

const percent = (share) => `${100 * share}%`;

/** Draw the faces of an answer into `overlay`, numbered by their tracks if they have some; `choose` gets the index of a face that is clicked. */
export function draw(answer, choose, overlay = $("overlay")) {
  overlay.replaceChildren(...answer.faces.map((face, index) => {
    const place = shares(face.box, answer.width, answer.height);
    const number = face.track ?? index + 1;
    const made = element("div", { class: `box ${face.status} hue-${(number - 1) % HUES}`, "data-face": face.track ?? index },
      ...Object.values(face.landmarks).map((point) => dot(point, face.box, answer)),
      element("span", { class: "tag" }, element("b", {}, `${number}`), element("span", { class: "word" }, ` ${face.label}`)));
    for (const [side, share] of Object.entries(place)) made.style[side] = percent(share);
    if (choose) made.addEventListener("click", () => choose(index, ".card"));
    return made;
  }));
  fit(overlay);
}

function dot([x, y], box, { width, height }) {
  const made = element("i", { class: "dot" });
  const seen = shares(box, width, height);
  made.style.left = percent((x / width - seen.left) / seen.width);
  made.style.top = percent((y / height - seen.top) / seen.height);
  return made;
}

/** Shorten the tags that are wider than their boxes, and put each where it covers no other face; again at each new size. */
function fit(overlay) {
  const boxes = [...overlay.children];
  const areas = boxes.map((box) => ({ x: box.offsetLeft, y: box.offsetTop, w: box.offsetWidth, h: box.offsetHeight }));
  boxes.forEach((box, index) => {
    const tag = box.querySelector(".tag");
    tag.className = "tag";
    if (tag.offsetWidth > box.clientWidth) tag.classList.add("short"); // the number alone
    if (tag.offsetWidth > box.clientWidth || tag.offsetHeight > box.clientHeight) tag.classList.add("none"); // its colour tells
    const others = areas.filter((_, other) => other !== index);
    tag.dataset.corner = corner(areas[index], others, tag.offsetWidth, tag.offsetHeight);
  });
}

const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => fit(target)));
for (const id of ["overlay", "marks", "seen"]) resized.observe($(id));
