// The ways in which a photo or a video comes: chosen, dropped or pasted.

import { $ } from "./dom.js";

/** Wire them; `photo` and `video` get each file of their kind. */
export function wire({ photo, video }) {
  const stage = $("stage");
  const use = (file) => (file.type.startsWith("video/") ? video(file) : photo(file));
  document.addEventListener("dragover", (event) => { event.preventDefault(); stage.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) stage.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    if (event.dataTransfer.files[0]) use(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files[0]) use(event.clipboardData.files[0]);
  });
  $("file").addEventListener("change", () => { if ($("file").files[0]) use($("file").files[0]); });
  $("photo").addEventListener("load", () => {
    $("shown").style.setProperty("--w", $("photo").naturalWidth);
    $("shown").style.setProperty("--h", $("photo").naturalHeight);
  });
  // No preview: the browser cannot show what may still be read elsewhere, such as TIFF
  $("photo").addEventListener("error", () => { $("shown").hidden = true; $("empty").hidden = false; });
}
