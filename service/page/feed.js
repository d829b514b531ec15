// The live camera on the page: its picture, the boxes over it, and a card for each face. Frames are looked at elsewhere.

import { followed, many } from "./cards.js";
import { $, element, say } from "./dom.js";
import { mirrored } from "./faces.js";
import { draw } from "./overlay.js";

const LONGEST = 640; // px of a frame; a face at arm's length has 200 of them
const RATE_OVER = 15; // answers, about a second of them

let live = null; // {media, mirror, askedAt, times, close}

/** Begin a feed, whose camera is not open yet; what follows checks whether it is still the current one. */
export function begin() {
  return (live = { times: [], close: () => {} });
}

export const isCurrent = (mine) => mine === live;

/** Open the camera, which asks the person, and show it. */
export async function open(mine) {
  if (!navigator.mediaDevices) throw new Error("browsers allow the camera only on localhost or over HTTPS");
  const media = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
  if (mine !== live) return media.getTracks().forEach((track) => track.stop()); // something else was begun meanwhile
  mine.media = media;
  const [track] = media.getVideoTracks();
  mine.mirror = track.getSettings().facingMode !== "environment"; // as in a mirror, unless it looks away from the person
  track.addEventListener("ended", () => { if (mine === live) stop("error", "The camera was taken away."); });
  $("feed").srcObject = media;
  $("feed").classList.toggle("mirror", mine.mirror);
  $("watched").hidden = false;
  $("empty").hidden = $("steps").hidden = true;
  $("stage").classList.add("filled");
  $("live").textContent = "Stop live";
  $("live").setAttribute("aria-pressed", "true");
  say("", "The camera is on.");
}

/** Return a canvas with what the camera shows, or null before its first frame. */
export function frame(mine) {
  const video = $("feed");
  if (!video.videoWidth) return null;
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const canvas = element("canvas", { width: Math.round(scale * video.videoWidth), height: Math.round(scale * video.videoHeight) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  mine.askedAt = performance.now();
  return canvas;
}

/** Show the answer about a frame; a face without a `track` waits for its second frame. */
export function present(given, mine) {
  const answer = { ...given, faces: given.faces.filter((face) => face.track) };
  draw(mine.mirror ? mirrored(answer) : answer, null, $("marks"));
  $("faces").replaceChildren(...answer.faces.map(followed));
  $("nobody").hidden = answer.faces_found > 0;
  const text = answer.faces.length ? `${many(answer.faces.length, "face")} in view.` : "No face found that can be judged.";
  if ($("status").textContent !== text) say(answer.faces.length ? "ok" : "no_face", text); // read aloud: only what is new
  const now = performance.now();
  mine.times = [...mine.times.slice(-RATE_OVER), now];
  const rate = (1000 * (mine.times.length - 1)) / Math.max(now - mine.times[0], 1);
  $("rate").textContent = `${rate.toFixed(1)} frames/s · ${Math.round(now - mine.askedAt)} ms`;
}

/** Turn the camera off, if it is on, and end what answers; say why, if there is a reason. */
export function stop(kind, text) {
  if (!live) return;
  const { media, close } = live;
  live = null;
  media?.getTracks().forEach((track) => track.stop());
  close();
  $("feed").srcObject = null;
  $("watched").hidden = $("nobody").hidden = true;
  $("empty").hidden = $("steps").hidden = false;
  $("stage").classList.remove("filled");
  for (const id of ["marks", "faces"]) $(id).replaceChildren();
  $("rate").textContent = "";
  $("live").textContent = "Live camera";
  $("live").setAttribute("aria-pressed", "false");
  if (text) say(kind, text);
}

/** Wire the button; `start` begins a feed. A page that nobody sees has no camera. */
export function wire(start) {
  $("live").addEventListener("click", () => (live ? stop("", "The camera is off.") : start()));
  $("feed").addEventListener("resize", () => {
    $("watched").style.setProperty("--w", $("feed").videoWidth);
    $("watched").style.setProperty("--h", $("feed").videoHeight);
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop("", "The camera was stopped: the page was hidden."); });
  window.addEventListener("pagehide", () => stop());
}
