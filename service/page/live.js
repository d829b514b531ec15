// The live camera: frames go to WS stream, one at a time, and boxes follow the answers. Neither side keeps a frame.

import { bars, mark, many } from "./cards.js";
import { $, element, say } from "./dom.js";
import { HUES, mirrored } from "./faces.js";
import { draw } from "./overlay.js";
import { apiKey, dropKey } from "./service.js";

const LONGEST_SENT = 640; // px; a face at arm's length has 200 of them
const QUALITY = 0.8;
const RATE_OVER = 15; // answers, about a second of them

let live = null; // {media, socket, mirror, fps, sentAt, times, refusal}

/** Open the camera, which asks the person, and then the stream. Returns when both are asked for. */
async function start(begin, loadInfo, askKey) {
  begin();
  const mine = (live = { times: [], refusal: null });
  try {
    const info = await loadInfo();
    if (mine !== live) return;
    if (info.needs_key && !apiKey()) {
      stop();
      askKey("This service needs an API key.", () => start(begin, loadInfo, askKey));
      return;
    }
    if (!navigator.mediaDevices) throw new Error("browsers allow the camera only on localhost or over HTTPS");
    const media = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
    if (mine !== live) return media.getTracks().forEach((track) => track.stop()); // something else was begun meanwhile
    mine.media = media;
    mine.gapMs = 1000 / info.limits.max_stream_fps;
    show(mine);
    connect(mine);
  } catch (error) {
    if (mine === live) stop("error", `The live camera cannot be used: ${error.message}.`);
  }
}

function show(mine) {
  const [track] = mine.media.getVideoTracks();
  mine.mirror = track.getSettings().facingMode !== "environment"; // as in a mirror, unless it looks away from the person
  track.addEventListener("ended", () => { if (mine === live) stop("error", "The camera was taken away."); });
  $("feed").srcObject = mine.media;
  $("feed").classList.toggle("mirror", mine.mirror);
  $("watched").hidden = false;
  $("empty").hidden = $("steps").hidden = true;
  $("stage").classList.add("filled");
  $("live").textContent = "Stop live";
  $("live").setAttribute("aria-pressed", "true");
  say("", "The camera is on.");
}

function connect(mine) {
  const address = new URL("stream", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  mine.socket = new WebSocket(address, apiKey() ? ["ferops", `key.${apiKey()}`] : []);
  mine.socket.addEventListener("open", () => { mine.opened = true; send(mine); });
  mine.socket.addEventListener("message", ({ data }) => { if (mine === live) take(mine, JSON.parse(data)); });
  mine.socket.addEventListener("close", () => { if (mine === live) stop("away", why(mine)); });
}

function why(mine) {
  if (mine.refusal) return mine.refusal;
  if (mine.opened) return "The service has closed the stream, so the camera was stopped.";
  dropKey(); // a browser does not tell a wrong one from a service that is away
  return "The stream cannot be opened, so the camera was stopped. The service is away, or the API key is wrong, or a proxy before it lets no WebSocket through, or serve.allowed_origins lacks this page's origin.";
}

function send(mine) {
  if (mine !== live) return;
  const video = $("feed");
  if (!video.videoWidth) return void setTimeout(send, 50, mine); // no frame yet
  const scale = Math.min(1, LONGEST_SENT / Math.max(video.videoWidth, video.videoHeight));
  const canvas = element("canvas", { width: Math.round(scale * video.videoWidth), height: Math.round(scale * video.videoHeight) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  mine.sentAt = performance.now();
  canvas.toBlob((blob) => { if (mine === live && mine.socket.readyState === WebSocket.OPEN) mine.socket.send(blob); }, "image/jpeg", QUALITY);
}

/** Take an answer, and send the newest frame when it is time. */
function take(mine, answer) {
  if (answer.code) {
    mine.refusal = answer.error;
    say("away", answer.error);
    setTimeout(send, 1000 * (answer.retry_after_s ?? 1), mine);
    return;
  }
  mine.refusal = null;
  setTimeout(send, mine.sentAt + mine.gapMs - performance.now(), mine);
  const faces = answer.faces.filter((face) => face.track); // a new face waits for its second frame
  present({ ...answer, faces }, mine);
}

function present(answer, mine) {
  draw(mine.mirror ? mirrored(answer) : answer, null, $("marks"));
  $("faces").replaceChildren(...answer.faces.map(card));
  $("nobody").hidden = answer.faces_found > 0;
  const text = answer.faces.length ? `${many(answer.faces.length, "face")} in view.` : "No face found that can be judged.";
  if ($("status").textContent !== text) say(answer.faces.length ? "ok" : "no_face", text); // read aloud: only what is new
  const now = performance.now();
  mine.times = [...mine.times.slice(-RATE_OVER), now];
  const rate = (1000 * (mine.times.length - 1)) / Math.max(now - mine.times[0], 1);
  $("rate").textContent = `${rate.toFixed(1)} frames/s · ${Math.round(now - mine.sentAt)} ms`;
}

function card(face) {
  return element("li", { class: `card hue-${(face.track - 1) % HUES}`, "data-face": face.track },
    element("div", { class: "said" },
      element("div", { class: "head" },
        element("span", { class: "badge" }, `${face.track}`), element("span", { class: "label" }, face.label), mark(face)),
      bars(face)));
}

/** Turn the camera off and close the stream, if they are on; say why, if there is a reason. */
export function stop(kind, text) {
  if (!live) return;
  const { media, socket } = live;
  live = null;
  media?.getTracks().forEach((track) => track.stop());
  socket?.close();
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

/** Wire the button; `begin` clears the page, `loadInfo` returns the service's information, `askKey` gets an API key. */
export function wire(begin, loadInfo, askKey) {
  $("live").addEventListener("click", () => (live ? stop("", "The camera is off.") : start(begin, loadInfo, askKey)));
  $("feed").addEventListener("resize", () => {
    $("watched").style.setProperty("--w", $("feed").videoWidth);
    $("watched").style.setProperty("--h", $("feed").videoHeight);
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop("", "The camera was stopped: the page was hidden."); });
  window.addEventListener("pagehide", () => stop());
}
