// A PNG as an image, and where a pointer touches it. Moves are sent one at a time: the next one goes when Python has
// answered the last, so that a slow redraw is never followed by a queue of old positions.
const PATIENCE = 500; // milliseconds; if an answer was lost, go on without it

function render({ model, el }) {
  const image = document.createElement("img");
  image.className = "dynlab-picture-image";
  image.draggable = false;
  image.style.cssText = "display:block; width:100%; user-select:none;";
  el.style.maxWidth = "100%";
  el.appendChild(image);

  let shown = null;
  const show = () => {
    const next = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
    const last = shown;
    shown = next;
    image.onload = () => last && URL.revokeObjectURL(last);
    image.src = next;
  };
  const describe = () => {
    image.alt = model.get("alt");
    image.style.maxWidth = `${model.get("pixels")[0]}px`;
    const listens = model.get("listens");
    image.style.cursor = listens ? "crosshair" : "default";
    image.style.touchAction = listens ? "none" : "auto";
  };

  let waiting = null; // the newest move that was not sent
  let sent = 0; // when the last move was sent that was not answered; 0: none
  const send = (phase, event) => {
    const box = image.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    const now = performance.now();
    if (phase === "move" && sent && now - sent < PATIENCE) {
      waiting = { phase, x, y };
      return;
    }
    waiting = null; // what comes now is newer
    sent = now;
    model.send({ kind: "pointer", phase, x, y });
  };
  const answered = (message) => {
    if (message.kind !== "seen") return;
    sent = 0;
    if (waiting) {
      sent = performance.now();
      model.send({ kind: "pointer", ...waiting });
      waiting = null;
    }
  };

  image.addEventListener("pointerdown", (event) => {
    if (!model.get("listens") || event.button !== 0) return;
    event.preventDefault();
    image.setPointerCapture(event.pointerId);
    send("down", event);
  });
  image.addEventListener("pointermove", (event) => {
    if (model.get("listens") && image.hasPointerCapture(event.pointerId)) send("move", event);
  });
  for (const end of ["pointerup", "pointercancel"])
    image.addEventListener(end, (event) => {
      if (!image.hasPointerCapture(event.pointerId)) return;
      image.releasePointerCapture(event.pointerId);
      send("up", event);
    });

  model.on("change:value", show);
  model.on("change:alt change:pixels change:listens", describe);
  model.on("msg:custom", answered);
  describe();
  show();
  return () => {
    model.off("change:value", show);
    model.off("change:alt change:pixels change:listens", describe);
    model.off("msg:custom", answered);
    if (shown) URL.revokeObjectURL(shown);
  };
}

export default { render };
