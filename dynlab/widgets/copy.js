// A button that puts a text on the clipboard. Pages that a server hands out under another name than localhost may not
// use the clipboard; there the older command serves.
function copyFromArea(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.appendChild(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button dynlab-copy";
  button.style.width = "auto";
  const name = "Copy to clipboard";
  button.textContent = name;
  button.addEventListener("click", async () => {
    const text = model.get("text");
    const done = navigator.clipboard
      ? await navigator.clipboard.writeText(text).then(() => true, () => copyFromArea(text))
      : copyFromArea(text);
    button.textContent = done ? "Copied" : "Select and copy by hand";
    setTimeout(() => (button.textContent = name), 1500);
  });
  el.appendChild(button);
}

export default { render };
