// The dialog that takes a photo.

import { $, element, say } from "./dom.js";

async function open() {
  try {
    if (!navigator.mediaDevices) throw new Error("browsers allow the camera only on localhost or over HTTPS");
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    $("viewfinder").showModal();
  } catch (error) {
    say("error", `The camera cannot be used: ${error.message}. Choose a photo instead.`);
  }
}

function take(use) {
  const video = $("video");
  if (!video.videoWidth) return; // no frame yet
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(use, "image/jpeg", 0.95);
  $("viewfinder").close();
}

function stop() {
  $("video").srcObject?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
}

/** Wire the dialog; `use` gets each photo that is taken. */
export function wire(use) {
  $("camera").addEventListener("click", open);
  $("snap").addEventListener("click", () => take(use));
  $("close").addEventListener("click", () => $("viewfinder").close());
  $("viewfinder").addEventListener("close", stop);
}
