// What the pad does at each of its events: `this` is the SVG, `event` what happened. The cells, row
// by row as 0 and 1, stand in a text field nearby, which the kernel reads after every stroke.
const pad = this.dataset, size = +pad.size, brush = +pad.brush;
const box = this.closest(".course-pad");
const store = box.querySelector(".course-pad-cells input");
const erases = box.querySelector(".course-pad-erase").classList.contains("mod-active");
const ink = erases ? "0" : "1", cells = [...store.value];
const limit = (place) => Math.min(size - 1, Math.max(0, place));
const reach = (place) => limit(place - (brush >> 1));

const dab = (x, y, value = ink) => {
  for (let row = reach(y); row < Math.min(size, reach(y) + brush); row++) {
    for (let column = reach(x); column < Math.min(size, reach(x) + brush); column++) {
      cells[row * size + column] = value;
      if (pad.mirrored) cells[row * size + size - 1 - column] = value;
    }
  }
};
const stroke = (x, y) => {
  const [right, down] = [x - pad.x, y - pad.y];
  const steps = Math.max(1, Math.abs(right), Math.abs(down));
  for (let i = 0; i <= steps; i++) {
    dab(Math.round(+pad.x + right * i / steps), Math.round(+pad.y + down * i / steps));
  }
  go(x, y);
};
const go = (x, y) => { pad.x = x; pad.y = y; };
const tell = () => store.dispatchEvent(new Event("change", { bubbles: true }));
const place = () => {
  const edge = this.getBoundingClientRect();
  const along = (at, start, length) => limit(Math.floor((at - start) / length * size));
  return [along(event.clientX, edge.left, edge.width), along(event.clientY, edge.top, edge.height)];
};
const show = () => {
  const square = (i) => `M${i % size} ${Math.floor(i / size)}h1v1h-1z`;
  const squares = cells.map((cell, i) => cell === "1" ? square(i) : "");
  this.querySelector(".ink").setAttribute("d", squares.join(""));
  for (const frame of this.querySelectorAll(".cursor")) {
    frame.setAttribute("x", reach(+pad.x));
    frame.setAttribute("y", reach(+pad.y));
    frame.style.display = pad.focused ? "" : "none";
  }
};
const say = () => {
  const painted = cells.filter((c) => c === "1").length;
  const here = cells[pad.y * size + +pad.x] === "1" ? pad.full : pad.empty;
  const values = { row: +pad.y + 1, column: +pad.x + 1, here, painted, total: size * size };
  const text = pad.words.replace(/\{(\w+)\}/g, (all, name) => values[name]);
  this.parentElement.querySelector("[aria-live]").textContent = text;
};

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const moves = {
  pointerdown() {
    if (event.button) return;
    event.preventDefault();
    this.focus({ preventScroll: true });
    this.setPointerCapture(event.pointerId);
    pad.painting = "yes";
    go(...place());
    dab(+pad.x, +pad.y);
  },
  pointermove() {
    if (pad.painting) stroke(...place());
  },
  pointerup() {
    if (!pad.painting) return;
    delete pad.painting;
    tell();
    say();
  },
  keydown() {
    const arrow = arrows[event.key];
    if ((!arrow && event.key !== " ") || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (arrow) {
      const to = [limit(+pad.x + arrow[0]), limit(+pad.y + arrow[1])];
      event.shiftKey ? stroke(...to) : go(...to);
    } else {
      dab(+pad.x, +pad.y, cells[pad.y * size + +pad.x] === "1" ? "0" : "1");
    }
    if (store.value !== cells.join("")) { store.value = cells.join(""); tell(); }
    say();
  },
  focus() { pad.focused = "yes"; say(); },
  blur() { delete pad.focused; },
};
moves.pointercancel = moves.pointerup;
moves[event.type].call(this);
if (store.value !== cells.join("")) store.value = cells.join("");
show();
