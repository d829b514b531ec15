// The ways in which a photo comes: chosen, dropped or pasted.

import { $ } from "./dom.js";

/** Wire them; `use` gets each file. */
export function wire(use) {
  const stage = $("stage");
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
