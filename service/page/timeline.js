// The chart of a video: for each person a lane, in which the shares of the expressions are stacked over time; and its table.

import { $, element } from "./dom.js";
import { HUES } from "./faces.js";

const SVG = document.querySelector("svg").namespaceURI; // of those in the page
const COLOURS = 10; // classes .kind-0 ... in style.css

let fps = 1;
let count = 1; // frames that are looked at, or will be

export const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

/** Return the numbers of the people, in their order. */
export const people = (samples) =>
  [...new Set(samples.flatMap(({ faces }) => faces.map((face) => face.track)).filter(Boolean))].sort((one, other) => one - other);

export function begin(frames, perSecond) {
  [count, fps] = [frames, perSecond];
  for (const id of ["lanes", "keys"]) $(id).replaceChildren();
  $("seek").max = count - 1;
  $("length").textContent = clock(count / fps);
  point(0, []);
}

/** Draw a lane for each person: `samples` are the answers about the frames so far. */
export function draw(samples, classes) {
  $("lanes").replaceChildren(...people(samples).map((track) => lane(track, samples, classes)));
  $("keys").replaceChildren(...classes.map((name, place) => element("li", {}, element("i", { class: `key kind-${place % COLOURS}` }), ` ${name}`)),
    element("li", {}, element("i", { class: "key unsure" }), " needs review"));
  place(Number($("seek").value));
}

function lane(track, samples, classes) {
  const seen = samples.map(({ faces }) => faces.find((face) => face.track === track));
  const found = seen.filter(Boolean);
  const labels = classes.map((name) => [name, found.filter(({ label }) => label === name).length / found.length])
    .filter(([, share]) => share > 0).sort((one, other) => other[1] - one[1])
    .map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(" · ");
  const from = clock(seen.findIndex(Boolean) / fps), to = clock((seen.findLastIndex(Boolean) + 1) / fps);
  const chart = drawing("svg", { class: "shares", viewBox: `0 0 ${count} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...classes.map((name, place) => drawing("path", { class: `kind-${place % COLOURS}`, d: area(seen, classes, place) })),
    drawing("path", { class: "unsure", d: steps(seen, (face) => (face.status === "low_confidence" ? [0, 0.07] : null)) }));
  return element("div", { class: `lane hue-${(track - 1) % HUES}`, "data-track": track },
    element("p", { class: "who" }, element("span", { class: "badge" }, `${track}`), ` ${from} to ${to}: ${labels}`),
    element("div", { class: "plot" }, chart, element("i", { class: "cursor" })));
}

function drawing(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Return the outline of a class's share, which lies on those of the classes before it. */
function area(seen, classes, place) {
  return steps(seen, ({ probabilities }) => {
    const below = classes.slice(0, place).reduce((sum, name) => sum + probabilities[name], 0);
    return [1 - below - probabilities[classes[place]], 1 - below];
  });
}

/** Return rectangles, a frame wide, from the first to the second height that `heights` returns of a face; none for null. */
function steps(seen, heights) {
  return seen.map((face, number) => {
    const found = face && heights(face);
    return found ? `M${number} ${found[0].toFixed(4)}H${number + 1}V${found[1].toFixed(4)}H${number}Z` : "";
  }).join("");
}

/** Mark a frame, whose `faces` have numbers, as the one that is shown. */
export function point(number, faces) {
  $("seek").value = number;
  const time = clock(number / fps);
  $("at").textContent = time;
  const said = faces.map((face) => `face ${face.track} ${face.label} ${Math.round(100 * face.confidence)} %`).join(", ");
  $("seek").setAttribute("aria-valuetext", `${time}: ${said || "no face followed"}`);
  place(number);
}

const place = (number) => $("lanes").style.setProperty("--at", `${(100 * (number + 0.5)) / count}%`);

/** Return the table: a row for each face in each frame, and one for each frame without. */
export function csv(samples, classes, perSecond) {
  const sides = ["x1", "y1", "x2", "y2"];
  const header = ["frame", "time_s", "track", "label", "confidence", "status", ...sides, ...classes.map((name) => `p_${name}`)];
  const rows = samples.flatMap(({ faces }, number) => {
    const when = [number, (number / perSecond).toFixed(3)];
    if (!faces.length) return [[...when, "", "", "", "no_face", ...sides.map(() => ""), ...classes.map(() => "")]];
    return faces.map((face) => [...when, face.track ?? "", face.label, face.confidence, face.status,
      ...sides.map((side) => face.box[side]), ...classes.map((name) => face.probabilities[name])]);
  });
  return [header, ...rows].map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

const quoted = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);

/** Wire the chart; `go` gets the frame where a person presses or drags. */
export function wire(go) {
  const at = (event) => {
    const plot = event.target.closest(".plot");
    if (!plot) return;
    event.preventDefault(); // the slider keeps the focus
    const { left, width } = plot.getBoundingClientRect();
    go(Math.floor(((event.clientX - left) / width) * count));
  };
  $("lanes").addEventListener("pointerdown", at);
  $("lanes").addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
}
