// A video: its frames are read in the browser, looked at one after the other elsewhere, and remembered for the timeline.

import { $, element, say } from "./dom.js";
import { draw } from "./overlay.js";
import { followed, many } from "./cards.js";
import * as timeline from "./timeline.js";

const FPS = 5; // frames a second of the video; an expression lasts half a second and more
const LONGEST = 640; // px of a frame, as of the live camera
const SHOWN_EVERY = 10; // frames, after which the chart is drawn anew

let film = null; // {samples, count, classes, name, close}

/**
 * Look at a video. `open` gets the frames a second, and returns what looks at frames: `look`, which gets a canvas and
 * returns the answer, and `close`.
 */
export async function watch(file, open) {
  const mine = (film = { name: file.name ?? "video", samples: [], count: 0, classes: [], halted: false, close: () => {} });
  say("", "Opening the video…");
  try {
    await show(file);
    if (mine !== film) return;
    mine.count = Math.max(1, Math.ceil((await duration()) * FPS));
    begin(mine);
    const { look, close } = await open(FPS);
    mine.close = close;
    if (mine !== film) return close();
    for (let number = 0; number < mine.count && !mine.halted; number++) {
      await seek(number / FPS);
      const answer = await look(frame());
      if (mine !== film) return;
      take(mine, answer);
    }
    finish(mine);
  } catch (error) {
    if (mine === film) end(mine, "error", error.message);
  } finally {
    mine.close();
  }
}

async function show(file) {
  const video = $("film");
  video.src = URL.createObjectURL(file);
  $("playing").hidden = false;
  $("empty").hidden = $("steps").hidden = true;
  $("clear").hidden = false;
  $("stage").classList.add("filled");
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error("This browser cannot play the video. Convert it to MP4 (H.264) or WebM."));
  });
  if (!video.videoWidth) throw new Error("The file has sound alone, and no picture.");
  $("playing").style.setProperty("--w", video.videoWidth);
  $("playing").style.setProperty("--h", video.videoHeight);
}

/** Return the video's seconds; one that a browser has recorded knows them only at its end. */
async function duration() {
  if (!Number.isFinite($("film").duration)) await seek(1e9);
  return Number.isFinite($("film").duration) ? $("film").duration : $("film").currentTime;
}

function seek(timeS) {
  const video = $("film");
  if (video.currentTime === timeS && video.readyState >= 2) return Promise.resolve();
  return new Promise((resolve, reject) => {
    video.onseeked = resolve;
    video.onerror = () => reject(new Error("The video is damaged from here on, or was moved."));
    video.currentTime = timeS;
  });
}

function frame() {
  const video = $("film");
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const canvas = element("canvas", { width: Math.round(scale * video.videoWidth), height: Math.round(scale * video.videoHeight) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function begin(mine) {
  timeline.begin(mine.count, FPS);
  $("timeline").hidden = false;
  $("seek").disabled = $("play").disabled = $("csv").disabled = true;
  $("progress").hidden = $("halt").hidden = false;
  $("progress").value = 0;
  say("", `Looking at ${FPS} frames a second of the video…`);
}

function take(mine, answer) {
  const [face] = answer.faces;
  if (face && !mine.classes.length) mine.classes = Object.keys(face.probabilities);
  mine.samples.push(answer);
  $("progress").value = mine.samples.length / mine.count;
  present(mine, mine.samples.length - 1);
  if (mine.samples.length % SHOWN_EVERY === 0) timeline.draw(mine.samples, mine.classes);
}

function finish(mine) {
  timeline.draw(mine.samples, mine.classes);
  const people = timeline.people(mine.samples).length;
  const part = mine.samples.length < mine.count ? ` in the first ${timeline.clock(mine.samples.length / FPS)}` : "";
  const none = people ? "" : " Nobody was seen in two frames running.";
  end(mine, people ? "ok" : "no_face", `${many(people, "face")} followed${part}.${none}`);
  if (mine.samples.length) go(0);
}

function end(mine, kind, text) {
  const seen = mine.samples.length;
  $("progress").hidden = $("halt").hidden = true;
  $("seek").disabled = $("play").disabled = $("csv").disabled = !seen;
  $("seek").max = Math.max(seen - 1, 0);
  if (seen) timeline.draw(mine.samples, mine.classes);
  say(kind, seen && kind === "error" ? `${text} The timeline shows what was seen until then.` : text);
}

/** Show boxes and cards of a frame that has been looked at. */
function present(mine, number) {
  const given = mine.samples[number];
  const answer = { ...given, faces: given.faces.filter((face) => face.track) };
  draw(answer, null, $("seen"));
  $("faces").replaceChildren(...answer.faces.map(followed));
  timeline.point(number, answer.faces);
}

/** Go to a frame that has been looked at. */
async function go(number) {
  const mine = film;
  if (!mine?.samples.length) return;
  const to = Math.min(Math.max(number, 0), mine.samples.length - 1);
  if ($("film").paused) $("film").currentTime = to / FPS;
  present(mine, to);
}

/** Forget the video, if there is one. */
export function stop() {
  if (!film) return;
  film.close();
  film = null;
  const video = $("film");
  video.pause();
  video.onerror = video.onseeked = video.onloadeddata = null;
  URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
  $("playing").hidden = $("timeline").hidden = true;
  for (const id of ["seen", "faces", "lanes"]) $(id).replaceChildren();
}

function played() {
  if (!film || $("film").paused) return;
  const number = Math.floor($("film").currentTime * FPS);
  if (number >= film.samples.length) $("film").pause(); // nobody looked at what follows
  else present(film, number);
  requestAnimationFrame(played);
}

async function toggle() {
  const video = $("film");
  if (!video.paused) return video.pause();
  if (Number($("seek").value) >= Number($("seek").max)) await go(0);
  await video.play();
  requestAnimationFrame(played);
}

function download() {
  const url = URL.createObjectURL(new Blob([timeline.csv(film.samples, film.classes, FPS)], { type: "text/csv" }));
  element("a", { href: url, download: `${film.name.replace(/\.[^.]*$/, "")}-expressions.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  $("done").textContent = "The table is made in this browser: a row for each face in each frame.";
}

/** Wire the controls below the video. */
export function wire() {
  $("halt").addEventListener("click", () => { if (film) film.halted = true; });
  $("play").addEventListener("click", toggle);
  $("csv").addEventListener("click", download);
  $("seek").addEventListener("input", () => { $("film").pause(); go(Number($("seek").value)); });
  timeline.wire((number) => { if (!$("seek").disabled) { $("film").pause(); go(number); $("seek").focus(); } });
  for (const name of ["play", "pause"]) $("film").addEventListener(name, () => { $("play").textContent = $("film").paused ? "Play" : "Pause"; });
}
