// Elements. Text from an image, a model or a server becomes text, never HTML.

export const $ = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function say(kind, text) {
  $("status").className = `status ${kind}`;
  $("status").textContent = text.charAt(0).toUpperCase() + text.slice(1);
}
