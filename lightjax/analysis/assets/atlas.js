// An atlas: a map of pictures to move and zoom, a search that lets cells stand out, and what is in the chosen cell.
//
// Whatever comes from the data is set as text or as a property, never as markup.

for (const root of document.querySelectorAll(".atlas")) {
  const find = (selector) => root.querySelector(selector);
  const { side, zooms, folder } = JSON.parse(find("script").textContent);
  const [map, large, input] = [find(":scope > canvas"), find(".large canvas"), find("input")];
  const pen = map.getContext("2d");
  const SMALLEST = 34; // pixels of a cell of the next zoom, when it comes
  const DIM = 0.12;
  const view = { scale: 1, x: 0, y: 0 }; // pixels of the whole map, and where its corner is
  let [chosen, matches] = [null, null];

  for (const zoom of zooms) {
    zoom.image = Object.assign(new Image(), { onload: draw, src: zoom.sheet });
    zoom.at = new Map(zoom.list.map((cell, i) => [cell.row * zoom.cells + cell.column, i]));
    zoom.list.forEach((cell, number) => Object.assign(cell, { zoom, number }));
  }
  const place = ({ row, column, zoom }) => [column / zoom.cells, row / zoom.cells, 1 / zoom.cells];
  const active = () => zooms.findLast(({ cells }) => view.scale / cells >= SMALLEST) ?? zooms[0];
  const size = () => [map.clientWidth, map.clientHeight];
  const inks = () => [getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(map).color];

  function icon(pen, { zoom, number }, ...box) {
    const { columns, image } = zoom;
    pen.drawImage(image, (number % columns) * side, Math.floor(number / columns) * side, side, side, ...box);
  }

  function draw() {
    const [wide, high] = size();
    const sharp = devicePixelRatio;
    Object.assign(map, { width: wide * sharp, height: high * sharp });
    pen.scale(sharp, sharp);
    pen.imageSmoothingQuality = "high";
    const zoom = active();
    if (!zoom.image.complete) return;
    for (const cell of zoom.list) {
      const [x, y, part] = place(cell);
      const [left, top] = [Math.round(view.x + x * view.scale), Math.round(view.y + y * view.scale)];
      const right = Math.round(view.x + (x + part) * view.scale);
      const bottom = Math.round(view.y + (y + part) * view.scale);
      if (right < 0 || bottom < 0 || left > wide || top > high) continue;
      pen.globalAlpha = matches && !matches.has(cell) ? DIM : 1;
      icon(pen, cell, left, top, right - left, bottom - top);
    }
    pen.globalAlpha = 1;
    if (!chosen) return;
    const [x, y, part] = place(chosen);
    const box = [view.x + x * view.scale, view.y + y * view.scale, part * view.scale, part * view.scale];
    inks().forEach((ink, i) => {
      Object.assign(pen, { lineWidth: [6, 3][i], strokeStyle: ink });
      pen.strokeRect(...box);
    });
  }

  function fit() {
    const [wide, high] = size();
    view.scale = Math.min(wide, high);
    [view.x, view.y] = [(wide - view.scale) / 2, (high - view.scale) / 2];
    draw();
  }

  function zoomBy(factor, x = size()[0] / 2, y = size()[1] / 2) {
    const least = Math.min(...size()) / 2;
    const most = zooms.at(-1).cells * Math.max(side, 96) * 2;
    const scale = Math.min(Math.max(view.scale * factor, least), most);
    const real = scale / view.scale;
    Object.assign(view, { scale, x: x - (x - view.x) * real, y: y - (y - view.y) * real });
    draw();
  }

  function move(dx, dy) {
    const [wide, high] = size();
    const kept = (value, room) => Math.min(Math.max(value, room / 2 - view.scale), room / 2); // the middle shows it
    Object.assign(view, { x: kept(view.x + dx, wide), y: kept(view.y + dy, high) });
    draw();
  }

  function seen(cell) { // the map moves if the cell is out of sight
    const [wide, high] = size();
    const [x, y, part] = place(cell);
    const middle = [view.x + (x + part / 2) * view.scale, view.y + (y + part / 2) * view.scale];
    const out = (value, room) => value < 20 || value > room - 20;
    if (out(middle[0], wide) || out(middle[1], high)) move(wide / 2 - middle[0], high / 2 - middle[1]);
  }

  const made = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

  function show(cell) {
    chosen = cell;
    const sharp = Math.max(1, Math.round(devicePixelRatio * 144 / side));
    Object.assign(large, { width: side * sharp, height: side * sharp });
    if (cell.zoom.image.complete) icon(large.getContext("2d"), cell, 0, 0, large.width, large.height);
    else cell.zoom.image.addEventListener("load", () => chosen === cell && show(cell), { once: true });
    find(".large figcaption").textContent = `row ${cell.row}, column ${cell.column}; ${cell.count} vectors`;
    const strongest = Math.max(...zooms.flatMap(({ list }) => list.map(({ classes }) => classes[0]?.[1] ?? 0)));
    find(".classes")?.replaceChildren(...cell.classes.map(([name, value]) => {
      const [item, bar] = [made("li", ""), made("span", "bar")];
      bar.style.setProperty("--part", value / strongest);
      item.append(Object.assign(made("b", "", name), { title: name }), bar, made("span", "value", value.toPrecision(2)));
      return item;
    }));
    find(".folders").textContent = cell.folders.map(([name, count]) => `${name} ${count}`).join(", ");
    find(".photographs").replaceChildren(...cell.photographs.map(([number, source, row, column]) => {
      const [frame, mark] = [made("div", ""), made("i", "")];
      frame.append(Object.assign(made("img", ""), { src: `${folder}/${number}.jpg`, alt: source, title: source }), mark);
      mark.style.setProperty("--x", column);
      mark.style.setProperty("--y", row);
      return frame;
    }));
    find(".from").hidden = !cell.photographs.length && !cell.folders.length;
    draw();
  }

  function search() {
    const wanted = input.value.trim().toLowerCase();
    const has = (cell) => [...cell.classes, ...cell.folders].some(([name]) => name.toLowerCase().includes(wanted));
    matches = wanted ? new Set(zooms.flatMap(({ list }) => list.filter(has))) : null;
    const here = matches && active().list.filter((cell) => matches.has(cell)).length;
    find("output").textContent = matches ? `${here} of ${active().list.length} cells` : "";
    draw();
  }

  function next() { // Enter in the search goes to the next cell that was found
    const list = active().list.filter((cell) => matches?.has(cell));
    if (!list.length) return;
    const cell = list[(list.indexOf(chosen) + 1) % list.length];
    show(cell);
    seen(cell);
  }

  function towards(dx, dy) { // the nearest cell in a direction
    const zoom = active();
    const from = chosen ?? zoom.list[0];
    const middle = (cell) => { const [x, y, part] = place(cell); return [x + part / 2, y + part / 2]; };
    const [x, y] = middle(from);
    let [best, least] = [null, Infinity];
    for (const cell of zoom.list) {
      const [there, below] = middle(cell);
      const [along, aside] = [(there - x) * dx + (below - y) * dy, Math.abs((there - x) * dy) + Math.abs((below - y) * dx)];
      const far = along + 2 * aside;
      if (cell !== from && along > 1e-9 && aside <= along && far < least) [best, least] = [cell, far];
    }
    if (!best) return;
    show(best);
    seen(best);
  }

  const pointers = new Map();
  let travelled = 0;
  const at = (event) => [event.offsetX, event.offsetY];
  map.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    map.setPointerCapture(event.pointerId);
    if (!pointers.size) travelled = 0;
    pointers.set(event.pointerId, at(event));
  });
  map.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(dx, dy);
    pointers.set(event.pointerId, now);
    if (travelled > 4) map.classList.add("moving");
    if (others.length) {
      const [x, y] = others[0];
      const apart = ([a, b]) => Math.max(Math.hypot(a - x, b - y), 1);
      zoomBy(apart(now) / apart(before), (now[0] + x) / 2, (now[1] + y) / 2);
      move(dx / 2, dy / 2);
    } else if (travelled > 4) move(dx, dy);
  });
  function released(event) {
    if (!pointers.delete(event.pointerId) || pointers.size) return;
    map.classList.remove("moving");
    if (event.type !== "pointerup" || travelled > 4) return;
    const zoom = active();
    const [x, y] = at(event);
    const [column, row] = [(x - view.x) / view.scale, (y - view.y) / view.scale].map((p) => Math.floor(p * zoom.cells));
    const number = column >= 0 && column < zoom.cells ? zoom.at.get(row * zoom.cells + column) : undefined;
    if (number !== undefined) show(zoom.list[number]);
  }
  map.addEventListener("pointerup", released);
  map.addEventListener("pointercancel", released);
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
    search();
  }, { passive: false });
  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const bigger = () => { zoomBy(1.5); search(); };
    const smaller = () => { zoomBy(1 / 1.5); search(); };
    const keys = {
      ArrowLeft: () => towards(-1, 0), ArrowRight: () => towards(1, 0),
      ArrowUp: () => towards(0, -1), ArrowDown: () => towards(0, 1),
      "+": bigger, "=": bigger, "-": smaller, 0: () => { fit(); search(); },
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  find(".in").addEventListener("click", () => { zoomBy(1.5); search(); });
  find(".out").addEventListener("click", () => { zoomBy(1 / 1.5); search(); });
  find(".fit").addEventListener("click", () => { fit(); search(); });
  input.addEventListener("input", search);
  input.addEventListener("keydown", (event) => event.key === "Enter" && next());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = 0;
  new ResizeObserver(() => {
    if (map.clientWidth !== width) fit();
    width = map.clientWidth;
    draw();
  }).observe(map);
  fit();
  const most = (cell) => cell.classes[0]?.[1] ?? cell.count; // it begins where a class is clearest
  show(active().list.reduce((best, cell) => (most(cell) > most(best) ? cell : best)));
}
